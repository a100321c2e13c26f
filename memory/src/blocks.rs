//! A buddy allocator that merges late: a freed block goes back as it is, to be reused hot, and
//! free neighbours become one only when a larger block is wanted and there is none.

use crate::{
    class::SizeClass,
    free_list::{FreeList, Granules, Owner},
};

/// The free blocks of one owner, by class.
///
/// To merge is one walk over its free blocks. It is done when a class cannot be served otherwise,
/// and not again until something was freed since. After a walk that did not help, blocks are
/// merged as they are freed until the class is served: a starved caller costs no walk per attempt.
pub(crate) struct Blocks {
    lists: [FreeList; SizeClass::COUNT],
    owner: Owner,
    /// No block is merged beyond this.
    largest: SizeClass,
    free_bytes: usize,
    /// Whether a block was freed without a look at its buddy since the last merge.
    unmerged: bool,
    /// The largest class in vain wanted; set only while `unmerged` is not.
    wanted: Option<SizeClass>,
}

impl Blocks {
    pub(crate) fn new(owner: Owner, largest: SizeClass) -> Blocks {
        let lists = [FreeList::EMPTY; SizeClass::COUNT];
        Blocks { lists, owner, largest, free_bytes: 0, unmerged: false, wanted: None }
    }

    /// All granules free, in blocks as large as they go, the lowest address first.
    pub(crate) fn covering(granules: &mut Granules, owner: Owner) -> Blocks {
        let mut blocks = Blocks::new(owner, SizeClass::MAX);
        let mut end = granules.count();
        // From the end, where the remainder is, whose lowest bit is its smallest block.
        while end > 0 {
            let class = SizeClass::from_index((end.trailing_zeros() as usize).min(SizeClass::MAX.index()));
            end -= class.granules();
            blocks.insert(granules, end, class);
        }
        blocks
    }

    pub(crate) fn free_bytes(&self) -> usize {
        self.free_bytes
    }

    /// Takes a block of the class, dividing a larger one or merging smaller ones where needed.
    pub(crate) fn take(&mut self, granules: &mut Granules, class: SizeClass) -> Option<u32> {
        let mut found = self.source_of(granules, class)?;
        let block = self.lists[found.index()].pop(granules).expect("source_of() saw a block here");
        self.free_bytes -= found.bytes();
        while found > class {
            found = found.halved();
            self.insert(granules, block + found.granules(), found);
        }
        Some(block)
    }

    /// Whether [`Blocks::take`] would succeed. Merges where needed.
    pub(crate) fn can_serve(&mut self, granules: &mut Granules, class: SizeClass) -> bool {
        self.source_of(granules, class).is_some()
    }

    /// Gives a block back: its first granule and class, as taken.
    pub(crate) fn give(&mut self, granules: &mut Granules, block: u32, class: SizeClass) {
        if self.wanted.is_some() {
            return self.insert_merged(granules, block, class);
        }
        self.unmerged = true;
        self.insert(granules, block, class);
    }

    /// Merges what can be merged, so that what is taken next leaves as large blocks as possible.
    pub(crate) fn tidy(&mut self, granules: &mut Granules) {
        if self.unmerged {
            self.merge_all(granules);
        }
    }

    /// Takes any block, for its owner's end.
    pub(crate) fn take_any(&mut self, granules: &mut Granules) -> Option<(u32, SizeClass)> {
        SizeClass::all().find_map(|class| {
            let block = self.lists[class.index()].pop(granules)?;
            self.free_bytes -= class.bytes();
            Some((block, class))
        })
    }

    /// The smallest class that has a block and can serve `class`.
    fn source_of(&mut self, granules: &mut Granules, class: SizeClass) -> Option<SizeClass> {
        if self.free_bytes < class.bytes() {
            return None;
        }
        let mut found = self.smallest_from(class);
        if found.is_none() {
            self.tidy(granules);
            found = self.smallest_from(class);
        }
        match found {
            Some(_) if self.wanted.is_some_and(|wanted| wanted <= class) => self.wanted = None,
            None => self.wanted = self.wanted.max(Some(class)),
            Some(_) => {}
        }
        found
    }

    fn smallest_from(&self, class: SizeClass) -> Option<SizeClass> {
        let above = &self.lists[class.index()..];
        let steps = above.iter().position(|list| list.first().is_some())?;
        Some(SizeClass::from_index(class.index() + steps))
    }

    fn insert(&mut self, granules: &mut Granules, block: u32, class: SizeClass) {
        self.free_bytes += class.bytes();
        self.lists[class.index()].push(granules, block, class, self.owner);
    }

    fn insert_merged(&mut self, granules: &mut Granules, mut block: u32, mut class: SizeClass) {
        while class < self.largest
            && let Some(buddy) = granules.free_buddy(block, class, self.owner)
        {
            self.lists[class.index()].unlink(granules, buddy);
            self.free_bytes -= class.bytes();
            block = block.min(buddy);
            class = class.doubled();
        }
        self.insert(granules, block, class);
    }

    /// Merges every pair of free buddies, from the smallest class up, so that one walk is enough.
    fn merge_all(&mut self, granules: &mut Granules) {
        for class in SizeClass::all().take_while(|&class| class < self.largest) {
            let mut cursor = self.lists[class.index()].first();
            while let Some(block) = cursor {
                let list = &mut self.lists[class.index()];
                cursor = list.after(granules, block);
                let Some(buddy) = granules.free_buddy(block, class, self.owner) else { continue };
                if cursor == Some(buddy) {
                    cursor = list.after(granules, buddy);
                }
                list.unlink(granules, block);
                list.unlink(granules, buddy);
                let merged = &mut self.lists[class.doubled().index()];
                merged.push(granules, block.min(buddy), class.doubled(), self.owner);
            }
        }
        self.unmerged = false;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN: SizeClass = SizeClass::MIN;
    const MAX: SizeClass = SizeClass::MAX;
    const UNIT: SizeClass = SizeClass::UNIT;

    fn covering(count: u32) -> (Granules, Blocks) {
        let mut granules = Granules::new(count);
        let blocks = Blocks::covering(&mut granules, Owner(0));
        (granules, blocks)
    }

    fn take_all(granules: &mut Granules, blocks: &mut Blocks, class: SizeClass) -> Vec<u32> {
        std::iter::from_fn(|| blocks.take(granules, class)).collect()
    }

    #[test]
    fn the_tail_serves_as_smaller_blocks() {
        let (mut granules, mut blocks) = covering(128 + 64 + 1);
        assert_eq!(take_all(&mut granules, &mut blocks, MAX), [0]);
        assert_eq!(blocks.take(&mut granules, MAX.halved()), Some(128));
        assert_eq!(take_all(&mut granules, &mut blocks, MIN), [192]);
        assert_eq!(blocks.free_bytes(), 0);
    }

    #[test]
    fn the_lowest_address_goes_first_and_then_the_last_freed() {
        let (mut granules, mut blocks) = covering(256);
        let taken = [(); 3].map(|()| blocks.take(&mut granules, MAX.halved()));
        assert_eq!(taken, [Some(0), Some(64), Some(128)]);
        blocks.give(&mut granules, 0, MAX.halved());
        blocks.give(&mut granules, 128, MAX.halved());
        assert_eq!(blocks.take(&mut granules, MAX.halved()), Some(128), "not merged with 192");
    }

    #[test]
    fn freed_blocks_merge_only_when_a_larger_one_is_wanted() {
        let (mut granules, mut blocks) = covering(128);
        let pieces = take_all(&mut granules, &mut blocks, MIN);
        pieces.iter().for_each(|&piece| blocks.give(&mut granules, piece, MIN));
        assert_eq!(blocks.smallest_from(MIN), Some(MIN));
        assert_eq!(blocks.smallest_from(MIN.doubled()), None);
        assert_eq!(blocks.take(&mut granules, MAX), Some(0));
        assert_eq!(blocks.free_bytes(), 0);
    }

    #[test]
    fn after_a_merge_in_vain_freed_blocks_merge_at_once() {
        let (mut granules, mut blocks) = covering(8);
        let pieces = take_all(&mut granules, &mut blocks, MIN);
        pieces[2..].iter().for_each(|&piece| blocks.give(&mut granules, piece, MIN));
        assert_eq!(blocks.take(&mut granules, UNIT.halved().halved().halved()), Some(7));
        assert!(!blocks.can_serve(&mut granules, UNIT.halved()), "7 is out, and so are 0 and 1");
        blocks.give(&mut granules, 7, MIN);
        assert!(!blocks.unmerged);
        assert!(blocks.can_serve(&mut granules, UNIT.halved()));
        assert_eq!(blocks.wanted, None, "served, so it merges late again");
    }

    #[test]
    fn no_block_is_merged_beyond_the_largest() {
        let mut granules = Granules::new(16);
        let mut blocks = Blocks::new(Owner(0), UNIT);
        blocks.give(&mut granules, 0, UNIT);
        blocks.give(&mut granules, 8, UNIT);
        assert!(!blocks.can_serve(&mut granules, UNIT.doubled()));
        assert_eq!(blocks.take(&mut granules, UNIT), Some(8));
    }

    proptest! {
        /// Whatever was taken and given in whatever order: no overlap, and whole again at the end.
        #[test]
        fn blocks_never_overlap_and_all_merge(
            count in 1u32..600,
            steps in proptest::collection::vec((any::<prop::sample::Index>(), 0..2 * SizeClass::COUNT), 0..200),
        ) {
            let (mut granules, mut blocks) = covering(count);
            let mut used = vec![false; count as usize];
            let mut held = Vec::new();
            for (which, step) in steps {
                if step < SizeClass::COUNT {
                    let class = SizeClass::from_index(step);
                    let Some(block) = blocks.take(&mut granules, class) else { continue };
                    prop_assert_eq!(block % class.granules(), 0);
                    for granule in &mut used[block as usize..][..class.granules() as usize] {
                        prop_assert!(!std::mem::replace(granule, true));
                    }
                    held.push((block, class));
                } else if !held.is_empty() {
                    let (block, class) = held.swap_remove(which.index(held.len()));
                    used[block as usize..][..class.granules() as usize].fill(false);
                    blocks.give(&mut granules, block, class);
                }
                let free = used.iter().filter(|&&used| !used).count() * MIN.bytes();
                prop_assert_eq!(blocks.free_bytes(), free);
            }
            held.drain(..).for_each(|(block, class)| blocks.give(&mut granules, block, class));
            prop_assert_eq!(take_all(&mut granules, &mut blocks, MAX).len(), count as usize / 128);
        }
    }
}
