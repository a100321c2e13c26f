//! The decoder against bytes that no honest sender wrote: it refuses them, never panics, and allocates nothing that a
//! length in them asks for. Under `cargo test` each target runs briefly; `cargo bolero test` fuzzes it for as long as
//! one likes.

use bolero::{TypeGenerator, check};
use sluice_protocol::wire::{
    Backlog, Block, DecodeError, EVENT_BYTES_MAX, Frame, Head, HeadBuilder, Open, PREFIX_BYTES, Placement, Prefix,
    Resume, SLOTS_MAX, TEXT_BYTES_MAX, crc32c,
};
use sluice_protocol::{
    ChannelId, JobId, Limits, LinkEpoch, PartitionId, ReasonCode, Session, SubpartitionIndex, Ticket, Time,
};

/// Any frame, with whatever numbers.
#[derive(Debug, TypeGenerator)]
struct AnyFrame {
    kind: u8,
    channel: u32,
    numbers: [u64; 9],
    bytes: Vec<u8>,
}

impl AnyFrame {
    fn encode_into(&self, head: &mut HeadBuilder) {
        let channel = ChannelId(self.channel);
        let [a, b, c, d, e, f, g, h, i] = self.numbers;
        let backlog = Backlog { bytes: a as u32, blocks: b as u32, next: c as u32 };
        let code = ReasonCode::of(a as u16);
        let text: String = String::from_utf8_lossy(&self.bytes).chars().take(TEXT_BYTES_MAX / 4).collect();
        let inline = &self.bytes[..self.bytes.len().min(1024)];
        let event = &self.bytes[..self.bytes.len().min(EVENT_BYTES_MAX)];
        let slots: Vec<u8> = self.bytes.iter().copied().cycle().take(16 * (1 + a as usize % SLOTS_MAX)).collect();
        let block = |length: u32| Block { sequence: d, length, crc: e as u32, codec: 0, backlog };
        head.push(&match self.kind % 19 {
            0 => Frame::Open(
                channel,
                Open {
                    partition: PartitionId { job: JobId(a), partition: b, attempt: c as u32 },
                    subpartition: SubpartitionIndex(d as u32),
                    first_sequence: e / 2,
                    granted: f,
                    keep: g as u32,
                    deadline_ms: c as u32,
                    ticket: Ticket((u128::from(h) << 64 | u128::from(i)).to_le_bytes()),
                },
            ),
            1 => Frame::Grant { channel, granted: a, events: b, keep: c as u32 },
            2 if !self.bytes.is_empty() => {
                Frame::GrantSlots { channel, first: b, epoch: LinkEpoch(c as u32), slots: &slots }
            }
            3 => Frame::Reclaim { channel, keep: a as u32 },
            4 => Frame::Cancel { channel },
            5 => Frame::Reject { channel },
            6 => Frame::Resume(
                channel,
                Resume { received_through: a, granted: b, spent: c, returned: d, events: e, events_received: f },
            ),
            7 => Frame::Resumed,
            8 if !inline.is_empty() => Frame::Data(channel, block(inline.len() as u32), Placement::Inline(inline)),
            9 => Frame::Data(channel, block(1 + f as u32 % 4096), Placement::Body),
            10 => Frame::Data(channel, block(1 + f as u32 % 4096), Placement::Slot(g)),
            11 => Frame::Backlog(channel, backlog),
            12 => Frame::Event { channel, sequence: a, kind: b as u16, overtook: None, payload: event },
            13 => Frame::Event { channel, sequence: a, kind: b as u16, overtook: Some(c as u32), payload: event },
            14 => Frame::End { channel, sequence: a, blocks: b, bytes: c },
            15 => Frame::Failed { channel, code, text: &text },
            16 => Frame::Cancelled { channel },
            17 => Frame::Return { channel, returned: a, slots_through: b },
            _ => Frame::Close { code, text: &text },
        });
    }
}

fn head_of(frames: &[AnyFrame], message: u64, received: u64) -> Vec<u8> {
    let mut head = HeadBuilder::new(Vec::new());
    for frame in frames {
        // Room for the largest: an event.
        if head.bytes() + EVENT_BYTES_MAX + 64 < limits().head_bytes_max as usize && head.body_bytes() < 400_000 {
            frame.encode_into(&mut head);
        }
    }
    head.finish(LinkEpoch(1), message, received, false)
}

fn limits() -> Limits {
    Limits::default()
}

/// Sets both checksums right, so that what stands behind them is reached.
fn seal(head: &mut [u8]) {
    let frames = crc32c(&head[PREFIX_BYTES..]).to_le_bytes();
    head[8..12].copy_from_slice(&frames);
    let prefix = crc32c(&head[8..PREFIX_BYTES]).to_le_bytes();
    head[4..8].copy_from_slice(&prefix);
}

#[test]
fn random_bytes_are_refused() {
    check!().for_each(|bytes: &[u8]| {
        assert!(Head::parse(bytes, &limits()).is_err(), "nobody guesses two checksums");
    });
}

#[test]
fn random_frames_behind_right_checksums_never_panic() {
    check!().with_type().for_each(|(bytes, frames, flags): &(Vec<u8>, u16, u8)| {
        let mut head = HeadBuilder::new(Vec::new()).finish(LinkEpoch(1), 1, 0, false);
        head.extend_from_slice(bytes);
        let length = head.len() as u32;
        head[12..16].copy_from_slice(&length.to_le_bytes());
        head[20..22].copy_from_slice(&(frames % 64).to_le_bytes());
        head[22] = flags % 4;
        seal(&mut head);
        if let Ok(head) = Head::parse(&head, &limits()) {
            head.frames().for_each(drop);
        }
    });
}

#[test]
fn what_is_encoded_is_decoded_to_the_same() {
    check!().with_type().for_each(|frames: &Vec<AnyFrame>| {
        let bytes = head_of(frames, 1, 0);
        let head = Head::parse(&bytes, &limits()).expect("a head of valid frames");
        let mut again = HeadBuilder::new(Vec::new());
        head.frames().for_each(|frame| again.push(&frame));
        assert_eq!(again.frames(), head.prefix().frames);
        assert_eq!(again.finish(LinkEpoch(1), 1, 0, false), bytes);
    });
}

/// No frame, whatever its numbers, makes a session panic: at worst it is a violation.
#[test]
fn a_hostile_peer_gets_a_violation_at_worst() {
    check!().with_type().for_each(|(messages, remote): &(Vec<Vec<AnyFrame>>, bool)| {
        let mut session = Session::new(limits(), LinkEpoch(1), *remote, Time(0));
        let open = Open {
            partition: PartitionId::default(),
            subpartition: SubpartitionIndex(0),
            first_sequence: 0,
            granted: 1 << 16,
            keep: 0,
            deadline_ms: 0,
            ticket: Ticket::NONE,
        };
        let channels = [session.open(open), session.open(open)];
        for (index, frames) in messages.iter().enumerate() {
            let mut frames: Vec<AnyFrame> = frames.iter().map(AnyFrame::small).collect();
            frames.truncate(20);
            let _ = session.transmit(Time(0), &mut Nothing, Vec::new());
            let bytes = head_of(&frames, index as u64 + 1, session.last_message());
            let head = Head::parse(&bytes, &limits()).unwrap();
            if session.handle_head(Time(0), &head, |_| ()).is_err() {
                return;
            }
            session.serve(ChannelId(0));
            session.data_ready(ChannelId(1));
            session.grant(channels[0], 5);
            if index == 3 {
                session.cancel(channels[1]);
            }
        }
    });
}

impl AnyFrame {
    /// The same with numbers that hit something more often.
    fn small(&self) -> Self {
        let numbers = self.numbers.map(|number| if number % 3 > 0 { number % 8 } else { number });
        Self { kind: self.kind, channel: self.channel % 4, numbers, bytes: self.bytes.clone() }
    }
}

struct Nothing;

impl sluice_protocol::Source for Nothing {
    fn peek(&mut self, _: ChannelId) -> Option<sluice_protocol::Next<'_>> {
        None
    }

    fn take(&mut self, _: ChannelId, _: u64, _: sluice_protocol::Place) {}
}

/// One head with a frame of every kind.
fn every_kind() -> Vec<u8> {
    let frames: Vec<AnyFrame> = (0..19)
        .map(|kind| AnyFrame { kind, channel: 7, numbers: [1, 2, 3, 4, 5, 6, 7, 8, 9], bytes: b"payload".to_vec() })
        .collect();
    let head = head_of(&frames, 9, 8);
    assert_eq!(Head::parse(&head, &limits()).map(|head| head.prefix().frames), Ok(19));
    head
}

#[test]
fn a_flipped_bit_anywhere_is_detected() {
    let head = every_kind();
    for bit in 0..head.len() * 8 {
        let mut bent = head.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(Head::parse(&bent, &limits()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_head_cut_off_anywhere_is_detected_even_with_right_checksums() {
    let head = every_kind();
    for length in 0..head.len() {
        assert!(Head::parse(&head[..length], &limits()).is_err(), "{length} bytes");
        if length >= PREFIX_BYTES {
            let mut shorter = head[..length].to_vec();
            shorter[12..16].copy_from_slice(&(length as u32).to_le_bytes());
            seal(&mut shorter);
            assert!(Head::parse(&shorter, &limits()).is_err(), "{length} bytes with right checksums");
        }
    }
    let mut longer = head.clone();
    longer.push(0);
    longer[12..16].copy_from_slice(&(head.len() as u32 + 1).to_le_bytes());
    seal(&mut longer);
    assert_eq!(Head::parse(&longer, &limits()), Err(DecodeError::Trailing { bytes: 1 }));
}

#[test]
fn a_length_over_the_limits_is_refused_by_the_prefix_alone() {
    let with = |at: usize, value: u32| {
        let mut head = every_kind();
        head[at..at + 4].copy_from_slice(&value.to_le_bytes());
        seal(&mut head);
        let prefix: [u8; PREFIX_BYTES] = head[..PREFIX_BYTES].try_into().unwrap();
        Prefix::decode(&prefix, &limits())
    };
    let Limits { head_bytes_max, body_bytes_max, .. } = limits();
    for (what, at, limit) in [("head", 12, head_bytes_max), ("bodies", 16, body_bytes_max)] {
        assert!(with(at, limit).is_ok());
        for found in [limit + 1, u32::MAX] {
            let refused = DecodeError::Limit { what, found: found.into(), limit: limit.into() };
            assert_eq!(with(at, found), Err(refused));
        }
    }
    assert!(with(12, PREFIX_BYTES as u32 - 1).is_err());
}

#[test]
fn wrong_magic_is_named() {
    let mut head = every_kind();
    head[..4].copy_from_slice(b"HTTP");
    assert_eq!(Head::parse(&head, &limits()), Err(DecodeError::Magic { found: *b"HTTP" }));
}

#[test]
fn blocks_over_the_limits_bodies_that_differ_and_flags_that_lie_are_refused() {
    let block = |length| Block { sequence: 0, length, crc: 0, codec: 0, backlog: Backlog::default() };
    let parse = |frames: &[Frame<'_>], bend: &dyn Fn(&mut Vec<u8>)| {
        let mut head = HeadBuilder::new(Vec::new());
        frames.iter().for_each(|frame| head.push(frame));
        let mut head = head.finish(LinkEpoch(1), 1, 0, false);
        bend(&mut head);
        seal(&mut head);
        Head::parse(&head, &limits()).map(drop)
    };
    let slot = |length| Frame::Data(ChannelId(1), block(length), Placement::Slot(0));
    let as_it_is = |_: &mut Vec<u8>| {};
    assert!(parse(&[slot(512 * 1024)], &as_it_is).is_ok());
    assert!(matches!(parse(&[slot(512 * 1024 + 1)], &as_it_is), Err(DecodeError::Limit { what: "block", .. })));
    assert!(matches!(parse(&[slot(0)], &as_it_is), Err(DecodeError::Field { what: "block length", .. })));
    let long = [0; 1025];
    let inline = Frame::Data(ChannelId(1), block(1025), Placement::Inline(&long));
    assert!(matches!(parse(&[inline], &as_it_is), Err(DecodeError::Limit { what: "inline block", .. })));
    let body = Frame::Data(ChannelId(1), block(10), Placement::Body);
    let fewer = |head: &mut Vec<u8>| head[16] = 9;
    assert_eq!(parse(&[body], &fewer), Err(DecodeError::Bodies { frames: 10, prefix: 9 }));
    let update = |head: &mut Vec<u8>| head[22] |= 2;
    assert!(matches!(parse(&[body], &update), Err(DecodeError::Field { what: "update flag", .. })));
    let codec = |head: &mut Vec<u8>| head[PREFIX_BYTES + 21] = 1;
    assert!(matches!(parse(&[body], &codec), Err(DecodeError::Field { what: "codec", .. })));
    let kind = |head: &mut Vec<u8>| head[PREFIX_BYTES] = 99;
    assert_eq!(parse(&[body], &kind), Err(DecodeError::UnknownKind { index: 0, kind: 99 }));
}
