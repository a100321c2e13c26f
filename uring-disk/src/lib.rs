//! The disk plug-in: files in local directories, by io_uring where the host allows it, by threads where it does not.
//!
//! ```text
//! LocalDisks ─builds─▶ LocalDisk
//!                        ├─▶ Engine: reads and writes of open files
//!                        │     ├─ Uring: one ring, the arena as its fixed buffers
//!                        │     └─ Threads: preadv and pwritev on a few threads
//!                        ├─▶ Clerk, on a thread of its own: all that touches names, lengths and the medium
//!                        └─▶ Directory: a path, what it takes, and this life's lease in it
//! ```
//!
//! Nothing blocks the reactor. Reads and writes go to the engine, up to [`LocalDiskConfig::depth`] of them at a time; what
//! the kernel cuts short goes on by itself. Everything else (to create, open, allocate, truncate, sync, close, remove,
//! adopt, list, ask for space) is slow or may be, and has one thread, which does it in order. Both wake the reactor.
//!
//! # What a directory looks like
//!
//! | name | is |
//! | --- | --- |
//! | `OWNER~NAME` | a file; `NAME` is the engine's, and so are its bytes |
//! | `OWNER.lease` | locked by the process of `OWNER` as long as it lives |
//! | `OWNER.probe` | what direct IO was tried on; removed at once |
//!
//! An owner is a life of a worker: `CLUSTER-NODE-INCARNATION` ([`DiskSetup::owner`]). What is called otherwise belongs to
//! somebody else: it is not listed and never touched. Files and leases can be read and written by their user only.
//!
//! # Who lives
//!
//! A lease is an empty file with an exclusive lock (`flock`), which the kernel frees when the process is gone, in
//! whatever way. So to learn whether an owner lives is to try its lock; there is no clock and no process number in it. A
//! file without a lease is a dead owner's, as the lease is there before the first file and goes after the last write.
//! The files of the dead can be adopted (renamed: of two who try, one finds the file) and removed, and while that is done
//! the lease is held, so that its owner cannot come back. Those of the living cannot. Leases without files are removed by
//! whoever lists the directory. Several processes in one directory are fine, on one host: a file system that does not
//! share locks between hosts must not be used by several.
//!
//! # Past the page cache
//!
//! With [`DirectIo::Auto`] files are opened with `O_DIRECT` in each directory where a page was written and read that way
//! when the disk was built; elsewhere a line in the log says why not. (A tmpfs takes it since Linux 6.6, but is in
//! memory, and counts as cached.) [`DiskRequest::Allocate`] uses `fallocate`, so that writes have
//! their room for sure and do not make the file longer, which direct writes would wait for; a file system without it just
//! makes the file longer.
//!
//! # When something fails
//!
//! A directory that is missing, is none, is named twice or takes no files refuses the disk, with its path and what to do.
//! Later, each request fails by itself: [`DiskError`] has the operation, the path, the place in the file and the system's
//! error. Should the engine itself break (the kernel serves its ring no more), all reads and writes fail, those under way
//! among them; what the kernel may still write into is kept, and nobody gets it. A full disk is [`StorageFull`](std::io::ErrorKind::StorageFull); an `Allocate` that fails has taken no room.
//!
//! ```
//! use std::task::Waker;
//!
//! use sluice_memory::{Arena, ArenaOptions, HugePages};
//! use sluice_plugin::{DirectoryId, DiskDone, DiskFactory, DiskRequest, DiskSetup};
//! use sluice_protocol::{Incarnation, NodeId};
//! use sluice_uring_disk::{LocalDiskConfig, LocalDisks};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! let disks = LocalDisks::new(LocalDiskConfig { directories: vec![path.into()], ..LocalDiskConfig::default() });
//! let mut disk = disks.build(DiskSetup {
//!     node: NodeId(1),
//!     incarnation: Incarnation(1),
//!     cluster: "docs".into(),
//!     arena: Arena::map(ArenaOptions { bytes: 1 << 20, huge_pages: HugePages::Never })?,
//!     waker: Waker::noop().clone(),
//! })?;
//! disk.submit(7, DiskRequest::Space { directory: DirectoryId(0) }).expect("nothing else is under way");
//! let mut completed = Vec::new();
//! while completed.is_empty() {
//!     // A reactor would sleep on what `prepare_to_wait` names.
//!     disk.poll(&mut completed);
//! }
//! assert_eq!(completed[0].token, 7);
//! assert!(matches!(completed[0].result, Ok(DiskDone::Space { free, total }) if free <= total));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`DiskSetup::owner`]: sluice_plugin::DiskSetup::owner
//! [`DiskRequest::Allocate`]: sluice_plugin::DiskRequest::Allocate
//! [`DiskError`]: sluice_plugin::DiskError

#![forbid(unsafe_code)]

mod config;
mod direct;
mod directories;
mod disk;
mod engine;
mod errand;
mod factory;
mod lease;
mod listing;
mod moves;
mod names;
mod transfer;
mod workers;

pub use config::LocalDiskConfig;
pub use factory::LocalDisks;
pub use sluice_plugin::{DirectIo, DiskEngine};
