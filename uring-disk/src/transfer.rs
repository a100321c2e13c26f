//! A read or write on its way through an engine, and what becomes of one that the kernel cuts short.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use sluice_memory::{Buffer, BufferMut};
use sluice_plugin::DISK_ALIGNMENT;

/// Moves its pieces one after the other, from the first byte of the first. Aligned in the file and in memory.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// Comes back with it.
    pub(crate) token: u64,
    pub(crate) file: Arc<OwnedFd>,
    /// Where in the file, in bytes.
    pub(crate) offset: u64,
    pub(crate) pieces: Pieces,
}

/// A transfer of which the engine has done what it can.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) transfer: Transfer,
    /// As the system call said: fewer bytes than asked for, none at the end of the file, are no error.
    pub(crate) result: io::Result<usize>,
}

/// Where to, or from where.
#[derive(Debug)]
pub(crate) enum Pieces {
    /// To read.
    Into(Vec<BufferMut>),
    /// To write.
    From(Vec<Buffer>),
}

/// What of a request was moved by transfers before the present one.
#[derive(Debug)]
pub(crate) struct Progress {
    front: Option<Pieces>,
    /// Whether the last of these pieces and the first of the rest are halves of one.
    is_cut: bool,
}

/// How a transfer leaves its request.
#[derive(Debug)]
pub(crate) enum Step {
    /// There is a rest to move.
    Rest(Transfer, Progress),
    /// It is over, with all its pieces; an error has its place in the file.
    Over(Pieces, Result<(), (u64, io::Error)>),
}

impl Progress {
    pub(crate) const NONE: Progress = Progress { front: None, is_cut: false };

    /// Goes on after a transfer is over.
    pub(crate) fn step(self, moved: Moved) -> Step {
        let Moved { transfer, result } = moved;
        let Transfer { offset, pieces, .. } = transfer;
        let bytes = match result {
            Ok(bytes) if bytes >= pieces.bytes() => return Step::Over(self.join(pieces), Ok(())),
            Ok(bytes) => bytes,
            Err(error) => return Step::Over(self.join(pieces), Err((offset, error))),
        };
        // Direct IO goes on at a page only: what was moved of one is moved again.
        let whole = bytes - bytes % DISK_ALIGNMENT;
        if whole == 0 {
            let at = offset + bytes as u64;
            let error = pieces.ended(bytes);
            return Step::Over(self.join(pieces), Err((at, error)));
        }
        let (front, pieces, is_cut) = pieces.split(whole);
        let progress = Progress { front: Some(self.join(front)), is_cut };
        Step::Rest(Transfer { offset: offset + whole as u64, pieces, ..transfer }, progress)
    }

    fn join(self, rest: Pieces) -> Pieces {
        let Self { front, is_cut } = self;
        match (front, rest) {
            (None, rest) => rest,
            (Some(Pieces::Into(front)), Pieces::Into(rest)) => {
                Pieces::Into(join(front, rest, is_cut, BufferMut::try_merge))
            }
            (Some(Pieces::From(front)), Pieces::From(rest)) => {
                Pieces::From(join(front, rest, is_cut, Buffer::try_merge))
            }
            _ => unreachable!("a read stays a read"),
        }
    }
}

impl Pieces {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Into(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
            Self::From(pieces) => pieces.iter().map(|piece| piece.len()).sum(),
        }
    }

    /// What it means that no whole page was moved.
    fn ended(&self, bytes: usize) -> io::Error {
        match self {
            Self::Into(_) => io::Error::new(ErrorKind::UnexpectedEof, "the file ends here"),
            Self::From(_) => {
                let problem = format!("the device has taken {bytes} of {} bytes", self.bytes());
                io::Error::new(ErrorKind::WriteZero, problem)
            }
        }
    }

    /// The first `at` bytes, the rest, and whether a piece lies on both sides.
    fn split(self, at: usize) -> (Self, Self, bool) {
        match self {
            Self::Into(pieces) => {
                let (front, rest, is_cut) = split(pieces, at, BufferMut::split_to);
                (Self::Into(front), Self::Into(rest), is_cut)
            }
            Self::From(pieces) => {
                let (front, rest, is_cut) = split(pieces, at, Buffer::split_to);
                (Self::From(front), Self::From(rest), is_cut)
            }
        }
    }
}

fn split<B: AsRef<[u8]>>(pieces: Vec<B>, at: usize, split_to: impl Fn(&mut B, usize) -> B) -> (Vec<B>, Vec<B>, bool) {
    let (mut front, mut rest, mut left, mut is_cut) = (Vec::new(), Vec::new(), at, false);
    for mut piece in pieces {
        let bytes = piece.as_ref().len();
        if left > 0 && left < bytes {
            front.push(split_to(&mut piece, left));
            is_cut = true;
        }
        let whole = left >= bytes;
        left = left.saturating_sub(bytes);
        if whole { front.push(piece) } else { rest.push(piece) }
    }
    (front, rest, is_cut)
}

fn join<B>(mut front: Vec<B>, rest: Vec<B>, is_cut: bool, merge: impl Fn(&mut B, B) -> Result<(), B>) -> Vec<B> {
    let mut rest = rest.into_iter();
    if is_cut {
        let (first, second) = (front.last_mut().expect("a half is here"), rest.next().expect("the other is there"));
        let merged = merge(first, second);
        assert!(merged.is_ok(), "halves of a piece lie side by side");
    }
    front.extend(rest);
    front
}

#[cfg(test)]
mod tests {
    use sluice_memory::{Arena, ArenaOptions, BufferPool, HugePages, Memory, PoolSpec, SizeClass};

    use super::*;

    const PAGE: usize = DISK_ALIGNMENT;

    fn pool() -> BufferPool {
        let arena = Arena::map(ArenaOptions { bytes: 1 << 20, huge_pages: HugePages::Never }).expect("a MiB is free");
        let spec = PoolSpec { owner: "test".into(), unit: SizeClass::MAX, floor_units: 1, bytes_max: 1 << 20 };
        Memory::new(arena).pool(spec).expect("the arena is made for it")
    }

    /// Two pieces that lie side by side in one segment, and one elsewhere, of 1, 3 and 4 pages.
    fn pieces(pool: &BufferPool) -> Vec<BufferMut> {
        let class = SizeClass::fitting(4 * PAGE).expect("small");
        let mut first = pool.try_acquire(class).expect("free");
        let last = pool.try_acquire(class).expect("free");
        vec![first.split_to(PAGE), first, last]
    }

    fn shape(pieces: &Pieces) -> Vec<(sluice_memory::Location, usize)> {
        match pieces {
            Pieces::Into(pieces) => pieces.iter().map(|piece| (piece.location(), piece.len())).collect(),
            Pieces::From(pieces) => pieces.iter().map(|piece| (piece.location(), piece.len())).collect(),
        }
    }

    fn begin(pieces: Pieces) -> (Transfer, Progress) {
        let file = std::fs::File::open("/dev/null").expect("it is always there");
        let file = Arc::new(OwnedFd::from(file));
        (Transfer { token: 7, file, offset: 8 * PAGE as u64, pieces }, Progress::NONE)
    }

    /// Moves at most `at_most` bytes at a time; the offsets of the transfers, and how it ended.
    fn drive(pieces: Pieces, at_most: usize) -> (Vec<u64>, Pieces, Result<(), (u64, io::Error)>) {
        let (mut transfer, mut progress) = begin(pieces);
        let mut offsets = Vec::new();
        loop {
            offsets.push(transfer.offset);
            let result = Ok(at_most.min(transfer.pieces.bytes()));
            match progress.step(Moved { transfer, result }) {
                Step::Rest(rest, further) => (transfer, progress) = (rest, further),
                Step::Over(pieces, result) => return (offsets, pieces, result),
            }
        }
    }

    #[test]
    fn a_transfer_that_is_cut_short_goes_on_and_its_pieces_come_back_as_they_were() {
        let pool = pool();
        for at_most in [PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE - 1, 3 * PAGE, 5 * PAGE, 7 * PAGE + 512, 8 * PAGE] {
            for write in [false, true] {
                let pieces = pieces(&pool);
                let pieces = match write {
                    false => Pieces::Into(pieces),
                    true => Pieces::From(pieces.into_iter().map(BufferMut::freeze).collect()),
                };
                let before = shape(&pieces);
                let (offsets, pieces, result) = drive(pieces, at_most);
                assert!(result.is_ok());
                assert_eq!(shape(&pieces), before, "{at_most} bytes at a time");
                let pages = (at_most / PAGE) as u64;
                let expected: Vec<u64> = (8..16).step_by(pages as usize).map(|page| page * PAGE as u64).collect();
                assert_eq!(offsets, expected);
            }
        }
        assert_eq!(pool.in_use_bytes(), 0);
    }

    #[test]
    fn a_read_that_moves_less_than_a_page_has_met_the_end() {
        let pool = pool();
        for bytes in [0, 1, PAGE - 1] {
            let (_, pieces, result) = drive(Pieces::Into(pieces(&pool)), bytes);
            let (at, error) = result.expect_err("not all was read");
            assert_eq!((at, error.kind()), ((8 * PAGE + bytes) as u64, ErrorKind::UnexpectedEof));
            assert_eq!(shape(&pieces).len(), 3);
        }
    }

    #[test]
    fn a_write_that_moves_less_than_a_page_does_not_try_for_ever() {
        let pool = pool();
        let pieces = pieces(&pool).into_iter().map(BufferMut::freeze).collect();
        let (offsets, pieces, result) = drive(Pieces::From(pieces), 100);
        let (at, error) = result.expect_err("not all was written");
        assert_eq!((offsets.len(), at, error.kind()), (1, 8 * PAGE as u64 + 100, ErrorKind::WriteZero));
        assert_eq!(pieces.bytes(), 8 * PAGE);
    }

    #[test]
    fn an_error_after_a_part_is_of_the_place_where_it_happened() {
        let pool = pool();
        let pieces = Pieces::Into(pieces(&pool));
        let before = shape(&pieces);
        let (transfer, progress) = begin(pieces);
        let Step::Rest(transfer, progress) = progress.step(Moved { transfer, result: Ok(2 * PAGE) }) else {
            panic!("six pages are left");
        };
        let result = Err(io::Error::from_raw_os_error(5));
        let Step::Over(pieces, Err((at, error))) = progress.step(Moved { transfer, result }) else {
            panic!("an error is the end");
        };
        assert_eq!((at, error.raw_os_error()), (10 * PAGE as u64, Some(5)));
        assert_eq!(shape(&pieces), before);
    }
}
