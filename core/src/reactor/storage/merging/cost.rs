//! Whether merging pays: what everything costs that is read and written, in bytes that consumers stream in the same time.
//!
//! The figures were measured by `sluice-perf slices`: docs/benchmarks.md, "Slices that stay large", says how.

use crate::disk_settings::Merge;

/// What a request of a consumer costs besides its bytes: some 30 µs, in which 36 KiB are streamed, pages included.
const REQUEST_COST_BYTES: u64 = 32 << 10;
/// To read everything once more and write it once more costs as much as so many hundredths of it are streamed.
const MERGING_COST_PERCENT: u64 = 175;
/// A piece that begins and ends anywhere is read in whole pages: on the average so much more than it has.
const PAGES_COST_BYTES: u64 = 4 << 10;
/// What is read in one piece.
const REQUEST_BYTES: u64 = 512 << 10;
/// Of a directory each section is a request; so many bytes one has, and so many of them a slice takes.
const DIRECTORY_BYTES: u64 = 256 << 10;
const SLICE_ENTRY_BYTES: u64 = 28;

/// A partition that could be merged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) bytes: u64,
    pub(super) subpartitions: u64,
    pub(super) regions: u64,
    /// Slices of one subpartition each, in all regions.
    pub(super) slices: u64,
    /// What lies between two slices that all share is merged by itself.
    pub(super) stretches: u64,
    /// The memory to merge in.
    pub(super) memory_bytes: u64,
}

impl Case {
    pub(super) fn pays(&self, policy: Merge) -> bool {
        // Each stretch begins a slice anew.
        let gets_larger = self.stretches < self.regions && self.slices > self.subpartitions;
        match policy {
            Merge::Never => false,
            Merge::Always => gets_larger,
            Merge::Auto => {
                gets_larger && self.merging() + self.reading(self.merged_slices()) < self.reading(self.slices)
            }
        }
    }

    /// Every subpartition is read once, by itself: all slices, and their sections.
    fn reading(&self, slices: u64) -> u64 {
        let requests = slices.max(self.bytes / REQUEST_BYTES);
        let sections = (directories(slices) * self.subpartitions).min(slices);
        self.bytes + (requests + sections) * (REQUEST_COST_BYTES + PAGES_COST_BYTES)
    }

    fn merged_slices(&self) -> u64 {
        self.slices.min(self.subpartitions * self.stretches)
    }

    /// Everything is read once more, in as many passes as the memory makes of it, and written once more. For each pass
    /// something is read out of every region and every directory.
    fn merging(&self) -> u64 {
        let passes = self.bytes.div_ceil(self.memory_bytes.max(1));
        let pieces = (passes * self.regions).min(self.slices).max(self.bytes / REQUEST_BYTES);
        let small = pieces - self.bytes / REQUEST_BYTES + passes * directories(self.slices);
        self.bytes / 100 * MERGING_COST_PERCENT + small * (REQUEST_COST_BYTES + PAGES_COST_BYTES)
    }
}

/// That list so many slices.
fn directories(slices: u64) -> u64 {
    (slices * SLICE_ENTRY_BYTES).div_ceil(DIRECTORY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4 GiB in regions of 32 MiB, each with a slice of each subpartition; memory as much as a region and its successor.
    fn case(subpartitions: u64) -> Case {
        let (bytes, regions) = (4 << 30, 128);
        let slices = subpartitions * regions;
        Case { bytes, subpartitions, regions, slices, stretches: 1, memory_bytes: 64 << 20 }
    }

    #[test]
    fn small_slices_are_merged_and_large_ones_are_not() {
        let pays = |subpartitions| case(subpartitions).pays(Merge::Auto);
        assert!(!pays(16) && !pays(100), "slices of 2 MiB and 320 KiB");
        assert!(pays(10_000), "slices of 3 KiB");
    }

    #[test]
    fn with_little_memory_merging_reads_small_pieces_itself() {
        assert!(!Case { memory_bytes: 32 << 10, ..case(10_000) }.pays(Merge::Auto));
    }

    #[test]
    fn what_all_share_in_every_region_leaves_nothing_to_merge() {
        for policy in [Merge::Auto, Merge::Always] {
            assert!(!Case { stretches: 129, ..case(10_000) }.pays(policy));
        }
    }

    #[test]
    fn always_is_whenever_slices_become_larger_and_never_is_never() {
        assert!(case(16).pays(Merge::Always));
        assert!(!Case { regions: 1, slices: 16, ..case(16) }.pays(Merge::Always), "one region");
        assert!(!case(10_000).pays(Merge::Never));
    }
}
