//! Orders reads by file and offset, so that one pass of the disk serves many readers.
//!
//! Files take turns, and each is read from its lowest request upwards: whoever is behind the others comes first. So readers
//! of neighbouring slices, a region of a partition after the other, stay together, and what lies close together is read
//! at once: one read for all. Whoever has waited for too long is fetched out of turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use sluice_protocol::Time;

/// What every read begins and ends at a multiple of, in bytes.
const ALIGNMENT: u64 = 4096;

/// The most that one read fetches, in bytes. Larger ones are handed to kernel threads and get slower.
pub const READ_BYTES_MAX: usize = 512 << 10;

/// So many reads at least go by place between two that go by age: were all overdue, neighbours of one age would be rare,
/// and small reads make a slow disk slower.
const IN_TURN_MIN: u32 = 7;

/// How many requests that do not fit are passed over in search of one that does.
const PASSED_OVER_MAX: usize = 64;

/// A range of a file that someone wants to read; it need not be aligned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<T> {
    /// The file.
    pub file: u64,
    /// Where the range begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; more than none.
    pub bytes: u32,
    /// Who wants it; comes back with it.
    pub tag: T,
}

/// One read for several requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// The file.
    pub file: u64,
    /// Where it begins: aligned.
    pub offset: u64,
    /// How long it is, in bytes: aligned.
    pub bytes: usize,
    /// What it serves, by offset; of equal offsets the shorter first, of equal ranges the one that came first.
    pub requests: Vec<Request<T>>,
}

/// How reads are joined, and how long one may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElevatorConfig {
    /// So many bytes between two requests are read along to make one read of two. Reading 16 KiB more costs less than
    /// another request, on every disk there is.
    pub gap_bytes_max: u32,
    /// A request that has waited for so long goes first, wherever it is.
    pub deadline: Duration,
}

impl Default for ElevatorConfig {
    fn default() -> Self {
        Self { gap_bytes_max: 16 << 10, deadline: Duration::from_millis(500) }
    }
}

/// All requests to one disk that wait.
#[derive(Debug)]
pub struct Elevator<T> {
    config: ElevatorConfig,
    waiting: BTreeMap<Place, Waiting<T>>,
    by_age: BTreeSet<(Time, u64, Place)>,
    /// The file that was read last: the next one has the next turn.
    last_file: Option<u64>,
    /// Reads since the last one that was out of turn.
    in_turn: u32,
    /// Of the next request.
    number: u64,
    requested_bytes: u64,
}

/// The order upwards. Equal ranges differ by the number only, so they lie next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: u64,
    offset: u64,
    bytes: u32,
    number: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    since: Time,
    tag: T,
}

impl<T> Elevator<T> {
    /// Nothing waits.
    pub fn new(config: ElevatorConfig) -> Self {
        let waiting = BTreeMap::new();
        let (by_age, last_file) = (BTreeSet::new(), None);
        Self { config, waiting, by_age, last_file, in_turn: IN_TURN_MIN, number: 0, requested_bytes: 0 }
    }

    /// Adds a request; O(log n).
    ///
    /// # Panics
    /// If it is empty, or needs more than [`READ_BYTES_MAX`] once it is aligned: no read could serve it.
    pub fn push(&mut self, now: Time, request: Request<T>) {
        let Request { file, offset, bytes, tag } = request;
        let place = Place { file, offset, bytes, number: self.number };
        let aligned = place.span().aligned_bytes();
        assert!(bytes > 0 && aligned <= READ_BYTES_MAX as u64, "a request of {bytes} bytes, {aligned} aligned");
        self.number += 1;
        self.requested_bytes += u64::from(bytes);
        self.by_age.insert((now, place.number, place));
        self.waiting.insert(place, Waiting { since: now, tag });
    }

    /// The next read, of at most `bytes_max` and [`READ_BYTES_MAX`]. O(log n) for each request that it serves.
    ///
    /// Whoever has waited for the deadline is first, the oldest of them, but of eight reads in a row only one is for such;
    /// then whoever is the lowest of the file whose turn it is. To that one are joined, upwards and then downwards, its neighbours that overlap, touch, or lie no further away than
    /// the gap, up to the first that does not fit. Equal ranges are always joined: they are read once.
    ///
    /// `None`: nothing waits; or who has waited for the deadline does not fit, and nobody may take the memory that it
    /// waits for; or nothing fits among the next 64. Call again with more memory.
    pub fn next_batch(&mut self, now: Time, bytes_max: usize) -> Option<Batch<T>> {
        let (span, places) = self.next_places(now, bytes_max)?;
        let file = places.first()?.file;
        self.in_turn = if self.overdue(now).is_some() { 0 } else { self.in_turn.saturating_add(1) };
        self.last_file = Some(file);
        let requests = places.into_iter().map(|place| self.take(place)).collect();
        Some(Batch { file, offset: span.aligned_begin(), bytes: span.aligned_bytes() as usize, requests })
    }

    /// How long the next read would be, in bytes; it may grow as long as it is not begun.
    pub fn next_bytes(&self, now: Time, bytes_max: usize) -> Option<usize> {
        let (span, _) = self.next_places(now, bytes_max)?;
        Some(span.aligned_bytes() as usize)
    }

    fn next_places(&self, now: Time, bytes_max: usize) -> Option<(Span, Vec<Place>)> {
        let bytes_max = bytes_max.min(READ_BYTES_MAX) as u64 / ALIGNMENT * ALIGNMENT;
        let start = match self.overdue(now) {
            Some(oldest) => Some(oldest).filter(|place| place.span().aligned_bytes() <= bytes_max),
            None => self.in_turn().take(PASSED_OVER_MAX).find(|place| place.span().aligned_bytes() <= bytes_max),
        }?;
        Some(self.join(start, bytes_max))
    }

    /// Drops the requests of which `keep` says no; O(n).
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.waiting.retain(|place, waiting| {
            let stays = keep(&waiting.tag);
            if !stays {
                self.by_age.remove(&(waiting.since, place.number, *place));
                self.requested_bytes -= u64::from(place.bytes);
            }
            stays
        });
    }

    /// How many requests wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The bytes of all requests that wait; those of several count for each.
    pub fn requested_bytes(&self) -> u64 {
        self.requested_bytes
    }

    /// The oldest, if it has waited for the deadline and others have had their turns.
    fn overdue(&self, now: Time) -> Option<Place> {
        if self.in_turn < IN_TURN_MIN {
            return None;
        }
        let (since, _, place) = self.by_age.first()?;
        (now.since(*since) >= self.config.deadline).then_some(*place)
    }

    /// All, file by file from the one whose turn it is, each from its lowest.
    fn in_turn(&self) -> impl Iterator<Item = Place> {
        let behind = |file| Place { file, offset: u64::MAX, bytes: u32::MAX, number: u64::MAX };
        let ahead = self.waiting.range((self.last_file.map_or(Unbounded, |file| Excluded(behind(file))), Unbounded));
        let around = self.waiting.iter().take_while(|(place, _)| self.last_file.is_some_and(|last| place.file <= last));
        ahead.chain(around).map(|(place, _)| *place)
    }

    /// What is read together with the request at `start`, in order.
    fn join(&self, start: Place, bytes_max: u64) -> (Span, Vec<Place>) {
        let mut span = start.span();
        let gap = u64::from(self.config.gap_bytes_max);
        let mut join = |place: &Place| {
            let joined = span.joined(place.span(), gap);
            let joined = joined.filter(|joined| place.file == start.file && joined.aligned_bytes() <= bytes_max)?;
            span = joined;
            Some(*place)
        };
        let above = self.waiting.range((Excluded(start), Unbounded));
        let above: Vec<Place> = above.map_while(|(place, _)| join(place)).collect();
        let below = self.waiting.range(..start).rev();
        let mut places: Vec<Place> = below.map_while(|(place, _)| join(place)).collect();
        places.reverse();
        places.push(start);
        places.extend(above);
        (span, places)
    }

    fn take(&mut self, place: Place) -> Request<T> {
        let Waiting { since, tag } = self.waiting.remove(&place).expect("a place that was just found");
        self.by_age.remove(&(since, place.number, place));
        self.requested_bytes -= u64::from(place.bytes);
        Request { file: place.file, offset: place.offset, bytes: place.bytes, tag }
    }
}

/// A range of a file.
#[derive(Clone, Copy)]
struct Span {
    begin: u64,
    end: u64,
}

impl Place {
    fn span(&self) -> Span {
        Span { begin: self.offset, end: self.offset + u64::from(self.bytes) }
    }
}

impl Span {
    fn aligned_begin(self) -> u64 {
        self.begin / ALIGNMENT * ALIGNMENT
    }

    fn aligned_bytes(self) -> u64 {
        self.end.next_multiple_of(ALIGNMENT) - self.aligned_begin()
    }

    /// Both and what is between; `None` if that is more than `gap`.
    fn joined(self, other: Self, gap: u64) -> Option<Self> {
        let close = other.begin <= self.end.saturating_add(gap) && self.begin <= other.end.saturating_add(gap);
        close.then_some(Self { begin: self.begin.min(other.begin), end: self.end.max(other.end) })
    }
}
