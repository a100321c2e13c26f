//! The memory of a process: its arena, and the ledger of who holds what.

use thiserror::Error;

use crate::{
    arena::Arena,
    class::{GRANULE, SizeClass},
    ledger::{Ledger, PoolSlot},
    pool::{BufferPool, PoolSpec},
    segment::References,
    sync::{Arc, Mutex, MutexGuard},
    waiters::{Waits, Wakers},
};

/// All shuffle memory of a process and its division among pools. Clones are the same memory.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
}

/// A pool was refused because the floors of those before it leave too little.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{owner} needs {needed_bytes} bytes of shuffle memory and {available_bytes} are left: \
     enlarge it by {missing_bytes} bytes, or run less at a time"
)]
pub struct AdmissionError {
    /// Who asked: [`PoolSpec::owner`].
    pub owner: String,
    /// The floor asked for.
    pub needed_bytes: usize,
    /// What no floor has, in whole units of the asker.
    pub available_bytes: usize,
    /// By how much the arena is too small.
    pub missing_bytes: usize,
}

/// How the memory is used at one moment.
#[derive(Clone, Debug)]
pub struct MemoryStatistics {
    /// Size of the arena.
    pub arena_bytes: usize,
    /// Free and part of no pool's floor.
    pub free_bytes: usize,
    /// Segments with at least one handle.
    pub outstanding_segments: usize,
    /// Bytes of those segments, those of closed pools included.
    pub outstanding_bytes: usize,
    /// The open pools, in no order.
    pub pools: Vec<PoolStatistics>,
}

/// How one pool is used at one moment.
#[derive(Clone, Debug)]
pub struct PoolStatistics {
    /// [`PoolSpec::owner`].
    pub owner: String,
    /// [`PoolSpec::unit`].
    pub unit: SizeClass,
    /// What is always its own.
    pub floor_bytes: usize,
    /// The part of the floor that others still hold; nothing is lent until it is back.
    pub owed_bytes: usize,
    /// Floor and share of the excess.
    pub limit_bytes: usize,
    /// Bytes of its segments that have a handle.
    pub in_use_bytes: usize,
    /// Tasks that wait now.
    pub waiters: usize,
    /// Waits so far.
    pub waits: Waits,
}

/// What every pool and segment reaches.
pub(crate) struct Shared {
    arena: Arena,
    /// By first granule of a segment.
    references: Box<[References]>,
    ledger: Mutex<Ledger>,
}

impl Memory {
    /// Takes charge of an arena; the caller may keep a clone to register it with devices.
    ///
    /// # Panics
    /// If another `Memory` was made of the arena.
    pub fn new(arena: Arena) -> Memory {
        Memory::with_reserve(arena, SizeClass::UNIT, 0)
    }

    /// As [`Memory::new`]; `units` of this size are for floors only. As long as all floors together
    /// are no more than these, a new pool finds its own at once, whatever was lent to others. (Units
    /// of pools that are gone count again once all that was lent of them is back.)
    ///
    /// # Panics
    /// If another `Memory` was made of the arena.
    pub fn with_reserve(arena: Arena, unit: SizeClass, units: usize) -> Memory {
        arena.claim();
        let granules = (arena.bytes() / GRANULE) as u32;
        let references = (0..granules).map(|_| References::none()).collect();
        let ledger = Mutex::new(Ledger::new(granules, unit, units));
        Memory { shared: Arc::new(Shared { arena, references, ledger }) }
    }

    /// The arena, to register with devices.
    pub fn arena(&self) -> &Arena {
        &self.shared.arena
    }

    /// Opens a pool and shares the excess out anew. Refused if the floors of the pools before it
    /// leave too few blocks of its unit: with one unit for all, if all floors together would be
    /// more than the arena. Floors do not move, so admit those of large units first.
    ///
    /// If part of the floor is lent to others at the moment, the pool is open at once, has that
    /// part as it returns, and nothing more is lent until then ([`PoolStatistics::owed_bytes`]).
    /// Floors admitted while memory is not yet in use are there at once.
    ///
    /// # Panics
    /// If the maximum is below the floor.
    pub fn pool(&self, spec: PoolSpec) -> Result<BufferPool, AdmissionError> {
        spec.check();
        let admitted = self.shared.change(|ledger, out| ledger.admit(spec.clone(), out));
        match admitted {
            Ok(slot) => Ok(BufferPool::of(Arc::clone(&self.shared), slot, spec)),
            Err(refused) => Err(AdmissionError {
                owner: spec.owner,
                needed_bytes: refused.needed,
                available_bytes: refused.available,
                missing_bytes: refused.needed - refused.available,
            }),
        }
    }

    /// How often it was divided anew among the pools: while this is the same, so are their limits.
    pub fn divisions(&self) -> u64 {
        self.shared.ledger().divisions()
    }

    /// How the memory is used now.
    pub fn statistics(&self) -> MemoryStatistics {
        let ledger = self.shared.ledger();
        let totals = ledger.totals();
        let pools = ledger.open_accounts().map(|account| PoolStatistics {
            owner: account.spec.owner.clone(),
            unit: account.spec.unit,
            floor_bytes: account.spec.floor_bytes(),
            owed_bytes: account.owed * account.spec.unit.bytes(),
            limit_bytes: account.limit,
            in_use_bytes: account.in_use(),
            waiters: account.waiters.len(),
            waits: account.waiters.waits(),
        });
        MemoryStatistics {
            arena_bytes: self.shared.arena.bytes(),
            free_bytes: totals.free_bytes,
            outstanding_segments: totals.outstanding_segments,
            outstanding_bytes: totals.outstanding_bytes,
            pools: pools.collect(),
        }
    }
}

impl Shared {
    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    pub(crate) fn references(&self, granule: u32) -> &References {
        &self.references[granule as usize]
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("the ledger is sound: no foreign code runs under its lock")
    }

    /// Changes the ledger, then wakes whom the change serves.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Ledger, &mut Wakers) -> T) -> T {
        let mut out = Wakers::default();
        let result = change(&mut self.ledger(), &mut out);
        out.wake();
        result
    }

    /// Takes a segment back whose last handle is gone.
    pub(crate) fn release(&self, granule: u32) {
        self.change(|ledger, out| ledger.release(granule, out));
    }

    pub(crate) fn close(&self, slot: PoolSlot) {
        self.change(|ledger, out| ledger.close(slot, out));
    }
}
