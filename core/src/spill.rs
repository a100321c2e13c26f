//! The format of spilled partitions: bytes in, values out. No files, no clock; docs/spill-format.md has every byte.
//!
//! A [`FileSet`] is one partition, or one subpartition of it, in one or several files, its *parts*. What was appended is
//! one *logical* sequence of aligned bytes; [`Extents`] say which part has which range of it. The sequence is payload,
//! and a directory behind every few regions that says where each subpartition's blocks lie ([`DirectoryBuilder`]).
//!
//! ```text
//!   part 0   Header │ region … region directory │ region … directory │ Footer │ Trailer
//! ```
//!
//! A reader begins at the end: [`Trailer`], [`Footer`], and then one [`SectionPlace`] after the other, each read alone.

mod bytes;
mod check;
mod codec;
mod directory;
mod entry;
mod error;
mod extents;
mod footer;
mod header;
mod name;
mod trailer;

pub use check::{CodecBytes, ReadAt, Report, SliceSizes, check_parts};
pub use codec::{Codec, CodecError, Compressor, Decompressor, UnknownCodec};
pub use directory::{DirectoryBuilder, DirectoryPlace, SectionPlace, in_stream_order};
pub use entry::{BlockEntry, BlockKind, Slice};
pub use error::{FormatError, Piece, Problem};
pub use extents::{Extent, Extents};
pub use footer::{Footer, Totals};
pub use header::{FileSet, Header, Layout, Stamp};
pub use name::PartName;
pub use trailer::Trailer;

/// The version that this engine writes, and the only one that it reads.
pub const VERSION: u16 = 1;

/// What all pieces but blocks are aligned to, in bytes: what direct IO wants.
pub const ALIGNMENT: usize = 4096;

/// The bytes of a [`Header`] and of a [`Trailer`].
pub const PAGE_BYTES: usize = ALIGNMENT;

/// The most bytes that a block has before compression: what a damaged entry can make a reader take memory for.
pub const BLOCK_BYTES_MAX: u32 = 64 << 20;

/// The checksum of all pieces, and of a block's raw bytes: CRC-32C.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}
