//! The first page of every part: whose file it is. The trailer repeats it.

use std::fmt;

use sluice_protocol::{Incarnation, JobId, NodeId, PartitionId, SubpartitionIndex};

use super::bytes::{check_length, check_seal, put, seal, u16_at, u32_at, u64_at, wrong};
use super::{FormatError, PAGE_BYTES, Piece, Problem, VERSION, checksum};

const MAGIC: [u8; 4] = *b"SLUP";

/// How a partition's data lie in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// All subpartitions in one file set, sorted within regions.
    SortMerge,
    /// A file set for each subpartition.
    Hash,
}

/// What a set of files holds, and who wrote it. The same in all its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileSet {
    /// How the data lie.
    pub layout: Layout,
    /// The partition.
    pub partition: PartitionId,
    /// How many subpartitions the partition has, in this set or another.
    pub subpartitions: u32,
    /// The first subpartition in this set.
    pub first: SubpartitionIndex,
    /// How many are in this set, from the first on; at least one.
    pub count: u32,
    /// The worker that wrote it.
    pub node: NodeId,
    /// Which life of that worker.
    pub incarnation: Incarnation,
}

/// What tells the pieces of a file set from those of any other that lay at the same place of the disk before: a checksum
/// of what [`FileSet`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(pub u32);

/// The first page of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the set holds.
    pub set: FileSet,
    /// Which part of the set this is, from 0.
    pub part: u16,
}

impl FileSet {
    /// What its pieces are marked with.
    pub fn stamp(&self) -> Stamp {
        let mut page = [0; PAGE_BYTES];
        self.encode_into(&mut page);
        Stamp(checksum(&page[Self::FIRST_BYTE..Self::END]))
    }

    /// Whether the subpartition is in this set.
    pub fn holds(&self, subpartition: SubpartitionIndex) -> bool {
        subpartition.0.checked_sub(self.first.0).is_some_and(|index| index < self.count)
    }

    /// Where its own bytes lie in a header and in a trailer. Before them stand magic and checksum.
    const FIRST_BYTE: usize = 8;
    const END: usize = 64;

    /// Version, and all but the part number, which stands between.
    pub(super) fn encode_into(&self, page: &mut [u8; PAGE_BYTES]) {
        put(page, 8, VERSION.to_le_bytes());
        put(page, 10, [self.layout.number()]);
        put(page, 16, self.partition.job.0.to_le_bytes());
        put(page, 24, self.partition.partition.to_le_bytes());
        put(page, 32, self.partition.attempt.to_le_bytes());
        put(page, 36, self.subpartitions.to_le_bytes());
        put(page, 40, self.first.0.to_le_bytes());
        put(page, 44, self.count.to_le_bytes());
        put(page, 48, self.node.0.to_le_bytes());
        put(page, 56, self.incarnation.0.to_le_bytes());
    }

    /// Of a page whose magic, checksum and version are right.
    pub(super) fn decode(piece: Piece, page: &[u8]) -> Result<Self, FormatError> {
        let set = Self {
            layout: Layout::of(page[10]).ok_or_else(|| wrong(piece, 10, "layout", page[10], "1 or 2"))?,
            partition: PartitionId {
                job: JobId(u64_at(page, 16)),
                partition: u64_at(page, 24),
                attempt: u32_at(page, 32),
            },
            subpartitions: u32_at(page, 36),
            first: SubpartitionIndex(u32_at(page, 40)),
            count: u32_at(page, 44),
            node: NodeId(u64_at(page, 48)),
            incarnation: Incarnation(u64_at(page, 56)),
        };
        if set.first.0 >= set.subpartitions {
            return Err(wrong(piece, 40, "first", set.first.0, format!("less than {}", set.subpartitions)));
        }
        let room = set.subpartitions - set.first.0;
        if set.count == 0 || set.count > room {
            return Err(wrong(piece, 44, "count", set.count, format!("1 to {room}")));
        }
        Ok(set)
    }
}

/// Length, magic, checksum and version: the same of a header and a trailer in every version to come.
pub(super) fn check_page(piece: Piece, page: &[u8], magic: [u8; 4]) -> Result<(), FormatError> {
    check_length(piece, page, PAGE_BYTES as u64)?;
    check_seal(piece, page, magic)?;
    let found = u16_at(page, 8);
    if found != VERSION {
        return Err(FormatError { offset: 8, piece, problem: Problem::Version { found, expected: VERSION } });
    }
    Ok(())
}

impl Header {
    /// The page.
    pub fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        self.set.encode_into(&mut page);
        put(&mut page, 12, self.part.to_le_bytes());
        seal(&mut page, MAGIC);
        page
    }

    /// Reads it.
    pub fn decode(page: &[u8]) -> Result<Self, FormatError> {
        check_page(Piece::Header, page, MAGIC)?;
        Ok(Self { set: FileSet::decode(Piece::Header, page)?, part: u16_at(page, 12) })
    }
}

impl Layout {
    fn number(self) -> u8 {
        match self {
            Self::SortMerge => 1,
            Self::Hash => 2,
        }
    }

    fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::SortMerge),
            2 => Some(Self::Hash),
            _ => None,
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SortMerge => "sort-merge",
            Self::Hash => "hash",
        })
    }
}
