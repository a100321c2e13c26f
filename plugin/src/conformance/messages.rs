//! Messages arrive whole, in order and once.

use sluice_protocol::wire::{EVENT_BYTES_MAX, Frame, Head, Placement};
use sluice_protocol::{ChannelId, Limits};

use super::landing::{deliver, exchange};
use super::parcel::{Intake, Parcel, assert_landed};
use super::stage::Stage;
use crate::link::CloseCause;
use crate::transport::{Message, TransportFactory};

/// Heads and payloads, however the messages of both directions interleave.
pub fn messages_arrive_in_order_and_once_in_both_directions_at_the_same_time(factory: &dyn TransportFactory) {
    const MESSAGES: usize = 100;
    let (mut stage, near, far) = Stage::pair(factory);
    let mut intakes = [Intake::new(&stage, far, 1), Intake::new(&stage, near, 1)];
    let mut under_way = [Vec::new(), Vec::new()];
    for number in 0..MESSAGES {
        for (direction, from) in [near, far].into_iter().enumerate() {
            let intake = &mut intakes[direction];
            intake.post(&mut stage, 3000);
            let buffer = stage.filled(from.worker, 3000, number);
            let mut due = Vec::new();
            let parcel = Parcel::new().event(&number.to_le_bytes()).block(intake, &buffer, &mut due);
            stage.send(from, parcel.seal(number as u64 + 1));
            under_way[direction].push(due);
        }
    }
    for (to, dues) in [far, near].into_iter().zip(under_way) {
        for (number, due) in dues.into_iter().enumerate() {
            let (head, landed) = stage.received(to);
            assert_eq!(head.prefix().message, number as u64 + 1, "messages arrive in order");
            assert_eq!(events(&head), [number.to_le_bytes()]);
            assert_landed(landed, due);
        }
    }
    stage.end();
}

/// Both ends have agreed on it, so both have room for it.
pub fn a_head_of_the_agreed_size_arrives(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 2);
    let wish = stage.wish(0, 1);
    let near = stage.connect(0, wish);
    let limit = stage.connected(near).limits.head_bytes_max as usize;
    let (far, _) = stage.accepted(1);

    for number in 1..4 {
        let message = Message { head: head_of(limit, number), payloads: Vec::new() };
        let sent = message.head.clone();
        stage.send(near, message);
        let (head, _) = stage.received(far);
        assert!(head.into_bytes() == sent, "the head arrives as it was sent");
    }
    stage.end();
}

pub(super) fn head_of(bytes: usize, number: u64) -> Vec<u8> {
    let frame_bytes = Parcel::new().event(&[]).head_bytes() - Parcel::new().head_bytes();
    let mut parcel = Parcel::new();
    loop {
        let room = bytes - parcel.head_bytes() - frame_bytes;
        if room <= EVENT_BYTES_MAX {
            return parcel.event(&vec![number as u8; room]).seal(number).head;
        }
        // Leaves room for one more frame.
        parcel = parcel.event(&vec![number as u8; (room - frame_bytes).min(EVENT_BYTES_MAX)]);
    }
}

/// As one block, and as several.
pub fn bodies_of_the_agreed_size_arrive(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    let Limits { body_bytes_max, block_bytes_max, .. } = stage.setup(0).limits.both(stage.setup(1).limits);
    for blocks in [body_bytes_max / block_bytes_max, body_bytes_max / block_bytes_max * 4] {
        let mut intake = Intake::new(&stage, far, blocks);
        let bytes = (body_bytes_max / blocks) as usize;
        let buffers: Vec<_> = (0..blocks as usize).map(|seed| stage.filled(near.worker, bytes, seed)).collect();
        buffers.iter().for_each(|_| intake.post(&mut stage, bytes));
        exchange(&mut stage, near, &mut intake, &buffers);
    }
    stage.end();
}

/// Small payloads need nothing posted; they are the head's, beside others that are not.
pub fn payloads_in_the_head_arrive_with_it(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 2);
    let wish = stage.wish(0, 1);
    let near = stage.connect(0, wish);
    let inline_bytes_max = stage.connected(near).limits.inline_bytes_max as usize;
    let (far, _) = stage.accepted(1);
    if inline_bytes_max == 0 {
        return stage.end();
    }
    let mut intake = Intake::new(&stage, far, 1);
    intake.post(&mut stage, 5000);
    let body = stage.filled(near.worker, 5000, 1);
    let (short, long) = (vec![1; 1], vec![2; inline_bytes_max]);
    let mut due = Vec::new();
    let parcel = Parcel::new().inline(ChannelId(1), &short).block(&mut intake, &body, &mut due);
    deliver(&mut stage, near, parcel.inline(ChannelId(9), &long));
    drop(body);

    let (head, landed) = stage.received(far);
    assert_landed(landed, due);
    let inline: Vec<_> = head.frames().filter_map(inline_payload).collect();
    assert_eq!(inline, [&short[..], &long[..]]);
    stage.end();
}

fn inline_payload(frame: Frame<'_>) -> Option<&[u8]> {
    match frame {
        Frame::Data(_, _, Placement::Inline(payload)) => Some(payload),
        _ => None,
    }
}

/// `Err` returns the very message; `Writable` follows when the peer has taken enough. Nothing is lost or overtakes.
pub fn a_full_link_hands_messages_back_and_loses_none(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    let buffer = stage.filled(near.worker, 4000, 0);
    let message = |number: u64| Message { head: head_of(40_000, number), payloads: Vec::new() };
    let mut sent = 0;
    // The peer takes nothing meanwhile.
    let refused = loop {
        assert!(sent < 2000, "a link to a peer that takes nothing is never full");
        match stage.transport(near.worker).send(near.link, message(sent + 1)) {
            Ok(()) => sent += 1,
            Err(refused) => break refused,
        }
    };
    assert!(refused.head == message(sent + 1).head, "the message comes back as it was");
    stage.until("Writable", |stage| stage.take_writable(near).then_some(()));
    stage.send(near, refused);

    let mut intake = Intake::new(&stage, far, 1);
    intake.post(&mut stage, 4000);
    let mut due = Vec::new();
    let last = Parcel::new().block(&mut intake, &buffer, &mut due).seal(sent + 2);
    stage.send(near, last);
    drop(buffer);
    for number in 1..=sent + 1 {
        let (head, _) = stage.received(far);
        assert_eq!(head.prefix().message, number);
    }
    assert_landed(stage.received(far).1, due);
    stage.take_writable(near);
    stage.end();
}

/// Nothing behind it can be trusted. The side that sent it sees that the peer has hung up, or how that felt.
pub fn what_is_no_message_closes_the_link(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 3);
    let (near, far) = stage.link(0, 1);
    let (beside, beside_far) = stage.link(0, 2);
    let good = Parcel::new().event(b"as it should be").seal(1);
    let mut bad = Parcel::new().event(b"altered on the way").seal(2);
    *bad.head.last_mut().expect("a head has bytes") ^= 1;
    stage.send(near, good);
    stage.send(near, bad);

    assert_eq!(stage.received(far).0.prefix().message, 1, "what came before it is good");
    match stage.closed(far) {
        CloseCause::Decode(_) => {}
        cause => panic!("closed with {cause:?}, not Decode"),
    }
    match stage.closed(near) {
        CloseCause::PeerClosed | CloseCause::Io { .. } | CloseCause::Refused { .. } => {}
        cause => panic!("closed with {cause:?} by a peer that was sent nonsense"),
    }
    stage.send(beside, Parcel::new().event(b"none of our business").seal(1));
    stage.received(beside_far);
    stage.end();
}

fn events(head: &Head) -> Vec<&[u8]> {
    let payloads = head.frames().filter_map(|frame| match frame {
        Frame::Event { payload, .. } => Some(payload),
        _ => None,
    });
    payloads.collect()
}
