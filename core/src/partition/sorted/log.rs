//! What a task writes, in the order in which it writes it, until it is sorted: entries one behind the other in memory
//! that does not depend on the number of subpartitions.
//!
//! An entry is its target, its length with two flags, four bytes each, then a part of the target's stream. Data for all
//! subpartitions is an entry like any other, in a *phase* of its own: what is written for one and what is written for
//! all take turns, and within a subpartition the order of phases is the order of writing.

use sluice_memory::{Buffer, BufferMut};

use super::super::open::copy_part;
use crate::record::LENGTH_BYTES;

/// Bytes of an entry's head.
pub(super) const ENTRY_BYTES: usize = 8;
/// A part of a record shorter than this is not worth an entry of its own at the end of a segment.
const PART_BYTES_MIN: usize = 64;
/// What an entry holds is an event.
const EVENT: u32 = 1 << 31;
/// A record ends with this entry.
const WHOLE: u32 = 1 << 30;
/// More segments cannot be named by a place.
const SEGMENTS_MAX: usize = (1 << 12) - 1;
/// Segments have at most 512 KiB.
const OFFSET_BITS: u32 = 20;
/// Many changes between data for one and data for all make a region of many small pieces; it ends before.
const PHASES_MAX: usize = 64;

/// Where an entry lies: its segment and its offset therein.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u32);

impl Place {
    fn new(segment: usize, offset: usize) -> Self {
        Self((segment as u32) << OFFSET_BITS | offset as u32)
    }

    pub(super) fn segment(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    fn offset(self) -> usize {
        (self.0 & ((1 << OFFSET_BITS) - 1)) as usize
    }
}

/// Entries that are all for one subpartition each, or all for every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) from: Place,
    pub(super) is_broadcast: bool,
}

/// What an entry of the log holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) is_event: bool,
    /// A record ends with it.
    pub(super) is_whole: bool,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing<'a> {
    /// A record, with its length before it in the stream.
    Record(&'a [u8]),
    /// An event, encoded; it lies in one piece.
    Event(&'a [u8]),
}

impl Writing<'_> {
    fn length(self) -> usize {
        match self {
            Self::Record(record) => LENGTH_BYTES + record.len(),
            Self::Event(event) => event.len(),
        }
    }
}

/// Why something is not written whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// It takes another segment.
    Segment,
    /// It takes another region.
    Region,
}

/// The log that is being written.
#[derive(Default)]
pub(super) struct SortLog {
    full: Vec<(BufferMut, usize)>,
    open: BufferMut,
    filled: usize,
    phases: Vec<Phase>,
    /// Bytes of memory that it holds.
    held: usize,
}

/// A log that is complete: what becomes one region of the file.
pub(super) struct Region {
    segments: Vec<(Buffer, usize)>,
    phases: Vec<Phase>,
}

impl SortLog {
    /// Writes a record whole, if there is room, to one target.
    #[inline]
    pub(super) fn append_whole(&mut self, target: u32, record: &[u8]) -> bool {
        let whole = LENGTH_BYTES + record.len();
        let room = &mut self.open[self.filled..];
        let unicast = self.phases.last().is_some_and(|phase| !phase.is_broadcast);
        if room.len() < ENTRY_BYTES + whole || !unicast {
            return false;
        }
        room[..4].copy_from_slice(&target.to_le_bytes());
        room[4..8].copy_from_slice(&(whole as u32 | WHOLE).to_le_bytes());
        room[8..12].copy_from_slice(&(record.len() as u32).to_le_bytes());
        room[12..12 + record.len()].copy_from_slice(record);
        self.filled += ENTRY_BYTES + whole;
        true
    }

    /// Writes as much as there is room for, from `offset` on; `None` as target: for all. Says how far it came.
    pub(super) fn append(
        &mut self,
        target: Option<u32>,
        writing: Writing<'_>,
        mut offset: usize,
    ) -> Result<(), (usize, Full)> {
        let whole = writing.length();
        loop {
            let room = self.open.len() - self.filled;
            let usable = room.saturating_sub(ENTRY_BYTES);
            let left = whole - offset;
            // What fits into a segment of its own is not cut in two; an event never is.
            let fits_alone = left + ENTRY_BYTES <= self.open.len();
            let is_event = matches!(writing, Writing::Event(_));
            if usable < left && (fits_alone || is_event || usable < PART_BYTES_MIN) {
                return Err((offset, self.full_of_what()));
            }
            self.enter_phase(target.is_none()).map_err(|full| (offset, full))?;
            let part = usable.min(left);
            let room = &mut self.open[self.filled..];
            let flags = if is_event { EVENT } else { 0 } | if part == left && !is_event { WHOLE } else { 0 };
            room[..4].copy_from_slice(&target.unwrap_or(0).to_le_bytes());
            room[4..8].copy_from_slice(&(part as u32 | flags).to_le_bytes());
            let room = &mut room[ENTRY_BYTES..ENTRY_BYTES + part];
            offset = match writing {
                Writing::Record(record) => copy_part(room, record, offset),
                Writing::Event(event) => {
                    room.copy_from_slice(event);
                    event.len()
                }
            };
            self.filled += ENTRY_BYTES + part;
            if offset == whole {
                return Ok(());
            }
        }
    }

    fn full_of_what(&self) -> Full {
        if self.full.len() + 1 >= SEGMENTS_MAX { Full::Region } else { Full::Segment }
    }

    fn enter_phase(&mut self, is_broadcast: bool) -> Result<(), Full> {
        if self.phases.last().is_some_and(|phase| phase.is_broadcast == is_broadcast) {
            return Ok(());
        }
        if self.phases.len() >= PHASES_MAX {
            return Err(Full::Region);
        }
        self.phases.push(Phase { from: Place::new(self.full.len(), self.filled), is_broadcast });
        Ok(())
    }

    /// Goes on in another segment.
    pub(super) fn put(&mut self, segment: BufferMut) {
        self.held += segment.len();
        let full = std::mem::replace(&mut self.open, segment);
        let filled = std::mem::take(&mut self.filled);
        if !full.is_empty() {
            self.full.push((full, filled));
        } else {
            debug_assert_eq!(filled, 0, "nothing was written into no segment");
        }
    }

    /// Bytes of memory that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.held
    }

    pub(super) fn is_empty(&self) -> bool {
        self.phases.is_empty()
    }

    /// What was written, to be sorted; the log begins anew.
    pub(super) fn take(&mut self) -> Region {
        let log = std::mem::take(self);
        let last = (log.open, log.filled);
        let segments = log.full.into_iter().chain([last]).map(|(segment, filled)| (segment.freeze(), filled));
        Region { segments: segments.collect(), phases: log.phases }
    }

    /// Gives memory back that nothing is written to yet.
    pub(super) fn give_up_room(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

impl Region {
    pub(super) fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// How many segments its entries lie in.
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The end of a phase, as the place where the next one begins.
    pub(super) fn end_of(&self, phase: usize) -> Place {
        match self.phases.get(phase + 1) {
            Some(next) => next.from,
            None => Place::new(self.segments.len(), 0),
        }
    }

    /// The entry at a place.
    #[inline]
    pub(super) fn entry(&self, place: Place) -> Entry<'_> {
        let (segment, _) = &self.segments[place.segment()];
        let entry = &segment[place.offset()..];
        let (head, rest) = entry.split_first_chunk::<ENTRY_BYTES>().expect("an entry was written here");
        let [.., l0, l1, l2, l3] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let bytes = &rest[..(length & !(EVENT | WHOLE)) as usize];
        Entry { bytes, is_event: length & EVENT != 0, is_whole: length & WHOLE != 0 }
    }

    /// The entries from a place on that lie in its segment and before `end`: their places and targets.
    pub(super) fn entries(&self, from: Place, end: Place) -> impl Iterator<Item = (Place, u32)> {
        let segment = from.segment();
        let (bytes, filled) = match self.segments.get(segment) {
            Some((buffer, filled)) => (&buffer[..], *filled),
            None => (&[][..], 0),
        };
        let limit = if end.segment() == segment { end.offset() } else { filled };
        let mut offset = from.offset();
        std::iter::from_fn(move || {
            if offset >= limit {
                return None;
            }
            let (head, _) = bytes[offset..].split_first_chunk::<ENTRY_BYTES>().expect("an entry was written here");
            let [t0, t1, t2, t3, l0, l1, l2, l3] = *head;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) & !(EVENT | WHOLE);
            let place = Place::new(segment, offset);
            offset += ENTRY_BYTES + length as usize;
            Some((place, u32::from_le_bytes([t0, t1, t2, t3])))
        })
    }

    /// The first place of the segment behind a place's.
    pub(super) fn next_segment(place: Place) -> Place {
        Place::new(place.segment() + 1, 0)
    }
}
