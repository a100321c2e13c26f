//! The raw disk: whole requests, many at a time, on preallocated files without a name, past the page cache where the
//! file system has direct IO. No engine, no format, no checksum.

mod file;
mod memory;
mod plan;
mod ring;
mod threads;

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use file::DirectoryError;
pub(crate) use file::room;
pub(crate) use memory::Pieces;
pub use plan::DiskMode;
pub(crate) use plan::{Pattern, Plan, Step};

use self::file::RawFile;
use self::ring::AnyRing;
use super::job::Clock;
use super::{CeilingError, Rate};

/// Of a ceiling's file in each directory: as much as a fast disk writes in half a second.
const CEILING_FILE_BYTES: u64 = 2 << 30;
/// Of the room that is left in a directory, a ceiling's file takes no more than one of so many parts.
const ROOM_PARTS: u64 = 4;
/// What the aims for disks are given for.
const CEILING_REQUEST_BYTES: usize = 512 << 10;
const CEILING_DEPTH: u32 = 32;
/// What polling is tried on.
const POLLED_PAGE_BYTES: usize = 4096;

/// What to measure. Plain data: it goes to the process that measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskWork {
    /// A file in each, all at the same time.
    pub directories: Vec<PathBuf>,
    /// Of each file.
    pub file_bytes: u64,
    /// Of each request: a multiple of 4 KiB, at most 512 KiB.
    pub request_bytes: usize,
    /// Requests under way at a time, for each file.
    pub depth: u32,
    /// Whether direct IO is tried.
    pub direct: bool,
    /// Whether the device is polled for completions: refused where it cannot be.
    pub polls: bool,
    /// Whether what is read is compared with what was written.
    pub checks: Checks,
    /// Whether a mixed phase follows writing and reading.
    pub mixed: bool,
    /// A phase that has not come to its end by then ends there.
    pub time_max: Duration,
}

impl DiskWork {
    /// The ceiling that the aims for disks are given for: large requests, deep queues, nothing beside them.
    pub fn ceiling(directories: &[PathBuf], direct: bool, time_max: Duration) -> DiskWork {
        // Files on one file system share its room.
        let parts = ROOM_PARTS * directories.len() as u64;
        let room = directories.iter().filter_map(|directory| room(directory)).min();
        let bytes = room.map_or(CEILING_FILE_BYTES, |room| CEILING_FILE_BYTES.min(room / parts));
        DiskWork {
            directories: directories.to_vec(),
            file_bytes: bytes.next_multiple_of(CEILING_REQUEST_BYTES as u64).max(CEILING_REQUEST_BYTES as u64),
            request_bytes: CEILING_REQUEST_BYTES,
            depth: CEILING_DEPTH,
            direct,
            polls: false,
            // The engine's checks are what it adds.
            checks: Checks::None,
            mixed: false,
            time_max,
        }
    }
}

/// How much is done beside a plain write and a plain read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checks {
    /// Nothing: for the ceiling of an engine that has checks of its own.
    None,
    /// Every byte that is read is compared: for a comparison with who does the same.
    EveryByte,
}

/// What the disk did without an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawDisk {
    /// What did the IO.
    pub engine: String,
    /// Whether all of it went past the page cache. If not, the figures are the cache's.
    pub is_direct: bool,
    /// Its phases, in this order: writing, reading, both (nothing if that was not asked for).
    pub phases: [Measured; 3],
}

/// A phase, over all files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Requests that were completed.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long they took.
    pub seconds: f64,
    /// User and system time of the process.
    pub cpu_seconds: f64,
}

impl Measured {
    /// How fast, and how dear; zero for nothing.
    pub fn rate(&self) -> Rate {
        let over = |value: f64, by: f64| if by > 0.0 { value / by } else { 0.0 };
        Rate {
            bytes_per_second: over(self.bytes as f64, self.seconds),
            cpu_seconds_per_gb: over(self.cpu_seconds * 1e9, self.bytes as f64),
        }
    }
}

impl RawDisk {
    /// What was measured in this mode.
    pub fn phase(&self, mode: DiskMode) -> &Measured {
        &self.phases[mode as usize]
    }
}

/// A phase that runs.
struct Phase<'a> {
    plan: Plan,
    /// Of each file.
    depth: usize,
    pattern: &'a Pattern,
    checks: Checks,
    time_max: Duration,
}

impl Phase<'_> {
    fn check(&self, memory: &[u8], file: usize, offset: u64) -> io::Result<()> {
        match self.checks {
            Checks::None => Ok(()),
            Checks::EveryByte => self.pattern.check(memory, file, offset).map_err(io::Error::other),
        }
    }
}

/// All phases, on files of this process.
pub(super) fn run(work: &DiskWork) -> Result<RawDisk, CeilingError> {
    let files = work.directories.iter().map(|directory| RawFile::create(directory, work.file_bytes, work.direct));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let requests_max = work.depth as usize * files.len();
    let pattern = Pattern::new(work.request_bytes);
    let pieces = Pieces::new(work.request_bytes, requests_max, &pattern)?;
    let mut ring = match work.polls {
        true => Some(polled(&files, requests_max as u32)?),
        false => AnyRing::interrupted(requests_max as u32),
    };
    // Registered memory is faster, and is not there where the locked memory is limited.
    let is_registered = ring.as_mut().is_some_and(|ring| ring.register(&pieces.arena));
    let mut measure = |mode, requests| -> Result<(Measured, u64), CeilingError> {
        let plan = Plan { mode, request_bytes: work.request_bytes, requests };
        let (depth, pattern, checks, time_max) = (work.depth as usize, &pattern, work.checks, work.time_max);
        let phase = Phase { plan, depth, pattern, checks, time_max };
        let clock = Clock::start();
        let completed = match &mut ring {
            Some(ring) => ring::run(ring, &files, &pieces, &phase)?,
            None => threads::run(&files, &pieces, &phase)?,
        };
        let (seconds, cpu_seconds) = clock.seconds();
        let requests = completed.iter().sum();
        let bytes = requests * work.request_bytes as u64;
        Ok((Measured { requests, bytes, seconds, cpu_seconds }, completed.into_iter().min().unwrap_or(0)))
    };
    // The phase may end before the files are full: then only what every file has is read.
    let (write, written) = measure(DiskMode::Write, work.file_bytes / work.request_bytes as u64)?;
    let (read, _) = measure(DiskMode::Read, written)?;
    let mixed = if work.mixed { measure(DiskMode::Mixed, written)?.0 } else { Measured::default() };
    let mut engine = match &ring {
        Some(AnyRing::Interrupted(_)) => "io_uring".to_string(),
        Some(AnyRing::Polled(_)) => "io_uring, polled".to_string(),
        None => "threads".to_string(),
    };
    if is_registered {
        engine += ", registered memory";
    }
    let is_direct = files.iter().all(|file| file.is_direct);
    Ok(RawDisk { engine, is_direct, phases: [write, read, mixed] })
}

/// A ring that polls. What it is tried on must have been written: only then is the device asked.
fn polled(files: &[RawFile], requests_max: u32) -> Result<AnyRing, CeilingError> {
    let pattern = Pattern::new(POLLED_PAGE_BYTES);
    let mut page = Pieces::new(POLLED_PAGE_BYTES, 1, &pattern)?.piece();
    pattern.stamp(&mut page, 0, 0);
    files.iter().try_for_each(|file| file.file.write_all_at(&page, 0))?;
    Ok(AnyRing::polled(requests_max, files)?)
}
