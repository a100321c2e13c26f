//! The options of the command line.

use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU32;
use std::ops::Range;
use std::str::FromStr;

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  sluice-sim --seeds 0..1000
      a thousand runs, the same everywhere
  sluice-sim --minutes 2
      seeds that nobody has seen; the first is printed, so that all can be repeated
  sluice-sim --seed 4711
      one run with everything that happens in it, for who wants to know why it failed
  sluice-sim --seed 4711 > first; sluice-sim --seed 4711 > second; diff first second
      the same seed and the same commit are the same run";

/// Runs the shuffle engine over simulated workers, links and time, breaks things, and checks that every byte arrives
/// exactly once or an error says why not. A seed is a run: cluster, workload and faults are drawn from it.
#[derive(Clone, Debug, Parser)]
#[command(name = "sluice-sim", version, after_help = EXAMPLES)]
pub struct Options {
    /// Run these seeds
    #[arg(long, value_name = "A..B", conflicts_with_all = ["seed", "minutes"])]
    pub seeds: Option<SeedRange>,

    /// Run this seed and print all that happens
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    pub seed: Option<u64>,

    /// Run fresh seeds for so long [default: 1, if no seeds are given]
    #[arg(long, value_name = "M")]
    pub minutes: Option<NonZeroU32>,

    /// How many threads run seeds [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroU32>,

    /// Make this mistake in every run: they should fail
    #[cfg(feature = "defects")]
    #[arg(long, value_name = "NAME", value_parser = defect)]
    pub defect: Option<sluice_protocol::defect::Defect>,
}

/// Seeds from one to below another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedRange(pub Range<u64>);

/// What is going to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seeds {
    /// These.
    Range(Range<u64>),
    /// As many as there is time for, from this one on.
    Fresh {
        /// The first.
        from: u64,
        /// How long.
        minutes: u32,
    },
}

impl FromStr for SeedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").ok_or("a range is written as 0..1000")?;
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
        let range = number(from)?..number(to)?;
        if range.is_empty() {
            Err(format!("{text} has no seeds: the second is not part of it"))
        } else {
            Ok(Self(range))
        }
    }
}

impl Options {
    /// One seed, to be shown in full.
    pub fn single(&self) -> Option<u64> {
        self.seed
    }

    /// What is run if it is not a single one.
    pub fn choose(&self) -> Seeds {
        match &self.seeds {
            Some(SeedRange(range)) => Seeds::Range(range.clone()),
            None => Seeds::Fresh { from: fresh(), minutes: self.minutes.map_or(1, NonZeroU32::get) },
        }
    }

    /// How many threads run them.
    pub fn jobs(&self) -> u32 {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        self.jobs.map_or_else(cores, NonZeroU32::get)
    }

    /// Makes the chosen mistake from now on, on this thread.
    pub fn mistake(&self) {
        #[cfg(feature = "defects")]
        sluice_protocol::defect::set(self.defect);
    }

    /// What to add to a command so that it makes the same mistake.
    pub fn mistake_words(&self) -> String {
        #[cfg(feature = "defects")]
        if let Some(defect) = self.defect {
            return format!(" --features defects -- --defect {}", defect.name());
        }
        String::from(" --")
    }
}

/// A number that nobody knows before: the operating system's, as the hash maps of the standard library have it.
fn fresh() -> u64 {
    // Short enough to be typed.
    std::hash::RandomState::new().build_hasher().finish() >> 24
}

#[cfg(feature = "defects")]
fn defect(name: &str) -> Result<sluice_protocol::defect::Defect, String> {
    use sluice_protocol::defect::Defect;
    let names: Vec<_> = Defect::ALL.iter().map(|defect| defect.name()).collect();
    Defect::from_name(name).ok_or_else(|| format!("the mistakes are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }

    #[test]
    fn a_range_ends_before_its_end() {
        assert_eq!("3..5".parse(), Ok(SeedRange(3..5)));
        for bad in ["5", "5..5", "5..3", "a..b", ".."] {
            bad.parse::<SeedRange>().expect_err(bad);
        }
    }
}
