//! All interleavings of the few places where threads meet: the count of a segment's handles, the
//! lock with the free blocks, and the wake-up.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p sluice-memory --release loom`
#![cfg(loom)]

use loom::{cell::UnsafeCell, sync::Arc, thread};
use sluice_memory::{Arena, ArenaOptions, BufferMut, BufferPool, HugePages, Memory, PoolSpec, SizeClass};

const MIN: SizeClass = SizeClass::MIN;

/// As few granules as the test needs: loom tracks each one's count.
fn memory_of(granules: usize) -> Memory {
    let arena = Arena::map(ArenaOptions { bytes: granules * 4096, huge_pages: HugePages::Never });
    Memory::new(arena.expect("a few pages"))
}

fn pool(memory: &Memory, floor_units: usize) -> BufferPool {
    let spec = PoolSpec { owner: "loom".into(), unit: MIN, floor_units, bytes_max: usize::MAX };
    memory.pool(spec).expect("there is memory")
}

/// Stands for a segment's bytes, which loom does not see: who reads or writes says so here, and
/// loom reports two that are not ordered.
struct Bytes(UnsafeCell<u8>);

// SAFETY: that accesses are ordered is what the tests check.
unsafe impl Sync for Bytes {}
// SAFETY: as above.
unsafe impl Send for Bytes {}

impl Bytes {
    fn new() -> Arc<Bytes> {
        Arc::new(Bytes(UnsafeCell::new(0)))
    }

    fn read(&self) {
        self.0.with(|_| ());
    }

    fn write(&self) {
        self.0.with_mut(|_| ());
    }
}

#[test]
fn loom_clones_on_two_threads_return_the_segment_once_and_after_both() {
    loom::model(|| {
        let memory = memory_of(1);
        let pool = pool(&memory, 1);
        let bytes = Bytes::new();
        let buffer = pool.try_acquire(MIN).expect("free");
        bytes.write();
        let buffer = buffer.freeze();
        let reader = thread::spawn({
            let (buffer, bytes) = (buffer.clone(), Arc::clone(&bytes));
            move || {
                bytes.read();
                drop(buffer.clone());
                drop(buffer);
            }
        });
        bytes.read();
        drop(buffer);
        // Either thread may have been the last; whoever gets the segment next may write.
        if let Some(next) = pool.try_acquire(MIN) {
            bytes.write();
            drop(next);
        }
        reader.join().unwrap();
        assert_eq!(pool.in_use_bytes(), 0);
        assert_eq!(pool.available_bytes(), 4096);
        assert_eq!(memory.statistics().outstanding_segments, 0);
    });
}

#[test]
fn loom_parts_dropped_on_two_threads_return_the_segment_once() {
    loom::model(|| {
        let memory = memory_of(1);
        let pool = pool(&memory, 1);
        let mut back = pool.try_acquire(MIN).expect("free");
        let front = back.split_to(100);
        let other = thread::spawn(move || drop(front));
        drop(back.split_to(50));
        drop(back);
        other.join().unwrap();
        assert_eq!((pool.in_use_bytes(), pool.available_bytes()), (0, 4096));
    });
}

#[test]
fn loom_a_block_is_handed_out_to_one_at_a_time() {
    loom::model(|| {
        let memory = memory_of(2);
        let pools = [pool(&memory, 1), pool(&memory, 0)];
        let bytes = [Bytes::new(), Bytes::new()];
        let base = memory.arena().regions()[0].as_ptr().addr();
        let take = move |pool: &BufferPool, bytes: &[Arc<Bytes>; 2]| -> Option<BufferMut> {
            let buffer = pool.try_acquire(MIN)?;
            bytes[(buffer.as_ptr().addr() - base) / 4096].write();
            Some(buffer)
        };
        let other = thread::spawn({
            let (pool, bytes) = (pools[0].clone(), bytes.clone());
            move || {
                let held = take(&pool, &bytes).expect("its floor");
                let more = take(&pool, &bytes);
                drop((held, more));
            }
        });
        drop(take(&pools[1], &bytes));
        drop(take(&pools[1], &bytes));
        other.join().unwrap();
        assert_eq!(memory.statistics().outstanding_segments, 0);
        assert_eq!(memory.statistics().free_bytes, 4096);
    });
}

#[test]
fn loom_a_release_beside_the_registration_wakes() {
    loom::model(|| {
        let memory = memory_of(1);
        let pool = pool(&memory, 1);
        let held = pool.try_acquire(MIN).expect("free");
        let other = thread::spawn(move || drop(held));
        // Would never return, which loom reports as a deadlock, were the wake-up lost.
        let buffer = pool.acquire(MIN);
        other.join().unwrap();
        drop(buffer);
    });
}

#[test]
fn loom_a_release_by_another_pool_wakes() {
    loom::model(|| {
        let memory = memory_of(1);
        let holder = pool(&memory, 0);
        let held = holder.try_acquire(MIN).expect("free");
        // Its floor is owed.
        let pool = pool(&memory, 1);
        let other = thread::spawn(move || drop(held));
        drop(pool.acquire(MIN));
        other.join().unwrap();
        // To close it would wake too.
        drop(holder);
    });
}

#[test]
fn loom_two_waiters_are_both_served() {
    loom::model(|| {
        let memory = memory_of(1);
        let pool = pool(&memory, 1);
        let held = pool.try_acquire(MIN).expect("free");
        let other = thread::spawn({
            let pool = pool.clone();
            move || drop(pool.acquire(MIN))
        });
        drop(held);
        drop(pool.acquire(MIN));
        other.join().unwrap();
        assert_eq!(pool.in_use_bytes(), 0);
    });
}

#[test]
fn loom_a_pool_closed_beside_a_release_loses_nothing() {
    loom::model(|| {
        let memory = memory_of(2);
        let pool = pool(&memory, 1);
        let held = [pool.try_acquire(MIN), pool.try_acquire(MIN)];
        let other = thread::spawn(move || drop(held));
        drop(pool);
        other.join().unwrap();
        assert_eq!(memory.statistics().free_bytes, 8192);
    });
}

#[test]
fn loom_a_handle_may_be_the_last_of_the_memory() {
    loom::model(|| {
        let pool = pool(&memory_of(1), 1);
        let buffer = pool.try_acquire(MIN).expect("free").freeze();
        let other = thread::spawn({
            let buffer = buffer.clone();
            move || drop(buffer)
        });
        drop(pool);
        drop(buffer);
        other.join().unwrap();
    });
}
