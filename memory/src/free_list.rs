//! Free blocks linked through a table beside the arena, so that a free block's bytes stay
//! untouched and to unlink one costs the same wherever it stands.

use crate::class::SizeClass;

/// No granule: the end of a list.
const NONE: u32 = u32::MAX;

/// Whose list a free block is in. Blocks of different owners are never merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) u32);

/// What is known of each granule that begins a free block. Shared by all lists of an arena, as a
/// granule is in one of them at most.
pub(crate) struct Granules {
    nodes: Box<[Node]>,
}

#[derive(Clone, Copy)]
struct Node {
    next: u32,
    previous: u32,
    owner: Owner,
    /// `None` unless a free block begins here.
    free: Option<SizeClass>,
}

impl Granules {
    pub(crate) fn new(count: u32) -> Granules {
        let node = Node { next: NONE, previous: NONE, owner: Owner(0), free: None };
        Granules { nodes: vec![node; count as usize].into_boxed_slice() }
    }

    pub(crate) fn count(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// The other half of the block twice as large, if it is free, undivided, and the owner's too.
    pub(crate) fn free_buddy(&self, block: u32, class: SizeClass, owner: Owner) -> Option<u32> {
        let buddy = block ^ class.granules();
        // The arena's last block may have no buddy.
        let node = self.nodes.get(buddy as usize)?;
        (node.free == Some(class) && node.owner == owner).then_some(buddy)
    }

    fn node(&mut self, granule: u32) -> &mut Node {
        &mut self.nodes[granule as usize]
    }
}

/// The free blocks of one class and owner, the last freed first: its bytes are likely still in a cache.
#[derive(Clone, Copy)]
pub(crate) struct FreeList {
    head: u32,
}

impl FreeList {
    pub(crate) const EMPTY: FreeList = FreeList { head: NONE };

    pub(crate) fn first(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(crate) fn after(&self, granules: &Granules, block: u32) -> Option<u32> {
        let next = granules.nodes[block as usize].next;
        (next != NONE).then_some(next)
    }

    pub(crate) fn push(&mut self, granules: &mut Granules, block: u32, class: SizeClass, owner: Owner) {
        let node = granules.node(block);
        assert!(node.free.is_none(), "block {block} was freed twice");
        *node = Node { next: self.head, previous: NONE, owner, free: Some(class) };
        if self.head != NONE {
            granules.node(self.head).previous = block;
        }
        self.head = block;
    }

    pub(crate) fn pop(&mut self, granules: &mut Granules) -> Option<u32> {
        let block = self.first()?;
        self.unlink(granules, block);
        Some(block)
    }

    /// Takes a block out that is in this list.
    pub(crate) fn unlink(&mut self, granules: &mut Granules, block: u32) {
        let node = granules.node(block);
        node.free = None;
        let Node { next, previous, .. } = *node;
        if previous == NONE {
            debug_assert_eq!(self.head, block, "a block without predecessor heads its list");
            self.head = next;
        } else {
            granules.node(previous).next = next;
        }
        if next != NONE {
            granules.node(next).previous = previous;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MIN: SizeClass = SizeClass::MIN;
    const OWNER: Owner = Owner(1);

    fn list_of(granules: &mut Granules, blocks: &[u32]) -> FreeList {
        let mut list = FreeList::EMPTY;
        blocks.iter().for_each(|&block| list.push(granules, block, MIN, OWNER));
        list
    }

    fn drained(mut list: FreeList, granules: &mut Granules) -> Vec<u32> {
        std::iter::from_fn(|| list.pop(granules)).collect()
    }

    #[test]
    fn the_last_freed_is_the_first_reused() {
        let mut granules = Granules::new(8);
        let list = list_of(&mut granules, &[3, 1, 7]);
        assert_eq!(drained(list, &mut granules), [7, 1, 3]);
    }

    #[test]
    fn any_block_can_be_unlinked() {
        for gone in [0, 1, 2] {
            let mut granules = Granules::new(3);
            let mut list = list_of(&mut granules, &[0, 1, 2]);
            list.unlink(&mut granules, gone);
            let left: Vec<_> = [2, 1, 0].into_iter().filter(|&block| block != gone).collect();
            assert_eq!(drained(list, &mut granules), left);
        }
    }

    #[test]
    fn a_buddy_is_free_whole_and_of_the_same_owner() {
        let mut granules = Granules::new(3);
        let _list = list_of(&mut granules, &[1, 2]);
        assert_eq!(granules.free_buddy(0, MIN, OWNER), Some(1));
        assert_eq!(granules.free_buddy(0, MIN, Owner(2)), None);
        assert_eq!(granules.free_buddy(0, MIN.doubled(), OWNER), None, "2 is free but half as large");
        assert_eq!(granules.free_buddy(2, MIN, OWNER), None, "3 is beyond the arena");
    }

    #[test]
    #[should_panic(expected = "block 1 was freed twice")]
    fn a_block_freed_twice_is_noticed() {
        list_of(&mut Granules::new(2), &[1, 1]);
    }
}
