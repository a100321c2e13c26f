//! The subcommand `slices`: how fast a sort-merge partition is read back, by the number of its subpartitions and by how it
//! was written, as shares of the raw disk of the same run.

mod measure;
mod report;
mod run;

use clap::ValueEnum;
use serde::Serialize;
use sluice_core::{DiskConfig, Merge};

pub use measure::{Measurement, SlicesError};
pub use report::SlicesReport;
pub use run::{SlicesRunError, run};

/// What to measure, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlicesSpec {
    /// Where, and what does the IO.
    pub disk: DiskConfig,
    /// Payload of the partition, in bytes.
    pub bytes: u64,
    /// Of each record, in bytes.
    pub record_bytes: usize,
    /// How many subpartitions there are, one after the other.
    pub subpartitions: Vec<u32>,
    /// How the partition is written.
    pub layouts: Vec<Layout>,
    /// Subpartitions that are read at a time.
    pub consumers: u32,
    /// The worker's memory, in bytes.
    pub memory_bytes: usize,
    /// How often each is measured.
    pub pairs: u32,
}

/// How a partition is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// In regions of 8 MiB, as Flink's sort buffer makes them.
    #[value(name = "8mib")]
    Flink,
    /// In regions as large as the memory allows.
    Elastic,
    /// In such regions, which are merged when all is written.
    Merged,
}

impl Layout {
    /// All of them.
    pub const ALL: [Layout; 3] = [Layout::Flink, Layout::Elastic, Layout::Merged];

    /// As the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flink => "8 MiB regions",
            Self::Elastic => "elastic",
            Self::Merged => "merged",
        }
    }

    fn merge(self) -> Merge {
        match self {
            Self::Flink | Self::Elastic => Merge::Never,
            Self::Merged => Merge::Always,
        }
    }

    /// The most that the writer sorts in, in bytes. Half of what chunks of the disk leave is one region: 8 MiB of it are
    /// what 20 MiB leave.
    fn sort_bytes_max(self, memory_bytes: usize) -> usize {
        match self {
            Self::Flink => 20 << 20,
            Self::Elastic | Self::Merged => memory_bytes,
        }
    }
}
