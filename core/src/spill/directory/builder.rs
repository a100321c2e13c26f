//! Collects slices in the order of writing, and lays them out by subpartition when the directory is due.

use sluice_protocol::SubpartitionIndex;

use super::section::{SECTION_HEADER_BYTES, encode_section_header};
use super::{DirectoryPlace, HEADER_BYTES};
use crate::spill::bytes::{put, u32_at};
use crate::spill::entry::{ENTRY_BYTES, SLICE_HEADER_BYTES};
use crate::spill::{ALIGNMENT, BLOCK_BYTES_MAX, BlockEntry, Stamp};

/// Collects what was written, for one directory after the other. It takes as much memory as the directory will, 8 bytes
/// more for each slice, and 16 for each subpartition.
#[derive(Debug)]
pub struct DirectoryBuilder {
    stamp: Stamp,
    first: SubpartitionIndex,
    number: u32,
    /// One for each subpartition, and the common one.
    sections: Vec<Section>,
    /// Encoded slices, in the order of writing.
    log: Vec<u8>,
    /// Whose they are.
    slices: Vec<Logged>,
    encoded_bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Section {
    /// Of its slices in the log.
    bytes: u32,
    /// Where the last of them ends, in this directory or one before.
    end: u64,
}

#[derive(Debug)]
struct Logged {
    section: u32,
    /// Where it begins in the log.
    at: u32,
}

impl DirectoryBuilder {
    /// For a file set with these subpartitions.
    pub fn new(stamp: Stamp, first: SubpartitionIndex, count: u32) -> Self {
        let sections = vec![Section::default(); count as usize + 1];
        let encoded_bytes = HEADER_BYTES;
        Self { stamp, first, number: 0, sections, log: Vec::new(), slices: Vec::new(), encoded_bytes }
    }

    /// Adds blocks of one subpartition that lie one behind the other from the logical `offset` on, behind all that this
    /// subpartition has so far.
    ///
    /// # Panics
    /// If the subpartition is not in the set, if the blocks lie in front of earlier ones, or if one is empty or has more
    /// than [`BLOCK_BYTES_MAX`] bytes.
    pub fn add(&mut self, subpartition: SubpartitionIndex, offset: u64, blocks: &[BlockEntry]) {
        let index = subpartition.0.checked_sub(self.first.0).filter(|index| *index < self.common());
        let index = index.unwrap_or_else(|| panic!("subpartition {subpartition} is not in this set"));
        self.add_to(index, offset, blocks);
    }

    /// Adds blocks that all subpartitions share: they are in the file once, and once in the directory. In each
    /// subpartition's stream they stand where their offset says: behind its own blocks with lesser offsets.
    ///
    /// # Panics
    /// As [`add`](Self::add).
    pub fn add_to_all(&mut self, offset: u64, blocks: &[BlockEntry]) {
        self.add_to(self.common(), offset, blocks);
    }

    /// How many bytes the directory would have now, without padding.
    pub fn encoded_bytes(&self) -> usize {
        self.encoded_bytes
    }

    /// Whether nothing was added since the last directory.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// The directory, padded to [`ALIGNMENT`], that is appended at the logical `offset`. What is added from now on goes
    /// into the next one.
    ///
    /// # Panics
    /// If the directory has 4 GiB or more.
    pub fn finish(&mut self, offset: u64) -> (Vec<u8>, DirectoryPlace) {
        let place = DirectoryPlace {
            stamp: self.stamp,
            first: self.first,
            number: self.number,
            offset,
            sections: self.section_offsets(),
        };
        let mut bytes = vec![0; self.encoded_bytes.next_multiple_of(ALIGNMENT)];
        self.lay_out(&place, &mut bytes);
        for section in place.all_sections() {
            let begin = (section.offset - offset) as usize;
            encode_section_header(&section, &mut bytes[begin..begin + section.bytes as usize]);
        }
        place.encode_header(&mut bytes[..HEADER_BYTES]);
        self.begin_next();
        (bytes, place)
    }

    fn common(&self) -> u32 {
        (self.sections.len() - 1) as u32
    }

    fn add_to(&mut self, index: u32, offset: u64, blocks: &[BlockEntry]) {
        if blocks.is_empty() {
            return;
        }
        for BlockEntry { raw_bytes, .. } in blocks {
            assert!(
                (1..=BLOCK_BYTES_MAX).contains(raw_bytes),
                "a block of {raw_bytes} bytes, possible are 1 to {BLOCK_BYTES_MAX}"
            );
        }
        let end = self.sections[index as usize].end;
        assert!(offset >= end, "blocks at {offset}, and earlier ones of the same subpartition end at {end}");
        let log_bytes = self.log.len();
        if !self.extend_last(index, offset, blocks.len()) {
            self.begin_slice(index, offset, blocks.len());
        }
        blocks.iter().for_each(|block| self.log.extend_from_slice(&block.encode()));
        let stored: u64 = blocks.iter().map(|block| u64::from(block.stored_bytes)).sum();
        let section = &mut self.sections[index as usize];
        if section.bytes == 0 {
            self.encoded_bytes += SECTION_HEADER_BYTES;
        }
        let added = self.log.len() - log_bytes;
        section.end = offset + stored;
        section.bytes += added as u32;
        self.encoded_bytes += added;
    }

    /// Blocks that lie right behind the last slice, of the same subpartition, belong to it.
    fn extend_last(&mut self, index: u32, offset: u64, blocks: usize) -> bool {
        let Some(last) = self.slices.last() else { return false };
        if last.section != index || self.sections[index as usize].end != offset {
            return false;
        }
        let count = last.at as usize + 8;
        let blocks = u32_at(&self.log, count) + blocks as u32;
        put(&mut self.log, count, blocks.to_le_bytes());
        true
    }

    fn begin_slice(&mut self, index: u32, offset: u64, blocks: usize) {
        let at = u32::try_from(self.log.len()).expect("a directory has less than 4 GiB");
        self.slices.push(Logged { section: index, at });
        self.log.extend_from_slice(&offset.to_le_bytes());
        self.log.extend_from_slice(&(blocks as u32).to_le_bytes());
    }

    fn section_offsets(&self) -> Box<[u32]> {
        assert!(u32::try_from(self.encoded_bytes).is_ok(), "a directory of {} bytes", self.encoded_bytes);
        let mut end = HEADER_BYTES as u32;
        let ends = self.sections.iter().map(|section| {
            end += if section.bytes == 0 { 0 } else { SECTION_HEADER_BYTES as u32 + section.bytes };
            end
        });
        std::iter::once(HEADER_BYTES as u32).chain(ends).collect()
    }

    /// Copies each slice behind those of its section that were written before.
    fn lay_out(&self, place: &DirectoryPlace, bytes: &mut [u8]) {
        let header = SECTION_HEADER_BYTES as u32;
        let mut next: Vec<u32> = place.sections.iter().map(|begin| begin + header).collect();
        let ends = self.slices.iter().skip(1).map(|slice| slice.at as usize).chain([self.log.len()]);
        for (slice, end) in self.slices.iter().zip(ends) {
            let encoded = &self.log[slice.at as usize..end];
            debug_assert!(encoded.len() >= SLICE_HEADER_BYTES + ENTRY_BYTES, "no slice is empty");
            let next = &mut next[slice.section as usize];
            bytes[*next as usize..][..encoded.len()].copy_from_slice(encoded);
            *next += encoded.len() as u32;
        }
    }

    fn begin_next(&mut self) {
        self.number += 1;
        self.sections.iter_mut().for_each(|section| section.bytes = 0);
        self.log.clear();
        self.slices.clear();
        self.encoded_bytes = HEADER_BYTES;
    }
}
