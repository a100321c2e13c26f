//! The options of `disk`.
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use sluice_core::{DirectIo, DiskConfig, DiskEngine};
use sluice_plugin::{DISK_ALIGNMENT, DISK_REQUEST_BYTES_MAX};

use crate::ceiling::DiskMode;
use crate::disk::DiskSpec;

/// As deep as the plug-in goes.
const DEPTH_MAX: u32 = 128;

const EXAMPLES: &str = "\
Examples:
  sluice-perf disk --dir /data
      requests of all sizes and depths, each with the raw disk beside it
  sluice-perf disk --dir /data1 /data2 --request 512KiB --depth 32 --bytes 4GiB --pairs 15
      the figure that performance aims are given for, on two disks at once
  sluice-perf disk --dir /data --engine threads --direct never
      without io_uring and through the page cache";

/// What to ask of the disk, and how.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DiskArgs {
    /// Directories to measure in, all at the same time. Files in them have no name and go with the process
    #[arg(long, visible_alias = "disk", required = true, num_args = 1.., value_name = "DIR")]
    pub dir: Vec<PathBuf>,

    /// The size of the file in each directory: more than the caches below hold, if there are any
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    pub bytes: ByteSize,

    /// Sizes of requests: multiples of 4KiB, at most 512KiB
    #[arg(long, default_value = "4KiB,32KiB,128KiB,512KiB", value_delimiter = ',', value_name = "SIZE,…")]
    pub request: Vec<ByteSize>,

    /// Requests under way at a time, in each directory
    #[arg(long, default_value = "1,8,32,128", value_delimiter = ',', value_name = "N,…",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(DEPTH_MAX)))]
    pub depth: Vec<u32>,

    /// What does the IO
    #[arg(long, value_enum, default_value_t = EngineName::Auto)]
    pub engine: EngineName,

    /// What is done; reading and mixing come after a write that is not shown
    #[arg(long, value_enum, default_value = "write,read", value_delimiter = ',', value_name = "MODE,…")]
    pub mode: Vec<DiskMode>,

    /// Whether the page cache is gone round
    #[arg(long, value_enum, default_value_t = DirectName::Auto)]
    pub direct: DirectName,

    /// Poll the device for the completions of the raw disk, which keeps a core busy: what a device would gain by it. The
    /// plug-in never polls
    #[arg(long)]
    pub io_poll: bool,

    /// How often each is measured, by turns with the raw disk; the medians count, and on a noisy machine 15 say something
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub pairs: u32,

    /// Write all figures to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
}

/// What does the IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// io_uring where the machine allows it, else threads
    Auto,
    /// io_uring, or an error
    IoUring,
    /// Threads that read and write
    Threads,
}

/// Whether the page cache is gone round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DirectName {
    /// Where the file system allows it
    Auto,
    /// Never: the figures are then the cache's
    Never,
}

/// A measurement that nothing can make.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskSpecError {
    /// A request that the seam does not take.
    #[error("--request {0} is not possible: a request is a multiple of 4KiB, from 4KiB to 512KiB")]
    Request(ByteSize),
    /// A file of nothing.
    #[error("--bytes {bytes} is less than one request of {request}: give at least that")]
    TooShort {
        /// What was asked for.
        bytes: ByteSize,
        /// The largest request.
        request: ByteSize,
    },
    /// Two files in one directory would only share it.
    #[error("--dir {} is there twice: name each directory once", .0.display())]
    Twice(PathBuf),
}

impl DiskArgs {
    /// What was asked for, checked as far as is possible without a disk.
    pub fn spec(&self) -> Result<DiskSpec, DiskSpecError> {
        for request in &self.request {
            let bytes = request.as_u64();
            let fits = bytes.is_multiple_of(DISK_ALIGNMENT as u64) && bytes <= DISK_REQUEST_BYTES_MAX as u64;
            if bytes == 0 || !fits {
                return Err(DiskSpecError::Request(*request));
            }
            if self.bytes < *request {
                return Err(DiskSpecError::TooShort { bytes: self.bytes, request: *request });
            }
        }
        if let Some(twice) = self.dir.iter().enumerate().find(|(place, dir)| self.dir[..*place].contains(dir)) {
            return Err(DiskSpecError::Twice(twice.1.clone()));
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
        let largest = self.depth.iter().copied().max().unwrap_or(1) as usize;
        let disk =
            DiskConfig { directories: self.dir.clone(), engine, direct, depth: largest, ..DiskConfig::default() };
        Ok(DiskSpec {
            disk,
            file_bytes: self.bytes.as_u64(),
            requests: self.request.iter().map(|size| size.as_u64() as usize).collect(),
            depths: self.depth.clone(),
            modes: self.mode.clone(),
            polls: self.io_poll,
            pairs: self.pairs,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn spec(words: &str) -> Result<DiskSpec, DiskSpecError> {
        let words = format!("sluice-perf disk --dir /tmp {words}");
        match Cli::try_parse_from(words.split_whitespace()).unwrap().into_command() {
            Command::Disk(disk) => disk.spec(),
            other => panic!("{other:?} is no disk"),
        }
    }

    #[test]
    fn sizes_depths_and_modes_are_lists() {
        let spec = spec("--request 4KiB,64KiB --depth 1,32 --mode mixed,read --engine io-uring").unwrap();
        assert_eq!((spec.requests, spec.depths), (vec![4096, 65536], vec![1, 32]));
        assert_eq!(spec.modes, [DiskMode::Mixed, DiskMode::Read]);
        assert_eq!((spec.disk.engine, spec.disk.depth), (DiskEngine::IoUring, 32));
    }

    /// As `shuffle` and `ceiling` call them.
    #[test]
    fn directories_are_called_as_in_the_other_subcommands_as_well() {
        let words = ["sluice-perf", "disk", "--disk", "/tmp", "/var"];
        let Command::Disk(disk) = Cli::try_parse_from(words).unwrap().into_command() else { panic!("it is disk") };
        assert_eq!(disk.spec().unwrap().disk.directories, ["/tmp", "/var"].map(PathBuf::from));
    }

    #[test]
    fn requests_that_no_disk_takes_are_refused() {
        for (words, fix) in [
            ("--request 5000", "multiple of 4KiB"),
            ("--request 1MiB", "to 512KiB"),
            ("--request 0", "from 4KiB"),
            ("--bytes 4KiB", "at least that"),
            ("--dir /tmp /tmp", "once"),
        ] {
            let error = spec(words).unwrap_err().to_string();
            assert!(error.contains(fix), "{words}: {error}");
        }
    }
}
