//! Compresses blocks, and leaves it where it does not pay: on this block, and on this data.

use std::fmt;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use zstd::zstd_safe::CParameter;

use super::Codec;

/// A block that has become smaller by less than this share of it is stored as it is: reading it back would cost more than
/// the bytes that are saved.
const SAVED_SHARE_MIN: usize = 16;

/// A shorter block is stored as it is, and says nothing about the data.
const BLOCK_BYTES_MIN: usize = 64;

/// So many blocks in a row that do not pay, and the codec rests.
const POOR_BLOCKS: u32 = 8;

/// How many blocks it rests for, the first time and at most.
const REST_BLOCKS: u32 = 32;
const REST_BLOCKS_MAX: u32 = 1024;

/// Compresses blocks with one codec, and stops trying where that does not pay: after eight blocks in a row that became
/// smaller by less than a sixteenth, the next 32 are not tried. Then one is. If it does not pay either, twice as many are
/// not tried, up to 1024; if it does, all are tried again. Depends on nothing but the blocks.
pub struct Compressor {
    engine: Engine,
    trial: Trial,
}

enum Engine {
    None,
    Lz4 { table: CompressTable, scratch: Vec<u8> },
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    /// The level of zstd if none is named: half again as small as LZ4 on columns, at two thirds of its speed.
    pub const ZSTD_LEVEL: i32 = 1;

    /// For one codec. Only zstd has levels; it takes the nearest that there is.
    pub fn new(codec: Codec, level: Option<i32>) -> Self {
        let engine = match codec {
            Codec::None => Engine::None,
            Codec::Lz4 => Engine::Lz4 { table: CompressTable::default(), scratch: Vec::new() },
            Codec::Zstd => {
                let mut zstd = zstd::bulk::Compressor::default();
                let level = CParameter::CompressionLevel(level.unwrap_or(Self::ZSTD_LEVEL));
                zstd.set_parameter(level).expect("zstd takes the nearest level that it has");
                Engine::Zstd(zstd)
            }
        };
        Self { engine, trial: Trial::default() }
    }

    /// What it compresses with.
    pub fn codec(&self) -> Codec {
        match self.engine {
            Engine::None => Codec::None,
            Engine::Lz4 { .. } => Codec::Lz4,
            Engine::Zstd(_) => Codec::Zstd,
        }
    }

    /// Compresses a block to the beginning of `into`, and says how many bytes it has there. `None`: store it as it is;
    /// then `into` holds anything. `into` need not be longer than the block.
    pub fn compress(&mut self, raw: &[u8], into: &mut [u8]) -> Option<usize> {
        if matches!(self.engine, Engine::None) || raw.len() < BLOCK_BYTES_MIN || !self.trial.is_due() {
            return None;
        }
        let room = into.len().min(raw.len() - raw.len().div_ceil(SAVED_SHARE_MIN));
        let stored = self.engine.compress(raw, &mut into[..room]);
        self.trial.tried(stored.is_some());
        stored
    }
}

impl Engine {
    /// `None` if it does not fit.
    fn compress(&mut self, raw: &[u8], into: &mut [u8]) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Lz4 { table, scratch } => {
                // LZ4 begins only with room for the worst case.
                scratch.resize(scratch.len().max(get_maximum_output_size(raw.len())), 0);
                let stored = compress_into_with_table(raw, scratch, table).ok()?;
                into.get_mut(..stored)?.copy_from_slice(&scratch[..stored]);
                Some(stored)
            }
            // Too little room is an error like any other: the block is stored as it is.
            Self::Zstd(zstd) => zstd.compress_to_buffer(raw, into).ok(),
        }
    }
}

/// Whether the next block is worth a try.
#[derive(Debug)]
struct Trial {
    /// Blocks in a row that did not pay.
    poor: u32,
    /// Blocks that are not tried before the next.
    resting: u32,
    /// For how many it rests the next time.
    rest: u32,
}

impl Default for Trial {
    fn default() -> Self {
        Self { poor: 0, resting: 0, rest: REST_BLOCKS }
    }
}

impl Trial {
    fn is_due(&mut self) -> bool {
        let due = self.resting == 0;
        self.resting = self.resting.saturating_sub(1);
        due
    }

    fn tried(&mut self, paid: bool) {
        if paid {
            *self = Self::default();
            return;
        }
        self.poor += 1;
        if self.poor >= POOR_BLOCKS {
            // One more that does not pay is enough.
            self.poor = POOR_BLOCKS - 1;
            self.resting = self.rest;
            self.rest = (self.rest * 2).min(REST_BLOCKS_MAX);
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("codec", &self.codec()).field("trial", &self.trial).finish()
    }
}
