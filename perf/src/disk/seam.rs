//! Drives a disk through its seam, as a reactor does: whole requests by turns, asleep when there is nothing to do.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use sluice_core::{Incarnation, NodeId};
use sluice_memory::{Arena, MapError};
use sluice_plugin::{
    DirectoryId, Disk, DiskBuildError, DiskCapabilities, DiskCompletion, DiskDone, DiskError, DiskFactory, DiskRequest,
    DiskSetup, FileId, Wait,
};

use crate::ceiling::{Clock, Measured, Pattern, Pieces, Plan, Step};

/// Of a request that is not one of a phase.
const BY_ITSELF: u64 = u64::MAX;
/// Latencies are kept from 1 µs to 100 s, at three digits.
const LATENCY_MAX: u64 = 100_000_000;

/// Why a disk could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum SeamError {
    /// It does not start.
    #[error(transparent)]
    Build(#[from] DiskBuildError),
    /// A request failed.
    #[error("the disk cannot {0}")]
    Disk(#[from] DiskError),
    /// What was read is not what was written.
    #[error("NOT VERIFIED: what was read at {offset} of a file is not what was written there")]
    Changed {
        /// In bytes.
        offset: u64,
    },
    /// It cannot be waited for.
    #[error("the disk cannot be waited for")]
    Wait(#[from] io::Error),
    /// There is no memory for the requests.
    #[error(transparent)]
    Memory(#[from] MapError),
}

/// A disk with an open file in each directory.
pub(super) struct Seam {
    disk: Box<dyn Disk>,
    bell: Arc<Bell>,
    files: Vec<FileId>,
    completions: Vec<DiskCompletion>,
}

/// A phase that is through.
pub(super) struct Ran {
    pub(super) measured: Measured,
    /// Requests from the first on, without gaps, that every file had.
    pub(super) requests_of_each: u64,
    /// From submission to completion, in microseconds.
    pub(super) latency: Histogram<u64>,
}

/// What a phase is to do, and until when.
pub(super) struct Phase<'a> {
    pub(super) plan: Plan,
    /// Of each file.
    pub(super) depth: usize,
    pub(super) pattern: &'a Pattern,
    pub(super) pieces: &'a Pieces,
    pub(super) time_max: Duration,
}

/// A request that is under way.
struct UnderWay {
    file: usize,
    step: Step,
    since: Instant,
}

/// Rings when the disk calls its waker: it may, whatever file it is waited for by.
struct Bell(OwnedFd);

impl Bell {
    fn new() -> io::Result<Arc<Bell>> {
        Ok(Arc::new(Bell(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Until it rings or the file is readable. May come back for nothing.
    fn sleep(&self, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut all = vec![PollFd::new(&self.0, PollFlags::IN)];
        all.extend(file.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)));
        match poll(&mut all, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // EAGAIN: it did not ring.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
        Ok(())
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Full: it rings already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Seam {
    /// Builds the disk over this arena and makes a file of so many bytes in each of its directories. The files lose
    /// their names at once: they go with this value, and with the process.
    pub(super) fn open(factory: &dyn DiskFactory, arena: Arena, file_bytes: u64) -> Result<Seam, SeamError> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let bell = Bell::new()?;
        let disk = factory.build(DiskSetup {
            node: NodeId(std::process::id().into()),
            incarnation: Incarnation(since.as_nanos() as u64),
            cluster: "sluice-perf".into(),
            arena,
            waker: Waker::from(Arc::clone(&bell)),
        })?;
        let mut seam = Seam { disk, bell, files: Vec::new(), completions: Vec::new() };
        for directory in 0..seam.capabilities().directories.len() {
            let (directory, name) = (DirectoryId(directory as u16), "measured".to_string());
            let DiskDone::Opened { file, .. } = seam.call(DiskRequest::Create { directory, name: name.clone() })?
            else {
                unreachable!("a file that is created is open");
            };
            seam.files.push(file);
            seam.call(DiskRequest::Remove { directory, owner: None, name })?;
            seam.call(DiskRequest::Allocate { file, bytes: file_bytes })?;
        }
        Ok(seam)
    }

    pub(super) fn capabilities(&self) -> &DiskCapabilities {
        self.disk.capabilities()
    }

    /// Runs one phase to its end.
    pub(super) fn run(&mut self, phase: &Phase<'_>) -> Result<Ran, SeamError> {
        let mut issued = vec![0; self.files.len()];
        let mut under_way = vec![0; self.files.len()];
        let mut slots: Vec<Option<UnderWay>> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        let mut latency = Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("the bounds are in order");
        let (clock, began) = (Clock::start(), Instant::now());
        loop {
            let is_open = began.elapsed() < phase.time_max;
            for file in (0..self.files.len()).filter(|_| is_open) {
                while under_way[file] < phase.depth
                    && let Some(step) = phase.plan.step(issued[file])
                {
                    let slot = free.pop().unwrap_or_else(|| {
                        slots.push(None);
                        slots.len() - 1
                    });
                    let request = self.request(file, step, phase);
                    let since = Instant::now();
                    if self.disk.submit(slot as u64, request).is_err() {
                        // It takes no more: after the next completion it does.
                        free.push(slot);
                        break;
                    }
                    slots[slot] = Some(UnderWay { file, step, since });
                    issued[file] += 1;
                    under_way[file] += 1;
                }
            }
            if under_way.iter().all(|count| *count == 0) {
                break;
            }
            self.wait()?;
            let now = Instant::now();
            for completion in std::mem::take(&mut self.completions) {
                completion.result?;
                let slot = completion.token as usize;
                let UnderWay { file, step, since } = slots[slot].take().expect("a request completes once");
                latency.saturating_record((now - since).as_micros() as u64);
                under_way[file] -= 1;
                free.push(slot);
                check(&completion.request, file, step, phase.pattern)?;
            }
        }
        let (seconds, cpu_seconds) = clock.seconds();
        let requests = issued.iter().sum();
        let bytes = requests * phase.plan.request_bytes as u64;
        let measured = Measured { requests, bytes, seconds, cpu_seconds };
        Ok(Ran { measured, requests_of_each: issued.into_iter().min().unwrap_or(0), latency })
    }

    /// Closes the files. After an error they are closed with the disk.
    pub(super) fn close(mut self) -> Result<(), SeamError> {
        std::mem::take(&mut self.files)
            .into_iter()
            .try_for_each(|file| self.call(DiskRequest::Close { file }).map(|_| ()))
    }

    fn request(&self, file: usize, step: Step, phase: &Phase<'_>) -> DiskRequest {
        let (id, offset, mut piece) = (self.files[file], step.offset, phase.pieces.piece());
        if !step.is_write {
            return DiskRequest::Read { file: id, offset, into: vec![piece] };
        }
        phase.pattern.fill(&mut piece);
        phase.pattern.stamp(&mut piece, file, offset);
        DiskRequest::Write { file: id, offset, from: vec![piece.freeze()] }
    }

    /// One request while nothing else is under way.
    fn call(&mut self, request: DiskRequest) -> Result<DiskDone, SeamError> {
        self.disk.submit(BY_ITSELF, request).expect("nothing else is under way");
        self.wait()?;
        let completion = self.completions.pop().expect("it was waited for");
        Ok(completion.result?)
    }

    /// Until something has completed.
    fn wait(&mut self) -> Result<(), SeamError> {
        loop {
            self.disk.poll(&mut self.completions);
            if !self.completions.is_empty() {
                return Ok(());
            }
            match self.disk.prepare_to_wait()? {
                Wait::Ready => {}
                Wait::On(file) => self.bell.sleep(Some(file))?,
                Wait::Waker => self.bell.sleep(None)?,
            }
        }
    }
}

fn check(request: &DiskRequest, file: usize, step: Step, pattern: &Pattern) -> Result<(), SeamError> {
    let DiskRequest::Read { into, .. } = request else { return Ok(()) };
    let same = into.iter().try_for_each(|piece| pattern.check(piece, file, step.offset));
    same.map_err(|changed| SeamError::Changed { offset: changed.offset })
}
