//! A reactor sleeps until something happens, and no longer.

use std::time::Duration;

use super::links::assert_talk;
use super::messages::head_of;
use super::parcel::Parcel;
use super::stage::Stage;
use crate::link::CloseCause;
use crate::transport::{Message, TransportFactory};

/// `Ready` is for what has happened, and a file is readable only until it is polled for.
pub fn an_idle_transport_lets_its_reactor_sleep(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    assert_talk(&mut stage, near, far);
    let mut undisturbed = 0;
    for _ in 0..200 {
        undisturbed = if stage.step(Duration::from_millis(10)) { 0 } else { undisturbed + 1 };
        if undisturbed == 3 {
            return stage.end();
        }
    }
    panic!("the reactor of an idle transport was woken two hundred times");
}

/// A link, a message, room for one, and the end: each comes after the reactor has looked for the last time.
pub fn a_reactor_that_sleeps_is_woken_by_what_its_peer_does(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 2);
    let wish = stage.wish(0, 1);
    let mut near = None;
    stage.assert_wakes(1, |stage| near = Some(stage.connect(0, wish)));
    let near = near.expect("connected above");
    stage.connected(near);
    let (far, _) = stage.accepted(1);

    stage.assert_wakes(1, |stage| stage.send(near, Parcel::new().event(b"wake up").seal(1)));
    stage.received(far);

    let mut sent = 0;
    let refused = loop {
        let message = Message { head: head_of(40_000, sent + 1), payloads: Vec::new() };
        match stage.transport(near.worker).send(near.link, message) {
            Ok(()) => sent += 1,
            Err(refused) => {
                // What waits in this process may go where the kernel has room.
                stage.settle(near.worker);
                if !stage.take_writable(near) {
                    break refused;
                }
            }
        }
        assert!(sent < 2000, "a link to a peer that takes nothing is never full");
    };
    stage.assert_wakes(0, |_| {});
    stage.until("Writable", |stage| stage.take_writable(near).then_some(()));
    stage.send(near, refused);
    for number in 1..=sent + 1 {
        assert_eq!(stage.received(far).0.prefix().message, number);
    }

    stage.assert_wakes(0, |stage| stage.transport(1).close(far.link));
    assert!(matches!(stage.closed(near), CloseCause::PeerClosed));
    assert!(matches!(stage.closed(far), CloseCause::Local));
    stage.end();
}
