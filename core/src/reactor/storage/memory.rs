//! Memory to read into: as much as there is beyond the floors, and two buffers of its own in any case, one to read a
//! block into and one for what it decompresses to.

use std::task::{Context, Poll, Waker};

use sluice_memory::{BufferMut, BufferPool, SizeClass};

use crate::mailbox::Mailbox;
use crate::spill::ALIGNMENT;

/// The pools that a worker reads with.
#[derive(Clone)]
pub(crate) struct ReadPools {
    /// One unit of [`MemoryNeed::read_unit`](crate::memory_need::MemoryNeed::read_unit), to read into.
    pub(crate) floor: BufferPool,
    /// Another one, for what is read to decompress to: never taken by reads.
    pub(crate) raw: BufferPool,
    pub(crate) elastic: BufferPool,
}

pub(super) struct ReadMemory {
    pools: ReadPools,
    waker: Waker,
}

impl ReadMemory {
    pub(super) fn new(pools: &ReadPools, mailbox: &Mailbox) -> Self {
        Self { pools: pools.clone(), waker: mailbox.waker() }
    }

    /// The most that one request of a reader asks for, so that it fits whatever there is.
    pub(super) fn request_bytes_max(&self) -> usize {
        self.pools.floor.unit().bytes() - 2 * ALIGNMENT
    }

    /// All that reading may take at present, in bytes.
    pub(super) fn limit_bytes(&self) -> usize {
        self.pools.elastic.limit_bytes() + self.pools.floor.floor_bytes()
    }

    /// What could be had now, in bytes.
    pub(super) fn available_bytes(&self) -> u64 {
        (self.pools.elastic.available_bytes() + self.pools.floor.available_bytes()) as u64
    }

    /// A buffer of this class or, if there is less, of the largest that there is; with room for a block at least.
    pub(super) fn acquire(&self, class: SizeClass) -> Option<BufferMut> {
        let unit = self.pools.floor.unit();
        let large = SizeClass::all().rev().filter(|large| *large <= class && *large >= unit.min(class));
        let elastic = large.into_iter().find_map(|class| self.pools.elastic.try_acquire(class));
        elastic.or_else(|| self.pools.floor.try_acquire(class.min(unit)))
    }

    /// A buffer of exactly this class, if that is no more than what was acquired for the same.
    pub(super) fn acquire_exactly(&self, class: SizeClass) -> Option<BufferMut> {
        let fits = class <= self.pools.floor.unit();
        self.pools.elastic.try_acquire(class).or_else(|| if fits { self.pools.floor.try_acquire(class) } else { None })
    }

    /// A buffer for the raw bytes of a block.
    pub(super) fn acquire_raw(&self, class: SizeClass) -> Option<BufferMut> {
        let fits = class <= self.pools.raw.unit();
        self.pools.elastic.try_acquire(class).or_else(|| if fits { self.pools.raw.try_acquire(class) } else { None })
    }

    /// Whether there is all of the memory to decompress to that is always there; else the reactor looks again when there is.
    pub(super) fn has_raw_or_wakes(&self) -> bool {
        let unit = self.pools.raw.unit();
        self.pools.raw.poll_acquire(&mut Context::from_waker(&self.waker), unit, unit.bytes()).is_ready()
    }

    /// There is none: the reactor looks again when there is.
    pub(super) fn wake_when_there_is_some(&self) -> Option<BufferMut> {
        let class = self.pools.floor.unit();
        match self.pools.floor.poll_acquire(&mut Context::from_waker(&self.waker), class, class.bytes()) {
            Poll::Ready(buffer) => Some(buffer),
            Poll::Pending => None,
        }
    }
}
