//! Payload lands in the memory that was set aside for it, and nowhere else.

use sluice_memory::{Buffer, BufferMut, Location};
use sluice_protocol::ChannelId;
use sluice_protocol::wire::Frame;

use super::parcel::{Intake, Parcel, assert_landed};
use super::stage::{End, Stage};
use crate::transport::{PayloadPlacement, TransportFactory};

/// The very bytes: the posted ones with a stream and with slots, the sender's own with hand-over.
pub fn payload_lands_in_the_memory_that_was_set_aside(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    let mut intake = Intake::new(&stage, far, 5);
    for bytes in [1500, 32 << 10, 100_000, 2000] {
        intake.post(&mut stage, bytes);
    }
    for bytes in [1500, 32 << 10, 100_000, 2000] {
        let buffer = stage.filled(near.worker, bytes, bytes);
        exchange(&mut stage, near, &mut intake, &[buffer]);
    }
    stage.end();
}

/// With a stream a block fills the rest of one buffer and goes on in the next, over several if need be; a slot is
/// for one block, however much of it stays free.
pub fn payload_goes_on_in_the_next_posted_buffer(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    let mut intake = Intake::new(&stage, far, 5);
    for _ in 0..5 {
        intake.post(&mut stage, 4096);
    }
    let blocks = match stage.placement() {
        PayloadPlacement::Remote => vec![4096, 1100, 2000, 4095],
        // Inside the first, to its end, into the second, over all of the third.
        PayloadPlacement::Stream | PayloadPlacement::HandOver => vec![1500, 2596, 5000, 8000, 3384],
    };
    for bytes in blocks {
        let buffer = stage.filled(near.worker, bytes, bytes);
        exchange(&mut stage, near, &mut intake, &[buffer]);
    }
    stage.end();
}

/// One submission serves many channels, each in its own memory.
pub fn blocks_of_many_channels_land_from_one_message(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    let mut intakes: Vec<_> = (0..50).map(|channel| Intake::new(&stage, far, 3 * channel)).collect();
    let mut due = Vec::new();
    let mut parcel = Parcel::new();
    for round in 0..3 {
        for (index, intake) in intakes.iter_mut().enumerate() {
            let bytes = 1100 + 37 * index;
            intake.post(&mut stage, bytes);
            let buffer = stage.filled(near.worker, bytes, 100 * round + index);
            parcel = parcel.event(b"between").block(intake, &buffer, &mut due);
        }
    }
    deliver(&mut stage, near, parcel);
    let (head, landed) = stage.received(far);
    assert_eq!(head.prefix().frames, 300);
    assert_landed(landed, due);
    stage.end();
}

/// With hand-over all channels are unknown, and what arrives is for the engine to drop. Nobody writes into slots of a
/// channel that never was.
pub fn payload_of_an_unknown_channel_is_discarded_and_its_neighbours_land(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    if stage.placement() == PayloadPlacement::Remote {
        return stage.end();
    }
    let mut known = Intake::new(&stage, far, 1);
    let mut unknown = Intake::new(&stage, far, 2);
    known.post(&mut stage, 64 << 10);
    let buffers = [20_000, 150_000, 20_000].map(|bytes| stage.filled(near.worker, bytes, bytes));
    let mut due = Vec::new();
    let parcel = Parcel::new()
        .block(&mut unknown, &buffers[1], &mut due)
        .block(&mut known, &buffers[0], &mut due)
        .block(&mut unknown, &buffers[1], &mut due)
        .block(&mut known, &buffers[2], &mut due);
    deliver(&mut stage, near, parcel);
    assert_landed(stage.received(far).1, due);
    exchange(&mut stage, near, &mut known, &buffers[..1]);
    drop(buffers);
    stage.end();
}

/// What is posted is left as it is, and serves the next block that fits.
pub fn payload_beyond_what_is_posted_is_discarded_and_the_link_lives(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    if stage.placement() != PayloadPlacement::Stream {
        return stage.end();
    }
    let mut intake = Intake::new(&stage, far, 1);
    intake.post(&mut stage, 4096);
    intake.post(&mut stage, 4096);
    for bytes in [9000, 8193, 8192] {
        let buffer = stage.filled(near.worker, bytes, bytes);
        exchange(&mut stage, near, &mut intake, &[buffer]);
    }
    assert_eq!(intake.posted_bytes(), 0);
    stage.end();
}

/// Late frames of a cancelled channel are skipped; the id may serve again.
pub fn payload_of_a_forgotten_channel_is_discarded(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    if stage.placement() != PayloadPlacement::Stream {
        return stage.end();
    }
    let mut first = Intake::new(&stage, far, 1);
    first.post(&mut stage, 4096);
    let buffer = stage.filled(near.worker, 3000, 0);
    let forgotten = stage.transport(far.worker).forget_channel(far.link, first.channel);
    assert_eq!(extents(&forgotten).len(), 1);
    drop(forgotten);
    first.cut(4096);
    exchange(&mut stage, near, &mut first, std::slice::from_ref(&buffer));

    let mut second = Intake::new(&stage, far, 1);
    second.post(&mut stage, 4096);
    exchange(&mut stage, near, &mut second, &[buffer]);
    stage.end();
}

/// A channel's id is its receiver's, for each link.
pub fn channels_of_two_links_with_the_same_id_do_not_mix(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 3);
    let links = [stage.link(0, 2), stage.link(1, 2)];
    let mut intakes = links.map(|(_, far)| Intake::new(&stage, far, 1));
    for _ in 0..3 {
        for intake in &mut intakes {
            intake.post(&mut stage, 3000);
        }
    }
    for round in 0..3 {
        for ((near, _), intake) in links.iter().zip(&mut intakes) {
            let buffer = stage.filled(near.worker, 3000, 10 * round + near.worker);
            exchange(&mut stage, *near, intake, &[buffer]);
        }
    }
    let (near, far) = links[0];
    let [first, second] = &mut intakes;
    first.post(&mut stage, 3000);
    second.post(&mut stage, 3000);
    drop(stage.transport(far.worker).forget_channel(far.link, first.channel));
    assert_eq!(stage.in_use_bytes(near.worker), 0);
    let (near, _) = links[1];
    let buffer = stage.filled(near.worker, 3000, 99);
    exchange(&mut stage, near, second, &[buffer]);
    stage.end();
}

/// With a stream; the front goes on serving.
pub fn withdrawn_memory_is_what_was_posted_last(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    if stage.placement() != PayloadPlacement::Stream {
        return stage.end();
    }
    let mut intake = Intake::new(&stage, far, 1);
    let [first, second] = [0, 1].map(|_| intake.post_at(&mut stage, 4096));
    let back = stage.transport(far.worker).withdraw_receives(far.link, intake.channel, 5000, 0);
    assert_eq!(extents(&back), sorted([(behind(first, 4096 - 904), 904), (second, 4096)]));
    drop(back);
    intake.cut(5000);
    let third = intake.post_at(&mut stage, 4096);
    let buffer = stage.filled(near.worker, 4000, 0);
    exchange(&mut stage, near, &mut intake, &[buffer]);

    let rest = intake.posted_bytes();
    let back = stage.transport(far.worker).withdraw_receives(far.link, intake.channel, rest as u64, 0);
    assert_eq!(extents(&back), [(behind(third, 4096 - rest), rest)]);
    drop(back);
    assert_eq!(stage.in_use_bytes(far.worker), 0);
    stage.end();
}

/// With remote placement: the peer spends slots, or gives them back, in the order in which they were granted.
pub fn withdrawn_slots_are_the_oldest(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    if stage.placement() != PayloadPlacement::Remote {
        return stage.end();
    }
    let mut intake = Intake::new(&stage, far, 1);
    let posted = [4096, 8192, 4096, 4096].map(|bytes| intake.post_at(&mut stage, bytes));
    let buffer = stage.filled(near.worker, 4000, 0);
    exchange(&mut stage, near, &mut intake, std::slice::from_ref(&buffer));
    let back = stage.transport(far.worker).withdraw_receives(far.link, intake.channel, 0, 2);
    assert_eq!(back.iter().map(extent).collect::<Vec<_>>(), [(posted[1], 8192), (posted[2], 4096)]);
    drop(back);
    intake.pass_over();
    intake.pass_over();
    exchange(&mut stage, near, &mut intake, &[buffer]);
    stage.end();
}

/// With remote placement: a block may be written behind a slot that came back in the same message, or in one that the
/// engine has not been told of yet, or that is too small. The number in the frame says which is meant.
pub fn a_slot_that_came_back_unspent_is_passed_over(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    if stage.placement() != PayloadPlacement::Remote {
        return stage.end();
    }
    let mut intake = Intake::new(&stage, far, 1);
    let posted = [2048, 4096, 2048, 4096].map(|bytes| (intake.post_at(&mut stage, bytes), bytes));
    let buffer = stage.filled(near.worker, 4000, 0);
    let mut dues = Vec::new();
    for number in 1..3 {
        let slots_through = intake.pass_over();
        let returned = Frame::Return { channel: intake.channel, returned: 0, slots_through };
        let parcel = if number == 1 { Parcel::new().push(&returned) } else { Parcel::new() };
        let mut due = Vec::new();
        let parcel = parcel.block(&mut intake, &buffer, &mut due);
        stage.send(near, parcel.seal(number));
        dues.push(due);
    }
    drop(buffer);
    dues.into_iter().for_each(|due| assert_landed(stage.received(far).1, due));
    for index in [0, 2] {
        let back = stage.transport(far.worker).withdraw_receives(far.link, intake.channel, 0, 1);
        assert_eq!(extents(&back), [posted[index]]);
    }
    assert_eq!(stage.in_use_bytes(far.worker), 0);
    stage.end();
}

/// What has landed is not among it; what was filled in part is, from there on.
pub fn a_forgotten_channel_gives_all_its_memory_back(factory: &dyn TransportFactory) {
    let (mut stage, near, far) = Stage::pair(factory);
    let mut intake = Intake::new(&stage, far, 1);
    if stage.placement() == PayloadPlacement::HandOver {
        assert!(stage.transport(far.worker).forget_channel(far.link, intake.channel).is_empty());
        return stage.end();
    }
    let mut beside = Intake::new(&stage, far, 2);
    beside.post(&mut stage, 4096);
    let [first, second] = [0, 1].map(|_| intake.post_at(&mut stage, 4096));
    let buffer = stage.filled(near.worker, 3000, 0);
    exchange(&mut stage, near, &mut intake, std::slice::from_ref(&buffer));

    let back = stage.transport(far.worker).forget_channel(far.link, intake.channel);
    let due = match stage.placement() {
        PayloadPlacement::Stream => sorted([(behind(first, 3000), 1096), (second, 4096)]).to_vec(),
        PayloadPlacement::Remote | PayloadPlacement::HandOver => vec![(second, 4096)],
    };
    assert_eq!(extents(&back), due);
    assert!(stage.transport(far.worker).forget_channel(far.link, ChannelId(77)).is_empty(), "nobody's channel");
    drop(back);
    exchange(&mut stage, near, &mut beside, &[buffer]);
    drop(stage.transport(far.worker).forget_channel(far.link, beside.channel));
    assert_eq!(stage.in_use_bytes(far.worker), 0);
    stage.end();
}

// ── Steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// Sends a message of which order does not matter.
pub(super) fn deliver(stage: &mut Stage, from: End, parcel: Parcel) {
    stage.send(from, parcel.seal(1));
}

/// One message with a block for each buffer; they land where they are due.
pub(super) fn exchange(stage: &mut Stage, from: End, intake: &mut Intake, buffers: &[Buffer]) {
    let mut due = Vec::new();
    let parcel = buffers.iter().fold(Parcel::new(), |parcel, buffer| parcel.block(intake, buffer, &mut due));
    deliver(stage, from, parcel);
    assert_landed(stage.received(intake.end).1, due);
}

fn extent(buffer: &BufferMut) -> (Location, usize) {
    (buffer.location(), buffer.len())
}

fn extents(buffers: &[BufferMut]) -> Vec<(Location, usize)> {
    let mut extents: Vec<_> = buffers.iter().map(extent).collect();
    extents.sort_unstable();
    extents
}

fn sorted<const N: usize>(mut extents: [(Location, usize); N]) -> [(Location, usize); N] {
    extents.sort_unstable();
    extents
}

fn behind(at: Location, bytes: usize) -> Location {
    Location { offset: at.offset + bytes as u32, ..at }
}
