//! Messages, and where their payloads are to land.

use std::collections::VecDeque;

use sluice_memory::{Buffer, Location};
use sluice_protocol::wire::{Backlog, Block, Frame, HeadBuilder, Placement, Slot};
use sluice_protocol::{ChannelId, LinkEpoch};

use super::stage::{End, Stage};
use crate::transport::{Landed, Message, Payload, PayloadPlacement};

/// A message in the making.
pub(crate) struct Parcel {
    head: HeadBuilder,
    payloads: Vec<Payload>,
}

impl Parcel {
    pub(crate) fn new() -> Self {
        Self { head: HeadBuilder::new(Vec::new()), payloads: Vec::new() }
    }

    pub(crate) fn push(mut self, frame: &Frame<'_>) -> Self {
        self.head.push(frame);
        self
    }

    pub(crate) fn event(self, payload: &[u8]) -> Self {
        self.push(&Frame::Event { channel: ChannelId(1), sequence: 0, kind: 7, overtook: None, payload })
    }

    /// A block that stands in the head.
    pub(crate) fn inline(self, channel: ChannelId, payload: &[u8]) -> Self {
        self.push(&Frame::Data(channel, block(payload.len()), Placement::Inline(payload)))
    }

    /// A block for a channel; where it has to land is said by the channel.
    pub(crate) fn block(mut self, intake: &mut Intake, buffer: &Buffer, due: &mut Vec<Due>) -> Self {
        let (placement, slot) = intake.aim(buffer, due);
        self.payloads.push(Payload { buffer: buffer.clone(), slot });
        self.push(&Frame::Data(intake.channel, block(buffer.len()), placement))
    }

    pub(crate) fn head_bytes(&self) -> usize {
        self.head.bytes()
    }

    pub(crate) fn seal(self, number: u64) -> Message {
        Message { head: self.head.finish(LinkEpoch(1), number, 0, false), payloads: self.payloads }
    }
}

fn block(length: usize) -> Block {
    Block { sequence: 0, length: length as u32, crc: 0, codec: 0, backlog: Backlog::default() }
}

/// A channel at its receiving end, and what is posted for it.
pub(crate) struct Intake {
    pub(crate) end: End,
    pub(crate) channel: ChannelId,
    placement: PayloadPlacement,
    posted: VecDeque<Posted>,
    /// The number of the oldest slot.
    slot: u64,
}

struct Posted {
    at: Location,
    bytes: usize,
    slot: Option<Slot>,
}

/// A payload under way: its bytes, and the memory that they are to fill; none if it is to be discarded.
pub(crate) struct Due {
    bytes: Buffer,
    pieces: Vec<(Location, usize)>,
}

impl Intake {
    pub(crate) fn new(stage: &Stage, end: End, channel: u32) -> Self {
        Self { end, channel: ChannelId(channel), placement: stage.placement(), posted: VecDeque::new(), slot: 0 }
    }

    /// Sets memory aside; none with hand-over.
    pub(crate) fn post(&mut self, stage: &mut Stage, bytes: usize) {
        if self.placement == PayloadPlacement::HandOver {
            return;
        }
        let buffer = stage.memory(self.end.worker, bytes);
        let at = buffer.location();
        let slot = stage.transport(self.end.worker).post_receive(self.end.link, self.channel, buffer);
        assert_eq!(slot.is_some(), self.placement == PayloadPlacement::Remote, "slots are for remote placement");
        if let Some(slot) = slot {
            assert_eq!(slot.bytes as usize, bytes, "the slot is as large as the buffer");
        }
        self.posted.push_back(Posted { at, bytes, slot });
    }

    pub(crate) fn posted_bytes(&self) -> usize {
        self.posted.iter().map(|posted| posted.bytes).sum()
    }

    /// As `post`, for placements with memory to post: where it is.
    pub(crate) fn post_at(&mut self, stage: &mut Stage, bytes: usize) -> Location {
        self.post(stage, bytes);
        self.posted.back().expect("posted, as it is not hand-over").at
    }

    /// The oldest slot is given up by the sender; the number of the next.
    pub(crate) fn pass_over(&mut self) -> u64 {
        self.posted.pop_front().expect("the rule has posted it");
        self.slot += 1;
        self.slot
    }

    /// What is posted last is given up.
    pub(crate) fn cut(&mut self, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            let last = self.posted.back_mut().expect("the rule has posted more");
            let cut = left.min(last.bytes);
            last.bytes -= cut;
            left -= cut;
            if last.bytes == 0 {
                self.posted.pop_back();
            }
        }
    }

    /// How a payload is addressed, and where it lands.
    fn aim(&mut self, buffer: &Buffer, due: &mut Vec<Due>) -> (Placement<'static>, Option<Slot>) {
        let (placement, slot, pieces) = match self.placement {
            PayloadPlacement::HandOver => (Placement::Body, None, vec![(buffer.location(), buffer.len())]),
            PayloadPlacement::Stream => (Placement::Body, None, self.fill(buffer.len())),
            PayloadPlacement::Remote => {
                let number = self.slot;
                let posted = self.posted.pop_front().expect("a peer writes into granted slots only");
                self.slot += 1;
                (Placement::Slot(number), posted.slot, vec![(posted.at, buffer.len())])
            }
        };
        due.push(Due { bytes: buffer.clone(), pieces });
        (placement, slot)
    }

    /// Takes as much of what is posted; nothing if that is too little.
    fn fill(&mut self, bytes: usize) -> Vec<(Location, usize)> {
        let mut pieces = Vec::new();
        if self.posted_bytes() < bytes {
            return pieces;
        }
        let mut left = bytes;
        while left > 0 {
            let first = self.posted.front_mut().expect("counted above");
            let piece = left.min(first.bytes);
            pieces.push((first.at, piece));
            first.at.offset += piece as u32;
            first.bytes -= piece;
            left -= piece;
            if first.bytes == 0 {
                self.posted.pop_front();
            }
        }
        pieces
    }
}

/// Each payload has landed where it was due, with its bytes.
pub(crate) fn assert_landed(landed: VecDeque<Landed>, due: Vec<Due>) {
    assert_eq!(landed.len(), due.len(), "one entry for each payload outside the head");
    for (index, (landed, due)) in landed.into_iter().zip(due).enumerate() {
        let pieces = match landed {
            Landed::Whole(buffer) => vec![buffer],
            Landed::Pieces(pieces) => pieces,
            Landed::Discarded => Vec::new(),
        };
        let at: Vec<_> = pieces.iter().map(|piece| (piece.location(), piece.len())).collect();
        assert_eq!(at, due.pieces, "where payload {index} has landed");
        if !due.pieces.is_empty() {
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            assert!(bytes == due.bytes[..], "payload {index} has arrived with other bytes");
        }
    }
}
