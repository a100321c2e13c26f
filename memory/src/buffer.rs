//! The handles to shuffle memory: one that may write, and one that many may read through.

use std::{
    fmt,
    ops::{Bound, Deref, DerefMut, RangeBounds},
    slice,
};

use crate::{arena::Location, span::Span};

/// A range of a segment that nobody else can reach: exclusive, writable.
///
/// Parts that were split off are exclusive each, and the last of them to drop returns the segment
/// to its pool. What it reads before it is written is left over from earlier use: send only what was written.
#[derive(Default)]
pub struct BufferMut {
    span: Span,
}

impl BufferMut {
    /// No bytes and no segment; costs nothing.
    pub const fn empty() -> BufferMut {
        BufferMut { span: Span::EMPTY }
    }

    /// Of a span that no other span overlaps.
    pub(crate) fn exclusive(span: Span) -> BufferMut {
        BufferMut { span }
    }

    /// Takes the first `at` bytes out; this buffer keeps what follows. No copy.
    ///
    /// # Panics
    /// If `at` is beyond the length.
    pub fn split_to(&mut self, at: usize) -> BufferMut {
        BufferMut { span: self.span.split_to(at) }
    }

    /// Takes what follows the first `at` bytes out; this buffer keeps the front. No copy.
    ///
    /// # Panics
    /// If `at` is beyond the length.
    pub fn split_off(&mut self, at: usize) -> BufferMut {
        BufferMut { span: self.span.split_off(at) }
    }

    /// Gives up what follows the first `length` bytes, for good; without effect on a shorter buffer.
    pub fn truncate(&mut self, length: usize) {
        self.span.truncate(length);
    }

    /// Appends `next` if it begins where this ends, in the same segment, or if either is empty;
    /// else `next` comes back. No copy.
    pub fn try_merge(&mut self, next: BufferMut) -> Result<(), BufferMut> {
        self.span.try_merge(next.span).map_err(|span| BufferMut { span })
    }

    /// Gives up writing, so that it can be shared. No copy.
    pub fn freeze(self) -> Buffer {
        Buffer { span: self.span }
    }

    /// Where its first byte lies, for a device's table. An empty buffer may lie anywhere.
    pub fn location(&self) -> Location {
        self.span.location()
    }
}

impl Deref for BufferMut {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the span lies in a segment that its share keeps from reuse, in a mapping that is
        // initialised (mapped zeroed) and lives as long; nobody else writes there: spans of
        // `BufferMut`s never overlap another (`Ledger` hands a block out once, `Span::split_to` divides).
        unsafe { slice::from_raw_parts(self.span.start().as_ptr(), self.span.length()) }
    }
}

impl DerefMut for BufferMut {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `&mut self` is the only handle to the span, so the only user.
        unsafe { slice::from_raw_parts_mut(self.span.start().as_ptr(), self.span.length()) }
    }
}

/// A range of a segment that nobody can write any more: shared, read-only.
///
/// Clones and slices share the bytes; the last of all handles to a segment returns it to its pool.
/// A small slice keeps all of [`Buffer::segment_bytes`] from reuse.
#[derive(Clone, Default)]
pub struct Buffer {
    span: Span,
}

impl Buffer {
    /// No bytes and no segment; costs nothing.
    pub const fn empty() -> Buffer {
        Buffer { span: Span::EMPTY }
    }

    /// Another handle, to part of the bytes. No copy.
    ///
    /// # Panics
    /// If the range is not within the buffer.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Buffer {
        let from = match range.start_bound() {
            Bound::Included(&from) => from,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&to) => to,
            Bound::Unbounded => self.len(),
        };
        Buffer { span: self.span.alias(from, to) }
    }

    /// Takes the first `at` bytes out; this buffer keeps what follows. No copy.
    ///
    /// # Panics
    /// If `at` is beyond the length.
    pub fn split_to(&mut self, at: usize) -> Buffer {
        Buffer { span: self.span.split_to(at) }
    }

    /// Appends `next` if it begins where this ends, in the same segment, or if either is empty;
    /// else `next` comes back. No copy.
    pub fn try_merge(&mut self, next: Buffer) -> Result<(), Buffer> {
        self.span.try_merge(next.span).map_err(|span| Buffer { span })
    }

    /// Makes it writable again if nobody else has a handle to its segment; else it comes back. No copy. For memory
    /// that was lent to a device to read, and is used anew.
    pub fn try_thaw(self) -> Result<BufferMut, Buffer> {
        if self.span.is_alone() { Ok(BufferMut::exclusive(self.span)) } else { Err(self) }
    }

    /// Where its first byte lies, for a device's table. An empty buffer may lie anywhere.
    pub fn location(&self) -> Location {
        self.span.location()
    }

    /// Bytes that this buffer, however short, keeps from reuse; 0 for an empty one.
    pub fn segment_bytes(&self) -> usize {
        self.span.segment_bytes()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the span lies in a segment that its share keeps from reuse, in a mapping that is
        // initialised (mapped zeroed) and lives as long; nobody writes there: the one `BufferMut`
        // of these bytes became this in `freeze`.
        unsafe { slice::from_raw_parts(self.span.start().as_ptr(), self.span.length()) }
    }
}

impl From<BufferMut> for Buffer {
    fn from(buffer: BufferMut) -> Buffer {
        buffer.freeze()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsRef<[u8]> for BufferMut {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for BufferMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferMut").field("at", &self.location()).field("len", &self.len()).finish()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("at", &self.location()).field("len", &self.len()).finish()
    }
}
