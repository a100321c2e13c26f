//! One run of `shuffle`: ceilings before and after, the shuffle between them, the report.

use std::io::{self, Write};
use std::net::SocketAddr;

use sluice_core::{ConfigError, MemoryNeed};
use tempfile::TempDir;

use super::ceilings::Ceilings;
use super::coordinator;
use super::leftovers::Leftovers;
use super::output::{OutputError, make_folder};
use super::verify::Mismatch;
use crate::causes::with_causes;
use crate::ceiling::CeilingError;
use crate::cli::{ShuffleArgs, in_one};
use crate::host::Host;
use crate::interrupt::{Interrupted, Interrupts};
use crate::report::{Report, ReportFile, ReportFileError};
use crate::scenario::Scenario;
use crate::units::mebibytes;

/// What the process exits with if nothing else says what.
const FAILED: u8 = 1;

/// Why there is no verified result.
#[derive(Debug, thiserror::Error)]
pub enum ShuffleError {
    /// The memory of a worker does not cover the floors of its tasks.
    #[error("{} of memory are too small: a worker needs {need}; give at least --memory {}KiB (memory.bytes){}", mebibytes(*given), need.total() / 1024, if *one_slot_helps { ", or --slots 1: its tasks then run one after the other" } else { "" })]
    Memory {
        /// What was given, in bytes.
        given: u64,
        /// What is needed.
        need: MemoryNeed,
        /// Whether it would do for tasks that run one after the other, and they can.
        one_slot_helps: bool,
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
    /// What the workers say does not fit together.
    #[error("the master: {0}")]
    Master(String),
    /// The engine's own figures are wrong.
    #[error(
        "NOT VERIFIED: partition {partition} has {written} records for consumer {consumer}, and the engine says {said:?}"
    )]
    Figures {
        /// The partition.
        partition: u64,
        /// Whose records.
        consumer: usize,
        /// As the producer counted.
        written: u64,
        /// As the engine counted, if it did.
        said: Option<u64>,
    },
    /// A worker that reads nothing cannot be killed half-way.
    #[error("--kill consumer: there is nothing for the consumers of worker {worker} to read; give it more records")]
    NothingToKill {
        /// The victim.
        worker: u32,
    },
    /// No directory can be made for blocking partitions.
    #[error("cannot make a directory for the partitions; name one with --disk")]
    Temporary(#[source] io::Error),
    /// It was asked to end.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// It could not be asked to end.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// Something is still there.
    #[error(transparent)]
    Leftovers(#[from] Leftovers),
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

impl ShuffleError {
    /// What the process exits with.
    pub fn status(&self) -> u8 {
        match self {
            Self::Interrupted(signal) => signal.status(),
            _ => FAILED,
        }
    }
}

/// Shuffles, compares, prints the report. Signals that ask the process to end make it fail, and it clears up first.
pub fn run(args: &ShuffleArgs, mut scenario: Scenario) -> Result<(), ShuffleError> {
    let interrupts = Interrupts::listen().map_err(ShuffleError::Signals)?;
    // It goes with this run.
    let temporary = temporary_directory(&mut scenario)?;
    // First, because the report may go there.
    let folder = scenario.output.as_deref().map_or(Ok(()), make_folder);
    let mut file = match args.json.as_deref().map(ReportFile::claim).transpose() {
        Ok(file) => file,
        Err(error) => return Err(folder.map_or_else(Into::into, |()| error.into())),
    };
    let result = folder.map_err(Into::into).and_then(|()| shuffle(args, &scenario, temporary.as_ref(), &interrupts));
    // Ctrl-C goes to the processes that measure ceilings as well, and their end is not the reason.
    let result = interrupts.check().map_err(ShuffleError::from).and(result);
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

/// A directory for blocking partitions where none is named.
fn temporary_directory(scenario: &mut Scenario) -> Result<Option<TempDir>, ShuffleError> {
    if !scenario.partition.is_retained() || !scenario.directories.is_empty() {
        return Ok(None);
    }
    let directory = tempfile::Builder::new().prefix("sluice-perf-").tempdir().map_err(ShuffleError::Temporary)?;
    scenario.directories = vec![directory.path().to_owned()];
    scenario.settings.set("disk.directories", in_one(&scenario.directories), "the temporary directory");
    Ok(Some(directory))
}

fn shuffle(
    args: &ShuffleArgs,
    scenario: &Scenario,
    temporary: Option<&TempDir>,
    interrupts: &Interrupts,
) -> Result<Report, ShuffleError> {
    check_memory(scenario)?;
    if let Some(directory) = temporary {
        // Where one is named the report says so.
        let _ = writeln!(io::stderr(), "partitions are kept in {} (--disk names another)", directory.path().display());
    }
    let mut ceilings = (!args.no_ceiling).then(|| Ceilings::new(scenario)).transpose()?;
    let mut measure = || ceilings.as_mut().map_or(Ok(()), |ceilings| ceilings.measure(interrupts));
    measure()?;
    let mut last = coordinator::shuffle(scenario, interrupts)?;
    measure()?;
    let mut outcomes = vec![last.outcome.clone()];
    for _ in 1..args.pairs {
        last = coordinator::shuffle(scenario, interrupts)?;
        measure()?;
        outcomes.push(last.outcome.clone());
    }
    let ceiling = ceilings.as_ref().and_then(Ceilings::result);
    let host = Host { disk: last.disk, ..Host::here(Some(last.engine)) };
    let mut report = Report::new(scenario.clone(), host, last.outcome, ceiling);
    if outcomes.len() > 1 {
        report.pairs = ceilings.as_ref().and_then(|ceilings| ceilings.pairs(&outcomes));
    }
    Ok(report)
}

/// Admission is arithmetic, so it is done before anything starts.
fn check_memory(scenario: &Scenario) -> Result<(), ShuffleError> {
    let config = scenario.settings.load()?;
    let given = config.memory.bytes.bytes() as u64;
    let need = need_of_each(scenario, config.memory.buffer_bytes.bytes());
    if need.total() as u64 <= given {
        return Ok(());
    }
    // Tasks of pipelined partitions have to run together.
    let one_slot_helps = scenario.partition.is_retained() && {
        let one_after_the_other = Scenario { slots: Some(1), ..scenario.clone() };
        need_of_each(&one_after_the_other, need.buffer_bytes).total() as u64 <= given
    };
    Err(ShuffleError::Memory { given, need, one_slot_helps })
}

/// What the worker with the most tasks needs: each is given as much.
fn need_of_each(scenario: &Scenario, buffer_bytes: usize) -> MemoryNeed {
    let disk = scenario.partition.is_retained();
    let of = |worker| {
        let (writers, gates) = scenario.ends_at_once(worker);
        MemoryNeed { writers, gates, buffer_bytes, disk }
    };
    (0..scenario.workers).map(of).max_by_key(MemoryNeed::total).expect("there is at least one worker")
}
