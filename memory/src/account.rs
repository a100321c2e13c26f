//! What one pool has, may have and waits for.

use crate::{
    blocks::Blocks,
    budget::Claim,
    class::SizeClass,
    free_list::{Granules, Owner},
    pool::PoolSpec,
    waiters::{Shortage, Waiters},
};

/// One pool's books. Its floor is made of whole blocks that belong to it alone; what it has beyond
/// comes from the common blocks, and returns there.
pub(crate) struct Account {
    pub(crate) spec: PoolSpec,
    /// The floor's free blocks.
    pub(crate) floor: Blocks,
    /// The first granules of the floor's units; short of `owed` units.
    pub(crate) units: Vec<u32>,
    /// Units of the floor that others still hold.
    pub(crate) owed: usize,
    pub(crate) floor_in_use: usize,
    pub(crate) excess_in_use: usize,
    /// Floor and share, in bytes.
    pub(crate) limit: usize,
    pub(crate) waiters: Waiters,
    /// Whether it is among those to look at when common blocks are freed.
    pub(crate) starved: bool,
    /// False once its last handle is gone; then it only waits for its buffers.
    pub(crate) open: bool,
}

impl Account {
    pub(crate) fn new(spec: PoolSpec, owner: Owner, units: Vec<u32>, granules: &mut Granules) -> Account {
        let owed = spec.floor_units - units.len();
        let limit = spec.floor_bytes();
        let mut account = Account {
            floor: Blocks::new(owner, spec.unit),
            spec,
            units: Vec::new(),
            owed: owed + units.len(),
            floor_in_use: 0,
            excess_in_use: 0,
            limit,
            waiters: Waiters::default(),
            starved: false,
            open: true,
        };
        // The lowest address ends up on top.
        units.into_iter().rev().for_each(|unit| account.endow(unit, granules));
        account
    }

    /// Adds a unit that was owed to the floor.
    pub(crate) fn endow(&mut self, unit: u32, granules: &mut Granules) {
        self.owed -= 1;
        self.units.push(unit);
        self.floor.give(granules, unit, self.spec.unit);
    }

    pub(crate) fn claim(&self) -> Claim {
        Claim { floor: self.spec.floor_bytes(), maximum: self.spec.bytes_max, unit: self.spec.unit.bytes() }
    }

    pub(crate) fn in_use(&self) -> usize {
        self.floor_in_use + self.excess_in_use
    }

    /// What it may still take from the common blocks, in bytes.
    pub(crate) fn share_left(&self) -> usize {
        // A share may shrink below what is in use: nothing is taken away.
        (self.limit - self.spec.floor_bytes()).saturating_sub(self.excess_in_use)
    }

    /// What it could acquire, of `common` free bytes.
    pub(crate) fn available(&self, common: usize) -> usize {
        self.floor.free_bytes() + self.share_left().min(common)
    }

    /// Why it got nothing.
    pub(crate) fn shortage(&self, class: SizeClass) -> Shortage {
        if self.share_left() < class.bytes() { Shortage::ShareUsedUp } else { Shortage::ArenaExhausted }
    }
}
