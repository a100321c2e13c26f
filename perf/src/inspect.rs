//! The subcommand `inspect`: goes through files of partitions, checks every checksum, and says what is in them.

mod names;
mod regular;
mod report;
mod sets;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sluice_core::spill::{ReadAt, SliceSizes, check_parts};

use self::report::SetReport;
use self::sets::file_sets;
use crate::report::{ReportFile, ReportFileError};

/// Why a file could not be looked into, or what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The system does not give it.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a file that has a beginning and an end.
    #[error("{} is {what}: name files of partitions", path.display())]
    NoFile {
        /// What was named.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Files are not what the format says; what, has been printed.
    #[error("{wrong} of {all} file sets are wrong")]
    Wrong {
        /// How many.
        wrong: usize,
        /// Of so many.
        all: usize,
    },
    /// The report could not be written.
    #[error(transparent)]
    Json(#[from] ReportFileError),
    /// It could not be printed.
    #[error("standard output: cannot be written")]
    Print(#[source] io::Error),
}

/// Checks the file sets that these files belong to, one after the other, and prints what is in them.
pub fn run(files: &[PathBuf], json: Option<&Path>) -> Result<(), InspectError> {
    let mut report_file = json.map(ReportFile::claim).transpose()?;
    let mut reports = Vec::new();
    let mut out = io::stdout().lock();
    for set in file_sets(files)? {
        let report = inspect(set)?;
        write!(out, "{report}").map_err(InspectError::Print)?;
        reports.push(report);
    }
    out.flush().map_err(InspectError::Print)?;
    if let Some(file) = &mut report_file {
        file.write(&reports)?;
    }
    let wrong = reports.iter().filter(|report| !report.is_clean).count();
    if wrong > 0 { Err(InspectError::Wrong { wrong, all: reports.len() }) } else { Ok(()) }
}

/// A part, read as it is asked for.
struct Part {
    file: File,
    bytes: u64,
}

impl ReadAt for Part {
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, offset)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// How large the slices of the only file set among these files are.
pub(crate) fn slices_of(files: &[PathBuf]) -> Result<SliceSizes, InspectError> {
    let mut sets = file_sets(files)?;
    let Some(set) = sets.pop().filter(|_| sets.is_empty()) else {
        return Err(InspectError::Wrong { wrong: 0, all: sets.len() });
    };
    let report = inspect(set)?;
    if report.is_clean { Ok(report.slices()) } else { Err(InspectError::Wrong { wrong: 1, all: 1 }) }
}

fn inspect(paths: Vec<PathBuf>) -> Result<SetReport, InspectError> {
    let open = |path: &PathBuf| {
        let file = regular::open(path)?;
        let bytes = file.metadata().map_err(|source| InspectError::Unreadable { path: path.clone(), source })?.len();
        Ok(Part { file, bytes })
    };
    let mut parts = paths.iter().map(open).collect::<Result<Vec<_>, InspectError>>()?;
    let mut read: Vec<&mut dyn ReadAt> = parts.iter_mut().map(|part| part as &mut dyn ReadAt).collect();
    // Which of the parts could not be read the system does not say here.
    let checked = check_parts(&mut read);
    let report = checked.map_err(|source| InspectError::Unreadable { path: paths[0].clone(), source })?;
    Ok(SetReport::new(paths, report))
}
