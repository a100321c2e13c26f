//! The io_uring engine: one ring, with the arena as its fixed buffers; what is submitted goes to the kernel in batches.

use std::io;
use std::mem;

use sluice_memory::Arena;
use sluice_plugin::Wait;
use sluice_uring::{Completion, Done, Incoming, Operation, Outgoing, Ring, RingError, RingOptions, Sleep};

use super::{Engine, Moved, Pieces, Transfer};

/// Moves bytes by a ring of its own.
///
/// The device interrupts, and is never polled (`IORING_SETUP_IOPOLL`): a polled ring signals no file, and a reactor has
/// to sleep on one.
pub(super) struct Uring {
    ring: Ring,
    // The most transfers at a time, those that are to be tried again among them.
    depth: usize,
    // What the kernel had no time for.
    again: Vec<Transfer>,
    // Taken from the kernel; empty between two polls.
    completions: Vec<Completion>,
}

/// Why io_uring cannot be used here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error("this kernel's io_uring has no reads and writes at an offset")]
    Files,
}

impl Uring {
    /// A ring for `depth` transfers at a time. If the arena cannot be locked it does without fixed buffers, and says so.
    pub(super) fn new(depth: u32, arena: &Arena) -> Result<Uring, Refused> {
        let mut ring = Ring::new(RingOptions { entries: depth, operations_max: depth })?;
        if !ring.features().files() {
            return Err(Refused::Files);
        }
        if let Err(error) = ring.register(arena) {
            tracing::warn!(%error, "the disk does without fixed buffers, which costs CPU");
        }
        Ok(Uring { ring, depth: depth as usize, again: Vec::new(), completions: Vec::new() })
    }

    /// Queues what is to be tried again, as far as the ring takes it.
    fn try_again(&mut self) {
        while let Some(transfer) = self.again.pop() {
            if let Err(transfer) = self.push(transfer) {
                self.again.push(transfer);
                return;
            }
        }
    }

    fn push(&mut self, transfer: Transfer) -> Result<(), Transfer> {
        let Transfer { token, file, offset, pieces } = transfer;
        let operation = match pieces {
            Pieces::Into(pieces) => {
                let pieces = pieces.into_iter().map(Incoming::Buffer).collect();
                Operation::Read { file, offset, pieces, skip: 0 }
            }
            Pieces::From(pieces) => {
                let pieces = pieces.into_iter().map(Outgoing::Buffer).collect();
                Operation::Write { file, offset, pieces, skip: 0 }
            }
        };
        self.ring.push(token, operation).map_err(|operation| transfer_of(token, operation))
    }
}

impl Engine for Uring {
    fn name(&self) -> String {
        if self.ring.is_registered() { "io_uring, fixed buffers" } else { "io_uring" }.into()
    }

    fn submit(&mut self, transfer: Transfer) -> Result<(), Transfer> {
        if self.ring.in_flight() + self.again.len() == self.depth {
            return Err(transfer);
        }
        self.push(transfer)
    }

    fn poll(&mut self, over: &mut Vec<Moved>) -> io::Result<()> {
        self.try_again();
        // What was taken before an error is over all the same.
        let reaped = self.ring.reap(&mut self.completions);
        let mut completions = mem::take(&mut self.completions);
        for Completion { token, result, operation } in completions.drain(..) {
            let transfer = transfer_of(token, operation);
            match result {
                Err(error) if is_temporary(&error) => self.again.push(transfer),
                result => over.push(Moved { transfer, result: result.map(bytes_moved) }),
            }
        }
        self.completions = completions;
        reaped
    }

    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        self.try_again();
        let is_all_begun = self.again.is_empty();
        Ok(match self.ring.prepare_to_sleep()? {
            Sleep::On(file) if is_all_begun => Wait::On(file),
            Sleep::On(_) | Sleep::Ready => Wait::Ready,
        })
    }

    /// What is in the ring stays there, begun or not: the ring does not say which it is.
    fn unbegun(&mut self) -> Vec<Transfer> {
        mem::take(&mut self.again)
    }
}

/// The transfer that became this operation.
fn transfer_of(token: u64, operation: Operation) -> Transfer {
    match operation {
        Operation::Read { file, offset, pieces, .. } => {
            let pieces = pieces.into_iter().map(|piece| match piece {
                Incoming::Buffer(buffer) => buffer,
                Incoming::Bytes(_) => unreachable!("only buffers are pushed"),
            });
            Transfer { token, file, offset, pieces: Pieces::Into(pieces.collect()) }
        }
        Operation::Write { file, offset, pieces, .. } => {
            let pieces = pieces.into_iter().map(|piece| match piece {
                Outgoing::Buffer(buffer) => buffer,
                Outgoing::Bytes(_) => unreachable!("only buffers are pushed"),
            });
            Transfer { token, file, offset, pieces: Pieces::From(pieces.collect()) }
        }
        operation => unreachable!("only reads and writes are pushed, and this is {operation:?}"),
    }
}

fn bytes_moved(done: Done) -> usize {
    match done {
        Done::Read(bytes) | Done::Written(bytes) => bytes,
        done => unreachable!("a read or write gave {done:?}"),
    }
}

/// A signal, or no memory for a request at that moment: nothing was moved.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use sluice_memory::{ArenaOptions, BufferPool, HugePages, Memory, PoolSpec, SizeClass};

    use super::*;

    const PAGE: usize = 4096;

    fn memory() -> (Arena, BufferPool) {
        let arena = Arena::map(ArenaOptions { bytes: 1 << 20, huge_pages: HugePages::Never }).expect("room is plenty");
        let spec = PoolSpec { owner: "test".into(), unit: SizeClass::UNIT, floor_units: 0, bytes_max: 1 << 20 };
        (arena.clone(), Memory::new(arena).pool(spec).expect("it has no floor"))
    }

    /// An engine, or nothing where there can be none: the disk then has threads.
    fn engine(depth: u32, arena: &Arena) -> Option<Uring> {
        match Uring::new(depth, arena) {
            Ok(engine) => Some(engine),
            Err(Refused::Ring(RingError::Refused(_)) | Refused::Files) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn file(bytes: &[u8]) -> Arc<OwnedFd> {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).expect("room on the disk");
        Arc::new(File::options().read(true).write(true).open(path).expect("written above").into())
    }

    fn read(token: u64, file: &Arc<OwnedFd>, pool: &BufferPool) -> Transfer {
        let pieces = Pieces::Into(vec![pool.acquire(SizeClass::MIN), pool.acquire(SizeClass::MIN)]);
        Transfer { token, file: Arc::clone(file), offset: token * PAGE as u64, pieces }
    }

    /// What is over next, at least one.
    fn next(engine: &mut Uring) -> Vec<Moved> {
        let mut over = Vec::new();
        while over.is_empty() {
            engine.poll(&mut over).expect("the ring works");
            std::thread::yield_now();
        }
        over
    }

    #[test]
    fn a_full_engine_hands_the_transfer_back_until_one_is_over() {
        let (arena, pool) = memory();
        let Some(mut engine) = engine(2, &arena) else { return };
        let file = file(&[7; 8 * PAGE]);
        engine.submit(read(0, &file, &pool)).expect("the first of two");
        engine.submit(read(1, &file, &pool)).expect("the second of two");
        let refused = engine.submit(read(2, &file, &pool)).expect_err("there are two");
        assert_eq!((refused.token, refused.offset), (2, 2 * PAGE as u64));
        assert!(matches!(&refused.pieces, Pieces::Into(pieces) if pieces.len() == 2));
        next(&mut engine);
        engine.submit(refused).expect("there is room again");
    }

    #[test]
    fn the_end_of_the_file_makes_a_transfer_short_and_is_no_error() {
        let (arena, pool) = memory();
        let Some(mut engine) = engine(2, &arena) else { return };
        let file = file(&[7; PAGE + 100]);
        engine.submit(read(0, &file, &pool)).expect("it is empty");
        let short = next(&mut engine).pop().expect("one at least");
        assert_eq!(short.result.expect("a read"), PAGE + 100);
        engine.submit(read(5, &file, &pool)).expect("it is empty");
        assert_eq!(next(&mut engine).pop().expect("one at least").result.expect("a read"), 0);
    }

    #[test]
    fn what_the_kernel_had_no_time_for_is_tried_again_and_keeps_its_place() {
        let (arena, pool) = memory();
        let Some(mut engine) = engine(2, &arena) else { return };
        let file = file(&[7; 8 * PAGE]);
        engine.again.push(read(0, &file, &pool));
        engine.submit(read(1, &file, &pool)).expect("there is one");
        assert!(engine.submit(read(2, &file, &pool)).is_err(), "one is in flight, one is to be tried again");
        let mut over = next(&mut engine);
        while over.len() < 2 {
            over.extend(next(&mut engine));
        }
        assert!(over.iter().all(|moved| matches!(moved.result, Ok(bytes) if bytes == 2 * PAGE)));
    }

    #[test]
    fn an_engine_that_ends_gives_all_memory_back() {
        let (arena, pool) = memory();
        let Some(mut engine) = engine(8, &arena) else { return };
        let file = file(&[7; 16 * PAGE]);
        for token in 0..4 {
            engine.submit(read(token, &file, &pool)).expect("there is room");
        }
        engine.prepare_to_wait().expect("the ring works");
        for token in 4..8 {
            engine.submit(read(token, &file, &pool)).expect("there is room");
        }
        drop(engine);
        assert_eq!(pool.in_use_bytes(), 0);
    }
}
