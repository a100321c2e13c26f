//! The sizes a segment can have: powers of two from 4 KiB to 512 KiB.

use std::fmt;

/// Bytes of a granule: the smallest segment, and what the arena is counted in.
pub(crate) const GRANULE: usize = 4096;

/// The size of a segment: a power of two from 4 KiB to 512 KiB, so that a small flush, a socket
/// batch and a disk request all find one that fits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SizeClass(
    /// Power of two of the number of granules.
    u8,
);

impl SizeClass {
    /// 4 KiB: a page, and the least that direct IO accepts.
    pub const MIN: SizeClass = SizeClass(0);
    /// 32 KiB: the usual unit of a pool.
    pub const UNIT: SizeClass = SizeClass(3);
    /// 512 KiB: where larger disk requests stop gaining.
    pub const MAX: SizeClass = SizeClass(7);
    /// How many classes there are.
    pub const COUNT: usize = Self::MAX.0 as usize + 1;

    /// All classes, the smallest first.
    pub fn all() -> impl DoubleEndedIterator<Item = SizeClass> {
        (Self::MIN.0..=Self::MAX.0).map(SizeClass)
    }

    /// The smallest class that holds `bytes`, `None` above 512 KiB.
    pub const fn fitting(bytes: usize) -> Option<SizeClass> {
        if bytes > Self::MAX.bytes() {
            return None;
        }
        let granules = bytes.div_ceil(GRANULE);
        Some(SizeClass(granules.next_power_of_two().ilog2() as u8))
    }

    /// The largest class that is no larger than `bytes`, `None` below 4 KiB.
    pub const fn at_most(bytes: usize) -> Option<SizeClass> {
        if bytes < GRANULE {
            return None;
        }
        let power = (bytes / GRANULE).ilog2();
        if power > Self::MAX.0 as u32 {
            return Some(Self::MAX);
        }
        Some(SizeClass(power as u8))
    }

    /// Size in bytes.
    pub const fn bytes(self) -> usize {
        GRANULE << self.0
    }

    /// Size in granules.
    pub(crate) const fn granules(self) -> u32 {
        1 << self.0
    }

    /// Position among the classes, 0 for the smallest.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The class twice as large; only for a class below [`SizeClass::MAX`].
    pub(crate) const fn doubled(self) -> SizeClass {
        assert!(self.0 < Self::MAX.0);
        SizeClass(self.0 + 1)
    }

    /// The class half as large; only for a class above [`SizeClass::MIN`].
    pub(crate) const fn halved(self) -> SizeClass {
        assert!(self.0 > Self::MIN.0);
        SizeClass(self.0 - 1)
    }

    pub(crate) const fn from_index(index: usize) -> SizeClass {
        assert!(index < Self::COUNT);
        SizeClass(index as u8)
    }
}

impl fmt::Debug for SizeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SizeClass({self})")
    }
}

impl fmt::Display for SizeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}KiB", self.bytes() / 1024)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_fitting_class_is_the_smallest_that_holds_the_bytes() {
        assert_eq!(SizeClass::fitting(0), Some(SizeClass::MIN));
        for class in SizeClass::all() {
            assert_eq!(SizeClass::fitting(class.bytes()), Some(class));
            let larger = (class < SizeClass::MAX).then(|| class.doubled());
            assert_eq!(SizeClass::fitting(class.bytes() + 1), larger);
        }
        assert_eq!(SizeClass::fitting(usize::MAX), None);
    }

    #[test]
    fn a_class_at_most_is_the_largest_within_the_bytes() {
        assert_eq!(SizeClass::at_most(4095), None);
        for class in SizeClass::all() {
            assert_eq!(SizeClass::at_most(class.bytes()), Some(class));
            assert_eq!(SizeClass::at_most(class.bytes() * 2 - 1), Some(class));
        }
        assert_eq!(SizeClass::at_most(usize::MAX), Some(SizeClass::MAX));
    }

    #[test]
    fn classes_run_from_4_to_512_kib() {
        let shown: Vec<_> = SizeClass::all().map(|class| class.to_string()).collect();
        assert_eq!((shown[0].as_str(), shown[7].as_str()), ("4KiB", "512KiB"));
        assert_eq!(SizeClass::UNIT.bytes(), 32 * 1024);
        assert_eq!(shown.len(), SizeClass::COUNT);
    }
}
