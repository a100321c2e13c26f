//! One reader's way through its subpartition: which blocks it knows, what it has asked for, what has arrived.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::Wanted;
use crate::block::Item;
use crate::spill::{BlockEntry, BlockKind, SectionPlace, Slice};

/// A reader's way through its subpartition.
pub(in crate::reactor::storage) struct Reading {
    pub(in crate::reactor::storage) set: usize,
    pub(super) subpartition: u32,
    /// What was asked for under another number is not wanted any more.
    pub(super) epoch: u32,
    /// The directory whose section comes next.
    pub(super) directory: usize,
    pub(super) sections: Vec<Section>,
    /// Blocks that are known, from number `first` on; those before were taken.
    pub(super) places: VecDeque<Place>,
    pub(super) first: u64,
    /// The next to be asked for, and the next to go into the queue.
    pub(super) next: u64,
    pub(super) delivered: u64,
    /// Raw bytes of those before `delivered`.
    pub(super) delivered_bytes: u64,
    /// Bytes that are asked for or have arrived, and are not in the queue.
    pub(super) asked_bytes: u64,
    pub(super) arrived: BTreeMap<u64, Vec<Item>>,
    /// Ranges that lie in more than one piece, as far as they are here.
    pub(super) pieces: BTreeMap<Wanted, Vec<Option<Vec<u8>>>>,
    /// All that its sections say, of data alone, and with events.
    pub(super) data: (u64, u64),
    pub(super) all: (u64, u64),
    pub(super) has_end: bool,
    /// There was no memory for what it had asked for: one range at a time, until one is through.
    pub(super) is_careful: bool,
    /// It waits for such memory.
    pub(super) is_starved: bool,
    /// What it had was taken back: it asks for nothing before its consumer has looked for more.
    pub(super) is_idle: bool,
    /// It stands in the queue of those who may ask when there is memory for what they want.
    pub(super) is_hungry: bool,
    /// Of a session: it reads only what there is credit for, so that what it reads goes out. `None`: of a gate of this
    /// worker, which reads ahead.
    pub(super) credit_bytes: Option<u64>,
    pub(super) last_call: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) entry: BlockEntry,
}

pub(super) struct Section {
    pub(super) place: SectionPlace,
    pub(super) bytes: Option<Vec<u8>>,
}

impl Reading {
    pub(super) fn new(set: usize, subpartition: u32, first: u64, is_remote: bool, last_call: u64) -> Self {
        Self {
            set,
            subpartition,
            epoch: 0,
            directory: 0,
            sections: Vec::new(),
            places: VecDeque::new(),
            first: 0,
            next: first,
            delivered: first,
            delivered_bytes: 0,
            asked_bytes: 0,
            arrived: BTreeMap::new(),
            pieces: BTreeMap::new(),
            data: (0, 0),
            all: (0, 0),
            has_end: false,
            is_careful: false,
            is_starved: false,
            is_idle: false,
            is_hungry: false,
            credit_bytes: is_remote.then_some(0),
            last_call,
        }
    }

    pub(super) fn place(&self, block: u64) -> Option<Place> {
        self.places.get(usize::try_from(block.checked_sub(self.first)?).ok()?).copied()
    }

    /// What the known ones of these blocks are decompressed, in bytes.
    pub(super) fn raw_bytes(&self, blocks: Range<u64>) -> u64 {
        blocks.filter_map(|block| self.place(block)).map(|place| u64::from(place.entry.raw_bytes)).sum()
    }

    /// Blocks from a number on that lie one behind the other, as long as they are no more than so many bytes.
    pub(super) fn run(&self, stored_bytes_max: u64, raw_bytes_max: u64) -> Option<(u64, u64, u32)> {
        let first = self.place(self.next)?;
        let (mut end, mut raw, mut count) = (first.offset, 0, 0);
        while let Some(place) = self.place(self.next + u64::from(count)) {
            let (stored, theirs) = (u64::from(place.entry.stored_bytes), u64::from(place.entry.raw_bytes));
            let too_much = end + stored - first.offset > stored_bytes_max || raw + theirs > raw_bytes_max;
            if place.offset != end || (count > 0 && too_much) {
                break;
            }
            end += stored;
            raw += theirs;
            count += 1;
        }
        Some((first.offset, end - first.offset, count))
    }

    /// Blocks that were taken are not needed any more.
    pub(super) fn taken(&mut self, through: u64) {
        while self.first < through && self.places.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Goes back to the block that the queue wants next, or to one that was even in it, and asks again from there.
    pub(super) fn go_back(&mut self, to: u64) {
        self.epoch = self.epoch.wrapping_add(1);
        let to = self.delivered.min(to);
        self.delivered_bytes -= self.raw_bytes(to..self.delivered);
        self.delivered = to;
        self.next = to;
        self.asked_bytes = 0;
        self.arrived.clear();
        self.pieces.clear();
        self.sections.clear();
        self.has_end = false;
    }

    /// Adds what a directory's sections say.
    pub(super) fn learn(&mut self, slices: Vec<Slice>) {
        for slice in slices {
            let mut offset = slice.offset;
            for entry in slice.blocks {
                self.places.push_back(Place { offset, entry });
                // A reader that does not begin with the first item.
                if self.all.0 < self.delivered {
                    self.delivered_bytes += u64::from(entry.raw_bytes);
                }
                offset += u64::from(entry.stored_bytes);
                self.all = (self.all.0 + 1, self.all.1 + u64::from(entry.raw_bytes));
                if entry.kind == BlockKind::Data {
                    self.data = (self.data.0 + 1, self.data.1 + u64::from(entry.raw_bytes));
                }
            }
        }
    }
}
