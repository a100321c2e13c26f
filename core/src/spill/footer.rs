//! The index of a file set: totals, extents, and where every section of every directory lies.

use sluice_protocol::SubpartitionIndex;

use super::bytes::{check_length, check_seal, put, seal, u16_at, u32_at, u64_at, wrong};
use super::directory::{HEADER_BYTES as DIRECTORY_HEADER_BYTES, SECTION_BYTES_MIN};
use super::{
    ALIGNMENT, DirectoryPlace, Extent, Extents, FileSet, FormatError, Piece, Problem, SectionPlace, Stamp, Trailer,
};

const MAGIC: [u8; 4] = *b"SLUF";
const PIECE: Piece = Piece::Footer;

const FIXED_BYTES: usize = 32;
const TOTALS_BYTES: usize = 24;
const EXTENT_BYTES: usize = 32;

/// What a subpartition has, in all of the set; what it shares with others included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Blocks, events among them.
    pub blocks: u64,
    /// Bytes of all blocks before compression.
    pub raw_bytes: u64,
    /// Records.
    pub records: u64,
}

/// What a reader keeps of a file set: four bytes for each subpartition and directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// What the set holds.
    pub set: FileSet,
    /// One for each subpartition of the set, from its first on.
    pub totals: Vec<Totals>,
    /// Where the logical bytes lie.
    pub extents: Extents,
    /// By number, which is the order of the stream.
    pub directories: Vec<DirectoryPlace>,
}

impl Footer {
    /// The totals of one subpartition; `None` if it is not in this set.
    pub fn totals_of(&self, subpartition: SubpartitionIndex) -> Option<Totals> {
        let index = subpartition.0.checked_sub(self.set.first.0)?;
        self.totals.get(index as usize).copied()
    }

    /// The sections that make one subpartition's stream, directory by directory: its own, and the one that all share;
    /// `None` where there is nothing in them.
    pub fn sections(
        &self,
        subpartition: SubpartitionIndex,
    ) -> impl Iterator<Item = (Option<SectionPlace>, Option<SectionPlace>)> {
        self.directories.iter().map(move |place| (place.section(subpartition), place.common()))
    }

    /// Where the totals of the set's `index`th subpartition lie in the footer.
    pub(super) fn totals_at(index: usize) -> usize {
        FIXED_BYTES + index * TOTALS_BYTES
    }

    /// The bytes, without padding, and the checksum for the trailer.
    ///
    /// # Panics
    /// If there is not one total for each subpartition, or a directory is of another set.
    pub fn encode(&self) -> (Vec<u8>, u32) {
        let stamp = self.set.stamp();
        assert_eq!(self.totals.len(), self.set.count as usize, "a total for each subpartition");
        let mut bytes = vec![0; FIXED_BYTES];
        put(&mut bytes, 8, stamp.0.to_le_bytes());
        put(&mut bytes, 12, self.set.first.0.to_le_bytes());
        put(&mut bytes, 16, self.set.count.to_le_bytes());
        put(&mut bytes, 20, (self.extents.iter().len() as u32).to_le_bytes());
        put(&mut bytes, 24, (self.directories.len() as u32).to_le_bytes());
        for totals in &self.totals {
            for total in [totals.blocks, totals.raw_bytes, totals.records] {
                bytes.extend_from_slice(&total.to_le_bytes());
            }
        }
        self.extents.iter().for_each(|extent| bytes.extend_from_slice(&encode_extent(extent)));
        for (number, place) in self.directories.iter().enumerate() {
            assert_eq!((place.number as usize, place.stamp), (number, stamp), "directories of this set, by number");
            bytes.extend_from_slice(&place.offset.to_le_bytes());
            place.sections.iter().for_each(|begin| bytes.extend_from_slice(&begin.to_le_bytes()));
        }
        seal(&mut bytes, MAGIC);
        let crc = u32_at(&bytes, 4);
        (bytes, crc)
    }

    /// Reads what the trailer speaks of: exactly [`Trailer::footer_bytes`]. Whatever they are, no offset in the result
    /// leads out of the logical bytes, and no extent into the footer.
    pub fn decode(bytes: &[u8], trailer: &Trailer) -> Result<Self, FormatError> {
        check_length(PIECE, bytes, trailer.footer_bytes)?;
        if bytes.len() < FIXED_BYTES {
            check_length(PIECE, bytes, FIXED_BYTES as u64)?;
        }
        check_seal(PIECE, bytes, MAGIC)?;
        let stamp = trailer.set.stamp();
        check_fields(bytes, trailer, stamp)?;
        let counts = Counts::decode(bytes)?;
        let extents_at = FIXED_BYTES + counts.subpartitions * TOTALS_BYTES;
        let directories_at = extents_at + counts.extents * EXTENT_BYTES;
        let totals = bytes[FIXED_BYTES..extents_at].chunks_exact(TOTALS_BYTES);
        let extents = decode_extents(bytes, extents_at, directories_at, trailer)?;
        let directories = decode_directories(bytes, directories_at, &counts, trailer, extents.end())?;
        let totals = totals.map(|total| Totals {
            blocks: u64_at(total, 0),
            raw_bytes: u64_at(total, 8),
            records: u64_at(total, 16),
        });
        Ok(Self { set: trailer.set, totals: totals.collect(), extents, directories })
    }
}

/// The footer that this trailer was written for, and no other.
fn check_fields(bytes: &[u8], trailer: &Trailer, stamp: Stamp) -> Result<(), FormatError> {
    let (found, expected) = (u32_at(bytes, 4), trailer.footer_crc);
    if found != expected {
        return Err(FormatError { offset: 4, piece: PIECE, problem: Problem::Checksum { found, expected } });
    }
    let fields = [("stamp", 8, stamp.0), ("first", 12, trailer.set.first.0), ("count", 16, trailer.set.count)];
    for (field, offset, expected) in fields {
        let found = u32_at(bytes, offset);
        if found != expected {
            return Err(wrong(PIECE, offset, field, found, format!("{expected}, as the trailer says")));
        }
    }
    Ok(())
}

/// How many there are of everything; checked against the footer's length before memory is taken for them.
struct Counts {
    subpartitions: usize,
    extents: usize,
    directories: usize,
}

impl Counts {
    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let [subpartitions, extents, directories] = [16, 20, 24].map(|at| u32_at(bytes, at) as usize);
        let counts = Self { subpartitions, extents, directories };
        let expected = FIXED_BYTES as u128
            + subpartitions as u128 * TOTALS_BYTES as u128
            + extents as u128 * EXTENT_BYTES as u128
            + directories as u128 * counts.directory_bytes() as u128;
        check_length(PIECE, bytes, u64::try_from(expected).unwrap_or(u64::MAX))?;
        Ok(counts)
    }

    /// The offset, and where each section begins, the common one, and where that ends.
    fn directory_bytes(&self) -> usize {
        8 + (self.subpartitions + 2) * 4
    }
}

fn encode_extent(extent: &Extent) -> [u8; EXTENT_BYTES] {
    let mut bytes = [0; EXTENT_BYTES];
    put(&mut bytes, 0, extent.logical.to_le_bytes());
    put(&mut bytes, 8, extent.physical.to_le_bytes());
    put(&mut bytes, 16, extent.bytes.to_le_bytes());
    put(&mut bytes, 24, extent.part.to_le_bytes());
    bytes
}

fn decode_extents(bytes: &[u8], begin: usize, end: usize, trailer: &Trailer) -> Result<Extents, FormatError> {
    let places = (begin..end).step_by(EXTENT_BYTES);
    let extents: Vec<Extent> = places
        .map(|at| Extent {
            logical: u64_at(bytes, at),
            physical: u64_at(bytes, at + 8),
            bytes: u64_at(bytes, at + 16),
            part: u16_at(bytes, at + 24),
        })
        .collect();
    Extents::checked(extents, trailer).map_err(|(index, field, found, expected)| {
        let at = begin + index * EXTENT_BYTES;
        wrong(PIECE, at, field, found, expected)
    })
}

fn decode_directories(
    bytes: &[u8],
    begin: usize,
    counts: &Counts,
    trailer: &Trailer,
    logical_end: u64,
) -> Result<Vec<DirectoryPlace>, FormatError> {
    let mut free_from = 0;
    let mut directories = Vec::with_capacity(counts.directories);
    for number in 0..counts.directories {
        let at = begin + number * counts.directory_bytes();
        let place = DirectoryPlace {
            stamp: trailer.set.stamp(),
            first: trailer.set.first,
            number: number as u32,
            offset: u64_at(bytes, at),
            sections: decode_sections(bytes, at + 8, counts.subpartitions + 2)?,
        };
        let end = place.offset.checked_add(u64::from(place.bytes()));
        let aligned = place.offset.is_multiple_of(ALIGNMENT as u64);
        match end {
            Some(end) if aligned && place.offset >= free_from && end <= logical_end => free_from = end,
            _ => {
                let expected = format!("a multiple of {ALIGNMENT} from {free_from} on, and it to end by {logical_end}");
                return Err(wrong(PIECE, at, "directory offset", place.offset, expected));
            }
        }
        directories.push(place);
    }
    Ok(directories)
}

fn decode_sections(bytes: &[u8], at: usize, count: usize) -> Result<Box<[u32]>, FormatError> {
    let offsets: Box<[u32]> = (0..count).map(|index| u32_at(bytes, at + index * 4)).collect();
    if offsets[0] != DIRECTORY_HEADER_BYTES as u32 {
        return Err(wrong(PIECE, at, "first section's offset", offsets[0], DIRECTORY_HEADER_BYTES.to_string()));
    }
    for (index, pair) in offsets.windows(2).enumerate() {
        let bytes = pair[1].checked_sub(pair[0]);
        if bytes.is_none_or(|bytes| bytes != 0 && (bytes as usize) < SECTION_BYTES_MIN) {
            let expected = format!("{} or {SECTION_BYTES_MIN} more", pair[0]);
            return Err(wrong(PIECE, at + (index + 1) * 4, "end of a section", pair[1], expected));
        }
    }
    Ok(offsets)
}
