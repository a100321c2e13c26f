//! The arena as the kernel's fixed buffers: region by region, the region's number being the buffer's.

use std::fmt;
use std::io;

use io_uring::Submitter;
use rustix::process::{Resource, getrlimit};
use sluice_memory::Arena;

/// An arena whose regions a ring has registered. It must outlive the ring's file.
pub(crate) struct Registered {
    arena: Arena,
}

impl Registered {
    /// Pins all of the arena: every page of it is resident from now on.
    pub(crate) fn with(submitter: &Submitter<'_>, arena: &Arena) -> Result<Registered, RegisterError> {
        let iovec =
            |region: &sluice_memory::Region| libc::iovec { iov_base: region.as_ptr().cast(), iov_len: region.len() };
        let iovecs: Vec<_> = arena.regions().iter().map(iovec).collect();
        // SAFETY: the ranges are mapped as long as any clone of the arena; this one is kept by the ring, which
        // drops it only after its file (the order of the fields of `Ring`).
        let registered = unsafe { submitter.register_buffers(&iovecs) };
        registered.map_err(|source| RegisterError::of(arena, source))?;
        Ok(Registered { arena: arena.clone() })
    }

    /// As if registered.
    #[cfg(test)]
    pub(crate) fn pretended(arena: &Arena) -> Registered {
        Registered { arena: arena.clone() }
    }

    /// The fixed buffer in which all the ranges lie, if there is one.
    ///
    /// By address alone: as long as this arena is mapped nothing else is where it is, so a range within one of its
    /// regions cannot be of another arena, nor of the heap.
    pub(crate) fn holding(&self, iovecs: &[libc::iovec]) -> Option<u16> {
        let mut buffers = iovecs.iter().map(|iovec| self.buffer_of(iovec));
        let first = buffers.next()??;
        buffers.all(|buffer| buffer == Some(first)).then_some(first)
    }

    fn buffer_of(&self, iovec: &libc::iovec) -> Option<u16> {
        let start = iovec.iov_base.addr();
        let regions = self.arena.regions();
        let behind = regions.partition_point(|region| region.as_ptr().addr() <= start);
        let region = &regions[behind.checked_sub(1)?];
        let offset = start - region.as_ptr().addr();
        let within = offset < region.len() && iovec.iov_len <= region.len() - offset;
        within.then_some(region.id().0)
    }
}

/// Why an arena could not be registered. The ring is as good as before, and reads and writes without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// `ENOMEM`: more than the process may lock.
    #[error(
        "cannot lock {bytes} bytes of shuffle memory as fixed buffers, the limit on locked memory is {limit}: raise \
         it (ulimit -l, LimitMEMLOCK=), or grant CAP_IPC_LOCK"
    )]
    LockedMemory {
        /// The arena's size.
        bytes: usize,
        /// The limit, shared by all processes of the user.
        limit: LockLimit,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot register {bytes} bytes of shuffle memory as fixed buffers")]
    Other {
        /// The arena's size.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

impl RegisterError {
    fn of(arena: &Arena, source: io::Error) -> RegisterError {
        let bytes = arena.bytes();
        if source.raw_os_error() == Some(libc::ENOMEM) {
            let limit = LockLimit(getrlimit(Resource::Memlock).current);
            return RegisterError::LockedMemory { bytes, limit, source };
        }
        RegisterError::Other { bytes, source }
    }
}

/// How much memory a user may lock, in bytes; `None` is no limit, and then it is the memory itself that is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockLimit(pub Option<u64>);

impl fmt::Display for LockLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{bytes} bytes"),
            None => f.write_str("none (the memory itself is short)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_memory::{ArenaOptions, HugePages};

    use super::*;

    // More than one region.
    const ARENA_BYTES: usize = (1 << 30) + 8192;

    fn registered() -> Registered {
        let options = ArenaOptions { bytes: ARENA_BYTES, huge_pages: HugePages::Never };
        Registered::pretended(&Arena::map(options).expect("address space is plenty"))
    }

    /// A range from so many bytes behind the arena's start.
    fn range(registered: &Registered, offset: usize, bytes: usize) -> libc::iovec {
        let start = registered.arena.regions()[0].as_ptr();
        libc::iovec { iov_base: start.wrapping_add(offset).cast(), iov_len: bytes }
    }

    #[test]
    fn a_range_is_in_the_buffer_of_its_region() {
        let registered = registered();
        let buffer = |offset, bytes| registered.holding(&[range(&registered, offset, bytes)]);
        assert_eq!(buffer(0, 4096), Some(0));
        assert_eq!(buffer((1 << 30) - 4096, 4096), Some(0));
        assert_eq!(buffer(1 << 30, 8192), Some(1));
        assert_eq!(buffer(ARENA_BYTES - 1, 1), Some(1));
    }

    #[test]
    fn what_reaches_out_of_a_region_is_in_no_buffer() {
        let registered = registered();
        let before = registered.arena.regions()[0].as_ptr().wrapping_sub(1);
        assert_eq!(registered.holding(&[libc::iovec { iov_base: before.cast(), iov_len: 2 }]), None);
        for (offset, bytes) in [((1 << 30) - 1, 2), (ARENA_BYTES, 1), (ARENA_BYTES - 1, 2)] {
            assert_eq!(registered.holding(&[range(&registered, offset, bytes)]), None);
        }
    }

    #[test]
    fn memory_of_the_heap_and_of_another_arena_is_in_no_buffer() {
        let (ours, other) = (registered(), registered());
        let mut heap = vec![0_u8; 4096];
        let heap = libc::iovec { iov_base: heap.as_mut_ptr().cast(), iov_len: heap.len() };
        assert_eq!(ours.holding(&[heap]), None);
        assert_eq!(ours.holding(&[range(&other, 0, 4096)]), None);
    }

    #[test]
    fn ranges_share_a_buffer_only_if_all_are_in_it() {
        let (ours, other) = (registered(), registered());
        let [first, second, next] = [0, 8192, 1 << 30].map(|offset| range(&ours, offset, 4096));
        assert_eq!(ours.holding(&[first, second]), Some(0));
        assert_eq!(ours.holding(&[first, next]), None);
        assert_eq!(ours.holding(&[first, range(&other, 0, 4096)]), None);
        assert_eq!(ours.holding(&[]), None);
    }
}
