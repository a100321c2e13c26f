//! Reads and writes that are under way: those that the engine cuts short go on, and if the engine breaks all of them end.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use sluice_plugin::{FileId, Wait};

use crate::engine::Engine;
use crate::transfer::{Moved, Pieces, Progress, Step, Transfer};

pub(crate) struct Moves {
    engine: Box<dyn Engine>,
    /// By the tokens of their transfers.
    under_way: HashMap<u64, Move>,
    begun: u64,
    /// Rests of transfers that were cut short and for which the engine had no room.
    rests: VecDeque<Transfer>,
    /// What the engine said as it was to be slept on; it breaks at the next poll.
    complaint: Option<io::Error>,
    /// Why nothing moves any more.
    broken: Option<String>,
    /// Ended by that, and not told yet.
    failed: Vec<Ended>,
}

struct Move {
    token: u64,
    file: FileId,
    offset: u64,
    is_read: bool,
    progress: Progress,
}

/// A read or write that is over.
pub(crate) struct Ended {
    pub(crate) token: u64,
    pub(crate) file: FileId,
    /// Where it began.
    pub(crate) offset: u64,
    /// All of them; none if the kernel may still use them, as only a broken engine cannot tell.
    pub(crate) pieces: Pieces,
    /// An error has its place in the file.
    pub(crate) result: Result<(), (u64, io::Error)>,
}

impl Moves {
    pub(crate) fn new(engine: Box<dyn Engine>) -> Self {
        Self {
            engine,
            under_way: HashMap::new(),
            begun: 0,
            rests: VecDeque::new(),
            complaint: None,
            broken: None,
            failed: Vec::new(),
        }
    }

    /// Begins one, or hands its pieces back if there are as many as the engine takes.
    pub(crate) fn submit(
        &mut self,
        token: u64,
        (file, descriptor): (FileId, &Arc<OwnedFd>),
        offset: u64,
        pieces: Pieces,
    ) -> Result<(), Pieces> {
        if self.broken.is_some() {
            let result = Err((offset, self.cause()));
            self.failed.push(Ended { token, file, offset, pieces, result });
            return Ok(());
        }
        let is_read = matches!(pieces, Pieces::Into(_));
        let transfer = Transfer { token: self.begun, file: Arc::clone(descriptor), offset, pieces };
        self.engine.submit(transfer).map_err(|refused| refused.pieces)?;
        self.under_way.insert(self.begun, Move { token, file, offset, is_read, progress: Progress::NONE });
        self.begun += 1;
        Ok(())
    }

    /// Adds what is over since the last call.
    pub(crate) fn poll(&mut self, ended: &mut Vec<Ended>) {
        if let Some(error) = self.complaint.take() {
            self.breaks(&error);
        }
        self.submit_rests();
        let mut over = Vec::new();
        let polled = self.engine.poll(&mut over);
        for moved in over {
            ended.extend(self.moved(moved));
        }
        if let Err(error) = polled {
            self.breaks(&error);
        }
        ended.append(&mut self.failed);
        self.submit_rests();
    }

    /// As [`sluice_plugin::Device::prepare_to_wait`].
    pub(crate) fn prepare_to_wait(&mut self) -> Wait<'_> {
        self.submit_rests();
        if !self.failed.is_empty() {
            return Wait::Ready;
        }
        match self.engine.prepare_to_wait() {
            Ok(wait) => wait,
            // There is nothing to wait for but errands, which wake.
            Err(_) if self.broken.is_some() => Wait::Waker,
            Err(error) => {
                self.complaint = Some(error);
                Wait::Ready
            }
        }
    }

    fn moved(&mut self, moved: Moved) -> Option<Ended> {
        let id = moved.transfer.token;
        // One that was ended when the engine broke has none: its memory is free only now.
        let Move { token, file, offset, is_read, progress } = self.under_way.remove(&id)?;
        match progress.step(moved) {
            Step::Rest(rest, progress) => {
                self.under_way.insert(id, Move { token, file, offset, is_read, progress });
                self.rests.push_back(rest);
                None
            }
            Step::Over(pieces, result) => Some(Ended { token, file, offset, pieces, result }),
        }
    }

    fn submit_rests(&mut self) {
        while let Some(rest) = self.rests.pop_front() {
            if let Err(refused) = self.engine.submit(rest) {
                return self.rests.push_front(refused);
            }
        }
    }

    // ── A broken engine ─────────────────────────────────────────────────────────────────────────────────────────

    /// The engine cannot go on. All that is under way ends, and what has its memory back has it. The rest of the memory
    /// stays with the engine, until it says that the kernel is through with it or is dropped.
    fn breaks(&mut self, error: &io::Error) {
        if self.broken.is_some() {
            return;
        }
        let engine = self.engine.name();
        tracing::error!(%error, engine, under_way = self.under_way.len(), "reads and writes of this disk are over");
        self.broken = Some(format!("the disk's engine ({engine}) is broken until its worker starts anew: {error}"));
        for transfer in mem::take(&mut self.rests).into_iter().chain(self.engine.unbegun()) {
            let result = Err(self.cause());
            let ended = self.moved(Moved { transfer, result });
            self.failed.extend(ended);
        }
        for (_, Move { token, file, offset, is_read, .. }) in mem::take(&mut self.under_way) {
            let pieces = if is_read { Pieces::Into(Vec::new()) } else { Pieces::From(Vec::new()) };
            let result = Err((offset, self.cause()));
            self.failed.push(Ended { token, file, offset, pieces, result });
        }
    }

    fn cause(&self) -> io::Error {
        io::Error::other(self.broken.clone().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs::File;
    use std::io::ErrorKind;
    use std::rc::Rc;

    use sluice_memory::{Arena, ArenaOptions, BufferMut, BufferPool, HugePages, Memory, PoolSpec, SizeClass};

    use super::*;

    /// An engine that does as it is told.
    #[derive(Default)]
    struct Told {
        is_broken: bool,
        under_way: Vec<Transfer>,
        again: Vec<Transfer>,
        over: Vec<Moved>,
    }

    #[derive(Clone, Default)]
    struct Puppet(Rc<RefCell<Told>>);

    impl Puppet {
        /// What is under way is over with so many bytes each.
        fn finish(&self, bytes: usize) {
            let mut told = self.0.borrow_mut();
            let under_way = mem::take(&mut told.under_way);
            told.over.extend(under_way.into_iter().map(|transfer| Moved { transfer, result: Ok(bytes) }));
        }

        fn answer(&self) -> io::Result<()> {
            if self.0.borrow().is_broken { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
        }
    }

    impl Engine for Puppet {
        fn name(&self) -> String {
            "puppet".into()
        }

        fn submit(&mut self, transfer: Transfer) -> Result<(), Transfer> {
            self.0.borrow_mut().under_way.push(transfer);
            Ok(())
        }

        fn poll(&mut self, over: &mut Vec<Moved>) -> io::Result<()> {
            over.append(&mut self.0.borrow_mut().over);
            self.answer()
        }

        fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
            self.answer().map(|()| Wait::Waker)
        }

        fn unbegun(&mut self) -> Vec<Transfer> {
            mem::take(&mut self.0.borrow_mut().again)
        }
    }

    struct Bench {
        engine: Puppet,
        moves: Moves,
        pool: BufferPool,
        file: Arc<OwnedFd>,
    }

    const PAGE: usize = SizeClass::MIN.bytes();

    impl Bench {
        fn new() -> Bench {
            let arena = ArenaOptions { bytes: 1 << 20, huge_pages: HugePages::Never };
            let memory = Memory::new(Arena::map(arena).expect("room is plenty"));
            let spec = PoolSpec { owner: "test".into(), unit: SizeClass::UNIT, floor_units: 0, bytes_max: 1 << 20 };
            let engine = Puppet::default();
            let file = File::open("/dev/null").expect("a Linux machine");
            Bench {
                moves: Moves::new(Box::new(engine.clone())),
                engine,
                pool: memory.pool(spec).expect("it has no floor"),
                file: Arc::new(file.into()),
            }
        }

        fn pages(&self) -> Vec<BufferMut> {
            vec![self.pool.acquire(SizeClass::MIN), self.pool.acquire(SizeClass::MIN)]
        }

        fn submit(&mut self, token: u64, pieces: Pieces) {
            let submitted = self.moves.submit(token, (FileId(1), &self.file), 4096 * token, pieces);
            assert!(submitted.is_ok(), "there is room");
        }

        fn read(&mut self, token: u64) {
            let pieces = Pieces::Into(self.pages());
            self.submit(token, pieces);
        }

        fn write(&mut self, token: u64) {
            let pieces = Pieces::From(self.pages().into_iter().map(BufferMut::freeze).collect());
            self.submit(token, pieces);
        }

        /// What is over, by token: how many bytes came back, and the error.
        fn ended(&mut self) -> Vec<(u64, usize, String)> {
            let mut ended = Vec::new();
            self.moves.poll(&mut ended);
            let told = |ended: Ended| {
                let (at, error) = ended.result.expect_err("the engine is broken");
                assert_eq!((ended.offset, at), (4096 * ended.token, 4096 * ended.token));
                (ended.token, ended.pieces.bytes(), error.to_string())
            };
            let mut told: Vec<_> = ended.into_iter().map(told).collect();
            told.sort();
            told
        }
    }

    fn names_cause(told: &[(u64, usize, String)]) -> bool {
        told.iter()
            .all(|(_, _, error)| error.contains("engine (puppet) is broken") && error.contains("connection aborted"))
    }

    /// Once nothing ended them, and their tasks waited for ever.
    #[test]
    fn what_is_under_way_when_the_engine_breaks_ends_and_so_does_all_that_comes_later() {
        let mut bench = Bench::new();
        bench.read(0);
        bench.write(1);
        bench.engine.0.borrow_mut().is_broken = true;
        let told = bench.ended();
        let shape = |told: &[(u64, usize, String)]| told.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>();
        assert_eq!(shape(&told), [(0, 0), (1, 0)], "without memory: the kernel may still use it");
        assert!(names_cause(&told), "{told:?}");
        assert_eq!(bench.pool.in_use_bytes(), 4 * PAGE, "nobody gets it");
        assert!(matches!(bench.moves.prepare_to_wait(), Wait::Waker), "there is nothing to wait for");

        bench.read(2);
        assert!(matches!(bench.moves.prepare_to_wait(), Wait::Ready));
        let told = bench.ended();
        assert_eq!(shape(&told), [(2, 2 * PAGE)], "with its memory: it was given to nobody");
        assert!(names_cause(&told), "{told:?}");
        assert_eq!(bench.ended(), []);
    }

    #[test]
    fn an_engine_that_breaks_as_it_is_to_be_slept_on_is_not_slept_on() {
        let mut bench = Bench::new();
        bench.read(0);
        bench.engine.0.borrow_mut().is_broken = true;
        assert!(matches!(bench.moves.prepare_to_wait(), Wait::Ready));
        bench.engine.0.borrow_mut().is_broken = false;
        assert_eq!(bench.ended().len(), 1);
    }

    #[test]
    fn memory_that_a_broken_engine_keeps_is_free_when_it_lets_go_of_it() {
        let mut bench = Bench::new();
        bench.read(0);
        bench.write(1);
        bench.engine.0.borrow_mut().is_broken = true;
        assert_eq!(bench.ended().len(), 2);
        bench.engine.finish(2 * PAGE);
        assert_eq!(bench.ended(), [], "they have ended already");
        assert_eq!(bench.pool.in_use_bytes(), 0);
    }

    #[test]
    fn what_the_engine_does_not_have_when_it_breaks_comes_back_whole() {
        let mut bench = Bench::new();
        bench.read(0);
        bench.read(1);
        {
            let mut told = bench.engine.0.borrow_mut();
            let again = told.under_way.pop().expect("submitted above");
            told.again.push(again);
        }
        // Cut short: the rest is with the engine, and the front is here.
        bench.engine.finish(PAGE);
        let mut ended = Vec::new();
        bench.moves.poll(&mut ended);
        assert!(ended.is_empty());
        bench.engine.0.borrow_mut().is_broken = true;
        let told = bench.ended();
        assert_eq!((told[0].1, told[1].1), (0, 2 * PAGE), "{told:?}");
        assert_eq!(bench.pool.in_use_bytes(), PAGE, "that of the rest");
    }
}
