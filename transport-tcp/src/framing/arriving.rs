//! A message whose head has arrived and whose bodies are arriving.

use std::collections::VecDeque;
use std::mem;

use sluice_memory::{Buffer, BufferMut};
use sluice_plugin::Landed;
use sluice_protocol::ChannelId;
use sluice_protocol::wire::{Frame, Head, Placement};
use sluice_uring::Incoming;

use super::Arrived;
use super::plan::{ReadPlan, Scratch};
use crate::posted::Posted;

pub(super) struct Arriving {
    head: Head,
    /// What is still missing, in the order of the stream.
    missing: VecDeque<Piece>,
    /// Bytes that the first missing piece has already.
    filled: usize,
    /// The pieces of the current payload that are there.
    landed: Vec<Buffer>,
    payloads: VecDeque<Landed>,
}

/// A part of one payload.
struct Piece {
    place: Place,
    /// Of the channel, if the payload ends with this piece.
    ends: Option<ChannelId>,
}

enum Place {
    /// Empty while a plan has it.
    Memory(BufferMut),
    /// So many bytes have no place.
    Nowhere(usize),
}

impl Arriving {
    /// Takes a place for every body from what is posted.
    pub(super) fn begin(head: Head, posted: &mut Posted) -> Self {
        let mut missing = VecDeque::new();
        for frame in head.frames() {
            if let Frame::Data(channel, block, Placement::Body) = frame {
                let bytes = block.length as usize;
                let memory = |memory| missing.push_back(Piece { place: Place::Memory(memory), ends: None });
                if !posted.take(channel, bytes, memory) {
                    missing.push_back(Piece { place: Place::Nowhere(bytes), ends: None });
                }
                missing.back_mut().expect("a block has at least a byte").ends = Some(channel);
            }
        }
        Self { head, missing, filled: 0, landed: Vec::new(), payloads: VecDeque::new() }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    pub(super) fn finish(self) -> Arrived {
        Arrived { head: self.head, payloads: self.payloads }
    }

    /// Puts the missing pieces into the plan; says whether that is all of them.
    pub(super) fn lend(&mut self, plan: &mut ReadPlan, scratch: &mut Scratch) -> bool {
        plan.skip = self.filled;
        for piece in &mut self.missing {
            if plan.is_full() {
                return false;
            }
            match &mut piece.place {
                Place::Memory(memory) => plan.push_memory(mem::take(memory)),
                // There is one sink; what is behind it comes with the next plan.
                Place::Nowhere(bytes) => {
                    plan.push_bytes(scratch.lend_sink(*bytes));
                    return false;
                }
            }
        }
        true
    }

    /// Takes its pieces back out of the plan, filled with up to `bytes`; says how many of these were its own.
    pub(super) fn take_back(
        &mut self,
        plan: &mut ReadPlan,
        bytes: usize,
        scratch: &mut Scratch,
        posted: &Posted,
    ) -> usize {
        let mut lent = 0;
        let mut returned = plan.pieces.drain(..self.missing.len().min(plan.pieces.len()));
        for piece in &mut self.missing {
            let Some(incoming) = returned.next() else { break };
            lent += incoming.as_slice().len();
            match (&mut piece.place, incoming) {
                (Place::Memory(memory), Incoming::Buffer(buffer)) => *memory = buffer,
                (Place::Nowhere(_), Incoming::Bytes(sink)) => scratch.give_back_sink(sink),
                _ => unreachable!("a plan comes back as it was lent"),
            }
        }
        drop(returned);
        let own = bytes.min(lent - plan.skip);
        self.advance(own, posted);
        own
    }

    /// Takes what it misses from the front of `from`.
    pub(super) fn copy_in(&mut self, from: &mut &[u8], posted: &Posted) {
        while !from.is_empty() {
            let Some(piece) = self.missing.front_mut() else { return };
            let filled = self.filled;
            let taken = from.len().min(piece.bytes() - filled);
            let bytes = from.split_off(..taken).expect("no more than there is");
            if let Place::Memory(memory) = &mut piece.place {
                memory[filled..filled + taken].copy_from_slice(bytes);
            }
            self.advance(taken, posted);
        }
    }

    /// So many bytes are in their places.
    fn advance(&mut self, mut bytes: usize, posted: &Posted) {
        while let Some(piece) = self.missing.front_mut() {
            let left = piece.bytes() - self.filled;
            if bytes < left {
                match &mut piece.place {
                    Place::Memory(_) => self.filled += bytes,
                    Place::Nowhere(missing) => *missing -= bytes,
                }
                return;
            }
            bytes -= left;
            self.filled = 0;
            let piece = self.missing.pop_front().expect("looked at above");
            self.land(piece, posted);
        }
    }

    fn land(&mut self, piece: Piece, posted: &Posted) {
        let whole = matches!(piece.place, Place::Memory(_));
        if let Place::Memory(memory) = piece.place {
            self.landed.push(memory.freeze());
        }
        let Some(channel) = piece.ends else { return };
        let mut landed = mem::take(&mut self.landed);
        // Forgotten while the payload was under way: its memory goes back, and nobody waits for it.
        self.payloads.push_back(match landed.len() {
            _ if !whole || !posted.knows(channel) => Landed::Discarded,
            1 => Landed::Whole(landed.pop().expect("there is one")),
            _ => Landed::Pieces(landed),
        });
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        match &self.place {
            Place::Memory(memory) => memory.len(),
            Place::Nowhere(bytes) => *bytes,
        }
    }
}
