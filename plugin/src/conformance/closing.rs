//! How a link ends: with everything that was accepted, and with nothing kept.

use std::time::Duration;

use sluice_protocol::ChannelId;

use super::landing::exchange;
use super::parcel::{Intake, Parcel, assert_landed};
use super::stage::{End, Stage};
use crate::link::CloseCause;
use crate::transport::{PayloadPlacement, TransportFactory};

/// What `send` has taken is sent, payload and all; each side is told by whom the link was closed.
pub fn a_closed_link_delivers_first_what_it_accepted(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    let mut intake = Intake::new(&stage, far, 1);
    let mut dues = Vec::new();
    for number in 1..=10 {
        intake.post(&mut stage, 60_000);
        let buffer = stage.filled(near.worker, 60_000, number);
        let mut due = Vec::new();
        let parcel = Parcel::new().block(&mut intake, &buffer, &mut due);
        stage.send(near, parcel.seal(number as u64));
        dues.push(due);
    }
    stage.transport(near.worker).close(near.link);
    for (index, due) in dues.into_iter().enumerate() {
        let (head, landed) = stage.received(far);
        assert_eq!(head.prefix().message, index as u64 + 1);
        assert_landed(landed, due);
    }
    assert!(matches!(stage.closed(far), CloseCause::PeerClosed));
    stage.take_writable(near);
    assert!(matches!(stage.closed(near), CloseCause::Local));
    stage.end();
}

/// From the call of `close`, and at the other end from `Closed`, on.
pub fn a_closed_link_takes_no_message(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    let buffer = stage.filled(near.worker, 3000, 0);
    stage.transport(near.worker).close(near.link);
    let mut intake = Intake::new(&stage, far, 1);
    intake.post(&mut stage, 3000);
    let message = Parcel::new().block(&mut intake, &buffer, &mut Vec::new()).seal(1);
    let message = stage.transport(near.worker).send(near.link, message).expect_err("close() was called");
    assert!(matches!(stage.closed(near), CloseCause::Local));
    let message = stage.transport(near.worker).send(near.link, message).expect_err("the link is over");
    assert_eq!((message.payloads.len(), &message.payloads[0].buffer[..]), (1, &buffer[..]), "the message comes back");
    assert!(matches!(stage.closed(far), CloseCause::PeerClosed));
    stage.transport(far.worker).send(far.link, message).expect_err("the peer has closed it");
    // Repeated, it is no mistake: the engine may close what has just ended.
    stage.transport(near.worker).close(near.link);
    stage.transport(far.worker).close(far.link);
    drop(buffer);
    stage.end();
}

/// Each is told once.
pub fn links_that_both_sides_close_at_once_end_on_both(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    for end in [near, far] {
        let mut intake = Intake::new(&stage, end, 1);
        intake.post(&mut stage, 3000);
    }
    stage.transport(near.worker).close(near.link);
    stage.transport(far.worker).close(far.link);
    for end in [near, far] {
        match stage.closed(end) {
            CloseCause::Local | CloseCause::PeerClosed => {}
            cause => panic!("{end:?} closed with {cause:?}"),
        }
    }
    stage.end();
}

/// A process that is gone says nothing more; its peers have their memory back.
pub fn a_dropped_transport_is_noticed_by_its_peers(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 3);
    let (_, first) = stage.link(0, 1);
    let (second, _) = stage.link(2, 0);
    let (beside, beside_far) = stage.link(1, 2);
    for end in [first, second] {
        Intake::new(&stage, end, 1).post(&mut stage, 10_000);
    }
    stage.drop_transport(0);
    for end in [first, second] {
        assert!(matches!(stage.closed(end), CloseCause::PeerClosed));
        stage.settle(end.worker);
        assert_eq!(stage.in_use_bytes(end.worker), 0);
    }
    stage.send(beside, Parcel::new().event(b"we two are left").seal(1));
    stage.received(beside_far);
    stage.end();
}

/// Not what is posted, not what is under way, whichever end it is.
pub fn the_end_of_one_link_does_not_disturb_another(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 3);
    let (doomed, doomed_far) = stage.link(0, 1);
    let (parallel, parallel_far) = stage.link(0, 1);
    let (other, other_far) = stage.link(0, 2);
    let mut intakes = [doomed_far, parallel_far, other_far].map(|end| Intake::new(&stage, end, 1));
    for intake in &mut intakes {
        intake.post(&mut stage, 50_000);
        intake.post(&mut stage, 50_000);
    }
    let [_, on_parallel, on_other] = &mut intakes;
    let buffer = stage.filled(0, 50_000, 0);
    let mut dues = Vec::new();
    for (near, intake) in [(parallel, &mut *on_parallel), (other, &mut *on_other)] {
        let mut due = Vec::new();
        let parcel = Parcel::new().block(intake, &buffer, &mut due);
        stage.send(near, parcel.seal(1));
        dues.push((intake.end, due));
    }
    stage.transport(doomed.worker).close(doomed.link);
    assert!(matches!(stage.closed(doomed), CloseCause::Local));
    assert!(matches!(stage.closed(doomed_far), CloseCause::PeerClosed));
    for (far, due) in dues {
        assert_landed(stage.received(far).1, due);
    }
    for (near, intake) in [(parallel, on_parallel), (other, on_other)] {
        exchange(&mut stage, near, intake, std::slice::from_ref(&buffer));
    }
    drop(buffer);
    stage.end();
}

/// What is posted, at both ends, is back in its pool when `Closed` is told and the transport was polled once more.
pub fn a_lost_link_returns_all_its_memory(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    for (from, to) in [(near, far), (far, near)] {
        for channel in 0..4 {
            let mut intake = Intake::new(&stage, to, channel);
            intake.post(&mut stage, 10_000);
            intake.post(&mut stage, 10_000);
            // With a stream the first is then in use for one part and posted for the other.
            let buffer = stage.filled(from.worker, 4000, 0);
            exchange(&mut stage, from, &mut intake, &[buffer]);
        }
    }
    stage.transport(far.worker).close(far.link);
    assert!(matches!(stage.closed(far), CloseCause::Local));
    assert!(matches!(stage.closed(near), CloseCause::PeerClosed));
    [near, far].into_iter().for_each(|end| stage.settle(end.worker));
    assert_eq!([near, far].map(|end| stage.in_use_bytes(end.worker)), [0, 0]);
    stage.end();
}

/// A message and the end of its link may come with the same poll. Its small payloads stand in its head and are packed
/// into memory that was posted.
pub fn what_is_posted_outlives_the_link_until_the_next_poll(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    if stage.placement() != PayloadPlacement::Stream {
        return stage.end();
    }
    let mut intake = Intake::new(&stage, far, 1);
    intake.post(&mut stage, 4096);
    stage.send(near, Parcel::new().inline(ChannelId(1), &[7; 100]).seal(1));
    stage.transport(near.worker).close(near.link);
    for _ in 0..10 {
        stage.step_without(far.worker, Duration::from_millis(5));
    }
    let (head, _) = stage.received(far);
    assert_eq!(head.prefix().message, 1);
    let memory = stage.transport(far.worker).withdraw_receives(far.link, ChannelId(1), 100, 0);
    assert_eq!(memory.iter().map(|piece| piece.len()).sum::<usize>(), 100);
    drop(memory);
    assert!(matches!(stage.closed(far), CloseCause::PeerClosed));
    assert!(matches!(stage.closed(near), CloseCause::Local));
    stage.end();
}

/// The engine may not have been told yet. The peer will never write there, so there is no slot either.
pub fn memory_posted_on_a_link_that_is_over_is_dropped(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    if stage.placement() == PayloadPlacement::HandOver {
        return stage.end();
    }
    stage.transport(near.worker).close(near.link);
    assert!(matches!(stage.closed(near), CloseCause::Local));
    assert!(matches!(stage.closed(far), CloseCause::PeerClosed));
    for End { worker, link } in [near, far] {
        let buffer = stage.memory(worker, 4096);
        assert_eq!(stage.transport(worker).post_receive(link, ChannelId(1), buffer), None);
        assert_eq!(stage.in_use_bytes(worker), 0);
        assert!(stage.transport(worker).withdraw_receives(link, ChannelId(1), 1, 1).is_empty());
        assert!(stage.transport(worker).forget_channel(link, ChannelId(1)).is_empty());
    }
    stage.end();
}
