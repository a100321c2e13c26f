//! How blocks are stored: as they are, or compressed where that pays.

mod compressor;
mod decompressor;

use std::fmt;
use std::str::FromStr;

pub use compressor::Compressor;
pub use decompressor::{CodecError, Decompressor};

/// How a block is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// As it is.
    #[default]
    None,
    /// The block format of LZ4, without a length in front.
    Lz4,
    /// Frames of Zstandard.
    Zstd,
}

/// A name that no codec has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no codec `{0}`: there are none, lz4 and zstd")]
pub struct UnknownCodec(String);

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "none" => Ok(Self::None),
            "lz4" => Ok(Self::Lz4),
            "zstd" => Ok(Self::Zstd),
            _ => Err(UnknownCodec(name.to_owned())),
        }
    }
}
