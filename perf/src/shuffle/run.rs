//! One run of `shuffle`: ceilings before and after, the shuffle between them, the report.

use std::env;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use sluice_core::{ConfigError, MemoryNeed};

use super::coordinator;
use super::output::{OutputError, make_folder};
use super::verify::Mismatch;
use crate::causes::with_causes;
use crate::ceiling::{Bench, CeilingError, Limit, Rate, Records, WriteSize};
use crate::cli::ShuffleArgs;
use crate::host::Host;
use crate::report::{Ceiling, Outcome, Pairs, Report, ReportFile, ReportFileError, Spread};
use crate::scenario::{Scenario, Transport};
use crate::units::mebibytes;

/// How long each ceiling is measured, before and after.
const CEILING_TIME: Duration = Duration::from_millis(500);

/// Why there is no verified result.
#[derive(Debug, thiserror::Error)]
pub enum ShuffleError {
    /// The memory of a worker does not cover the floors of its tasks.
    #[error("{} of memory are too small: a worker needs {need}; give at least --memory {}KiB (memory.bytes)", mebibytes(*given), need.total() / 1024)]
    Memory {
        /// What was given, in bytes.
        given: u64,
        /// What is needed.
        need: MemoryNeed,
    },
    /// The engine's configuration is not one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Workers could not be started.
    #[error("cannot start the workers")]
    Launch(#[source] io::Error),
    /// What stands between the workers says nothing.
    #[error("the relay at {0} does not say where the workers are to be looked for")]
    Relay(SocketAddr, #[source] io::Error),
    /// A worker failed.
    #[error("worker {worker}{}: {error}", process.map_or_else(String::new, |id| format!(" (process {id})")))]
    Worker {
        /// Its number.
        worker: u32,
        /// The id of its process, if it is one.
        process: Option<u32>,
        /// What it said, or how it ended.
        error: String,
    },
    /// What was read is not what was written.
    #[error("NOT VERIFIED: {0}")]
    Mismatch(#[from] Mismatch),
    /// A ceiling could not be measured.
    #[error(transparent)]
    Ceiling(#[from] CeilingError),
    /// The folder for the records cannot take them.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The report could not be written.
    #[error(transparent)]
    Json(#[from] ReportFileError),
    /// The figures could not be printed.
    #[error("standard output: cannot be written")]
    Print(#[source] io::Error),
}

/// Shuffles, compares, prints the report.
pub fn run(args: &ShuffleArgs, scenario: Scenario) -> Result<(), ShuffleError> {
    // First, because the report may go there.
    let folder = scenario.output.as_deref().map_or(Ok(()), make_folder);
    let mut file = match args.json.as_deref().map(ReportFile::claim).transpose() {
        Ok(file) => file,
        Err(error) => return Err(folder.map_or_else(Into::into, |()| error.into())),
    };
    let result = folder.map_err(Into::into).and_then(|()| shuffle(args, &scenario));
    match (&result, &mut file) {
        (Ok(report), Some(file)) => file.write(report)?,
        // The run's own error is the one to end with.
        (Err(error), Some(file)) => drop(file.write_failure(&scenario, &with_causes(error))),
        (_, None) => {}
    }
    let report = result?;
    let mut out = io::stdout().lock();
    write!(out, "{report}").and_then(|()| out.flush()).map_err(ShuffleError::Print)
}

fn shuffle(args: &ShuffleArgs, scenario: &Scenario) -> Result<Report, ShuffleError> {
    check_memory(scenario)?;
    let mut ceilings = (!args.no_ceiling).then(|| Ceilings::new(scenario)).transpose()?;
    measure(&mut ceilings)?;
    let (mut outcome, mut engine) = coordinator::shuffle(scenario)?;
    measure(&mut ceilings)?;
    let mut pairs = vec![outcome.clone()];
    for _ in 1..args.pairs {
        (outcome, engine) = coordinator::shuffle(scenario)?;
        measure(&mut ceilings)?;
        pairs.push(outcome.clone());
    }
    let ceiling = ceilings.as_ref().and_then(Ceilings::result);
    let mut report = Report::new(scenario.clone(), Host::here(Some(engine)), outcome, ceiling);
    if pairs.len() > 1 {
        report.pairs = ceilings.as_ref().and_then(|ceilings| ceilings.pairs(&pairs));
    }
    Ok(report)
}

fn measure(ceilings: &mut Option<Ceilings>) -> Result<(), ShuffleError> {
    ceilings.as_mut().map_or(Ok(()), Ceilings::measure)
}

/// Admission is arithmetic, so it is done before anything starts.
fn check_memory(scenario: &Scenario) -> Result<(), ShuffleError> {
    let config = scenario.settings.load()?;
    let given = config.memory.bytes.bytes() as u64;
    for worker in 0..scenario.workers {
        let need = MemoryNeed {
            writers: scenario.producers_of(worker).len() as u32,
            gates: scenario.consumers_of(worker).len() as u32,
            buffer_bytes: config.memory.buffer_bytes.bytes(),
        };
        if need.total() as u64 > given {
            return Err(ShuffleError::Memory { given, need });
        }
    }
    Ok(())
}

/// What the machine can do, measured before and after.
struct Ceilings {
    bench: Bench,
    records: Records,
    threads: Option<u32>,
    plain: Vec<Rate>,
    bare: [Vec<Rate>; 2],
    memcpy: Vec<Rate>,
}

impl Ceilings {
    fn new(scenario: &Scenario) -> Result<Self, ShuffleError> {
        let program = env::current_exe().map_err(ShuffleError::Launch)?;
        Ok(Self {
            bench: Bench::new(program, Limit::Time(CEILING_TIME)),
            records: Records { input: scenario.input.clone(), targets: scenario.consumers() },
            threads: (scenario.transport == Transport::InProcess).then_some(scenario.workers),
            plain: Vec::new(),
            bare: [Vec::new(), Vec::new()],
            memcpy: Vec::new(),
        })
    }

    fn measure(&mut self) -> Result<(), ShuffleError> {
        self.plain.push(self.bench.plain_stream()?);
        for (rates, write) in self.bare.iter_mut().zip([WriteSize::KiB32, WriteSize::KiB256]) {
            rates.push(self.bench.bare_pipeline_writing(&self.records, write)?);
        }
        if let Some(threads) = self.threads {
            self.memcpy.push(self.bench.memcpy(&self.records, threads)?);
        }
        Ok(())
    }

    /// The ceilings around each shuffle: the one before it and the one after it, in the middle.
    fn pairs(&self, outcomes: &[Outcome]) -> Option<Pairs> {
        let bare = self.better_bare()?;
        let around = |rates: &[Rate], pair: usize| Rate::median(rates.get(pair..pair + 2)?);
        let share = |rates: &[Rate]| {
            let ratio = |(pair, outcome): (usize, &Outcome)| {
                Some(outcome.payload_bytes_per_second / around(rates, pair)?.bytes_per_second)
            };
            Spread::of(outcomes.iter().enumerate().filter_map(ratio))
        };
        let cpu = |(pair, outcome): (usize, &Outcome)| {
            Some(outcome.cpu_seconds_per_gb / around(bare, pair)?.cpu_seconds_per_gb)
        };
        Some(Pairs {
            count: outcomes.len(),
            share_of_plain: share(&self.plain)?,
            share_of_bare: share(bare)?,
            cpu_over_bare: Spread::of(outcomes.iter().enumerate().filter_map(cpu))?,
            share_of_memcpy: share(&self.memcpy),
        })
    }

    /// The size of writes with the better median.
    fn better_bare(&self) -> Option<&[Rate]> {
        let speed = |rates: &[Rate]| Rate::median(rates).map_or(0.0, |rate| rate.bytes_per_second);
        let [small, large] = &self.bare;
        let better = if speed(small) > speed(large) { small } else { large };
        (!better.is_empty()).then_some(better)
    }

    fn result(&self) -> Option<Ceiling> {
        Some(Ceiling {
            plain_stream: Rate::median(&self.plain)?,
            bare_pipeline: Rate::median(self.better_bare()?)?,
            memcpy: Rate::median(&self.memcpy),
        })
    }
}
