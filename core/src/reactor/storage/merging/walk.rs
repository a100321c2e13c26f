//! The order in which regions are merged: which sections are to be read next, and whose slices of them.
//!
//! Slices that all subpartitions share cut a partition into stretches: what lay before one lies before it again. Within a
//! stretch one subpartition comes after the other, each in its order of writing.

use std::collections::VecDeque;
use std::ops::Range;

use sluice_protocol::SubpartitionIndex;

use crate::spill::{ALIGNMENT, DirectoryPlace, FormatError, SectionPlace, Slice};

/// All that there is to walk through.
pub(super) struct Walk {
    directories: Vec<DirectoryPlace>,
    subpartitions: u32,
    /// The subpartition that comes first.
    rotation: u32,
    /// Where each shared slice begins: the stretches' ends.
    common: Vec<u64>,
    stretch: usize,
    /// How many subpartitions of the stretch are done; behind them comes what ends it.
    turn: u32,
    /// Where the next of them goes on, if it did not fit at once.
    directory: usize,
}

/// Sections that are to be read together.
pub(super) struct Sections {
    /// In the order of the slices.
    places: Vec<SectionPlace>,
    /// Of these slices only those that begin here.
    range: Range<u64>,
}

/// Slices and whose they are; none: everybody's.
pub(super) type Order = VecDeque<(Option<SubpartitionIndex>, Slice)>;

impl Walk {
    pub(super) fn new(directories: Vec<DirectoryPlace>, subpartitions: u32, rotation: u32, common: Vec<u64>) -> Self {
        Self { directories, subpartitions, rotation, common, stretch: 0, turn: 0, directory: 0 }
    }

    /// All that there are, as they were given.
    pub(super) fn into_directories(self) -> Vec<DirectoryPlace> {
        self.directories
    }

    /// The next sections: together at most so many bytes, and so many with the pages around them, unless one has more.
    pub(super) fn next(&mut self, bytes_max: u64, read_bytes_max: u64) -> Option<Sections> {
        while self.stretch <= self.common.len() {
            let sections = match self.turn == self.subpartitions {
                true => self.shared(),
                false => self.own(Budget { bytes: bytes_max, read_bytes: read_bytes_max }),
            };
            if !sections.places.is_empty() {
                return Some(sections);
            }
        }
        None
    }

    /// Where the slices of the stretch begin.
    fn range(&self) -> Range<u64> {
        let begin = self.stretch.checked_sub(1).map_or(0, |before| self.common[before]);
        begin..self.common.get(self.stretch).copied().unwrap_or(u64::MAX)
    }

    /// The directories that list slices of the stretch.
    fn directories(&self) -> Range<usize> {
        let Range { start, end } = self.range();
        let first = self.directories.partition_point(|directory| directory.offset() <= start);
        let last = self.directories.partition_point(|directory| directory.offset() < end);
        first..(last + 1).min(self.directories.len())
    }

    /// The slice at the stretch's end.
    fn shared(&mut self) -> Sections {
        let end = self.range().end;
        (self.stretch, self.turn, self.directory) = (self.stretch + 1, 0, 0);
        let index = self.directories.partition_point(|directory| directory.offset() <= end);
        let place = self.directories.get(index).and_then(DirectoryPlace::common);
        Sections { places: place.into_iter().collect(), range: end..end.saturating_add(1) }
    }

    /// Of as many subpartitions as fit, or of one as many directories as fit.
    fn own(&mut self, budget: Budget) -> Sections {
        let range = self.range();
        let all = self.directories();
        let first = self.subpartition(self.turn);
        // Up to where the order begins anew: sections lie one behind the other in the order of the subpartitions.
        let most = (self.subpartitions - self.turn).min(self.subpartitions - first);
        let mut touched = vec![false; all.len()];
        let (mut left, mut places) = (Some(budget), Vec::new());
        for subpartition in first..first + most {
            let from = if subpartition == first { self.directory.max(all.start) } else { all.start };
            let its = places.len();
            for at in from..all.end {
                let Some(place) = self.directories[at].section(SubpartitionIndex(subpartition)) else { continue };
                let is_new = !std::mem::replace(&mut touched[at - all.start], true);
                left = left.and_then(|left| left.less(u64::from(place.bytes), is_new));
                if left.is_some() || places.is_empty() {
                    places.push(place);
                    continue;
                }
                // The first one goes on here; another one has its turn when all of it fits.
                match subpartition == first {
                    true => self.directory = at,
                    false => places.truncate(its),
                }
                return Sections { places, range };
            }
            (self.turn, self.directory) = (self.turn + 1, 0);
        }
        Sections { places, range }
    }

    /// Which subpartition has the turn.
    fn subpartition(&self, turn: u32) -> u32 {
        ((u64::from(self.rotation) + u64::from(turn)) % u64::from(self.subpartitions)) as u32
    }
}

/// What may still be asked for.
#[derive(Clone, Copy)]
struct Budget {
    bytes: u64,
    /// With the pages around them.
    read_bytes: u64,
}

impl Budget {
    fn less(self, bytes: u64, is_alone: bool) -> Option<Self> {
        let around = if is_alone { 2 * ALIGNMENT as u64 } else { 0 };
        let (bytes, read_bytes) = (self.bytes.checked_sub(bytes)?, self.read_bytes.checked_sub(bytes + around)?);
        Some(Self { bytes, read_bytes })
    }
}

impl Sections {
    /// Where they lie: logical offsets and bytes.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.places.iter().map(|place| (place.offset, u64::from(place.bytes)))
    }

    /// The slices, in their order; `read` fills in the bytes from a logical offset on.
    pub(super) fn decode(self, mut read: impl FnMut(u64, &mut [u8])) -> Result<Order, FormatError> {
        let mut slices = Order::new();
        let mut bytes = Vec::new();
        for place in &self.places {
            bytes.resize(place.bytes as usize, 0);
            read(place.offset, &mut bytes);
            let all = place.decode(&bytes).map_err(|error| error.behind(place.offset))?;
            let of_stretch = all.into_iter().filter(|slice| self.range.contains(&slice.offset));
            slices.extend(of_stretch.map(|slice| (place.subpartition, slice)));
        }
        Ok(slices)
    }
}
