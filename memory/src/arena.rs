//! The memory itself: mapped once, zeroed, cut into regions that a device can register.

use std::{
    fmt, io,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use thiserror::Error;

use crate::class::GRANULE;

/// Bytes of every region but the last. io_uring takes at most 1 GiB in one fixed buffer.
const REGION_BYTES: usize = 1 << 30;
/// Granules are counted in a `u32`; 8 TiB leaves its top for "none".
const ARENA_BYTES_MAX: usize = 1 << 43;
/// A huge page of x86-64, and of arm64 with 4 KiB pages.
const HUGE_PAGE: usize = 2 << 20;

/// Whether the kernel is asked to back the arena with huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Small pages only.
    Never,
    /// Transparent huge pages where the kernel has them (`MADV_HUGEPAGE`), else small ones.
    Try,
}

/// How an arena is mapped.
#[derive(Clone, Copy, Debug)]
pub struct ArenaOptions {
    /// Size in bytes, rounded up to 4 KiB.
    pub bytes: usize,
    /// Whether to ask for huge pages.
    pub huge_pages: HugePages,
}

/// Why an arena could not be mapped.
#[derive(Debug, Error)]
pub enum MapError {
    /// No bytes, or more than 8 TiB, were asked for.
    #[error("an arena has 1 byte to 8 TiB, not {bytes} bytes")]
    Size {
        /// What was asked for.
        bytes: usize,
    },
    /// The kernel has no address space or no memory to promise: ask for less, or raise
    /// `ulimit -v`, the cgroup's limit or `vm.overcommit_memory`.
    #[error("cannot map an arena of {bytes} bytes")]
    Map {
        /// What was asked for, rounded.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The mapping could not be kept from child processes.
    #[error("cannot keep an arena of {bytes} bytes from child processes (MADV_DONTFORK)")]
    Fork {
        /// What was asked for, rounded.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Names a region within its arena, from 0 without gaps: the key of a device's own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u16);

/// A range of the arena that a device registers as one, at most 1 GiB long. No segment crosses
/// its ends.
#[derive(Debug)]
pub struct Region {
    id: RegionId,
    base: NonNull<u8>,
    length: usize,
}

impl Region {
    /// Its name, also its place in [`Arena::regions`].
    pub fn id(&self) -> RegionId {
        self.id
    }

    /// Its first byte, for registration with a device. Valid as long as any clone of the arena:
    /// a device keeps one. The bytes belong to the buffers: nobody may read or write through
    /// this pointer but the hardware, where it was given a buffer.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Length in bytes, never 0.
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.length
    }
}

/// Where a buffer begins, in the terms of a device's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The region that holds all of the buffer.
    pub region: RegionId,
    /// Bytes from the region's start.
    pub offset: u32,
}

/// All shuffle memory of a process: mapped once, zeroed, never inherited by a child process.
///
/// Clones share the mapping; the last one to go unmaps it. Buffers count as clones.
#[derive(Clone)]
pub struct Arena {
    mapping: Arc<Mapping>,
}

struct Mapping {
    base: NonNull<u8>,
    length: usize,
    regions: Vec<Region>,
    /// Whether a `Memory` hands its bytes out.
    claimed: AtomicBool,
}

// SAFETY: the mapping is process-wide memory; its pointers are only handed out, never followed here.
unsafe impl Send for Mapping {}
// SAFETY: as above: but for an atomic, nothing in it changes between `map` and `drop`.
unsafe impl Sync for Mapping {}

impl Arena {
    /// Maps an arena. Pages come zeroed and on first touch: registering them with a device, or
    /// using them, makes them resident.
    pub fn map(options: ArenaOptions) -> Result<Arena, MapError> {
        let asked = options.bytes;
        if asked == 0 || asked > ARENA_BYTES_MAX {
            return Err(MapError::Size { bytes: asked });
        }
        let length = asked.next_multiple_of(GRANULE);
        let base = match options.huge_pages {
            HugePages::Never => map_pages(length),
            HugePages::Try => map_aligned(length),
        };
        let base = base.map_err(|source| MapError::Map { bytes: length, source })?;
        // From here on dropping it unmaps.
        let mapping = Mapping { base, length, regions: regions_of(base, length), claimed: AtomicBool::new(false) };
        if options.huge_pages == HugePages::Try {
            // Refused where the kernel is built without them, and small pages do as well.
            let _ = mapping.advise(libc::MADV_HUGEPAGE);
        }
        // A forked child that wrote here, or copied on write, would part a device from the memory it has pinned.
        mapping.advise(libc::MADV_DONTFORK).map_err(|source| MapError::Fork { bytes: length, source })?;
        Ok(Arena { mapping: Arc::new(mapping) })
    }

    /// Its regions by [`RegionId`]: what a device registers. All but the last have 1 GiB.
    pub fn regions(&self) -> &[Region] {
        &self.mapping.regions
    }

    /// Size in bytes, a multiple of 4 KiB.
    pub fn bytes(&self) -> usize {
        self.mapping.length
    }

    /// Makes the caller the one who hands its bytes out.
    pub(crate) fn claim(&self) {
        let claimed = self.mapping.claimed.swap(true, Ordering::Relaxed);
        assert!(!claimed, "an arena has one Memory: a second would hand the same bytes out again");
    }

    /// The first byte of the granule, which must lie within the arena.
    pub(crate) fn granule(&self, granule: u32) -> NonNull<u8> {
        let offset = granule as usize * GRANULE;
        assert!(offset < self.mapping.length, "offset {offset} in an arena of {}", self.mapping.length);
        // SAFETY: the sum stays inside the mapping of `length` bytes: asserted above.
        unsafe { self.mapping.base.add(offset) }
    }

    /// Where a byte of the arena lies.
    pub(crate) fn location(&self, byte: NonNull<u8>) -> Location {
        let offset = byte.addr().get() - self.mapping.base.addr().get();
        // 8 TiB have 8192 regions, so neither cast loses anything.
        Location { region: RegionId((offset / REGION_BYTES) as u16), offset: (offset % REGION_BYTES) as u32 }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("bytes", &self.bytes()).field("regions", &self.regions().len()).finish()
    }
}

impl Mapping {
    fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: the range is this mapping, made in `map` and unmapped only in `drop`; neither
        // advice given in `map` changes its contents in this process.
        let code = unsafe { libc::madvise(self.base.as_ptr().cast(), self.length, advice) };
        if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        unmap(self.base, self.length);
    }
}

fn regions_of(base: NonNull<u8>, length: usize) -> Vec<Region> {
    (0..length.div_ceil(REGION_BYTES))
        .map(|index| {
            let start = index * REGION_BYTES;
            // SAFETY: `start < length`, by the range above, and `map` mapped `length` bytes at `base`.
            let base = unsafe { base.add(start) };
            Region { id: RegionId(index as u16), base, length: REGION_BYTES.min(length - start) }
        })
        .collect()
}

/// Maps `length` bytes at a multiple of the huge page: kernels before 6.7 place a mapping anywhere.
fn map_aligned(length: usize) -> io::Result<NonNull<u8>> {
    let padded = length + HUGE_PAGE;
    let start = map_pages(padded)?;
    let before = start.align_offset(HUGE_PAGE);
    let after = padded - before - length;
    // SAFETY: `before < HUGE_PAGE`, and `padded` is longer than that.
    let base = unsafe { start.add(before) };
    // SAFETY: `before + length <= padded`, the size of the mapping.
    let end = unsafe { base.add(length) };
    unmap(start, before);
    unmap(end, after);
    Ok(base)
}

fn map_pages(length: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(address.cast()).expect("the kernel maps nothing at address 0 unasked"))
}

/// Gives a range of a mapping back. Private to this file: its two callers own the range.
fn unmap(base: NonNull<u8>, length: usize) {
    if length == 0 {
        return;
    }
    // SAFETY: the range is the whole of a `Mapping` that goes (every buffer holds an `Arena`, so
    // none is left), or the padding `map_aligned` has told nobody of.
    let code = unsafe { libc::munmap(base.as_ptr().cast(), length) };
    debug_assert_eq!(code, 0, "munmap of {length} bytes");
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn mapped(bytes: usize, huge_pages: HugePages) -> Arena {
        Arena::map(ArenaOptions { bytes, huge_pages }).expect("address space is plenty")
    }

    #[test]
    fn an_arena_is_rounded_up_to_granules() {
        assert_eq!(mapped(1, HugePages::Never).bytes(), 4096);
        assert_eq!(mapped(4097, HugePages::Try).bytes(), 8192);
    }

    #[test]
    fn no_region_is_longer_than_a_gibibyte() {
        let arena = mapped(2 * REGION_BYTES + GRANULE, HugePages::Never);
        let lengths: Vec<_> = arena.regions().iter().map(Region::len).collect();
        assert_eq!(lengths, [REGION_BYTES, REGION_BYTES, GRANULE]);
        let last = (2 * REGION_BYTES / GRANULE) as u32;
        assert_eq!(arena.location(arena.granule(last)), Location { region: RegionId(2), offset: 0 });
        assert_eq!(arena.location(arena.granule(last - 1)).offset as usize, REGION_BYTES - GRANULE);
        assert_eq!(arena.regions()[2].as_ptr(), arena.granule(last).as_ptr());
    }

    #[test]
    fn huge_pages_begin_at_their_own_multiple() {
        let arena = mapped(3 * HUGE_PAGE, HugePages::Try);
        assert_eq!(arena.granule(0).addr().get() % HUGE_PAGE, 0);
    }

    #[test]
    fn an_impossible_size_is_refused() {
        for bytes in [0, ARENA_BYTES_MAX + 1, usize::MAX] {
            let error =
                Arena::map(ArenaOptions { bytes, huge_pages: HugePages::Try }).expect_err("too much or nothing");
            assert!(matches!(error, MapError::Size { bytes: b } if b == bytes));
        }
    }
}
