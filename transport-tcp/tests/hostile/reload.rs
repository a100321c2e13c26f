//! Certificates that change while workers run.

use sluice_handshake::{TlsTrust, Trust};
use sluice_plugin::{CloseCause, Transport, TransportEvent};
use sluice_transport_tcp::{Engine, TcpConfig};

use crate::certificates::{Authority, Folder, GOOD, LOOPBACK};
use crate::observed::observe;
use crate::stage::{Neighbours, Worker, config, engines, wish};

fn config_of(folder: &Folder, engine: Engine) -> TcpConfig {
    let trust = Trust::Tls(TlsTrust::load(folder.files()).expect("good files"));
    TcpConfig { trust, ..config(engine) }
}

/// What comes of a newcomer's link: nothing, or a reason.
fn refusal_of(stage: &mut Neighbours, newcomer: TcpConfig) -> Option<String> {
    let mut newcomer = Worker::new(3, newcomer);
    newcomer.transport.connect(newcomer.now, wish(stage.worker.transport.address().clone()));
    let refusal = loop {
        stage.worker.turn_with(&mut newcomer);
        match newcomer.events.pop_front() {
            None => {}
            Some(TransportEvent::Connected { .. }) => break None,
            Some(TransportEvent::Closed { cause: CloseCause::Refused { text, .. }, .. }) => break Some(text),
            Some(event) => panic!("a link or a refusal was due, not {event:?}"),
        }
    };
    newcomer.settle();
    if refusal.is_none() {
        stage.worker.accepted();
    }
    drop(newcomer);
    stage.worker.closed();
    refusal
}

#[test]
fn the_next_link_uses_the_certificates_that_are_on_disk_then_and_running_links_stay() {
    for engine in engines() {
        let (old, new) = (Authority::new(), Authority::new());
        let folder = Folder::of(&old.issue(LOOPBACK, GOOD), &old);
        let newer = Folder::of(&new.issue(LOOPBACK, GOOD), &new);
        let config = config_of(&folder, engine);
        let interval = config.trust_reload_interval;
        let ((), seen) = observe(|| {
            let mut stage = Neighbours::new(config);
            let first = stage.worker.now;
            folder.write(&new.issue(LOOPBACK, GOOD), &new);
            let refusal = refusal_of(&mut stage, config_of(&newer, engine)).expect("not looked at again so soon");
            assert!(refusal.contains("authority"), "{refusal}");
            stage.worker.now = first.after(interval);
            assert_eq!(refusal_of(&mut stage, config_of(&newer, engine)), None);
            stage.assert_alive();
        });
        assert!(seen.log.contains("new certificates are in use"), "{}", seen.log);
    }
}

#[test]
fn files_that_cannot_be_used_leave_the_certificates_of_before_in_use() {
    for engine in engines() {
        let authority = Authority::new();
        let folder = Folder::of(&authority.issue(LOOPBACK, GOOD), &authority);
        let peer = Folder::of(&authority.issue(LOOPBACK, GOOD), &authority);
        let config = config_of(&folder, engine);
        let interval = config.trust_reload_interval;
        let ((), seen) = observe(|| {
            let mut stage = Neighbours::new(config);
            std::fs::write(folder.files().key, "half of a ke").expect("the folder can be written to");
            stage.worker.now = stage.worker.now.after(interval);
            assert_eq!(refusal_of(&mut stage, config_of(&peer, engine)), None);
            stage.assert_alive();
        });
        assert!(seen.log.contains("those of before stay in use") && seen.log.contains("worker.key"), "{}", seen.log);
        assert!(!seen.log.contains("half of a ke"));
    }
}
