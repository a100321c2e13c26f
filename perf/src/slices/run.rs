//! One run of `slices`: every number of subpartitions in every layout, the raw disk before each, a table at the end.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::SlicesSpec;
use super::measure::{SlicesError, measure};
use super::report::{Row, SlicesReport};
use crate::causes::with_causes;
use crate::ceiling::{Bench, CeilingError, Checks, DiskMode, DiskWork, Limit, RawDisk, room};
use crate::host::Host;
use crate::progress::Progress;
use crate::report::{ReportFile, ReportFileError};
use crate::units::mebibytes;

/// Requests of the raw disk: what performance aims are given for.
const RAW_REQUEST_BYTES: usize = 512 << 10;
const RAW_DEPTH: u32 = 32;
/// The raw disk's phases end by then.
const RAW_TIME_MAX: Duration = Duration::from_secs(1);

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum SlicesRunError {
    /// A directory is missing, or is none.
    #[error("{0}: is no directory; make it, or name another one")]
    Missing(String),
    /// Merging has the partition twice for a while.
    #[error("{directory} has {} left, and a partition of {} is written and merged there: give less --bytes", mebibytes(*free), mebibytes(*bytes))]
    Room {
        /// The directory.
        directory: String,
        /// What is left, in bytes.
        free: u64,
        /// Of the partition.
        bytes: u64,
    },
    /// The directory for the files could not be made.
    #[error("{0}: no directory can be made in it")]
    Folder(String, #[source] io::Error),
    /// This program cannot be started again.
    #[error("cannot find this program to start it for the raw disk")]
    Program(#[source] io::Error),
    /// A partition could not be measured.
    #[error(transparent)]
    Slices(#[from] SlicesError),
    /// The raw disk could not be measured.
    #[error(transparent)]
    Ceiling(#[from] CeilingError),
    /// The report could not be written.
    #[error(transparent)]
    Json(#[from] ReportFileError),
    /// The figures could not be printed.
    #[error("standard output: cannot be written")]
    Print(#[source] io::Error),
}

/// Measures as asked, with a progress line on standard error and the table on standard output.
pub fn run(spec: &SlicesSpec, json: Option<&Path>) -> Result<(), SlicesRunError> {
    let mut file = json.map(ReportFile::claim).transpose()?;
    let report = match measure_all(spec) {
        Ok(report) => report,
        Err(error) => {
            if let Some(file) = &mut file {
                // The run's own error is the one to end with.
                let _ = file.write_failure(spec, &with_causes(&error));
            }
            return Err(error);
        }
    };
    if let Some(file) = &mut file {
        file.write(&report)?;
    }
    let mut out = io::stdout().lock();
    write!(out, "{report}").and_then(|()| out.flush()).map_err(SlicesRunError::Print)
}

fn measure_all(spec: &SlicesSpec) -> Result<SlicesReport, SlicesRunError> {
    // Directories of the run's own: what else lies in those that were named is nobody's business.
    let folders = spec.disk.directories.iter().map(|directory| folder(directory, spec.bytes));
    let folders = folders.collect::<Result<Vec<_>, _>>()?;
    let mut own = spec.clone();
    own.disk.directories = folders.iter().map(|folder| folder.0.clone()).collect();
    let bench = Bench::new(env::current_exe().map_err(SlicesRunError::Program)?, Limit::Time(RAW_TIME_MAX));
    let steps = spec.subpartitions.len() * spec.layouts.len() * spec.pairs as usize;
    let bar = Progress::of_steps(steps as u64);
    let (mut rows, mut raws) = (Vec::new(), Vec::new());
    for subpartitions in &spec.subpartitions {
        for layout in &spec.layouts {
            let mut pairs = Vec::new();
            for _ in 0..spec.pairs {
                bar.set_message(format!("{subpartitions} subpartitions, {}", layout.name()));
                let raw = bench.raw_disk(&raw_work(&own))?;
                let measured = measure(&own, *layout, *subpartitions)?;
                pairs.push((measured, *raw.phase(DiskMode::Read)));
                raws.push(raw);
                bar.inc(1);
            }
            rows.push(Row::new(*subpartitions, *layout, pairs));
        }
    }
    drop(bar);
    let RawDisk { engine, is_direct, .. } = raws.swap_remove(0);
    Ok(SlicesReport { spec: spec.clone(), host: Host::here(None), raw_engine: engine, is_raw_direct: is_direct, rows })
}

fn raw_work(spec: &SlicesSpec) -> DiskWork {
    DiskWork {
        directories: spec.disk.directories.clone(),
        file_bytes: (spec.bytes / spec.disk.directories.len() as u64).next_multiple_of(RAW_REQUEST_BYTES as u64),
        request_bytes: RAW_REQUEST_BYTES,
        depth: RAW_DEPTH,
        direct: spec.disk.direct == sluice_core::DirectIo::Auto,
        polls: false,
        checks: Checks::None,
        mixed: false,
        time_max: RAW_TIME_MAX,
    }
}

/// A directory that goes with the run.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is found by its name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn folder(directory: &Path, bytes: u64) -> Result<Folder, SlicesRunError> {
    let named = directory.display().to_string();
    if !directory.is_dir() {
        return Err(SlicesRunError::Missing(named));
    }
    // The partition, what it is merged into, and some more.
    if let Some(free) = room(directory).filter(|free| *free / 5 < bytes / 2) {
        return Err(SlicesRunError::Room { directory: named, free, bytes });
    }
    let folder = directory.join(format!("sluice-perf-slices-{}", std::process::id()));
    std::fs::create_dir(&folder).map_err(|error| SlicesRunError::Folder(named, error))?;
    Ok(Folder(folder))
}
