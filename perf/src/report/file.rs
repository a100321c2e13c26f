//! The file of `--json`: it never says of one run what another did.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

/// Claimed before a run starts, so that a run of minutes does not end with a report that cannot be written.
#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
    file: File,
    /// Can be written again from its start: not so a pipe or a terminal.
    regular: bool,
}

/// The report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot be written", path.display())]
pub struct ReportFileError {
    path: PathBuf,
    source: io::Error,
}

impl ReportFile {
    /// Opens it. What an earlier run left there goes: should this one be killed, nobody takes the old figures for its.
    pub fn claim(path: &Path) -> Result<Self, ReportFileError> {
        let open = || -> io::Result<Self> {
            let file = File::create(path)?;
            let regular = file.metadata()?.is_file();
            Ok(Self { path: path.to_owned(), file, regular })
        };
        let mut claimed = open().map_err(|source| ReportFileError { path: path.to_owned(), source })?;
        if claimed.regular {
            claimed.write_failure(&json!(null), "the run has not ended")?;
        }
        Ok(claimed)
    }

    /// Replaces what it holds.
    pub fn write(&mut self, report: &impl Serialize) -> Result<(), ReportFileError> {
        let mut write = || -> io::Result<()> {
            let json = serde_json::to_vec_pretty(report)?;
            if self.regular {
                self.file.set_len(0)?;
                self.file.rewind()?;
            }
            self.file.write_all(&json)
        };
        write().map_err(|source| ReportFileError { path: self.path.clone(), source })
    }

    /// What there is to say of a run without a result.
    pub fn write_failure(&mut self, scenario: &impl Serialize, error: &str) -> Result<(), ReportFileError> {
        self.write(&json!({ "scenario": scenario, "error": error, "result": { "verified": false } }))
    }
}
