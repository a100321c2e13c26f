//! Memory for requests: pieces of one size, each on pages of its own as direct IO wants it.

use sluice_memory::{Arena, ArenaOptions, BufferMut, BufferPool, HugePages, MapError, Memory, PoolSpec, SizeClass};

use super::plan::Pattern;

/// As many pieces as there are requests.
pub(crate) struct Pieces {
    pub(crate) arena: Arena,
    pool: BufferPool,
    class: SizeClass,
    bytes: usize,
}

impl Pieces {
    /// Each of so many bytes, at most 512 KiB, with the pattern in it.
    pub(crate) fn new(bytes: usize, count: usize, pattern: &Pattern) -> Result<Pieces, MapError> {
        let class = SizeClass::fitting(bytes).expect("larger requests are refused with the command line");
        let bytes_max = class.bytes() * count;
        let arena = Arena::map(ArenaOptions { bytes: bytes_max, huge_pages: HugePages::Try })?;
        let spec = PoolSpec { owner: "requests of a disk".into(), unit: class, floor_units: count, bytes_max };
        let pool = Memory::new(arena.clone()).pool(spec).expect("the arena has room for exactly this pool");
        let pieces = Pieces { arena, pool, class, bytes };
        let mut all: Vec<_> = (0..count).map(|_| pieces.piece()).collect();
        all.iter_mut().for_each(|piece| pattern.fill(piece));
        Ok(pieces)
    }

    /// One that nobody else has.
    pub(crate) fn piece(&self) -> BufferMut {
        let mut piece = self.pool.try_acquire(self.class).expect("there is a piece for each request under way");
        piece.truncate(self.bytes);
        piece
    }
}
