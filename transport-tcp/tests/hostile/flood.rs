//! Strangers in any number, as slow as they like: running links and newcomers of other addresses are not disturbed.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use sluice_handshake::MAGIC;
use sluice_plugin::{CloseCause, Transport, TransportEvent};
use sluice_protocol::ReasonCode;
use sluice_transport_tcp::{Engine, TcpConfig};
use socket2::{Domain, Socket, Type};

use crate::observed::observe;
use crate::stage::{Neighbours, Worker, config, engines, wish};

fn narrow(engine: Engine) -> TcpConfig {
    TcpConfig { links_unauthenticated_max: 6, links_unauthenticated_per_address_max: 4, ..config(engine) }
}

/// A connection of the host 127.0.0.`host` that says no word.
fn connect_from(host: u8, worker: &mut Worker) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, host], 0)).into()).expect("all of 127.0.0.0/8 is this host");
    let there: SocketAddr = worker.transport.address().0.parse().expect("an address");
    socket.connect(&there.into()).expect("connects");
    worker.turn();
    socket.into()
}

/// Whether the worker has left the connection open.
fn is_open(peer: &mut TcpStream) -> bool {
    peer.set_nonblocking(true).expect("a socket");
    let read = peer.read(&mut [0]);
    peer.set_nonblocking(false).expect("a socket");
    matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Takes away what tells that strangers went; says how many.
fn drain_refused(worker: &mut Worker) -> usize {
    let before = worker.events.len();
    worker.events.retain(|event| {
        !matches!(event, TransportEvent::Closed { cause: CloseCause::Refused { code: ReasonCode::Silent, .. }, .. })
    });
    before - worker.events.len()
}

/// A worker that comes now is let in.
fn assert_lets_in(stage: &mut Neighbours, engine: Engine) {
    let mut newcomer = Worker::new(3, config(engine));
    newcomer.transport.connect(newcomer.now, wish(stage.worker.transport.address().clone()));
    while !matches!(newcomer.events.pop_front(), Some(TransportEvent::Connected { .. })) {
        stage.worker.turn_with(&mut newcomer);
    }
    newcomer.settle();
    drain_refused(&mut stage.worker);
    stage.worker.accepted();
    drop(newcomer);
    drain_refused(&mut stage.worker);
    assert!(matches!(stage.worker.closed(), CloseCause::PeerClosed));
}

#[test]
fn a_flood_of_one_address_displaces_only_itself() {
    for engine in engines() {
        let ((), seen) = observe(|| {
            let mut stage = Neighbours::new(narrow(engine));
            let mut bystander = connect_from(3, &mut stage.worker);
            let mut flood: Vec<_> = (0..50).map(|_| connect_from(2, &mut stage.worker)).collect();
            while drain_refused(&mut stage.worker) > 0 {
                stage.worker.settle();
            }
            stage.assert_alive();
            assert!(is_open(&mut bystander));
            let open: Vec<_> = flood.iter_mut().map(is_open).collect();
            assert_eq!(open.iter().filter(|open| **open).count(), 4);
            assert!(open[46..].iter().all(|open| *open), "the oldest go");
            assert_lets_in(&mut stage, engine);
            stage.assert_alive();
        });
        assert_eq!(seen.refused("accepting", "crowded_address"), 46);
        // The clock stood still: one line, though there were 46.
        assert_eq!(seen.log.matches("links_unauthenticated_per_address_max").count(), 1, "{}", seen.log);
    }
}

#[test]
fn a_flood_of_many_addresses_leaves_room_for_newcomers_of_others() {
    for engine in engines() {
        let ((), seen) = observe(|| {
            let mut stage = Neighbours::new(narrow(engine));
            let mut flood = Vec::new();
            for _ in 0..10 {
                flood.extend((2..6).map(|host| connect_from(host, &mut stage.worker)));
                drain_refused(&mut stage.worker);
                stage.assert_alive();
                assert_lets_in(&mut stage, engine);
            }
            assert!(flood.iter_mut().filter_map(|peer| is_open(peer).then_some(())).count() <= 6);
        });
        assert!(seen.refused("accepting", "crowded") >= 30, "{}", seen.refused("accepting", "crowded"));
    }
}

#[test]
fn a_byte_now_and_then_does_not_prolong_the_time_of_a_hello() {
    for engine in engines() {
        let mut stage = Neighbours::new(config(engine));
        let begun = stage.worker.now;
        let mut slow: Vec<_> = (0..10).map(|_| connect_from(2, &mut stage.worker)).collect();
        for byte in 0..4 {
            stage.worker.now = begun.after(Duration::from_millis(900 * byte));
            for peer in &mut slow {
                // What the worker has closed already hears no more.
                let _ = peer.write_all(&MAGIC[byte as usize..=byte as usize]);
            }
            stage.worker.turn();
            assert_eq!(drain_refused(&mut stage.worker), 0);
            stage.assert_alive();
            assert_lets_in(&mut stage, engine);
        }
        stage.worker.now = begun.after(Duration::from_secs(3));
        stage.worker.poll();
        stage.worker.settle();
        assert_eq!(drain_refused(&mut stage.worker), 10);
        assert!(slow.iter_mut().all(|peer| !is_open(peer)));
        stage.assert_alive();
    }
}

#[test]
fn more_connections_than_a_turn_takes_are_taken_in_the_next() {
    for engine in engines() {
        let mut stage = Neighbours::new(TcpConfig { links_unauthenticated_per_address_max: 64, ..config(engine) });
        let there = stage.worker.transport.address().0.clone();
        let mut flood: Vec<_> = (0..150).map(|_| TcpStream::connect(&there).expect("waits in the kernel")).collect();
        stage.assert_alive();
        stage.worker.settle();
        stage.worker.poll();
        stage.worker.settle();
        // Of one address, and none has said a word.
        assert_eq!(flood.iter_mut().filter_map(|peer| is_open(peer).then_some(())).count(), 64);
        drain_refused(&mut stage.worker);
        stage.assert_alive();
    }
}

/// The limit is of the whole process, so it has one to itself.
#[test]
fn where_descriptors_run_out_strangers_go_first() {
    let this = std::env::current_exe().expect("a test has a file");
    let test = ["--ignored", "--exact", "flood::process_with_few_descriptors"];
    let ended = Command::new(this).args(test).output().expect("it starts");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
}

#[test]
#[ignore = "the process of another test"]
fn process_with_few_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: Some(128), ..limit }).expect("less is allowed");
    for engine in engines() {
        let ((), seen) = observe(|| {
            let mut stage = Neighbours::new(config(engine));
            let there = stage.worker.transport.address().0.clone();
            let mut flood: Vec<_> = (0..20).map(|_| TcpStream::connect(&there).expect("waits in the kernel")).collect();
            let mut files: Vec<_> = std::iter::from_fn(|| File::open("Cargo.toml").ok()).collect();
            files.truncate(files.len() - 3);
            for _ in 0..100 {
                stage.worker.poll();
                drain_refused(&mut stage.worker);
            }
            assert!(flood.iter_mut().filter_map(|peer| is_open(peer).then_some(())).count() <= 3);
            stage.assert_alive();
        });
        assert!(seen.refused("accepting", "crowded") >= 15, "{}: {}", seen.refused("accepting", "crowded"), seen.log);
    }
}
