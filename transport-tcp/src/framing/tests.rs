use proptest::prelude::*;
use sluice_protocol::wire::{Backlog, Block, Frame, HeadBuilder, Placement};
use sluice_protocol::{ChannelId, LinkEpoch};

use super::*;
use crate::testing::memory;

const CHANNELS: u32 = 3;

/// A message to be, as its frames: the channel, and the bytes of a block; none is a grant.
#[derive(Clone, Debug)]
struct Sketch(Vec<(u32, Option<usize>)>);

/// What came of a message: its head, and each payload that was not discarded.
type Plain = (Vec<u8>, Vec<Option<Vec<u8>>>);

/// A stream and what must come out of it.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    expected: Vec<Plain>,
}

impl Stream {
    /// Encodes the messages; a block is expected as long as what is posted for its channel lasts.
    fn of(sketches: &[Sketch], mut posted_bytes: Vec<usize>) -> Self {
        let mut stream = Stream::default();
        for (number, Sketch(frames)) in sketches.iter().enumerate() {
            let mut head = HeadBuilder::new(Vec::new());
            let mut bodies = Vec::new();
            let mut payloads = Vec::new();
            for &(channel, bytes) in frames {
                let Some(bytes) = bytes else {
                    head.push(&Frame::Grant { channel: ChannelId(channel), granted: 1, events: 2, keep: 3 });
                    continue;
                };
                head.push(&block(channel, bytes));
                let payload: Vec<u8> = (0..bytes).map(|at| (bodies.len() + at * 7 + number) as u8).collect();
                bodies.extend_from_slice(&payload);
                let left = posted_bytes.get_mut(channel as usize).filter(|left| **left >= bytes);
                payloads.push(left.map(|left| {
                    *left -= bytes;
                    payload
                }));
            }
            let head = head.finish(LinkEpoch(1), number as u64 + 1, 0, false);
            stream.bytes.extend_from_slice(&head);
            stream.bytes.extend_from_slice(&bodies);
            stream.expected.push((head, payloads));
        }
        stream
    }
}

fn block(channel: u32, bytes: usize) -> Frame<'static> {
    let block = Block { sequence: 0, length: bytes as u32, crc: 0, codec: 0, backlog: Backlog::default() };
    Frame::Data(ChannelId(channel), block, Placement::Body)
}

/// Reads as a kernel does: some bytes, into the pieces in order.
fn read(plan: &mut ReadPlan, from: &mut &[u8], bytes_max: usize) -> usize {
    let bytes = bytes_max.min(from.len()).min(plan.room());
    let mut left = bytes;
    let mut skip = plan.skip;
    for piece in &mut plan.pieces {
        let place = &mut piece.as_mut_slice()[skip..];
        let taken = place.len().min(left);
        place[..taken].copy_from_slice(from.split_off(..taken).expect("at most `bytes`"));
        left -= taken;
        skip = 0;
    }
    bytes
}

fn plain(arrived: Arrived) -> Plain {
    let payload = |landed| match landed {
        Landed::Whole(buffer) => Some(buffer.to_vec()),
        Landed::Pieces(pieces) => Some(pieces.iter().flat_map(|piece| piece.to_vec()).collect()),
        Landed::Discarded => None,
    };
    (arrived.head.into_bytes(), arrived.payloads.into_iter().map(payload).collect())
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    // One channel more than is posted for.
    let frame = (0..=CHANNELS, prop::option::of(1..3000usize));
    let message = prop::collection::vec(frame, 0..5).prop_map(Sketch);
    prop::collection::vec(message, 1..20)
}

fn posted_lengths() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(1..4096usize, 0..6), CHANNELS as usize)
}

proptest! {
    #[test]
    fn any_split_of_the_stream_gives_the_same_messages(
        sketches in sketches(),
        lengths in posted_lengths(),
        reads in prop::collection::vec(1..6000usize, 1..20),
    ) {
        let mut posted = Posted::default();
        for (channel, lengths) in lengths.iter().enumerate() {
            lengths.iter().for_each(|&length| posted.post(ChannelId(channel as u32), memory(length)));
        }
        let stream = Stream::of(&sketches, lengths.iter().map(|lengths| lengths.iter().sum()).collect());
        let mut framing = Framing::new(Limits::default());
        let mut from = &stream.bytes[..];
        let mut out = Vec::new();
        for bytes_max in reads.iter().cycle() {
            if from.is_empty() {
                break;
            }
            let mut plan = framing.plan();
            let bytes = read(&mut plan, &mut from, *bytes_max);
            prop_assert!(framing.arrived(plan, bytes, &mut posted, &mut out).is_ok());
        }
        prop_assert!(framing.is_between_messages());
        prop_assert_eq!(out.into_iter().map(plain).collect::<Vec<_>>(), stream.expected);
    }

    #[test]
    fn random_bytes_are_refused_or_wait_for_more(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut out = Vec::new();
        let fed = Framing::new(Limits::default()).feed(&bytes, &mut Posted::default(), &mut out);
        prop_assert_eq!(fed.is_err(), bytes.len() >= 48);
        prop_assert!(out.is_empty());
    }
}

#[test]
fn payload_of_a_channel_forgotten_on_the_way_is_discarded() {
    let stream = Stream::of(&[Sketch(vec![(0, Some(100))])], vec![100]);
    let mut posted = Posted::default();
    posted.post(ChannelId(0), memory(100));
    let (first, rest) = stream.bytes.split_at(stream.bytes.len() - 50);
    let mut framing = Framing::new(Limits::default());
    let mut out = Vec::new();
    framing.feed(first, &mut posted, &mut out).expect("good so far");
    assert!(posted.forget(ChannelId(0)).is_empty());
    framing.feed(rest, &mut posted, &mut out).expect("good to its end");
    assert!(matches!(out[0].payloads[0], Landed::Discarded));
}

#[test]
fn a_message_over_the_agreed_limits_is_refused_by_its_prefix() {
    let limits = Limits { body_bytes_max: 1000, ..Limits::default() };
    let stream = Stream::of(&[Sketch(vec![(0, Some(1001))])], vec![]);
    let fed = Framing::new(limits).feed(&stream.bytes[..48], &mut Posted::default(), &mut Vec::new());
    assert!(matches!(fed, Err(DecodeError::Limit { what: "bodies", .. })), "{fed:?}");
}

#[test]
fn one_read_brings_the_end_of_a_body_and_the_next_head() {
    let sketch = Sketch(vec![(0, Some(1000))]);
    let stream = Stream::of(&[sketch.clone(), sketch], vec![2000]);
    let mut posted = Posted::default();
    posted.post(ChannelId(0), memory(2000));
    let mut framing = Framing::new(Limits::default());
    let mut out = Vec::new();
    framing.feed(&stream.bytes[..200], &mut posted, &mut out).expect("a head and some of its body");
    let mut plan = framing.plan();
    let bytes = read(&mut plan, &mut &stream.bytes[200..], usize::MAX);
    assert_eq!(bytes, stream.bytes.len() - 200);
    framing.arrived(plan, bytes, &mut posted, &mut out).expect("both whole");
    assert_eq!(out.into_iter().map(plain).collect::<Vec<_>>(), stream.expected);
}

#[test]
fn many_small_messages_come_with_one_read() {
    let stream = Stream::of(&vec![Sketch(vec![(0, None)]); 400], vec![]);
    let mut framing = Framing::new(Limits::default());
    let mut from = &stream.bytes[..];
    let mut out = Vec::new();
    let mut reads = 0;
    while !from.is_empty() {
        let mut plan = framing.plan();
        let bytes = read(&mut plan, &mut from, usize::MAX);
        framing.arrived(plan, bytes, &mut Posted::default(), &mut out).expect("whole messages");
        reads += 1;
    }
    assert_eq!((out.len(), reads), (400, 2));
}
