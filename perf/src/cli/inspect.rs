//! The options of `inspect`.
use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  sluice-perf inspect /data/sluice-0-1763~job1-partition0-attempt0-sub0-0.spill
      what a partition's file holds; other parts of it beside this one are looked at, too
  sluice-perf inspect /data1/…-0.spill /data2/…-1.spill --json report.json
      parts in two directories, with every region and every subpartition in the file

Exit status: 0 all is right; 1 something is wrong, or a file cannot be read; 2 wrong usage.";

/// Which files to look into.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// Files of partitions
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Write everything to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
}
