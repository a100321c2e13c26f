//! One run of `disk`: every size at every depth, a progress line meanwhile, a table at the end.

use std::io::{self, Write};
use std::path::Path;

use super::measure::measure;
use super::plugin::local_disks;
use super::report::DiskReport;
use super::{DiskSpec, SeamError};
use crate::causes::with_causes;
use crate::ceiling::{CeilingError, room};
use crate::host::Host;
use crate::progress::Progress;
use crate::report::{ReportFile, ReportFileError};
use crate::units::mebibytes;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum DiskRunError {
    /// A directory is missing, or is none.
    #[error("{0}: is no directory; make it, or name another one")]
    Missing(String),
    /// A file of that size does not fit twice.
    #[error("{directory} has {} left, and two files of {} are made there: give less --bytes", mebibytes(*free), mebibytes(*bytes))]
    Room {
        /// The directory.
        directory: String,
        /// What is left, in bytes.
        free: u64,
        /// Of one file.
        bytes: u64,
    },
    /// This program cannot be started again.
    #[error("cannot find this program to start it for the raw disk")]
    Program(#[source] io::Error),
    /// The plug-in failed.
    #[error(transparent)]
    Seam(#[from] SeamError),
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
pub fn run(spec: &DiskSpec, json: Option<&Path>) -> Result<(), DiskRunError> {
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
    write!(out, "{report}").and_then(|()| out.flush()).map_err(DiskRunError::Print)
}

fn measure_all(spec: &DiskSpec) -> Result<DiskReport, DiskRunError> {
    for directory in &spec.disk.directories {
        check(directory, spec.file_bytes)?;
    }
    let factory = local_disks(&spec.disk);
    let shapes = spec.requests.iter().flat_map(|request| spec.depths.iter().map(move |depth| (*request, *depth)));
    let shapes: Vec<_> = shapes.collect();
    let bar = Progress::of_steps(shapes.len() as u64 * u64::from(spec.pairs));
    let (mut figures, mut engines) = (Vec::new(), None);
    for shape in shapes {
        bar.set_message(format!("{} KiB, {} at a time", shape.0 >> 10, shape.1));
        let (its, its_engines) = measure(spec, &factory, shape, || bar.inc(1))?;
        figures.extend(its);
        engines = Some(its_engines);
    }
    drop(bar);
    let engines = engines.expect("clap asks for at least one size and depth");
    Ok(DiskReport { spec: spec.clone(), host: Host::here(Some(engines.seam.clone())), engines, figures })
}

/// Before anything starts: what the system would say later, and less clearly.
fn check(directory: &Path, bytes: u64) -> Result<(), DiskRunError> {
    let named = directory.display().to_string();
    if !directory.is_dir() {
        return Err(DiskRunError::Missing(named));
    }
    match room(directory) {
        Some(free) if free < 2 * bytes => Err(DiskRunError::Room { directory: named, free, bytes }),
        _ => Ok(()),
    }
}
