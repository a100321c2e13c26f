//! The raw disk by one ring: its memory registered, all requests of a thread under way at once.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use sluice_memory::Arena;
use sluice_uring::{
    Completion, Done, Incoming, NoPolling, Operation, Outgoing, PolledRing, Ring, RingOptions, probe_io_poll,
};

use super::file::RawFile;
use super::memory::Pieces;
use super::plan::Step;
use super::{Checks, Phase};

/// Entries between two submits: no gain beyond.
const ENTRIES: u32 = 128;

/// A ring of either kind.
pub(super) enum AnyRing {
    Interrupted(Ring),
    /// Asks the device for completions, which keeps the core busy.
    Polled(PolledRing),
}

impl AnyRing {
    /// A ring for this thread, if there is one that can read and write files.
    pub(super) fn interrupted(requests_max: u32) -> Option<Self> {
        let ring = Ring::new(options(requests_max)).ok()?;
        ring.features().files().then_some(Self::Interrupted(ring))
    }

    /// One that polls. The files have to be written to first.
    ///
    /// # Errors
    /// If a file's device cannot be polled.
    pub(super) fn polled(requests_max: u32, files: &[RawFile]) -> Result<Self, NoPolling> {
        for file in descriptors(files).map_err(NoPolling::Read)? {
            probe_io_poll(&file)?;
        }
        Ok(Self::Polled(PolledRing::new(options(requests_max))?))
    }

    /// Whether it could be done.
    pub(super) fn register(&mut self, arena: &Arena) -> bool {
        match self {
            Self::Interrupted(ring) => ring.register(arena).is_ok(),
            Self::Polled(ring) => ring.register(arena).is_ok(),
        }
    }

    fn push(&mut self, token: u64, operation: Operation) -> Result<(), Operation> {
        match self {
            Self::Interrupted(ring) => ring.push(token, operation),
            Self::Polled(ring) => ring.push(token, operation),
        }
    }

    fn in_flight(&self) -> usize {
        match self {
            Self::Interrupted(ring) => ring.in_flight(),
            Self::Polled(ring) => ring.in_flight(),
        }
    }

    fn wait(&mut self, completions: &mut Vec<Completion>) -> io::Result<()> {
        match self {
            Self::Interrupted(ring) => ring.wait(None, completions),
            Self::Polled(ring) => ring.wait(completions),
        }
    }
}

fn options(requests_max: u32) -> RingOptions {
    RingOptions { entries: ENTRIES, operations_max: requests_max }
}

fn descriptors(files: &[RawFile]) -> io::Result<Vec<Arc<OwnedFd>>> {
    files.iter().map(|file| Ok(Arc::new(OwnedFd::from(file.file.try_clone()?)))).collect()
}

/// As [`super::threads::run`].
pub(super) fn run(ring: &mut AnyRing, files: &[RawFile], memory: &Pieces, phase: &Phase<'_>) -> io::Result<Vec<u64>> {
    let descriptors = descriptors(files)?;
    let (mut issued, mut under_way) = (vec![0; files.len()], vec![0; files.len()]);
    let mut completions = Vec::new();
    let began = Instant::now();
    loop {
        let is_open = began.elapsed() < phase.time_max;
        for (number, file) in descriptors.iter().enumerate().filter(|_| is_open) {
            while under_way[number] < phase.depth
                && let Some(step) = phase.plan.step(issued[number])
            {
                ring.push(number as u64, operation(file, number, step, memory, phase))
                    .map_err(|_| io::Error::other("the ring takes fewer requests than it was made for"))?;
                issued[number] += 1;
                under_way[number] += 1;
            }
        }
        if ring.in_flight() == 0 {
            return Ok(issued);
        }
        ring.wait(&mut completions)?;
        for completion in completions.drain(..) {
            under_way[completion.token as usize] -= 1;
            settle(completion, phase)?;
        }
    }
}

fn operation(file: &Arc<OwnedFd>, number: usize, step: Step, memory: &Pieces, phase: &Phase<'_>) -> Operation {
    let (file, offset, mut piece) = (Arc::clone(file), step.offset, memory.piece());
    if !step.is_write {
        return Operation::Read { file, offset, pieces: vec![Incoming::Buffer(piece)], skip: 0 };
    }
    // Without checks it carries what is there: the memory was filled once.
    if phase.checks == Checks::EveryByte {
        phase.pattern.fill(&mut piece);
        phase.pattern.stamp(&mut piece, number, offset);
    }
    Operation::Write { file, offset, pieces: vec![Outgoing::Buffer(piece.freeze())], skip: 0 }
}

/// A short transfer is an error here: the files are preallocated.
fn settle(completion: Completion, phase: &Phase<'_>) -> io::Result<()> {
    let moved = match completion.result? {
        Done::Read(bytes) | Done::Written(bytes) => bytes,
        other => return Err(io::Error::other(format!("a request of a file ended as {other:?}"))),
    };
    if moved < phase.plan.request_bytes {
        return Err(io::Error::other(format!("{moved} of {} bytes were moved", phase.plan.request_bytes)));
    }
    match &completion.operation {
        Operation::Read { offset, pieces, .. } => {
            pieces.iter().try_for_each(|piece| phase.check(piece.as_slice(), completion.token as usize, *offset))
        }
        _ => Ok(()),
    }
}
