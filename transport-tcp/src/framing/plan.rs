//! Where the next bytes of a stream go: owned pieces, so that a kernel may hold them.

use std::mem;

use sluice_memory::BufferMut;
use sluice_uring::Incoming;

/// While messages carry bodies, what is read ahead of a head is copied to its body later: 4 KiB is under a hundredth
/// of a full message, and still brings most heads, and the end of most small messages, whole.
const HEAD_PLACE_SMALL: usize = 4 * 1024;
/// Without bodies nothing is copied twice, and one read may bring hundreds of small messages.
const HEAD_PLACE_LARGE: usize = 64 * 1024;
/// So many messages in succession have no body before the large place is used: grants and acknowledgements among
/// data must not make the next body be copied.
const BODYLESS_MIN: u32 = 8;
/// Payload that has no place goes here piece by piece.
const SINK_BYTES: usize = 64 * 1024;
/// Pieces of one plan; more make the kernel's walk over them longer than the copy is worth. `IOV_MAX` is 1024.
const PIECES_MAX: usize = 256;

/// The pieces that the next bytes go into, in order. Not empty.
#[derive(Debug, Default)]
pub(crate) struct ReadPlan {
    pub(crate) pieces: Vec<Incoming>,
    /// Bytes at the start of the first piece that are filled already.
    pub(crate) skip: usize,
}

impl ReadPlan {
    /// A single piece that belongs to no message.
    pub(crate) fn bytes(place: Vec<u8>) -> Self {
        Self { pieces: vec![Incoming::Bytes(place)], skip: 0 }
    }

    /// How many bytes it takes.
    pub(crate) fn room(&self) -> usize {
        self.pieces.iter().map(|piece| piece.as_slice().len()).sum::<usize>() - self.skip
    }

    pub(super) fn is_full(&self) -> bool {
        self.pieces.len() + 1 >= PIECES_MAX
    }

    pub(super) fn push_memory(&mut self, memory: BufferMut) {
        self.pieces.push(Incoming::Buffer(memory));
    }

    pub(super) fn push_bytes(&mut self, place: Vec<u8>) {
        self.pieces.push(Incoming::Bytes(place));
    }

    /// Takes the last piece out if it is of bytes.
    pub(crate) fn pop_bytes(&mut self) -> Option<Vec<u8>> {
        match self.pieces.pop()? {
            Incoming::Bytes(place) => Some(place),
            Incoming::Buffer(_) => unreachable!("memory is taken back before what stands behind it"),
        }
    }
}

/// The places of a link that hold no message, lent to one plan after the other.
#[derive(Default)]
pub(super) struct Scratch {
    head_small: Vec<u8>,
    head_large: Vec<u8>,
    sink: Vec<u8>,
    /// Kept for its capacity.
    pieces: Vec<Incoming>,
    bodyless: u32,
}

impl Scratch {
    pub(super) fn empty_plan(&mut self) -> ReadPlan {
        ReadPlan { pieces: mem::take(&mut self.pieces), skip: 0 }
    }

    pub(super) fn recycle(&mut self, plan: ReadPlan) {
        self.pieces = plan.pieces;
        self.pieces.clear();
    }

    /// A message has begun: what will the next ones be like?
    pub(super) fn note_message(&mut self, body_bytes: u32) {
        self.bodyless = if body_bytes == 0 { self.bodyless.saturating_add(1) } else { 0 };
    }

    pub(super) fn lend_head_place(&mut self) -> Vec<u8> {
        if self.bodyless >= BODYLESS_MIN {
            return lend(&mut self.head_large, HEAD_PLACE_LARGE);
        }
        lend(&mut self.head_small, HEAD_PLACE_SMALL)
    }

    pub(super) fn give_back_head_place(&mut self, place: Vec<u8>) {
        if place.len() == HEAD_PLACE_LARGE {
            self.head_large = place;
        } else {
            self.head_small = place;
        }
    }

    /// A place for some of `bytes` that nobody wants.
    pub(super) fn lend_sink(&mut self, bytes: usize) -> Vec<u8> {
        lend(&mut self.sink, bytes.min(SINK_BYTES))
    }

    pub(super) fn give_back_sink(&mut self, sink: Vec<u8>) {
        self.sink = sink;
    }
}

fn lend(place: &mut Vec<u8>, bytes: usize) -> Vec<u8> {
    let mut lent = mem::take(place);
    lent.resize(bytes, 0);
    lent
}
