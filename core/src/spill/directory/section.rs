//! A section: the slices of one subpartition in one directory, read and checked without the rest of it.

use sluice_protocol::SubpartitionIndex;

use crate::spill::bytes::{check_checksum, check_length, put, u32_at, wrong};
use crate::spill::entry::{ENTRY_BYTES, SLICE_HEADER_BYTES, decode_slices};
use crate::spill::{FormatError, Piece, Slice, Stamp, checksum};

pub(in crate::spill) const SECTION_HEADER_BYTES: usize = 16;

/// The smallest section that there is: of one block.
pub(in crate::spill) const SECTION_BYTES_MIN: usize = SECTION_HEADER_BYTES + SLICE_HEADER_BYTES + ENTRY_BYTES;

/// In the place of a subpartition, in the common section. No subpartition has this index: their number is 32 bits.
const COMMON: u32 = u32::MAX;

/// A section that is to be read, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionPlace {
    /// The file set.
    pub stamp: Stamp,
    /// The directory's number.
    pub directory: u32,
    /// Where the directory begins; all its slices lie in front of that.
    pub directory_offset: u64,
    /// Whose it is; none if it is everybody's.
    pub subpartition: Option<SubpartitionIndex>,
    /// Where it begins: a logical offset, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u32,
}

impl SectionPlace {
    /// The slices of this section, in the order of the stream, which is also that of their offsets. All lie in front of
    /// the directory. `bytes` are those from `offset` on, exactly as many as the section has.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Slice>, FormatError> {
        let piece = self.piece();
        check_length(piece, bytes, u64::from(self.bytes))?;
        if bytes.len() < SECTION_BYTES_MIN {
            check_length(piece, bytes, SECTION_BYTES_MIN as u64)?;
        }
        check_checksum(piece, 0, u32_at(bytes, 0), &bytes[4..])?;
        for (field, offset, expected) in self.fields() {
            let found = u32_at(bytes, offset);
            if found != expected {
                return Err(wrong(piece, offset, field, found, expected.to_string()));
            }
        }
        decode_slices(piece, bytes, SECTION_HEADER_BYTES, self.directory_offset)
    }

    /// What errors call it.
    pub fn piece(&self) -> Piece {
        Piece::Section { directory: self.directory, subpartition: self.subpartition }
    }

    fn fields(&self) -> [(&'static str, usize, u32); 3] {
        let subpartition = self.subpartition.map_or(COMMON, |subpartition| subpartition.0);
        [("subpartition", 4, subpartition), ("directory", 8, self.directory), ("stamp", 12, self.stamp.0)]
    }
}

/// Completes a section whose slices are in their place.
pub(super) fn encode_section_header(place: &SectionPlace, section: &mut [u8]) {
    for (_, offset, value) in place.fields() {
        put(section, offset, value.to_le_bytes());
    }
    let crc = checksum(&section[4..]);
    put(section, 0, crc.to_le_bytes());
}

/// Puts the slices of a subpartition's own section and of the common one of the same directory into the order of the
/// stream.
pub fn in_stream_order(mut own: Vec<Slice>, common: Vec<Slice>) -> Vec<Slice> {
    own.extend(common);
    own.sort_by_key(|slice| slice.offset);
    own
}
