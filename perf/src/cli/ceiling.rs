//! The options of `ceiling`.
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

use super::{InputArgs, Misplaced};
use crate::input::InputSpec;

const EXAMPLES: &str = "\
Examples:
  sluice-perf ceiling
      the records of the published aims: random, of 16 KiB and of 100 bytes
  sluice-perf ceiling --generate lineitem --targets 64
      the default input of `shuffle`, to 64 consumers
  sluice-perf ceiling --disk /data
      what the disk of a directory can do, too: the ceiling of shuffles through files
  sluice-perf ceiling --rounds 15 --json ceiling.json
      enough rounds to trust on a shared machine";

/// What to measure, and how long.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CeilingArgs {
    /// How many consumers the bare pipeline chooses from
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub targets: u32,

    /// How many threads copy for the memcpy ceiling [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: Option<u32>,

    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,

    /// How long each measurement takes
    #[arg(long, default_value = "1s", value_name = "TIME")]
    pub duration: humantime::Duration,

    /// Measure the raw disk of these directories, too, all at the same time and past the page cache. Files in them have no
    /// name and go with the process
    #[arg(long, num_args = 1.., value_name = "DIR")]
    pub disk: Vec<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would make it the help of the heading")]
    pub input: InputArgs,

    /// Write the figures to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
}

impl CeilingArgs {
    /// The inputs to measure with: the one asked for, or the two that performance figures are given for.
    pub fn specs(&self) -> Result<Vec<InputSpec>, Misplaced> {
        if !self.input.is_default() || self.input.scale_factor.is_some() {
            return Ok(vec![self.input.spec()?]);
        }
        let sizes = match self.input.record_bytes {
            Some(size) => vec![size],
            None => vec![ByteSize::kib(16), ByteSize::b(100)],
        };
        Ok(sizes.into_iter().map(|size| self.input.random(size)).collect())
    }
}
