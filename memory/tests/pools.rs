//! What pools promise: a floor whatever others do, a fair share, and a wake-up in time.
#![cfg(not(loom))]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use proptest::{prelude::*, sample::Index};
use sluice_memory::{
    AdmissionError, Arena, ArenaOptions, BufferMut, BufferPool, HugePages, Memory, PoolSpec, SizeClass, Waits,
};

const UNIT: SizeClass = SizeClass::UNIT;
const KIB: usize = 1024;

fn memory_of(kib: usize) -> Memory {
    let arena = Arena::map(ArenaOptions { bytes: kib * KIB, huge_pages: HugePages::Never });
    Memory::new(arena.expect("address space is plenty"))
}

fn open(memory: &Memory, owner: &str, unit: SizeClass, floor_units: usize) -> Result<BufferPool, AdmissionError> {
    memory.pool(PoolSpec { owner: owner.into(), unit, floor_units, bytes_max: usize::MAX })
}

fn pool(memory: &Memory, owner: &str, floor_units: usize) -> BufferPool {
    open(memory, owner, UNIT, floor_units).expect("there is memory")
}

fn all_of(pool: &BufferPool, class: SizeClass) -> Vec<BufferMut> {
    std::iter::from_fn(|| pool.try_acquire(class)).collect()
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that waits.
struct Task {
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl Task {
    fn new() -> Task {
        let wakes = Arc::new(Wakes::default());
        Task { waker: Waker::from(Arc::clone(&wakes)), wakes }
    }

    fn poll(&self, pool: &BufferPool, class: SizeClass, wake_at_bytes: usize) -> Option<BufferMut> {
        match pool.poll_acquire(&mut Context::from_waker(&self.waker), class, wake_at_bytes) {
            Poll::Ready(buffer) => Some(buffer),
            Poll::Pending => None,
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

#[test]
fn the_excess_follows_pools_as_they_come_and_go() {
    let memory = memory_of(320);
    let first = pool(&memory, "first", 1);
    assert_eq!(first.limit_bytes(), 320 * KIB);
    let second = pool(&memory, "second", 1);
    assert_eq!((first.limit_bytes(), second.limit_bytes()), (160 * KIB, 160 * KIB));
    drop(second.clone());
    assert_eq!(first.limit_bytes(), 160 * KIB, "only the last handle closes");
    drop(second);
    assert_eq!(first.limit_bytes(), 320 * KIB);
}

#[test]
fn a_pool_over_its_shrunk_limit_keeps_what_it_has_and_gets_no_more() {
    let memory = memory_of(320);
    let first = pool(&memory, "first", 1);
    let mut held = all_of(&first, UNIT);
    assert_eq!(held.len(), 10);
    held.truncate(7);
    let second = pool(&memory, "second", 1);
    assert_eq!((first.in_use_bytes(), first.limit_bytes()), (7 * 32 * KIB, 160 * KIB));
    held.truncate(5);
    assert!(first.try_acquire(UNIT).is_none());
    held.truncate(4);
    assert!(first.try_acquire(UNIT).is_some());
    assert_eq!(second.available_bytes(), 160 * KIB);
}

#[test]
fn a_refusal_names_who_what_and_how_much() {
    let memory = memory_of(100);
    let _first = pool(&memory, "first", 2);
    let error = open(&memory, "reduce 7", UNIT, 3).expect_err("96 KiB of 36");
    assert_eq!((error.needed_bytes, error.available_bytes), (96 * KIB, 32 * KIB));
    assert_eq!(error.missing_bytes, 64 * KIB);
    let text = error.to_string();
    assert!(text.starts_with("reduce 7 needs 98304 bytes of shuffle memory and 32768 are left"), "{text}");
    assert_eq!(memory.statistics().free_bytes, 36 * KIB, "nothing stays behind");
}

#[test]
fn a_floor_survives_fragmentation_by_others() {
    let memory = memory_of(1024);
    let quiet = PoolSpec { owner: "quiet".into(), unit: UNIT, floor_units: 2, bytes_max: 64 * KIB };
    let quiet = memory.pool(quiet).expect("there is memory");
    let noisy = pool(&memory, "noisy", 1);
    let mut pieces = all_of(&noisy, SizeClass::MIN);
    assert_eq!(pieces.len(), 240);
    pieces.retain(|piece| piece.location().offset.is_multiple_of(8192));
    assert!(noisy.try_acquire(UNIT).is_none(), "every second granule is out");
    let floor = [quiet.try_acquire(UNIT), quiet.try_acquire(UNIT)];
    assert!(floor.iter().all(Option::is_some));
}

#[test]
fn a_floor_lent_out_is_paid_before_anything_is_lent_again() {
    let memory = memory_of(256);
    let early = pool(&memory, "early", 1);
    let mut pieces = all_of(&early, SizeClass::MIN);
    assert_eq!(pieces.len(), 64);
    let late = pool(&memory, "late", 2);
    assert_eq!(memory.statistics().pools[1].owed_bytes, 64 * KIB);
    assert_eq!((late.available_bytes(), late.try_acquire(SizeClass::MIN).is_none()), (0, true));

    // One granule of each unit: nothing can be paid, and the pieces are not lent either.
    let one_each = |piece: &BufferMut| (piece.location().offset as usize).is_multiple_of(UNIT.bytes());
    let (stay, go): (Vec<_>, Vec<_>) = pieces.drain(..).partition(one_each);
    drop(go);
    assert_eq!(memory.statistics().pools[1].owed_bytes, 64 * KIB);
    assert_eq!(early.available_bytes(), 28 * KIB, "its own floor but for one granule");

    let task = Task::new();
    assert!(task.poll(&late, UNIT, 0).is_none());
    drop(stay);
    assert_eq!(task.wakes(), 1);
    assert_eq!(memory.statistics().pools[1].owed_bytes, 0);
    let held = all_of(&late, UNIT);
    assert_eq!(held.len() * UNIT.bytes(), late.limit_bytes());
}

/// Two workers, each with a writer that has filled the arena and waits for the other's gate, whose floor was lent to the
/// writer beside it: neither got on. (Found by the simulator.)
#[test]
fn a_floor_in_reserve_is_there_at_once_whatever_is_lent_out() {
    let arena = Arena::map(ArenaOptions { bytes: 256 * KIB, huge_pages: HugePages::Never });
    let memory = Memory::with_reserve(arena.expect("address space is plenty"), UNIT, 3);
    let first = pool(&memory, "first", 1);
    for class in [SizeClass::MIN, UNIT] {
        let lent = all_of(&first, class);
        assert_eq!(lent.len() * class.bytes(), 192 * KIB, "all but what is in reserve");
        for round in 0..3 {
            let later = [pool(&memory, "second", 1), pool(&memory, "third", 1)];
            let floors = later.each_ref().map(|pool| pool.try_acquire(UNIT));
            assert!(floors.iter().all(Option::is_some), "round {round}: floors come back to the reserve");
            let beyond = pool(&memory, "beyond the reserve", 1);
            assert!(beyond.try_acquire(SizeClass::MIN).is_none());
        }
        drop(lent);
    }
    assert_eq!(memory.statistics().free_bytes, 256 * KIB - UNIT.bytes());
}

#[test]
fn a_reserve_of_another_unit_does_not_stand_in_the_way() {
    let arena = Arena::map(ArenaOptions { bytes: 256 * KIB, huge_pages: HugePages::Never });
    let memory = Memory::with_reserve(arena.expect("address space is plenty"), UNIT, 3);
    let large = SizeClass::fitting(256 * KIB).expect("it is a class");
    drop(open(&memory, "large", large, 1).expect("nothing is in use"));
    let all: Vec<_> = (0..8).map(|_| pool(&memory, "small", 1)).collect();
    assert!(all.iter().all(|pool| pool.try_acquire(UNIT).is_some()));
}

#[test]
fn a_floor_that_other_floors_stand_in_the_way_of_is_refused() {
    let memory = memory_of(1024);
    let small = pool(&memory, "small", 1);
    let held = all_of(&small, UNIT);
    assert_eq!(held.len(), 32);
    let large = open(&memory, "large", SizeClass::MAX, 1).expect("one block has no floor");
    let error = open(&memory, "larger", SizeClass::MAX, 1).expect_err("the other holds that of small");
    assert_eq!((error.available_bytes, error.missing_bytes), (0, 512 * KIB));
    drop(held);
    assert!(large.try_acquire(SizeClass::MAX).is_some());
}

#[test]
fn closing_a_pool_that_is_owed_lets_the_next_in() {
    let memory = memory_of(96);
    let holder = pool(&memory, "holder", 0);
    let mut held = all_of(&holder, UNIT);
    let first = pool(&memory, "first", 2);
    let second = pool(&memory, "second", 1);
    held.pop();
    assert_eq!((first.available_bytes(), second.available_bytes()), (32 * KIB, 0));
    drop(first);
    assert_eq!(second.available_bytes(), 32 * KIB);
}

#[test]
fn a_closed_pool_gets_its_buffers_back_for_all() {
    let memory = memory_of(64);
    let first = pool(&memory, "first", 1);
    let held = all_of(&first, UNIT);
    drop(first);
    let statistics = memory.statistics();
    assert_eq!((statistics.pools.len(), statistics.outstanding_bytes), (0, 64 * KIB));
    let second = pool(&memory, "second", 2);
    assert_eq!(second.available_bytes(), 0);
    drop(held);
    assert_eq!(second.available_bytes(), 64 * KIB);
}

#[test]
fn a_waiter_is_woken_once_enough_could_be_acquired() {
    let memory = memory_of(128);
    let pool = pool(&memory, "pool", 1);
    let mut held = all_of(&pool, UNIT);
    let task = Task::new();
    assert!(task.poll(&pool, UNIT, 64 * KIB).is_none());
    assert!(task.poll(&pool, UNIT, 64 * KIB).is_none());
    assert_eq!(pool.waits(), Waits { share_used_up: 1, arena_exhausted: 0 }, "one wait, polled twice");
    held.pop();
    assert_eq!(task.wakes(), 0);
    held.pop();
    assert_eq!(task.wakes(), 1);
    held.pop();
    assert_eq!(task.wakes(), 1, "woken once");
    assert!(task.poll(&pool, UNIT, 64 * KIB).is_some());
}

#[test]
fn a_waiter_for_more_than_there_is_is_woken_when_nothing_is_in_use() {
    let memory = memory_of(64);
    let pool = pool(&memory, "pool", 1);
    let mut held = all_of(&pool, UNIT);
    let task = Task::new();
    assert!(task.poll(&pool, UNIT, 1 << 30).is_none());
    held.pop();
    assert_eq!(task.wakes(), 0);
    held.pop();
    assert_eq!(task.wakes(), 1);
}

#[test]
fn a_waiter_hears_of_a_larger_share_and_of_what_others_return() {
    let memory = memory_of(64);
    let first = pool(&memory, "first", 1);
    let held = all_of(&first, UNIT);
    let third = pool(&memory, "third", 0);
    let second = pool(&memory, "second", 0);
    assert_eq!((second.limit_bytes(), third.limit_bytes()), (32 * KIB, 0), "one unit of excess");
    let (task, other) = (Task::new(), Task::new());
    assert!(task.poll(&second, UNIT, 0).is_none());
    assert!(other.poll(&third, UNIT, 0).is_none());
    assert_eq!(second.waits(), Waits { share_used_up: 0, arena_exhausted: 1 });
    assert_eq!(third.waits(), Waits { share_used_up: 1, arena_exhausted: 0 });
    drop(held);
    assert_eq!((task.wakes(), other.wakes()), (1, 0));
    drop(first);
    assert_eq!(other.wakes(), 1);
}

#[test]
fn who_got_its_buffer_waits_no_more() {
    let memory = memory_of(32);
    let pool = pool(&memory, "pool", 1);
    let held = pool.acquire(UNIT);
    let task = Task::new();
    assert!(task.poll(&pool, SizeClass::MIN, 64 * KIB).is_none());
    assert_eq!(memory.statistics().pools[0].waiters, 1);
    drop(held);
    let _buffer = task.poll(&pool, SizeClass::MIN, 0).expect("free");
    assert_eq!(memory.statistics().pools[0].waiters, 0);
}

#[test]
fn a_blocked_thread_goes_on_when_a_buffer_returns() {
    let memory = memory_of(32);
    let pool = pool(&memory, "pool", 1);
    let held = pool.acquire(UNIT);
    let waiting = thread::spawn({
        let pool = pool.clone();
        move || pool.acquire(UNIT).len()
    });
    drop(held);
    assert_eq!(waiting.join().unwrap(), UNIT.bytes());
}

#[test]
fn many_threads_share_a_little_memory() {
    let memory = memory_of(128);
    let pools: Vec<_> = (0..4).map(|index| pool(&memory, &format!("task {index}"), 1)).collect();
    thread::scope(|scope| {
        for index in 0..4u8 {
            let pool = pools[usize::from(index) % 2].clone();
            scope.spawn(move || {
                for round in 0..2000usize {
                    let class = [SizeClass::MIN, UNIT][round % 2];
                    let mut buffer = pool.acquire(class);
                    buffer.fill(index);
                    let front = buffer.split_to(round % 4096).freeze();
                    let copy = front.clone();
                    assert!(copy.iter().chain(buffer.iter()).all(|&byte| byte == index));
                }
            });
        }
    });
    assert_eq!(memory.statistics().outstanding_segments, 0);
}

#[test]
#[should_panic(expected = "pool: a segment of 64KiB from a pool of units of 32KiB")]
fn a_segment_larger_than_the_unit_is_our_mistake() {
    let memory = memory_of(64);
    pool(&memory, "pool", 1).try_acquire(SizeClass::fitting(64 * KIB).expect("a class"));
}

#[test]
#[should_panic(expected = "an arena has one Memory")]
fn a_second_memory_of_an_arena_is_our_mistake() {
    let memory = memory_of(64);
    Memory::new(memory.arena().clone());
}

#[derive(Clone, Debug)]
enum Step {
    Open { unit: usize, floor_units: usize },
    Close(Index),
    Acquire(Index, usize),
    Drop(Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0..SizeClass::COUNT, 0usize..5).prop_map(|(unit, floor_units)| Step::Open { unit, floor_units }),
        1 => any::<Index>().prop_map(Step::Close),
        6 => (any::<Index>(), 0..SizeClass::COUNT).prop_map(|(pool, class)| Step::Acquire(pool, class)),
        3 => any::<Index>().prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 0..150)
}

proptest! {
    /// Units of all sizes, floors admitted while everything is lent: once what was lent is back,
    /// every pool that was admitted has its floor, and who waited for it was woken.
    #[test]
    fn every_admitted_floor_is_had_in_the_end(steps in steps()) {
        let memory = memory_of(1024 + 68);
        let mut pools: Vec<(BufferPool, Task)> = Vec::new();
        let mut held: Vec<BufferMut> = Vec::new();
        for step in steps {
            match step {
                Step::Open { unit, floor_units } => {
                    let unit = SizeClass::all().nth(unit).expect("a class");
                    pools.extend(open(&memory, "some", unit, floor_units).map(|pool| (pool, Task::new())));
                }
                Step::Close(which) if !pools.is_empty() => drop(pools.swap_remove(which.index(pools.len()))),
                Step::Acquire(which, class) if !pools.is_empty() => {
                    let (pool, task) = &pools[which.index(pools.len())];
                    let class = SizeClass::all().nth(class).expect("a class").min(pool.unit());
                    held.extend(task.poll(pool, class, 0));
                }
                Step::Drop(which) if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                _ => {}
            }
            let limits: usize = pools.iter().map(|(pool, _)| pool.limit_bytes()).sum();
            prop_assert!(limits <= memory.arena().bytes());
        }
        held.clear();
        for (pool, _) in &pools {
            let units = pool.floor_bytes() / pool.unit().bytes();
            let floor: Vec<_> = (0..units).map(|_| pool.try_acquire(pool.unit())).collect();
            prop_assert!(floor.iter().all(Option::is_some), "{} of {}", pool.unit(), pool.floor_bytes());
        }
        let statistics = memory.statistics();
        let floored = statistics.pools.iter().filter(|pool| pool.floor_bytes > 0);
        prop_assert_eq!(floored.map(|pool| pool.waiters).sum::<usize>(), 0);
    }
}
