//! Who holds what: everything that is decided under the one lock.
//!
//! Memory is in two places. *Floors*: whole units that belong to one pool from admission to its
//! end, so nobody else can use or fragment them. *Common blocks*: the rest, lent to pools up to
//! their limits.
//!
//! A floor may be due while its memory is lent out. Then the pool is admitted and **owed** the
//! missing units, if they are certain to come: as long as there are enough blocks of its unit
//! without any floor in them (`unfloored_blocks`), what stands in the way is only lent. Until all
//! debts are paid, oldest first, nothing more is lent, so everything that returns merges and pays.
//!
//! Owing is not enough where two sides wait for each other's floors. So some units are kept in
//! *reserve* for floors to come: together with the floors that there are, a given number.

use std::{collections::VecDeque, mem, task::Waker};

use crate::{
    account::Account,
    blocks::Blocks,
    budget,
    class::{GRANULE, SizeClass},
    free_list::{Granules, Owner},
    pool::PoolSpec,
    waiters::{Shortage, Wakers, Want},
};

/// The common blocks' owner; pools are owners by their slot.
const COMMON: Owner = Owner(u32::MAX);

/// Names a pool in the ledger, again in use once the pool is gone and all its buffers are back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolSlot(u32);

/// Whom a segment is charged to; kept at its first granule.
#[derive(Clone, Copy)]
struct Charge {
    slot: PoolSlot,
    class: SizeClass,
    from_floor: bool,
}

pub(crate) struct Ledger {
    granules: Granules,
    common: Blocks,
    /// By first granule; true of outstanding segments only.
    charges: Box<[Charge]>,
    accounts: Vec<Option<Account>>,
    vacant: Vec<PoolSlot>,
    /// Pools that are owed units of their floor, the oldest first.
    creditors: VecDeque<PoolSlot>,
    reserve: Reserve,
    /// Pools with waiters whom their limit would allow what the common blocks lack.
    starved: Vec<PoolSlot>,
    outstanding_segments: usize,
    outstanding_bytes: usize,
    /// How often limits were computed.
    divisions: u64,
}

/// Units that are lent to nobody.
struct Reserve {
    unit: SizeClass,
    /// In reserve and in floors of the same unit, together; fewer while what was lent is not back.
    units_min: usize,
    units: Vec<u32>,
}

/// What a pool that was not admitted would have needed, in bytes.
pub(crate) struct NotAdmitted {
    pub(crate) needed: usize,
    pub(crate) available: usize,
}

/// Sums over all pools, and each pool's books.
pub(crate) struct Totals {
    pub(crate) free_bytes: usize,
    pub(crate) outstanding_segments: usize,
    pub(crate) outstanding_bytes: usize,
}

impl Ledger {
    /// Everything common, of as many granules, but for units in reserve.
    pub(crate) fn new(granule_count: u32, reserve_unit: SizeClass, reserve_units: usize) -> Ledger {
        let mut granules = Granules::new(granule_count);
        let nobody = Charge { slot: PoolSlot(u32::MAX), class: SizeClass::MIN, from_floor: false };
        let mut ledger = Ledger {
            reserve: Reserve { unit: reserve_unit, units_min: reserve_units, units: Vec::new() },
            common: Blocks::covering(&mut granules, COMMON),
            charges: vec![nobody; granules.count() as usize].into_boxed_slice(),
            granules,
            accounts: Vec::new(),
            vacant: Vec::new(),
            creditors: VecDeque::new(),
            starved: Vec::new(),
            outstanding_segments: 0,
            outstanding_bytes: 0,
            divisions: 0,
        };
        ledger.refill_reserve();
        ledger
    }

    /// Lends a block to the pool: of its floor first, else of the common blocks.
    pub(crate) fn acquire(&mut self, slot: PoolSlot, class: SizeClass) -> Result<u32, Shortage> {
        let lending = self.creditors.is_empty();
        let account = self.accounts[slot.index()].as_mut().expect("a pool with handles is open");
        let bytes = class.bytes();
        let mut block = account.floor.take(&mut self.granules, class);
        let from_floor = block.is_some();
        if from_floor {
            account.floor_in_use += bytes;
        } else if lending && account.share_left() >= bytes {
            block = self.common.take(&mut self.granules, class);
            account.excess_in_use += if block.is_some() { bytes } else { 0 };
        }
        let block = block.ok_or_else(|| account.shortage(class))?;
        self.charges[block as usize] = Charge { slot, class, from_floor };
        self.outstanding_segments += 1;
        self.outstanding_bytes += bytes;
        Ok(block)
    }

    /// Takes a block back that is nobody's any more. `out` gets those who can go on.
    pub(crate) fn release(&mut self, block: u32, out: &mut Wakers) {
        let Charge { slot, class, from_floor } = self.charges[block as usize];
        let account = self.accounts[slot.index()].as_mut().expect("an account outlives its segments");
        self.outstanding_segments -= 1;
        self.outstanding_bytes -= class.bytes();
        let in_use = if from_floor { &mut account.floor_in_use } else { &mut account.excess_in_use };
        *in_use -= class.bytes();

        if from_floor && account.open {
            account.floor.give(&mut self.granules, block, class);
            return self.reconsider(slot, out);
        }
        let finished = !account.open && account.in_use() == 0;
        self.common.give(&mut self.granules, block, class);
        if finished {
            self.accounts[slot.index()] = None;
            self.vacant.push(slot);
        } else {
            self.reconsider(slot, out);
        }
        self.common_grew(out);
    }

    /// Opens an account and carves its floor out of the common blocks.
    pub(crate) fn admit(&mut self, spec: PoolSpec, out: &mut Wakers) -> Result<PoolSlot, NotAdmitted> {
        let units = self.carve(&spec);
        let missing = spec.floor_units - units.len();
        let promised = if missing == 0 { 0 } else { self.promised_units(spec.unit, &units) };
        if promised < missing {
            let available = (units.len() + promised) * spec.unit.bytes();
            for &unit in &units {
                self.common.give(&mut self.granules, unit, spec.unit);
            }
            self.refill_reserve();
            return Err(NotAdmitted { needed: spec.floor_bytes(), available });
        }
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.accounts.push(None);
            PoolSlot(self.accounts.len() as u32 - 1)
        });
        let account = Account::new(spec, Owner(slot.0), units, &mut self.granules);
        if account.owed > 0 {
            self.creditors.push_back(slot);
        }
        self.accounts[slot.index()] = Some(account);
        self.refill_reserve();
        self.redistribute(out);
        Ok(slot)
    }

    /// The pool's last handle is gone. What it holds returns later.
    pub(crate) fn close(&mut self, slot: PoolSlot, out: &mut Wakers) {
        let account = self.accounts[slot.index()].as_mut().expect("a pool is closed once");
        account.open = false;
        account.owed = 0;
        account.units.clear();
        account.waiters.abandon(out);
        while let Some((block, class)) = account.floor.take_any(&mut self.granules) {
            self.common.give(&mut self.granules, block, class);
        }
        if account.in_use() == 0 {
            self.accounts[slot.index()] = None;
            self.vacant.push(slot);
        }
        self.creditors.retain(|&creditor| creditor != slot);
        self.starved.retain(|&starved| starved != slot);
        self.redistribute(out);
        self.common_grew(out);
    }

    /// Registers the waker unless a block can be had at once. The same lock guards the attempt and
    /// the registration, so no release falls between them.
    pub(crate) fn acquire_or_wait(
        &mut self,
        slot: PoolSlot,
        want: Want,
        waker: Waker,
        out: &mut Wakers,
    ) -> Option<u32> {
        match self.acquire(slot, want.class) {
            Ok(block) => {
                self.withdraw(slot, want.class, &waker, out);
                out.discard(waker);
                Some(block)
            }
            Err(cause) => {
                self.account_mut(slot).waiters.register(want, waker, cause, out);
                self.reconsider(slot, out);
                None
            }
        }
    }

    /// A task that got its block waits no more.
    pub(crate) fn withdraw(&mut self, slot: PoolSlot, class: SizeClass, waker: &Waker, out: &mut Wakers) {
        self.account_mut(slot).waiters.withdraw(class, waker, out);
    }

    /// Wakes those of the pool who can go on, or marks it as starved by the others.
    fn reconsider(&mut self, slot: PoolSlot, out: &mut Wakers) {
        let lending = self.creditors.is_empty();
        let account = self.accounts[slot.index()].as_mut().expect("only pools with accounts have waiters");
        if account.waiters.is_empty() {
            return;
        }
        let lent_bytes = if lending { self.common.free_bytes() } else { 0 };
        let available = account.available(lent_bytes);
        let allowed = account.available(usize::MAX);
        // Nothing will come back, so what is there must do.
        let idle = account.in_use() == 0;
        let share_left = account.share_left();
        let Account { floor, waiters, starved, .. } = account;
        let (granules, common) = (&mut self.granules, &mut self.common);
        let mut now_starved = false;
        let is_due = |want: Want| {
            let served = floor.can_serve(granules, want.class)
                || lending && share_left >= want.class.bytes() && common.can_serve(granules, want.class);
            let due = served && (idle || available >= want.wake_at_bytes);
            now_starved |= !due && (idle || allowed >= want.wake_at_bytes);
            due
        };
        waiters.take_due(is_due, out);
        if now_starved && !mem::replace(starved, true) {
            self.starved.push(slot);
        }
    }

    /// Common blocks were freed: they pay debts, then serve whom they can.
    fn common_grew(&mut self, out: &mut Wakers) {
        self.pay(out);
        if self.refill_reserve() {
            // What is in reserve is no longer anybody's share.
            self.redistribute(out);
        }
        if self.starved.is_empty() {
            return;
        }
        for slot in mem::take(&mut self.starved) {
            self.account_mut(slot).starved = false;
            self.reconsider(slot, out);
        }
    }

    /// Hands owed units out as far as the common blocks go, in the order of admission: a later
    /// pool's unit could otherwise stand in an earlier one's way for ever.
    fn pay(&mut self, out: &mut Wakers) {
        while let Some(&slot) = self.creditors.front() {
            let account = self.accounts[slot.index()].as_mut().expect("a pool that is owed is open");
            let mut paid = false;
            while account.owed > 0
                && let Some(unit) = self.common.take(&mut self.granules, account.spec.unit)
            {
                account.endow(unit, &mut self.granules);
                paid = true;
            }
            let settled = account.owed == 0;
            if settled {
                self.creditors.pop_front();
            }
            if paid {
                self.reconsider(slot, out);
            }
            if !settled {
                return;
            }
        }
    }

    /// Takes the floor's units, all or as many as there are now; none before older debts.
    fn carve(&mut self, spec: &PoolSpec) -> Vec<u32> {
        if spec.unit != self.reserve.unit {
            // Another unit may need what stands in reserve; what it leaves is taken back.
            for unit in std::mem::take(&mut self.reserve.units) {
                self.common.give(&mut self.granules, unit, self.reserve.unit);
            }
        }
        let units = &mut self.reserve.units;
        let mut carved = units.split_off(units.len().saturating_sub(spec.floor_units));
        carved.extend(self.carve_common(spec, spec.floor_units - carved.len()));
        carved
    }

    fn carve_common(&mut self, spec: &PoolSpec, units: usize) -> Vec<u32> {
        if !self.creditors.is_empty() {
            return Vec::new();
        }
        // Floors stay for long: where they stand, no larger unit can.
        self.common.tidy(&mut self.granules);
        let next = || self.common.take(&mut self.granules, spec.unit);
        std::iter::from_fn(next).take(units).collect()
    }

    /// Takes free units until there are as many as there should be, behind those that are owed. True if it took any.
    fn refill_reserve(&mut self) -> bool {
        if !self.creditors.is_empty() {
            return false;
        }
        let unit = self.reserve.unit;
        let floors: usize = self
            .open_accounts()
            .filter(|account| account.spec.unit == unit)
            .map(|account| account.spec.floor_units)
            .sum();
        let before = self.reserve.units.len();
        while self.reserve.units.len() + floors < self.reserve.units_min
            && let Some(block) = self.common.take(&mut self.granules, unit)
        {
            self.reserve.units.push(block);
        }
        self.reserve.units.len() > before
    }

    /// How many more units are certain to be free once all that was lent is back: blocks without
    /// any floor in them, `carved` among the floors, and without a block for each older debt, wherever that is paid.
    fn promised_units(&self, unit: SizeClass, carved: &[u32]) -> usize {
        let owed: usize = self.open_accounts().map(|account| account.owed * spanned(account.spec.unit, unit)).sum();
        self.unfloored_blocks(unit, carved).saturating_sub(owed)
    }

    fn unfloored_blocks(&self, class: SizeClass, carved: &[u32]) -> usize {
        let mut unfloored = vec![true; (self.granules.count() / class.granules()) as usize];
        let floors = self
            .open_accounts()
            .flat_map(|account| account.units.iter().map(|&granule| (granule, account.spec.unit)))
            .chain(carved.iter().map(|&granule| (granule, class)));
        for (granule, unit) in floors {
            let first = (granule / class.granules()) as usize;
            let blocks = unfloored.iter_mut().skip(first).take(spanned(unit, class));
            blocks.for_each(|block| *block = false);
        }
        unfloored.into_iter().filter(|&unfloored| unfloored).count()
    }

    /// Computes all limits anew.
    fn redistribute(&mut self, out: &mut Wakers) {
        self.divisions += 1;
        let claims: Vec<_> = self.open_accounts().map(Account::claim).collect();
        let reserved = self.reserve.units.len() * self.reserve.unit.bytes();
        let limits = budget::limits(self.granules.count() as usize * GRANULE - reserved, &claims);
        let open = self.accounts.iter_mut().flatten().filter(|account| account.open);
        open.zip(limits).for_each(|(account, limit)| account.limit = limit);
        for index in 0..self.accounts.len() {
            if self.accounts[index].is_some() {
                self.reconsider(PoolSlot(index as u32), out);
            }
        }
    }

    pub(crate) fn divisions(&self) -> u64 {
        self.divisions
    }

    pub(crate) fn available_bytes(&self, slot: PoolSlot) -> usize {
        let common = if self.creditors.is_empty() { self.common.free_bytes() } else { 0 };
        self.account(slot).available(common)
    }

    pub(crate) fn account(&self, slot: PoolSlot) -> &Account {
        self.accounts[slot.index()].as_ref().expect("a pool with handles is open")
    }

    pub(crate) fn open_accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().flatten().filter(|account| account.open)
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            free_bytes: self.common.free_bytes() + self.reserve.units.len() * self.reserve.unit.bytes(),
            outstanding_segments: self.outstanding_segments,
            outstanding_bytes: self.outstanding_bytes,
        }
    }

    fn account_mut(&mut self, slot: PoolSlot) -> &mut Account {
        self.accounts[slot.index()].as_mut().expect("a pool with handles is open")
    }
}

impl PoolSlot {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// How many blocks of `class` a unit touches.
fn spanned(unit: SizeClass, class: SizeClass) -> usize {
    (unit.granules() / class.granules()).max(1) as usize
}
