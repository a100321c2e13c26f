//! What is read at once: slices in the order in which they are to lie, as many as there is memory for, and the runs of whole
//! pages that they lie in.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::walk::Order;
use crate::spill::{ALIGNMENT, Slice};

const PAGE: u64 = ALIGNMENT as u64;

/// Takes slices from the front of an order, as long as all that is read for them is no more than `bytes_max`. A slice that
/// does not fit is cut between two blocks. `None`: not even one block fits.
pub(super) fn take(order: &mut Order, bytes_max: u64) -> Option<(Order, Vec<Range<u64>>)> {
    let mut taken = Order::new();
    let mut runs = Runs { bytes_left: bytes_max, ..Runs::default() };
    while let Some((target, mut slice)) = order.pop_front() {
        let mut end = slice.offset;
        let fitting = slice.blocks.iter().take_while(|block| {
            let begin = end;
            end += u64::from(block.stored_bytes);
            runs.add(begin..end)
        });
        let fitting = fitting.count();
        if fitting == slice.blocks.len() {
            taken.push_back((target, slice));
            continue;
        }
        let rest = Slice { blocks: slice.blocks.split_off(fitting), offset: slice.end() };
        if fitting > 0 {
            let front = Slice { blocks: slice.blocks, offset: slice.offset };
            taken.push_back((target, front));
        }
        order.push_front((target, rest));
        break;
    }
    (!taken.is_empty()).then(|| (taken, runs.pages()))
}

/// The runs of whole pages that hold these ranges; in order, none on top of another.
pub(super) fn pages(ranges: impl Iterator<Item = (u64, u64)>) -> Vec<Range<u64>> {
    let mut runs = Runs { bytes_left: u64::MAX, ..Runs::default() };
    for (offset, bytes) in ranges {
        runs.add(offset..offset + bytes);
    }
    runs.pages()
}

/// Ranges that grow at their ends, as slices of neighbours do.
#[derive(Default)]
struct Runs {
    /// From end to beginning.
    by_end: BTreeMap<u64, u64>,
    bytes_left: u64,
}

impl Runs {
    /// False if what is read for it would be too much.
    fn add(&mut self, range: Range<u64>) -> bool {
        let bytes = range.end - range.start;
        let joined = self.by_end.get(&range.start).copied();
        // At both ends of a run a part of a page may be read that nobody wants.
        let Some(left) = self.bytes_left.checked_sub(bytes + if joined.is_some() { 0 } else { 2 * PAGE }) else {
            return false;
        };
        self.bytes_left = left;
        if joined.is_some() {
            self.by_end.remove(&range.start);
        }
        self.by_end.insert(range.end, joined.unwrap_or(range.start));
        true
    }

    fn pages(self) -> Vec<Range<u64>> {
        let mut ranges: Vec<_> = self.by_end.into_iter().map(|(end, begin)| begin..end).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut pages: VecDeque<Range<u64>> = VecDeque::new();
        for Range { start, end } in ranges {
            let (start, end) = (start / PAGE * PAGE, end.next_multiple_of(PAGE));
            match pages.back_mut() {
                Some(last) if start <= last.end => last.end = last.end.max(end),
                _ => pages.push_back(start..end),
            }
        }
        pages.into()
    }
}

#[cfg(test)]
mod tests {
    use sluice_protocol::SubpartitionIndex;

    use super::*;
    use crate::spill::{BlockEntry, BlockKind, Codec};

    fn slice(offset: u64, blocks: &[u32]) -> Slice {
        let block = |bytes: &u32| BlockEntry {
            stored_bytes: *bytes,
            raw_bytes: *bytes,
            crc: 0,
            codec: Codec::None,
            kind: BlockKind::Data,
        };
        Slice { offset, blocks: blocks.iter().map(block).collect() }
    }

    fn order(slices: &[(u32, Slice)]) -> Order {
        slices.iter().map(|(target, slice)| (Some(SubpartitionIndex(*target)), slice.clone())).collect()
    }

    #[test]
    fn slices_of_neighbours_are_one_run_however_they_are_ordered() {
        // Two regions at 0 and 100 000, subpartitions 0 and 1 in each.
        let mut all = order(&[
            (0, slice(100, &[1000])),
            (0, slice(100_000, &[3000])),
            (1, slice(1100, &[5000])),
            (1, slice(103_000, &[10])),
        ]);
        let (taken, runs) = take(&mut all, 1 << 20).expect("there is room");
        assert_eq!((taken.len(), all.len()), (4, 0));
        assert_eq!(runs, [0..8192, 98_304..106_496]);
    }

    #[test]
    fn a_slice_that_does_not_fit_is_cut_between_blocks_and_goes_on_later() {
        let mut all = order(&[(0, slice(0, &[4000, 4000, 4000])), (1, slice(12_000, &[50]))]);
        let (taken, runs) = take(&mut all, 8192 + 8100).expect("there is room");
        assert_eq!(taken, order(&[(0, slice(0, &[4000, 4000]))]));
        assert_eq!((runs.len(), runs[0].clone()), (1, 0..8192));
        assert_eq!(all, order(&[(0, slice(8000, &[4000])), (1, slice(12_000, &[50]))]));
    }

    #[test]
    fn what_is_read_is_never_more_than_there_is_memory_for() {
        let slices: Vec<_> = (0..200).map(|index| (index, slice(u64::from(index) * 5001, &[700, 300]))).collect();
        for bytes_max in [9_192, 20_000, 300_000] {
            let mut left = order(&slices);
            let mut blocks = 0;
            while !left.is_empty() {
                let (taken, runs) = take(&mut left, bytes_max).expect("a block fits");
                blocks += taken.iter().map(|(_, slice)| slice.blocks.len()).sum::<usize>();
                assert!(runs.iter().map(|run| run.end - run.start).sum::<u64>() <= bytes_max);
                assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
            assert_eq!(blocks, 400);
        }
        assert_eq!(take(&mut order(&slices), 8_000), None, "no memory for a block");
    }
}
