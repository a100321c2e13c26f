//! The subcommand `disk`: what the disk's plug-in does through its seam, by turns with the raw disk of the same run.

mod measure;
mod plugin;
mod report;
mod run;
mod seam;

use serde::Serialize;
use sluice_core::DiskConfig;

pub use measure::DiskFigures;
pub(crate) use plugin::local_disks;
pub use report::DiskReport;
pub use run::{DiskRunError, run};
pub use seam::SeamError;

use crate::ceiling::DiskMode;

/// What to measure, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiskSpec {
    /// Where, and what does the IO.
    pub disk: DiskConfig,
    /// Of the file in each directory.
    pub file_bytes: u64,
    /// Sizes of requests, in bytes.
    pub requests: Vec<usize>,
    /// Requests under way at a time, in each directory.
    pub depths: Vec<u32>,
    /// What is shown.
    pub modes: Vec<DiskMode>,
    /// Whether the raw disk is polled for completions.
    pub polls: bool,
    /// How often each is measured.
    pub pairs: u32,
}
