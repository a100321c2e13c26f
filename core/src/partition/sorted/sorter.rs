//! Makes of regions what goes to the disk: blocks sorted by subpartition, compressed if that pays, packed into aligned
//! chunks, and directories that say where they are.

use sluice_memory::{Buffer, BufferMut};
use sluice_protocol::SubpartitionIndex;
use sluice_protocol::wire::EVENT_BYTES_MAX;

use super::log::Region;
use super::region::{Next, RegionSort, SortedBlock};
use crate::spill::{
    ALIGNMENT, BlockEntry, BlockKind, Codec, Compressor, DirectoryBuilder, DirectoryPlace, FileSet, Totals, checksum,
};

/// An event with its kind before it.
const EVENT_BLOCK_BYTES_MAX: usize = EVENT_BYTES_MAX + 2;
/// From so many bytes on a directory is written, and its memory free: what is collected of it is on the heap.
pub(super) const DIRECTORY_BYTES: usize = 256 << 10;

/// Aligned bytes that are to be appended to a file set.
pub(crate) struct Chunk {
    /// Which set, by its place among those of the partition.
    pub(crate) set: u32,
    /// Where in the set's logical bytes.
    pub(crate) logical: u64,
    /// All of its memory, to be used again.
    pub(crate) memory: Buffer,
    /// It is the one that is always there.
    pub(crate) is_reserve: bool,
    /// How much of it is to be written: aligned, and more than nothing.
    pub(crate) bytes: usize,
}

/// What the footer of a file set says, but for where its bytes lie.
pub(crate) struct SetSummary {
    pub(crate) totals: Vec<Totals>,
    pub(crate) directories: Vec<DirectoryPlace>,
    /// Bytes of blocks.
    pub(crate) stored_bytes: u64,
    /// How they lie.
    pub(crate) slices: Slices,
}

/// How small the pieces are that a subpartition lies in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slices {
    /// Regions that were written.
    pub(crate) regions: u64,
    /// Slices of one subpartition each.
    pub(crate) own: u64,
    /// Where each slice begins that all share: a logical offset.
    pub(crate) common: Vec<u64>,
}

/// What a step did.
pub(super) enum Sorted {
    /// Something; there may be more to do.
    Something,
    /// This is to be written.
    Chunk(Chunk),
    /// There is no memory to write into: give some, then go on.
    WantsMemory,
    /// The region is done; all that was to be written of it has been given out.
    Idle,
}

/// One file set that grows.
struct Set {
    first: u32,
    directory: DirectoryBuilder,
    places: Vec<DirectoryPlace>,
    totals: Vec<Totals>,
    stored_bytes: u64,
    slices: Slices,
    /// The logical end of what was given out.
    end: u64,
}

/// Memory for a chunk.
pub(super) struct Room {
    pub(super) memory: BufferMut,
    /// It is the one that is always there.
    pub(super) is_reserve: bool,
}

/// A chunk that is being filled.
struct OpenChunk {
    memory: BufferMut,
    is_reserve: bool,
    filled: usize,
}

/// Bytes that are copied into chunks as they are: a directory.
struct Verbatim {
    bytes: Vec<u8>,
    copied: usize,
}

/// Blocks of one target that lie one behind the other.
struct OpenSlice {
    target: Option<u32>,
    offset: u64,
    end: u64,
    blocks: Vec<BlockEntry>,
}

pub(super) struct Sorter {
    subpartitions: u32,
    rotation: u32,
    block_bytes_max: usize,
    compressor: Compressor,
    /// Raw bytes of a block that is to be compressed.
    scratch: Vec<u8>,
    sets: Vec<Set>,
    /// The set that the open chunk belongs to.
    current: u32,
    sort: Option<RegionSort>,
    chunk: Option<OpenChunk>,
    /// The last bytes of the chunk before, less than a page: they stand first in the next one.
    carried: Vec<u8>,
    verbatim: Option<Verbatim>,
    slice: Option<OpenSlice>,
    /// Everything is to be completed: what is left of directories goes out as well.
    ending: bool,
}

impl Sorter {
    /// `sets`: one for all subpartitions, or one for each.
    pub(super) fn new(sets: &[FileSet], rotation: u32, block_bytes_max: usize, codec: Codec) -> Self {
        let subpartitions = sets.first().map_or(0, |set| set.subpartitions);
        let sets = sets.iter().map(|set| Set {
            first: set.first.0,
            directory: DirectoryBuilder::new(set.stamp(), set.first, set.count),
            places: Vec::new(),
            totals: vec![Totals::default(); set.count as usize],
            stored_bytes: 0,
            slices: Slices::default(),
            end: 0,
        });
        Self {
            subpartitions,
            rotation,
            block_bytes_max,
            compressor: Compressor::new(codec, None),
            scratch: Vec::new(),
            sets: sets.collect(),
            current: 0,
            sort: None,
            chunk: None,
            carried: Vec::new(),
            verbatim: None,
            slice: None,
            ending: false,
        }
    }

    /// Whether each set holds one subpartition.
    fn is_hashed(&self) -> bool {
        self.sets.len() > 1
    }

    pub(super) fn begin(&mut self, region: Region) {
        debug_assert!(self.sort.is_none(), "one region at a time");
        self.sort = Some(RegionSort::new(region, self.subpartitions, self.rotation, !self.is_hashed()));
    }

    /// No region comes any more. False if that was said before.
    pub(super) fn end(&mut self) -> bool {
        !std::mem::replace(&mut self.ending, true)
    }

    /// Memory to write into: aligned, and at least four pages.
    pub(super) fn put(&mut self, Room { mut memory, is_reserve }: Room) {
        debug_assert!(self.chunk.is_none(), "one chunk is filled at a time");
        let filled = self.carried.len();
        memory[..filled].copy_from_slice(&self.carried);
        self.carried.clear();
        self.chunk = Some(OpenChunk { memory, is_reserve, filled });
    }

    /// Memory that was given and that nothing was written into.
    pub(super) fn take_memory(&mut self) -> Option<Room> {
        let chunk = self.chunk.take_if(|chunk| chunk.filled == 0)?;
        Some(Room { memory: chunk.memory, is_reserve: chunk.is_reserve })
    }

    /// Drops what it has: nothing is to be written any more.
    pub(super) fn abandon(&mut self) {
        (self.sort, self.chunk, self.verbatim, self.slice) = (None, None, None, None);
    }

    /// What there is so far, of each subpartition.
    pub(super) fn totals(&self) -> Vec<Totals> {
        self.sets.iter().flat_map(|set| set.totals.iter().copied()).collect()
    }

    /// For the footers, once all is given out.
    pub(super) fn summaries(&mut self) -> Vec<SetSummary> {
        let sets = self.sets.iter_mut().map(|set| SetSummary {
            // Who asks how much there is until all is complete is told by these.
            totals: set.totals.clone(),
            directories: std::mem::take(&mut set.places),
            stored_bytes: set.stored_bytes,
            slices: std::mem::take(&mut set.slices),
        });
        sets.collect()
    }

    /// Does a little.
    pub(super) fn step(&mut self) -> Sorted {
        if self.verbatim.is_some() {
            return self.copy();
        }
        let Some(sort) = &mut self.sort else { return self.look_for_directories() };
        match sort.prepare() {
            Next::Planned => Sorted::Something,
            Next::End => {
                self.sort = None;
                self.end_slice();
                self.sets[self.current as usize].slices.regions += 1;
                self.give_out_padded()
            }
            Next::Block { target } => self.gather(target),
        }
    }

    fn gather(&mut self, target: Option<u32>) -> Sorted {
        let set = if self.is_hashed() { target.unwrap_or(0) } else { 0 };
        if set != self.current {
            self.end_slice();
            if self.has_bytes() {
                return self.give_out_padded();
            }
            self.current = set;
        }
        let (Some(sort), Some(chunk)) = (&mut self.sort, &mut self.chunk) else { return Sorted::WantsMemory };
        let most = self.block_bytes_max;
        let least = most.min(chunk.memory.len() / 2);
        let room = &mut chunk.memory[chunk.filled..];
        if room.len() < least {
            return self.give_out_aligned();
        }
        let block = if self.compressor.codec() == Codec::None {
            sort.gather(room, most).map(|block| (block, Codec::None, block.bytes, checksum(&room[..block.bytes])))
        } else {
            self.scratch.resize(room.len().min(most.max(EVENT_BLOCK_BYTES_MAX)), 0);
            sort.gather(&mut self.scratch, most).map(|block| {
                let raw = &self.scratch[..block.bytes];
                let (codec, stored) = match self.compressor.compress(raw, room) {
                    Some(stored) => (self.compressor.codec(), stored),
                    None => {
                        room[..raw.len()].copy_from_slice(raw);
                        (Codec::None, raw.len())
                    }
                };
                (block, codec, stored, checksum(raw))
            })
        };
        let Some((block, codec, stored, crc)) = block else { return self.give_out_aligned() };
        let offset = self.sets[set as usize].end + chunk.filled as u64;
        chunk.filled += stored;
        let kind = if block.is_event { BlockKind::Event } else { BlockKind::Data };
        let entry = BlockEntry { stored_bytes: stored as u32, raw_bytes: block.bytes as u32, crc, codec, kind };
        self.note(target, offset, entry, &block);
        Sorted::Something
    }

    fn note(&mut self, target: Option<u32>, offset: u64, entry: BlockEntry, block: &SortedBlock) {
        let set = &mut self.sets[self.current as usize];
        set.stored_bytes += u64::from(entry.stored_bytes);
        let index = target.map(|target| (target - set.first) as usize);
        let totals = match index {
            Some(index) => &mut set.totals[index..=index],
            None => &mut set.totals[..],
        };
        for totals in totals {
            totals.blocks += 1;
            totals.raw_bytes += u64::from(entry.raw_bytes);
            totals.records += block.records;
        }
        if !self.slice.as_ref().is_some_and(|slice| slice.target == target && slice.end == offset) {
            self.end_slice();
            self.slice = Some(OpenSlice { target, offset, end: offset, blocks: Vec::new() });
        }
        if let Some(slice) = &mut self.slice {
            slice.end += u64::from(entry.stored_bytes);
            slice.blocks.push(entry);
        }
    }

    fn end_slice(&mut self) {
        let Some(slice) = self.slice.take() else { return };
        let Set { directory, slices, .. } = &mut self.sets[self.current as usize];
        match slice.target {
            Some(target) => {
                slices.own += 1;
                directory.add(SubpartitionIndex(target), slice.offset, &slice.blocks);
            }
            None => {
                slices.common.push(slice.offset);
                directory.add_to_all(slice.offset, &slice.blocks);
            }
        }
    }

    fn has_bytes(&self) -> bool {
        self.chunk.as_ref().is_some_and(|chunk| chunk.filled > 0) || !self.carried.is_empty()
    }

    /// The whole pages of the open chunk go out; what is behind them stands first in the next.
    fn give_out_aligned(&mut self) -> Sorted {
        let Some(chunk) = self.chunk.take() else { return Sorted::WantsMemory };
        let aligned = chunk.filled - chunk.filled % ALIGNMENT;
        self.carried.extend_from_slice(&chunk.memory[aligned..chunk.filled]);
        self.give_out(chunk, aligned)
    }

    /// All of the open chunk goes out, with zeros up to a whole page.
    fn give_out_padded(&mut self) -> Sorted {
        if !self.has_bytes() {
            return Sorted::Something;
        }
        let Some(mut chunk) = self.chunk.take() else { return Sorted::WantsMemory };
        let aligned = chunk.filled.next_multiple_of(ALIGNMENT);
        chunk.memory[chunk.filled..aligned].fill(0);
        self.give_out(chunk, aligned)
    }

    fn give_out(&mut self, OpenChunk { memory, is_reserve, .. }: OpenChunk, bytes: usize) -> Sorted {
        let set = &mut self.sets[self.current as usize];
        let logical = set.end;
        set.end += bytes as u64;
        Sorted::Chunk(Chunk { set: self.current, logical, memory: memory.freeze(), is_reserve, bytes })
    }

    /// A directory that is due becomes bytes to copy.
    fn look_for_directories(&mut self) -> Sorted {
        // What a region's end could not pad for want of memory.
        if self.has_bytes() {
            return self.give_out_padded();
        }
        let least = if self.ending { 1 } else { DIRECTORY_BYTES };
        let due = |set: &Set| !set.directory.is_empty() && set.directory.encoded_bytes() >= least;
        let Some(index) = self.sets.iter().position(due) else { return Sorted::Idle };
        self.current = index as u32;
        let set = &mut self.sets[index];
        let (bytes, place) = set.directory.finish(set.end);
        set.places.push(place);
        self.verbatim = Some(Verbatim { bytes, copied: 0 });
        Sorted::Something
    }

    fn copy(&mut self) -> Sorted {
        let (Some(verbatim), Some(chunk)) = (&mut self.verbatim, &mut self.chunk) else { return Sorted::WantsMemory };
        let rest = &verbatim.bytes[verbatim.copied..];
        let part = rest.len().min(chunk.memory.len() - chunk.filled);
        chunk.memory[chunk.filled..chunk.filled + part].copy_from_slice(&rest[..part]);
        chunk.filled += part;
        verbatim.copied += part;
        if verbatim.copied == verbatim.bytes.len() {
            self.verbatim = None;
        }
        // Whole pages, as long as they are: nothing is carried.
        self.give_out_padded()
    }
}
