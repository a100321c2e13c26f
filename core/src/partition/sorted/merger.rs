//! Makes large slices of small ones: what was read of some subpartitions out of all regions is checked, and packed again
//! in the order of subpartitions. Blocks stay as they are stored. In steps of a block each.

use std::collections::VecDeque;

use sluice_memory::Buffer;
use sluice_protocol::SubpartitionIndex;

use super::sorter::{Chunk, DIRECTORY_BYTES, Room, SetSummary, Slices};
use crate::spill::{
    ALIGNMENT, BlockEntry, Codec, Decompressor, DirectoryBuilder, DirectoryPlace, FileSet, Slice, Totals, checksum,
};

/// Slices in the order in which they are to lie, and the bytes of all of them.
pub(crate) struct Gathered {
    /// Whose each is; none: everybody's.
    pub(crate) slices: VecDeque<(Option<SubpartitionIndex>, Slice)>,
    pub(crate) bytes: Window,
}

/// Ranges of a file set's logical bytes, as they were read.
#[derive(Default)]
pub(crate) struct Window {
    /// By where they begin; none on top of another.
    pieces: Vec<(u64, Buffer)>,
}

/// What a step did.
pub(super) enum Merged {
    /// Something; there is more to do.
    Something,
    /// This is to be written.
    Chunk(Chunk),
    /// There is no memory to write into: give some, then go on.
    WantsMemory,
    /// All that was gathered is packed.
    Idle,
    /// All that was to be written has been given out.
    Ended,
    /// What was read is not what was written.
    Damaged(Box<str>),
}

pub(super) struct Merger {
    directory: DirectoryBuilder,
    places: Vec<DirectoryPlace>,
    totals: Vec<Totals>,
    first: u32,
    stored_bytes: u64,
    gathered: Option<Gathered>,
    /// The slice that has its turn.
    slice: Option<OpenSlice>,
    /// The block of it that is being copied.
    block: Option<OpenBlock>,
    /// A directory that is being copied.
    verbatim: Vec<u8>,
    copied: usize,
    chunk: Option<Room>,
    filled: usize,
    /// The logical end of what was given out.
    end: u64,
    decompressor: Decompressor,
    /// A block that lies in two pieces, and one that is decompressed to be checked.
    stored: Vec<u8>,
    raw: Vec<u8>,
    ending: bool,
}

/// What is left of a slice.
struct OpenSlice {
    target: Option<SubpartitionIndex>,
    offset: u64,
    blocks: std::vec::IntoIter<BlockEntry>,
}

/// A block that was checked and is on its way into chunks.
struct OpenBlock {
    target: Option<SubpartitionIndex>,
    from: u64,
    entry: BlockEntry,
    /// Where it begins among what is written.
    to: u64,
    copied: usize,
}

impl Window {
    /// Ranges that were read, in any order.
    pub(crate) fn new(mut pieces: Vec<(u64, Buffer)>) -> Self {
        pieces.sort_by_key(|(logical, _)| *logical);
        Self { pieces }
    }

    /// What there is from a logical offset on, in one piece.
    fn from(&self, logical: u64) -> &[u8] {
        let behind = self.pieces.partition_point(|(begin, _)| *begin <= logical);
        let piece = behind.checked_sub(1).map(|index| &self.pieces[index]);
        piece.and_then(|(begin, bytes)| bytes.get((logical - begin) as usize..)).unwrap_or_default()
    }

    /// Copies a range that was read.
    ///
    /// # Panics
    /// If it was not.
    pub(crate) fn copy(&self, mut logical: u64, into: &mut [u8]) {
        let mut filled = 0;
        while filled < into.len() {
            let there = self.from(logical);
            let part = there.len().min(into.len() - filled);
            assert!(part > 0, "nothing was read at {logical}");
            into[filled..filled + part].copy_from_slice(&there[..part]);
            filled += part;
            logical += part as u64;
        }
    }
}

impl Merger {
    pub(super) fn new(set: &FileSet) -> Self {
        Self {
            directory: DirectoryBuilder::new(set.stamp(), set.first, set.count),
            places: Vec::new(),
            totals: vec![Totals::default(); set.count as usize],
            first: set.first.0,
            stored_bytes: 0,
            gathered: None,
            slice: None,
            block: None,
            verbatim: Vec::new(),
            copied: 0,
            chunk: None,
            filled: 0,
            end: 0,
            decompressor: Decompressor::new(),
            stored: Vec::new(),
            raw: Vec::new(),
            ending: false,
        }
    }

    /// What comes behind all that was gathered before.
    pub(super) fn put(&mut self, gathered: Gathered) {
        debug_assert!(self.gathered.is_none(), "one after the other");
        self.gathered = Some(gathered);
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) {
        self.ending = true;
    }

    /// Memory to write into: aligned.
    pub(super) fn put_room(&mut self, room: Room) {
        debug_assert!(self.chunk.is_none(), "one chunk is filled at a time");
        self.chunk = Some(room);
    }

    /// Memory that it was given; what was written into it is lost.
    pub(super) fn take_room(&mut self) -> Option<Room> {
        self.filled = 0;
        self.chunk.take()
    }

    /// What the footer says. Records are not told by blocks.
    pub(super) fn summary(&mut self) -> SetSummary {
        SetSummary {
            totals: std::mem::take(&mut self.totals),
            directories: std::mem::take(&mut self.places),
            stored_bytes: self.stored_bytes,
            slices: Slices::default(),
        }
    }

    /// Does a little.
    pub(super) fn step(&mut self) -> Merged {
        if self.copied < self.verbatim.len() {
            return self.copy_directory();
        }
        if self.block.is_some() {
            return self.copy_block();
        }
        let at_end = self.gathered.is_none();
        let least = if at_end && self.ending { 1 } else { DIRECTORY_BYTES };
        if !self.directory.is_empty() && self.directory.encoded_bytes() >= least {
            return self.begin_directory();
        }
        if self.slice.is_some() {
            return self.next_block();
        }
        match self.gathered.as_mut().map(|gathered| gathered.slices.pop_front()) {
            Some(Some((target, Slice { offset, blocks }))) => {
                self.slice = Some(OpenSlice { target, offset, blocks: blocks.into_iter() });
                Merged::Something
            }
            Some(None) => {
                self.gathered = None;
                Merged::Something
            }
            None if !self.ending => Merged::Idle,
            // Behind the last directory there is nothing; without any there never was something.
            None => Merged::Ended,
        }
    }

    /// Checks the next block of the slice.
    fn next_block(&mut self) -> Merged {
        let Some(slice) = &mut self.slice else { return Merged::Something };
        let Some(entry) = slice.blocks.next() else {
            self.slice = None;
            return Merged::Something;
        };
        let (target, from) = (slice.target, slice.offset);
        slice.offset += u64::from(entry.stored_bytes);
        if let Err(damage) = self.check(from, &entry) {
            return Merged::Damaged(damage);
        }
        self.block = Some(OpenBlock { target, from, entry, to: self.end + self.filled as u64, copied: 0 });
        Merged::Something
    }

    fn check(&mut self, from: u64, entry: &BlockEntry) -> Result<(), Box<str>> {
        let Some(gathered) = &self.gathered else { return Ok(()) };
        let bytes = entry.stored_bytes as usize;
        let stored = match gathered.bytes.from(from).get(..bytes) {
            Some(stored) => stored,
            None => {
                self.stored.resize(bytes, 0);
                gathered.bytes.copy(from, &mut self.stored);
                &self.stored
            }
        };
        let found = match entry.codec {
            Codec::None => checksum(stored),
            codec => {
                self.raw.resize(entry.raw_bytes as usize, 0);
                let result = self.decompressor.decompress(codec, stored, &mut self.raw);
                result.map_err(|error| Box::from(format!("a block at {from}: {error}")))?;
                checksum(&self.raw)
            }
        };
        if found != entry.crc {
            return Err(format!("a block at {from}: checksum {found:08x}, expected {:08x}", entry.crc).into());
        }
        Ok(())
    }

    fn copy_block(&mut self) -> Merged {
        let (Some(block), Some(gathered), Some(chunk)) = (&mut self.block, &self.gathered, &mut self.chunk) else {
            return Merged::WantsMemory;
        };
        let room = &mut chunk.memory[self.filled..];
        let part = room.len().min(block.entry.stored_bytes as usize - block.copied);
        gathered.bytes.copy(block.from + block.copied as u64, &mut room[..part]);
        self.filled += part;
        block.copied += part;
        let is_full = part == room.len();
        if block.copied == block.entry.stored_bytes as usize {
            self.note();
        }
        if is_full { self.give_out() } else { Merged::Something }
    }

    /// The block is where it belongs.
    fn note(&mut self) {
        let Some(OpenBlock { target, to, entry, .. }) = self.block.take() else { return };
        self.stored_bytes += u64::from(entry.stored_bytes);
        let totals = match target {
            Some(target) => {
                self.directory.add(target, to, &[entry]);
                let index = (target.0 - self.first) as usize;
                &mut self.totals[index..=index]
            }
            None => {
                self.directory.add_to_all(to, &[entry]);
                &mut self.totals[..]
            }
        };
        for totals in totals {
            totals.blocks += 1;
            totals.raw_bytes += u64::from(entry.raw_bytes);
        }
    }

    /// First what lies in front of it, in whole pages.
    fn begin_directory(&mut self) -> Merged {
        if self.filled > 0 {
            return self.give_out();
        }
        let (bytes, place) = self.directory.finish(self.end);
        self.places.push(place);
        (self.verbatim, self.copied) = (bytes, 0);
        Merged::Something
    }

    fn copy_directory(&mut self) -> Merged {
        let Some(chunk) = &mut self.chunk else { return Merged::WantsMemory };
        let rest = &self.verbatim[self.copied..];
        let part = rest.len().min(chunk.memory.len() - self.filled);
        chunk.memory[self.filled..self.filled + part].copy_from_slice(&rest[..part]);
        self.filled += part;
        self.copied += part;
        // Whole pages, as long as they are.
        self.give_out()
    }

    /// What there is of the chunk, with zeros up to a whole page.
    fn give_out(&mut self) -> Merged {
        let Some(Room { mut memory, is_reserve }) = self.chunk.take() else { return Merged::WantsMemory };
        let bytes = self.filled.next_multiple_of(ALIGNMENT);
        memory[self.filled..bytes].fill(0);
        let logical = self.end;
        self.end += bytes as u64;
        self.filled = 0;
        Merged::Chunk(Chunk { set: 0, logical, memory: memory.freeze(), is_reserve, bytes })
    }
}
