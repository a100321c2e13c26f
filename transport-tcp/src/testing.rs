//! What the tests of several modules need.

use sluice_memory::{Arena, ArenaOptions, BufferMut, BufferPool, HugePages, Memory, PoolSpec, SizeClass};

#[path = "../tests/certificates/mod.rs"]
pub(crate) mod certificates;

/// An arena of 64 MiB and a pool that may use all of it.
pub(crate) fn pool() -> BufferPool {
    let arena = Arena::map(ArenaOptions { bytes: 64 << 20, huge_pages: HugePages::Never }).expect("64 MiB");
    let spec = PoolSpec { owner: "test".into(), unit: SizeClass::MAX, floor_units: 1, bytes_max: 64 << 20 };
    Memory::new(arena).pool(spec).expect("an empty arena admits a pool")
}

/// A buffer of so many bytes.
pub(crate) fn memory(bytes: usize) -> BufferMut {
    thread_local! {
        static POOL: BufferPool = pool();
    }
    let class = SizeClass::fitting(bytes).expect("at most 512 KiB");
    let mut buffer = POOL.with(|pool| pool.try_acquire(class)).expect("tests hold less than 64 MiB");
    buffer.truncate(bytes);
    buffer
}
