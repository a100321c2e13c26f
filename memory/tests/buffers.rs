//! What handles promise: exclusive bytes, no copies, and the segment back exactly once.
#![cfg(not(loom))]

use proptest::{prelude::*, sample::Index};
use sluice_memory::{Arena, ArenaOptions, Buffer, BufferMut, BufferPool, HugePages, Memory, PoolSpec, SizeClass};

fn memory_of(bytes: usize) -> Memory {
    let arena = Arena::map(ArenaOptions { bytes, huge_pages: HugePages::Never });
    Memory::new(arena.expect("address space is plenty"))
}

fn open(memory: &Memory, unit: SizeClass, floor_units: usize) -> Option<BufferPool> {
    let owner = format!("of {unit}");
    let spec = PoolSpec { owner, unit, floor_units, bytes_max: usize::MAX };
    memory.pool(spec).ok()
}

fn pool_of(memory: &Memory, unit: SizeClass, floor_units: usize) -> BufferPool {
    open(memory, unit, floor_units).expect("the memory is made for it")
}

fn buffer() -> (BufferPool, BufferMut) {
    let pool = pool_of(&memory_of(64 << 10), SizeClass::UNIT, 1);
    let buffer = pool.acquire(SizeClass::UNIT);
    (pool, buffer)
}

#[test]
fn an_arena_comes_zeroed() {
    let (_, buffer) = buffer();
    assert_eq!(buffer.len(), SizeClass::UNIT.bytes());
    assert!(buffer.iter().all(|&byte| byte == 0));
}

#[test]
fn only_the_last_handle_of_a_segment_thaws() {
    let (pool, mut buffer) = buffer();
    buffer[0] = 7;
    let frozen = buffer.freeze();
    let part = frozen.slice(0..10);
    let frozen = frozen.try_thaw().expect_err("another handle reads the same bytes");
    drop(part);
    let mut thawed = frozen.try_thaw().expect("nobody else is left");
    assert_eq!((thawed[0], thawed.len()), (7, SizeClass::UNIT.bytes()));
    thawed[0] = 8;
    drop(thawed);
    assert_eq!(pool.in_use_bytes(), 0);
    assert!(Buffer::empty().try_thaw().is_ok());
}

#[test]
fn parts_are_ranges_of_one_segment() {
    let (_, mut back) = buffer();
    let start = back.location();
    let mut front = back.split_to(1000);
    let middle = front.split_off(600);
    assert_eq!((front.len(), middle.len(), back.len()), (600, 400, 32768 - 1000));
    assert_eq!(front.location(), start);
    assert_eq!(middle.location().offset, start.offset + 600);
    assert_eq!(back.location().offset, start.offset + 1000);
    assert_eq!(middle.freeze().segment_bytes(), 32768);
}

#[test]
fn a_segment_returns_with_its_last_part() {
    let (pool, mut back) = buffer();
    let shared = back.split_to(10).freeze();
    let slice = shared.slice(3..5);
    drop(back);
    drop(shared);
    assert_eq!(pool.in_use_bytes(), 32768);
    drop(slice);
    assert_eq!(pool.in_use_bytes(), 0);
}

#[test]
fn a_buffer_split_at_its_end_keeps_no_segment() {
    let (pool, mut buffer) = buffer();
    let all = buffer.split_to(32768);
    assert!(buffer.is_empty());
    drop(all);
    assert_eq!(pool.in_use_bytes(), 0);
}

#[test]
fn only_neighbours_of_one_segment_merge() {
    let pool = pool_of(&memory_of(64 << 10), SizeClass::UNIT, 2);
    let (mut first, second) = (pool.acquire(SizeClass::UNIT), pool.acquire(SizeClass::UNIT));
    assert_eq!(first.location().offset + 32768, second.location().offset);
    let second = first.try_merge(second).expect_err("adjacent, but another segment");
    let (mut a, b, c) = (first.split_to(100), first.split_to(100), first);
    let c = a.try_merge(c).expect_err("not adjacent");
    a.try_merge(b).expect("adjacent");
    a.try_merge(c).expect("adjacent now");
    assert_eq!(a.len(), 32768);
    drop((a, second));
    assert_eq!(pool.in_use_bytes(), 0);
}

#[test]
fn slices_merge_into_what_they_were_cut_from() {
    let (_, mut buffer) = buffer();
    buffer[..4].copy_from_slice(b"abcd");
    let buffer = buffer.freeze();
    let mut read = Buffer::empty();
    for range in [0..2, 2..3, 3..4] {
        read.try_merge(buffer.slice(range)).expect("adjacent");
    }
    assert_eq!(&read[..], b"abcd");
    assert_eq!(read.location(), buffer.location());
    read.try_merge(buffer.slice(1..)).expect_err("overlapping is not adjacent");
}

#[test]
fn a_truncated_buffer_has_its_front_only() {
    let (_, mut buffer) = buffer();
    buffer.truncate(5);
    buffer.truncate(9);
    assert_eq!(buffer.len(), 5);
    buffer.truncate(0);
    assert_eq!(buffer.freeze().segment_bytes(), 0);
}

#[test]
fn buffers_outlive_pool_memory_and_arena() {
    let (pool, mut buffer) = buffer();
    drop(pool);
    buffer.fill(7);
    let buffer = buffer.freeze();
    std::thread::spawn(move || assert!(buffer.iter().all(|&byte| byte == 7))).join().unwrap();
}

#[test]
#[should_panic(expected = "range 0..18446744073709551615 of 32768 bytes")]
fn a_slice_beyond_the_end_is_our_mistake() {
    let (_pool, buffer) = buffer();
    buffer.freeze().slice(..=usize::MAX);
}

#[test]
#[should_panic(expected = "split at 32769 of 32768 bytes")]
fn a_split_beyond_the_end_is_our_mistake() {
    let (_pool, mut buffer) = buffer();
    buffer.split_to(32769);
}

#[derive(Clone, Debug)]
enum Step {
    Acquire { pool: bool, class: usize },
    SplitTo(Index, Index),
    SplitOff(Index, Index),
    Truncate(Index, Index),
    Merge(Index, Index),
    Freeze(Index),
    Drop(Index),
    Slice(Index, Index),
    SplitShared(Index, Index),
    MergeShared(Index, Index),
    DropShared(Index),
    Reopen { pool: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pair = || (any::<Index>(), any::<Index>());
    let step = prop_oneof![
        4 => (any::<bool>(), 0..SizeClass::COUNT).prop_map(|(pool, class)| Step::Acquire { pool, class }),
        2 => pair().prop_map(|(a, b)| Step::SplitTo(a, b)),
        2 => pair().prop_map(|(a, b)| Step::SplitOff(a, b)),
        1 => pair().prop_map(|(a, b)| Step::Truncate(a, b)),
        3 => pair().prop_map(|(a, b)| Step::Merge(a, b)),
        2 => any::<Index>().prop_map(Step::Freeze),
        3 => any::<Index>().prop_map(Step::Drop),
        2 => pair().prop_map(|(a, b)| Step::Slice(a, b)),
        2 => pair().prop_map(|(a, b)| Step::SplitShared(a, b)),
        2 => pair().prop_map(|(a, b)| Step::MergeShared(a, b)),
        3 => any::<Index>().prop_map(Step::DropShared),
        1 => any::<bool>().prop_map(|pool| Step::Reopen { pool }),
    ];
    proptest::collection::vec(step, 0..120)
}

/// Handles, each with the byte that all of it was filled with: a foreign byte shows an overlap.
struct World {
    memory: Memory,
    pools: [Option<BufferPool>; 2],
    exclusive: Vec<(BufferMut, u8)>,
    shared: Vec<(Buffer, Vec<u8>)>,
    stamp: u8,
}

impl World {
    fn new() -> World {
        let memory = memory_of((1 << 20) + (68 << 10));
        let pools = [false, true].map(|second| World::open(&memory, second));
        World { memory, pools, exclusive: Vec::new(), shared: Vec::new(), stamp: 0 }
    }

    /// `None` where the floor of one stands in the way of the other's larger unit.
    fn open(memory: &Memory, second: bool) -> Option<BufferPool> {
        if second { open(memory, SizeClass::MAX, 1) } else { open(memory, SizeClass::UNIT, 3) }
    }

    /// Marks every byte as this handle's own.
    fn keep(&mut self, mut buffer: BufferMut) {
        self.stamp = self.stamp.wrapping_add(1);
        buffer.fill(self.stamp);
        self.exclusive.push((buffer, self.stamp));
    }

    fn take(&mut self, which: Index) -> Option<BufferMut> {
        let index = (!self.exclusive.is_empty()).then(|| which.index(self.exclusive.len()))?;
        let (buffer, stamp) = self.exclusive.swap_remove(index);
        assert!(buffer.iter().all(|&byte| byte == stamp), "somebody else wrote here");
        Some(buffer)
    }

    fn take_shared(&mut self, which: Index) -> Option<(Buffer, Vec<u8>)> {
        let index = (!self.shared.is_empty()).then(|| which.index(self.shared.len()))?;
        let (buffer, bytes) = self.shared.swap_remove(index);
        assert!(*buffer == bytes[..], "somebody wrote to what is shared");
        Some((buffer, bytes))
    }

    fn step(&mut self, step: Step) -> Option<()> {
        match step {
            Step::Acquire { pool, class } => {
                let pool = self.pools[usize::from(pool)].as_ref()?;
                let class = SizeClass::all().nth(class)?.min(pool.unit());
                let buffer = pool.try_acquire(class)?;
                assert_eq!(buffer.len(), class.bytes());
                self.keep(buffer);
            }
            Step::SplitTo(which, at) => {
                let mut back = self.take(which)?;
                let front = back.split_to(at.index(back.len() + 1));
                self.keep(front);
                self.keep(back);
            }
            Step::SplitOff(which, at) => {
                let mut front = self.take(which)?;
                let back = front.split_off(at.index(front.len() + 1));
                self.keep(front);
                self.keep(back);
            }
            Step::Truncate(which, to) => {
                let mut buffer = self.take(which)?;
                buffer.truncate(to.index(buffer.len() + 1));
                self.keep(buffer);
            }
            Step::Merge(first, second) => {
                let mut front = self.take(first)?;
                if let Some(back) = self.take(second) {
                    let total = front.len() + back.len();
                    match front.try_merge(back) {
                        Ok(()) => assert_eq!(front.len(), total),
                        Err(back) => self.keep(back),
                    }
                }
                self.keep(front);
            }
            Step::Freeze(which) => {
                let buffer = self.take(which)?.freeze();
                let bytes = buffer.to_vec();
                self.shared.push((buffer, bytes));
            }
            Step::Drop(which) => drop(self.take(which)?),
            Step::Slice(which, at) => {
                let (buffer, bytes) = self.take_shared(which)?;
                let at = at.index(buffer.len() + 1);
                self.shared.push((buffer.slice(at / 2..at), bytes[at / 2..at].to_vec()));
                self.shared.push((buffer, bytes));
            }
            Step::SplitShared(which, at) => {
                let (mut back, mut bytes) = self.take_shared(which)?;
                let at = at.index(back.len() + 1);
                self.shared.push((back.split_to(at), bytes.drain(..at).collect()));
                self.shared.push((back, bytes));
            }
            Step::MergeShared(first, second) => {
                let (mut front, mut bytes) = self.take_shared(first)?;
                if let Some((back, more)) = self.take_shared(second) {
                    match front.try_merge(back) {
                        Ok(()) => bytes.extend(more),
                        Err(back) => self.shared.push((back, more)),
                    }
                }
                self.shared.push((front, bytes));
            }
            Step::DropShared(which) => drop(self.take_shared(which)?),
            Step::Reopen { pool } => {
                self.pools[usize::from(pool)] = None;
                self.pools[usize::from(pool)] = World::open(&self.memory, pool);
            }
        }
        Some(())
    }

    /// The floors, as long as nothing is owed, are there whatever was done.
    fn check(&self) {
        let statistics = self.memory.statistics();
        let in_use: usize = statistics.pools.iter().map(|pool| pool.in_use_bytes).sum();
        assert!(in_use <= statistics.outstanding_bytes, "closed pools may hold more");
        assert!(statistics.outstanding_bytes + statistics.free_bytes <= statistics.arena_bytes);
        for pool in self.pools.iter().flatten() {
            let view = statistics.pools.iter().find(|view| view.owner == pool.owner());
            let view = view.expect("it is open");
            assert!(view.limit_bytes >= view.floor_bytes);
            if view.in_use_bytes == 0 && view.owed_bytes == 0 {
                assert!(pool.try_acquire(pool.unit()).is_some(), "an idle pool has its floor");
            }
        }
    }

    fn end(mut self) {
        self.exclusive.clear();
        self.shared.clear();
        let statistics = self.memory.statistics();
        assert_eq!((statistics.outstanding_segments, statistics.outstanding_bytes), (0, 0));
        assert!(statistics.pools.iter().all(|pool| pool.owed_bytes == 0));
        self.pools = [None, None];
        assert_eq!(self.memory.statistics().free_bytes, statistics.arena_bytes);
        // Two of 512 KiB, so all pieces found together again.
        pool_of(&self.memory, SizeClass::MAX, 2);
    }
}

proptest! {
    #[test]
    fn handles_never_overlap_and_all_returns(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
        world.end();
    }
}
