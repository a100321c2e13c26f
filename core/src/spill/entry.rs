//! What a directory says of blocks: where they lie, how they are stored, what they must be once they are read.

use super::bytes::{u32_at, u64_at, wrong};
use super::{BLOCK_BYTES_MAX, Codec, FormatError, Piece, Problem};

/// The bytes of an encoded [`BlockEntry`].
pub(super) const ENTRY_BYTES: usize = 16;

/// The bytes in front of a slice's entries.
pub(super) const SLICE_HEADER_BYTES: usize = 12;

/// What a block is in its subpartition's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Records.
    Data,
    /// An event.
    Event,
}

/// A block in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockEntry {
    /// The bytes that it takes in the file: as many as it has, or fewer if it is compressed.
    pub stored_bytes: u32,
    /// The bytes that it has: at least one, or its place in the stream could not be told by its offset; at most
    /// [`BLOCK_BYTES_MAX`].
    pub raw_bytes: u32,
    /// The checksum of the raw bytes.
    pub crc: u32,
    /// How it is stored.
    pub codec: Codec,
    /// What it is.
    pub kind: BlockKind,
}

/// Blocks of a subpartition that lie one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Where the first begins: a logical offset, in bytes.
    pub offset: u64,
    /// In the order of the stream; at least one.
    pub blocks: Vec<BlockEntry>,
}

impl Slice {
    /// How many bytes of the file it takes.
    pub fn stored_bytes(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.stored_bytes)).sum()
    }

    /// Where it ends: a logical offset, in bytes.
    pub fn end(&self) -> u64 {
        self.offset + self.stored_bytes()
    }
}

impl BlockEntry {
    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.raw_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.crc.to_le_bytes());
        bytes[12] = match self.codec {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
        };
        bytes[13] = match self.kind {
            BlockKind::Data => 0,
            BlockKind::Event => 1,
        };
        bytes
    }

    /// Of the entry that begins at `at`; the caller checked that it is there.
    fn decode(piece: Piece, bytes: &[u8], at: usize) -> Result<Self, FormatError> {
        let codec = match bytes[at + 12] {
            0 => Codec::None,
            1 => Codec::Lz4,
            2 => Codec::Zstd,
            other => return Err(wrong(piece, at + 12, "codec", other, "0, 1 or 2")),
        };
        let kind = match bytes[at + 13] {
            0 => BlockKind::Data,
            1 => BlockKind::Event,
            other => return Err(wrong(piece, at + 13, "kind", other, "0 or 1")),
        };
        let entry = Self {
            stored_bytes: u32_at(bytes, at),
            raw_bytes: u32_at(bytes, at + 4),
            crc: u32_at(bytes, at + 8),
            codec,
            kind,
        };
        entry.check_bytes(piece, at)?;
        Ok(entry)
    }

    fn check_bytes(&self, piece: Piece, at: usize) -> Result<(), FormatError> {
        let Self { stored_bytes: stored, raw_bytes: raw, codec, .. } = *self;
        if raw == 0 || raw > BLOCK_BYTES_MAX {
            return Err(wrong(piece, at + 4, "raw bytes", raw, format!("1 to {BLOCK_BYTES_MAX}")));
        }
        match codec {
            Codec::None if stored != raw => {
                Err(wrong(piece, at, "stored bytes", stored, format!("{raw}, as many as raw ones")))
            }
            Codec::Lz4 | Codec::Zstd if stored == 0 || stored >= raw => {
                Err(wrong(piece, at, "stored bytes", stored, format!("less than {raw} raw ones, and not 0")))
            }
            _ => Ok(()),
        }
    }
}

/// The slices from `at` to the end of `bytes`: in ascending order, none empty, all in front of `end`.
pub(super) fn decode_slices(piece: Piece, bytes: &[u8], mut at: usize, end: u64) -> Result<Vec<Slice>, FormatError> {
    let mut slices = Vec::new();
    let mut free_from = 0;
    while at < bytes.len() {
        let slice = decode_slice(piece, bytes, at)?;
        // Both fit: every block has at most `BLOCK_BYTES_MAX` bytes, and there are fewer than 2³² of them.
        let stored = slice.stored_bytes();
        if slice.offset < free_from || slice.offset.checked_add(stored).is_none_or(|slice_end| slice_end > end) {
            let expected = format!("{free_from} or more, with {stored} bytes in front of {end}");
            return Err(wrong(piece, at, "slice offset", slice.offset, expected));
        }
        free_from = slice.end();
        at += SLICE_HEADER_BYTES + slice.blocks.len() * ENTRY_BYTES;
        slices.push(slice);
    }
    Ok(slices)
}

fn decode_slice(piece: Piece, bytes: &[u8], at: usize) -> Result<Slice, FormatError> {
    let room = bytes.len() - at;
    if room < SLICE_HEADER_BYTES {
        let problem = Problem::Length { found: room as u64, expected: SLICE_HEADER_BYTES as u64 };
        return Err(FormatError { offset: at as u64, piece, problem });
    }
    let count = u32_at(bytes, at + 8);
    let room = (room - SLICE_HEADER_BYTES) / ENTRY_BYTES;
    if count == 0 || count as usize > room {
        return Err(wrong(piece, at + 8, "blocks of a slice", count, format!("1 to {room}")));
    }
    let entries = (0..count as usize).map(|index| at + SLICE_HEADER_BYTES + index * ENTRY_BYTES);
    let blocks = entries.map(|at| BlockEntry::decode(piece, bytes, at)).collect::<Result<_, _>>()?;
    Ok(Slice { offset: u64_at(bytes, at), blocks })
}
