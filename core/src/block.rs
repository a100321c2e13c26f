//! Sealed blocks, events, and what else stands in a subpartition's queue.

use sluice_memory::Buffer;
use sluice_protocol::ReasonCode;

/// The checksum of a block: CRC-32C.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The checksum of a block that lies in pieces.
pub(crate) fn checksum_of_pieces(pieces: &[Buffer]) -> u32 {
    if let [whole] = pieces {
        return checksum(whole);
    }
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for piece in pieces {
        digest.update(piece);
    }
    digest.finalize() as u32
}

/// Bytes of a subpartition that will not change any more, with the checksum that goes with them to the gate.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) buffer: Buffer,
    pub(crate) crc: u32,
}

impl Block {
    /// Computes the checksum: the only place where that is done for what a producer wrote.
    pub(crate) fn seal(buffer: Buffer) -> Self {
        let crc = checksum(&buffer);
        Self { buffer, crc }
    }

    pub(crate) fn bytes(&self) -> u32 {
        self.buffer.len() as u32
    }
}

/// Something in the stream that is no data: a barrier, a watermark, whatever the embedding engine means by `kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The engine's own meaning.
    pub kind: u16,
    /// Its content; at most 4096 bytes.
    pub payload: Box<[u8]>,
}

impl Event {
    /// As a block of a file: its kind, then its content.
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.kind.to_le_bytes(), &self.payload[..]].concat()
    }

    /// What was encoded; `None` if it is too short to be that.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, payload) = bytes.split_first_chunk()?;
        Some(Self { kind: u16::from_le_bytes(*kind), payload: payload.into() })
    }
}

/// Why a partition has no more to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ReasonCode,
    pub(crate) text: Box<str>,
}

/// One entry of a subpartition's queue.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Block(Block),
    Event(Event),
    /// Overtakes everything that waits; `overtook` counts the blocks among that.
    PriorityEvent {
        event: Event,
        overtook: u32,
    },
    End {
        blocks: u64,
        bytes: u64,
    },
    Failed(Failure),
}
