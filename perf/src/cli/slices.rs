//! The options of `slices`.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use sluice_core::{DirectIo, DiskConfig, DiskEngine};

use super::disk::{DirectName, EngineName};
use crate::slices::{Layout, SlicesSpec};

/// Less memory does not hold two regions and what is read ahead.
const MEMORY_BYTES_MIN: u64 = 8 << 20;
/// A record has some room in a batch of 256.
const RECORD_BYTES_MAX: u64 = 64 << 10;

const EXAMPLES: &str = "\
Examples:
  sluice-perf slices --dir /data
      a partition of 1 GiB with 16, 100, 1000 and 4000 subpartitions, in all layouts
  sluice-perf slices --dir /data --subpartitions 1000 --bytes 4GiB --memory 64MiB --pairs 5
      one number, with little memory: medians and quartiles of five
  sluice-perf slices --dir /data --layout elastic,merged --consumers 1
      whether merging pays for one consumer after the other";

/// What to write and read, and how.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SlicesArgs {
    /// Directories to measure in, in a directory of the run's own. Files go with the run
    #[arg(long, required = true, num_args = 1.., value_name = "DIR")]
    pub dir: Vec<PathBuf>,

    /// Payload of each partition
    #[arg(long, default_value = "1GiB", value_name = "SIZE")]
    pub bytes: ByteSize,

    /// Payload of each record
    #[arg(long, default_value = "1000B", value_name = "SIZE")]
    pub record: ByteSize,

    /// Numbers of subpartitions, one partition after the other
    #[arg(long, default_value = "16,100,1000,4000", value_delimiter = ',', value_name = "N,…",
          value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub subpartitions: Vec<u32>,

    /// How partitions are written: regions of 8 MiB, regions as large as memory allows, and these merged
    #[arg(long, value_enum, default_value = "8mib,elastic,merged", value_delimiter = ',', value_name = "LAYOUT,…")]
    pub layout: Vec<Layout>,

    /// Subpartitions that are read at a time, far from each other in the order of the file
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub consumers: u32,

    /// The worker's memory: of it regions and merging take what reading leaves
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    pub memory: ByteSize,

    /// What does the IO
    #[arg(long, value_enum, default_value_t = EngineName::Auto)]
    pub engine: EngineName,

    /// Whether the page cache is gone round
    #[arg(long, value_enum, default_value_t = DirectName::Auto)]
    pub direct: DirectName,

    /// How often each is measured, each time after the raw disk; the medians count
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub pairs: u32,

    /// Write all figures to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
}

/// A measurement that nothing can make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlicesSpecError {
    /// Too little memory.
    #[error("--memory {0} is too little: give at least {least}", least = ByteSize(MEMORY_BYTES_MIN))]
    Memory(ByteSize),
    /// A record of nothing, or of too much.
    #[error("--record {0} is not possible: a record has 1 B to {most}", most = ByteSize(RECORD_BYTES_MAX))]
    Record(ByteSize),
    /// A partition of nothing.
    #[error("--bytes {0} is no partition: give at least 1MiB")]
    Bytes(ByteSize),
    /// Two disks in one directory.
    #[error("--dir {} is there twice: name each directory once", .0.display())]
    Twice(PathBuf),
}

impl SlicesArgs {
    /// What was asked for, checked as far as is possible without a disk.
    pub fn spec(&self) -> Result<SlicesSpec, SlicesSpecError> {
        if self.memory.as_u64() < MEMORY_BYTES_MIN {
            return Err(SlicesSpecError::Memory(self.memory));
        }
        if !(1..=RECORD_BYTES_MAX).contains(&self.record.as_u64()) {
            return Err(SlicesSpecError::Record(self.record));
        }
        if self.bytes.as_u64() < 1 << 20 {
            return Err(SlicesSpecError::Bytes(self.bytes));
        }
        if let Some(twice) = self.dir.iter().enumerate().find(|(place, dir)| self.dir[..*place].contains(dir)) {
            return Err(SlicesSpecError::Twice(twice.1.clone()));
        }
        let engine = match self.engine {
            EngineName::Auto => DiskEngine::Auto,
            EngineName::IoUring => DiskEngine::IoUring,
            EngineName::Threads => DiskEngine::Threads,
        };
        let direct = match self.direct {
            DirectName::Auto => DirectIo::Auto,
            DirectName::Never => DirectIo::Never,
        };
        Ok(SlicesSpec {
            disk: DiskConfig { directories: self.dir.clone(), engine, direct, ..DiskConfig::default() },
            bytes: self.bytes.as_u64(),
            record_bytes: self.record.as_u64() as usize,
            subpartitions: self.subpartitions.clone(),
            layouts: self.layout.clone(),
            consumers: self.consumers,
            memory_bytes: self.memory.as_u64() as usize,
            pairs: self.pairs,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn spec(words: &str) -> Result<SlicesSpec, SlicesSpecError> {
        let words = format!("sluice-perf slices --dir /tmp {words}");
        match Cli::try_parse_from(words.split_whitespace()).unwrap().into_command() {
            Command::Slices(slices) => slices.spec(),
            other => panic!("{other:?} is not about slices"),
        }
    }

    #[test]
    fn numbers_and_layouts_are_lists() {
        let spec = spec("--subpartitions 1,50 --layout merged,8mib --bytes 2MiB").unwrap();
        assert_eq!((spec.subpartitions, spec.layouts), (vec![1, 50], vec![Layout::Merged, Layout::Flink]));
        assert_eq!(spec.bytes, 2 << 20);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for (words, fix) in [
            ("--memory 1MiB", "at least 8"),
            ("--record 0", "1 B to"),
            ("--bytes 4KiB", "at least 1MiB"),
            ("--dir /tmp /tmp", "once"),
        ] {
            let error = spec(words).unwrap_err().to_string();
            assert!(error.contains(fix), "{words}: {error}");
        }
    }
}
