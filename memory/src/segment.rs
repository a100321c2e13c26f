//! Keeps a segment out of its pool while handles to it exist: one count per segment, in a table
//! beside the arena, so that neither to acquire nor to split allocates.

use std::{process::abort, ptr::NonNull};

use crate::{
    class::SizeClass,
    memory::Shared,
    sync::{Arc, AtomicU32, Ordering, fence},
};

/// More handles than this to one segment are a leak in a loop, which must not wrap the count round.
const REFERENCES_MAX: u32 = u32::MAX / 2;

/// The count of the segment that begins at a granule.
///
/// Eight bytes, so that two segments of 32 KiB never meet in a cache line.
#[repr(align(8))]
pub(crate) struct References(AtomicU32);

impl References {
    pub(crate) fn none() -> References {
        References(AtomicU32::new(0))
    }
}

/// A share in keeping one segment alive. The last share of a segment to drop returns it.
///
/// All shares of a segment together own one strong count of `Shared`, so that to split a buffer
/// touches nothing that other segments touch.
pub(crate) struct SegmentRef {
    /// From `Arc::into_raw`.
    shared: NonNull<Shared>,
    granule: u32,
    class: SizeClass,
}

// SAFETY: it is a counted pointer to `Shared`, which is `Send + Sync`, and the count is atomic.
unsafe impl Send for SegmentRef {}
// SAFETY: as above: `&SegmentRef` allows to read immutable fields and to clone.
unsafe impl Sync for SegmentRef {}

impl SegmentRef {
    /// The first share of a segment that the ledger has just handed out.
    pub(crate) fn first(shared: Arc<Shared>, granule: u32, class: SizeClass) -> SegmentRef {
        // The ledger's lock ordered this after the last share of the segment's previous life.
        shared.references(granule).0.store(1, Ordering::Relaxed);
        let shared = NonNull::new(Arc::into_raw(shared).cast_mut()).expect("an Arc is not at null");
        SegmentRef { shared, granule, class }
    }

    pub(crate) fn class(&self) -> SizeClass {
        self.class
    }

    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: `first` leaked a strong count that only the last share's drop takes back, and
        // this share exists.
        unsafe { self.shared.as_ref() }
    }

    /// Whether this is the only share. Acquire: what others did with the bytes comes before what is done now.
    pub(crate) fn is_alone(&self) -> bool {
        self.count().load(Ordering::Acquire) == 1
    }

    /// Whether both are shares of the same segment.
    pub(crate) fn same_segment(&self, other: &SegmentRef) -> bool {
        self.shared == other.shared && self.granule == other.granule
    }

    fn count(&self) -> &AtomicU32 {
        &self.shared().references(self.granule).0
    }
}

impl Clone for SegmentRef {
    fn clone(&self) -> SegmentRef {
        // Relaxed as in `Arc`: who clones holds a share already.
        if self.count().fetch_add(1, Ordering::Relaxed) > REFERENCES_MAX {
            abort();
        }
        SegmentRef { shared: self.shared, granule: self.granule, class: self.class }
    }
}

impl Drop for SegmentRef {
    fn drop(&mut self) {
        // Alone, nobody can add a share meanwhile: the usual case, spared the locked instruction.
        if self.count().load(Ordering::Acquire) != 1 {
            if self.count().fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            // What others did with the bytes comes before their next use.
            fence(Ordering::Acquire);
        }
        let (granule, shared) = (self.granule, self.shared.as_ptr());
        // SAFETY: this was the last share, so the strong count leaked in `first` is ours to take back.
        let shared = unsafe { Arc::from_raw(shared.cast_const()) };
        shared.release(granule);
    }
}
