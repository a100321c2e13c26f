//! Shuffle memory: mapped once, registered once per device, handed out as buffers.
//!
//! # What a buffer is
//!
//! A range of a *segment*: region, offset, length, and a share in keeping the segment from reuse.
//! A segment is a block of the [`Arena`] in one of the [size classes](SizeClass). What a device
//! needs to know of a region (an index of fixed buffers, a memory key) it keeps in a table of its
//! own by [`RegionId`]: this crate knows no device.
//!
//! [`BufferMut`] is exclusive and writable: a task fills it, a device receives into it. Split, each
//! part is exclusive. [`Buffer`] is what it becomes by [`BufferMut::freeze`]: shared, read-only,
//! cloned and sliced without a copy.
//!
//! # Who owns it
//!
//! Whoever holds the handle, and nobody else: there is no list of lent buffers to keep in step. A
//! device takes it by value and gives it back by an event when the hardware can no longer touch it.
//! The last handle of a segment to drop, on whatever thread, returns it to its [`BufferPool`] at
//! once, and that may wake a task that waits for it. Handles keep the arena mapped and outlive
//! their pool without harm. To leak a handle costs its segment, and no more.
//!
//! # Who gets how much
//!
//! [`Memory`] divides an arena among pools, one for each end of a task. A pool has a *floor*,
//! physically its own from admission to its end, and a *share* of what no floor has, equal to the
//! others' up to its maximum. Floor and share are its limit. A pool whose floor does not fit beside
//! the others' is refused with the bytes that are missing.
//!
//! ```
//! # #[cfg(not(loom))] {
//! use sluice_memory::{Arena, ArenaOptions, HugePages, Memory, PoolSpec, SizeClass};
//!
//! let arena = Arena::map(ArenaOptions { bytes: 1 << 20, huge_pages: HugePages::Try })?;
//! let memory = Memory::new(arena);
//! let pool = memory.pool(PoolSpec {
//!     owner: "map 0, output".into(),
//!     unit: SizeClass::UNIT,
//!     floor_units: 1,
//!     bytes_max: 256 << 10,
//! })?;
//! let mut open = pool.try_acquire(SizeClass::UNIT).expect("the floor is free");
//! open[..5].copy_from_slice(b"hello");
//! let sent = open.split_to(5).freeze();
//! assert_eq!(&sent[..], b"hello");
//! drop((open, sent));
//! assert_eq!(pool.in_use_bytes(), 0);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod arena;
mod blocks;
mod budget;
mod buffer;
mod class;
mod free_list;
mod ledger;
mod memory;
mod pool;
mod segment;
mod span;
mod sync;
mod waiters;

pub use arena::{Arena, ArenaOptions, HugePages, Location, MapError, Region, RegionId};
pub use buffer::{Buffer, BufferMut};
pub use class::SizeClass;
pub use memory::{AdmissionError, Memory, MemoryStatistics, PoolStatistics};
pub use pool::{BufferPool, PoolSpec};
pub use waiters::Waits;
