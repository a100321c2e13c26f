//! Where the blocks of the regions since the directory before lie, in a section for each subpartition.

mod builder;
mod section;

use sluice_protocol::SubpartitionIndex;

use super::bytes::{check_length, check_seal, put, seal, u32_at, wrong};
use super::{FormatError, Piece, Stamp};

pub use builder::DirectoryBuilder;
pub(super) use section::SECTION_BYTES_MIN;
pub use section::{SectionPlace, in_stream_order};

const MAGIC: [u8; 4] = *b"SLUD";

/// The bytes in front of the first section.
pub(super) const HEADER_BYTES: usize = 32;

/// Where a directory lies, and its sections within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryPlace {
    pub(super) stamp: Stamp,
    pub(super) first: SubpartitionIndex,
    pub(super) number: u32,
    pub(super) offset: u64,
    /// Where each section begins in the directory, the common one as the last, and where that ends.
    pub(super) sections: Box<[u32]>,
}

impl DirectoryPlace {
    /// Its number in the set, from 0.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where it begins: a logical offset, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How long it is, without the padding.
    pub fn bytes(&self) -> u32 {
        *self.sections.last().expect("a directory's place has where its last section ends")
    }

    /// The section of a subpartition; `None` if there is nothing of it here.
    pub fn section(&self, subpartition: SubpartitionIndex) -> Option<SectionPlace> {
        let index = subpartition.0.checked_sub(self.first.0)? as usize;
        if index < self.count() as usize { self.section_at(index, Some(subpartition)) } else { None }
    }

    /// The section of what all subpartitions share; `None` if there is none of it.
    pub fn common(&self) -> Option<SectionPlace> {
        self.section_at(self.count() as usize, None)
    }

    /// All sections that are not empty.
    pub(super) fn all_sections(&self) -> impl Iterator<Item = SectionPlace> {
        let of = move |index| self.section(SubpartitionIndex(self.first.0 + index));
        (0..self.count()).filter_map(of).chain(self.common())
    }

    /// Checks what stands in front of the sections: that this directory lies here.
    pub(super) fn check_header(&self, bytes: &[u8]) -> Result<(), FormatError> {
        let piece = Piece::Directory(self.number);
        check_length(piece, bytes, HEADER_BYTES as u64)?;
        check_seal(piece, bytes, MAGIC)?;
        let fields = [
            ("number", 8, self.number),
            ("stamp", 12, self.stamp.0),
            ("first", 16, self.first.0),
            ("count", 20, self.count()),
            ("bytes", 24, self.bytes()),
        ];
        for (field, offset, expected) in fields {
            let found = u32_at(bytes, offset);
            if found != expected {
                return Err(wrong(piece, offset, field, found, expected.to_string()));
            }
        }
        Ok(())
    }

    /// Writes what [`check_header`](Self::check_header) checks.
    fn encode_header(&self, header: &mut [u8]) {
        put(header, 8, self.number.to_le_bytes());
        put(header, 12, self.stamp.0.to_le_bytes());
        put(header, 16, self.first.0.to_le_bytes());
        put(header, 20, self.count().to_le_bytes());
        put(header, 24, self.bytes().to_le_bytes());
        seal(header, MAGIC);
    }

    fn count(&self) -> u32 {
        (self.sections.len() - 2) as u32
    }

    fn section_at(&self, index: usize, subpartition: Option<SubpartitionIndex>) -> Option<SectionPlace> {
        let (begin, end) = (self.sections[index], self.sections[index + 1]);
        let place = SectionPlace {
            stamp: self.stamp,
            directory: self.number,
            directory_offset: self.offset,
            subpartition,
            offset: self.offset + u64::from(begin),
            bytes: end - begin,
        };
        (begin < end).then_some(place)
    }
}
