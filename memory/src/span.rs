//! A range of a segment and a share in it: what both kinds of buffer are made of.

use std::{mem, ptr::NonNull};

use crate::{
    arena::{Location, RegionId},
    class::SizeClass,
    memory::Shared,
    segment::SegmentRef,
    sync::Arc,
};

/// Whether others may hold the same bytes is for the buffer around it to know.
pub(crate) struct Span {
    start: NonNull<u8>,
    length: usize,
    /// `None` only if the length is 0.
    segment: Option<SegmentRef>,
}

// SAFETY: a span never follows `start`; the buffers that do say why they may.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Default for Span {
    fn default() -> Span {
        Span::EMPTY
    }
}

impl Clone for Span {
    fn clone(&self) -> Span {
        self.alias(0, self.length)
    }
}

impl Span {
    pub(crate) const EMPTY: Span = Span { start: NonNull::dangling(), length: 0, segment: None };

    /// All of a segment that the ledger has just handed out.
    pub(crate) fn segment(shared: Arc<Shared>, granule: u32, class: SizeClass) -> Span {
        let start = shared.arena().granule(granule);
        let segment = Some(SegmentRef::first(shared, granule, class));
        Span { start, length: class.bytes(), segment }
    }

    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn segment_bytes(&self) -> usize {
        self.segment.as_ref().map_or(0, |segment| segment.class().bytes())
    }

    /// An empty span without segment has no place: any will do for no bytes.
    pub(crate) fn location(&self) -> Location {
        match &self.segment {
            Some(segment) => segment.shared().arena().location(self.start),
            None => Location { region: RegionId(0), offset: 0 },
        }
    }

    /// Takes the front of `at` bytes; `self` keeps the rest. A side without bytes keeps no segment.
    pub(crate) fn split_to(&mut self, at: usize) -> Span {
        assert!(at <= self.length, "split at {at} of {} bytes", self.length);
        if at == 0 {
            return Span::EMPTY;
        }
        if at == self.length {
            return mem::replace(self, Span::EMPTY);
        }
        let front = Span { start: self.start, length: at, segment: self.segment.clone() };
        // SAFETY: `at < length` by the assertion and the return above; all of the span is in one mapping.
        self.start = unsafe { self.start.add(at) };
        self.length -= at;
        front
    }

    /// Takes what follows `at`; `self` keeps the front.
    pub(crate) fn split_off(&mut self, at: usize) -> Span {
        let front = self.split_to(at);
        mem::replace(self, front)
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        if length < self.length {
            drop(self.split_off(length));
        }
    }

    /// A second span of part of the same bytes: only for those who share them read-only.
    pub(crate) fn alias(&self, from: usize, to: usize) -> Span {
        assert!(from <= to && to <= self.length, "range {from}..{to} of {} bytes", self.length);
        if from == to {
            return Span::EMPTY;
        }
        // SAFETY: `from < to <= length` by the assertion and the return above.
        let start = unsafe { self.start.add(from) };
        Span { start, length: to - from, segment: self.segment.clone() }
    }

    /// Appends the span that follows this one in the same segment. A side without bytes always fits.
    pub(crate) fn try_merge(&mut self, next: Span) -> Result<(), Span> {
        if next.length == 0 {
            return Ok(());
        }
        if self.length == 0 {
            *self = next;
            return Ok(());
        }
        if !self.is_followed_by(&next) {
            return Err(next);
        }
        self.length += next.length;
        Ok(())
    }

    /// Whether no other span has a share in the segment: then no other handle can come into being but by this one.
    pub(crate) fn is_alone(&self) -> bool {
        self.segment.as_ref().is_none_or(SegmentRef::is_alone)
    }

    fn is_followed_by(&self, next: &Span) -> bool {
        let same = match (&self.segment, &next.segment) {
            (Some(segment), Some(other)) => segment.same_segment(other),
            _ => false,
        };
        same && self.start.addr().get() + self.length == next.start.addr().get()
    }
}
