//! Sorts one region by subpartition: a counting sort of its entries' places, stable, then the bytes are gathered block
//! by block in that order. In steps that each take about as long as copying half a MiB, so that whoever sorts does
//! other things in between.

use super::log::{Phase, Place, Region};

/// A region on its way to the disk.
pub(super) struct RegionSort {
    region: Region,
    subpartitions: u32,
    /// The subpartition that comes first. Another one for each partition, so that consumers do not all begin at the
    /// same place of the disk.
    rotation: u32,
    /// Whether data for all is written once, and not once for each.
    broadcast_once: bool,
    phase: usize,
    stage: Stage,
    /// Where each target's entries begin in `order`; the last is its end. While entries are placed: where the next goes.
    starts: Vec<u32>,
    /// Places of the phase's entries, by target, then as written.
    order: Vec<Place>,
}

enum Stage {
    /// Counts the entries of each target from here on.
    Counting(Place),
    /// Puts their places in order from here on.
    Placing(Place),
    /// The `turn`-th target in rotated order; the next of its entries, and how much of that is gathered.
    Gathering {
        turn: u32,
        next: u32,
        within: usize,
    },
    Sorted,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Something was done; ask again.
    Planned,
    /// A block of this target; `None`: of all.
    Block { target: Option<u32> },
    /// There is no more.
    End,
}

/// A block, in the room that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SortedBlock {
    pub(super) bytes: usize,
    pub(super) is_event: bool,
    /// Records that end in it.
    pub(super) records: u64,
}

impl RegionSort {
    pub(super) fn new(region: Region, subpartitions: u32, rotation: u32, broadcast_once: bool) -> Self {
        let mut sort = Self {
            region,
            subpartitions,
            rotation,
            broadcast_once,
            phase: 0,
            stage: Stage::Sorted,
            starts: vec![0; subpartitions as usize + 1],
            order: Vec::new(),
        };
        sort.begin_phase();
        sort
    }

    fn current(&self) -> Option<Phase> {
        self.region.phases().get(self.phase).copied()
    }

    fn begin_phase(&mut self) {
        self.order.clear();
        self.starts.fill(0);
        self.stage = match self.current() {
            Some(phase) => Stage::Counting(phase.from),
            None => Stage::Sorted,
        };
    }

    /// Goes on by one step, up to where a block can be gathered.
    pub(super) fn prepare(&mut self) -> Next {
        match self.stage {
            Stage::Counting(from) => self.count(from),
            Stage::Placing(from) => self.place(from),
            Stage::Gathering { turn, next, .. } => {
                if next < self.range(turn).1 {
                    return Next::Block { target: self.target(turn) };
                }
                if turn + 1 < self.targets() {
                    self.stage = Stage::Gathering { turn: turn + 1, next: self.range(turn + 1).0, within: 0 };
                } else {
                    self.phase += 1;
                    self.begin_phase();
                }
                Next::Planned
            }
            Stage::Sorted => Next::End,
        }
    }

    fn count(&mut self, from: Place) -> Next {
        let end = self.region.end_of(self.phase);
        let is_broadcast = self.current().is_some_and(|phase| phase.is_broadcast);
        for (_, target) in self.region.entries(from, end) {
            // Counted one place further on: the sums below make beginnings of them.
            self.starts[if is_broadcast { 1 } else { target as usize + 1 }] += 1;
        }
        self.stage = match self.advance(from, end) {
            Some(next) => Stage::Counting(next),
            None => {
                let mut sum = 0;
                for start in &mut self.starts {
                    sum += *start;
                    *start = sum;
                }
                self.order.resize(sum as usize, Place::default());
                Stage::Placing(self.current().expect("a phase is being sorted").from)
            }
        };
        Next::Planned
    }

    fn place(&mut self, from: Place) -> Next {
        let end = self.region.end_of(self.phase);
        let is_broadcast = self.current().is_some_and(|phase| phase.is_broadcast);
        for (place, target) in self.region.entries(from, end) {
            let next = &mut self.starts[if is_broadcast { 0 } else { target as usize }];
            self.order[*next as usize] = place;
            *next += 1;
        }
        self.stage = match self.advance(from, end) {
            Some(next) => Stage::Placing(next),
            None => {
                // Each now stands where the next target's begin.
                self.starts.rotate_right(1);
                self.starts[0] = 0;
                Stage::Gathering { turn: 0, next: self.range(0).0, within: 0 }
            }
        };
        Next::Planned
    }

    /// Where to go on in this phase, segment by segment.
    fn advance(&self, from: Place, end: Place) -> Option<Place> {
        let next = Region::next_segment(from);
        (next < end && next.segment() < self.region.segments()).then_some(next)
    }

    fn targets(&self) -> u32 {
        let once = self.current().is_some_and(|phase| phase.is_broadcast) && self.broadcast_once;
        if once { 1 } else { self.subpartitions }
    }

    /// The target that has a turn; `None`: all at once.
    fn target(&self, turn: u32) -> Option<u32> {
        let once = self.current().is_some_and(|phase| phase.is_broadcast) && self.broadcast_once;
        (!once).then(|| ((u64::from(self.rotation) + u64::from(turn)) % u64::from(self.subpartitions)) as u32)
    }

    /// The entries of the target that has a turn, as a range of `order`.
    fn range(&self, turn: u32) -> (u32, u32) {
        if self.current().is_some_and(|phase| phase.is_broadcast) {
            return (0, self.order.len() as u32);
        }
        let target = self.target(turn).unwrap_or(0) as usize;
        (self.starts[target], self.starts[target + 1])
    }

    /// Gathers the block that [`Self::prepare`] has announced: of data at most `data_bytes_max`, and as much as there is
    /// room for. `None`: it is an event, which stays in one piece, and there is less room.
    pub(super) fn gather(&mut self, room: &mut [u8], data_bytes_max: usize) -> Option<SortedBlock> {
        let Stage::Gathering { turn, mut next, mut within } = self.stage else { unreachable!("a block was announced") };
        let (_, end) = self.range(turn);
        let (mut filled, mut records, mut is_event) = (0, 0, false);
        let most = room.len().min(data_bytes_max);
        while next < end && filled < most {
            let entry = self.region.entry(self.order[next as usize]);
            if entry.is_event {
                if filled == 0 {
                    room.get_mut(..entry.bytes.len())?.copy_from_slice(entry.bytes);
                    filled = entry.bytes.len();
                    (next, is_event) = (next + 1, true);
                }
                break;
            }
            let part = &entry.bytes[within..];
            let bytes = part.len().min(most - filled);
            room[filled..filled + bytes].copy_from_slice(&part[..bytes]);
            filled += bytes;
            within += bytes;
            if within == entry.bytes.len() {
                records += u64::from(entry.is_whole);
                (next, within) = (next + 1, 0);
            }
        }
        self.stage = Stage::Gathering { turn, next, within };
        Some(SortedBlock { bytes: filled, is_event, records })
    }
}
