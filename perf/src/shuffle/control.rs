//! What coordinator and workers tell each other: a line of JSON each, and digests as bytes behind the line that
//! announces them.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sluice_core::{HeldPartition, PartitionStatistics};

use crate::{digest::Digest, host::DiskInUse, scenario::Scenario};

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Who it is, and what is going to happen. It prepares and answers `Ready`.
    Prepare {
        worker: u32,
        /// Of this life of it.
        incarnation: u64,
        scenario: Box<Scenario>,
        /// An earlier life of this worker was killed: it looks for what that one has left.
        again: bool,
    },
    /// Where all workers are, by their number. It runs its tasks of this phase and answers `Done`.
    Run {
        phase: Phase,
        workers: Vec<Location>,
        /// Having read so much it stands still, answers `Halted`, and waits for its end.
        halt_at: Option<u64>,
    },
    /// This life of a worker is over.
    Lost { worker: u32, incarnation: u64 },
    /// Nobody reads any more. It drops its partitions and answers `Released`.
    Release,
    /// All have what they wanted. It ends.
    Stop,
}

/// Which tasks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// Producers and consumers: pipelined partitions are read while they are written.
    Both,
    /// Producers only.
    Produce,
    /// Consumers only, when all producers of all workers have finished.
    Consume,
}

/// Where a worker can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Location {
    pub(super) incarnation: u64,
    pub(super) address: String,
}

/// A finished partition that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) partition: u64,
    pub(super) subpartitions: u32,
    /// For each subpartition.
    pub(super) bytes: Vec<u64>,
    pub(super) records: Vec<u64>,
}

impl From<HeldPartition> for Held {
    fn from(held: HeldPartition) -> Self {
        let PartitionStatistics { bytes, records } = held.statistics;
        Self { partition: held.partition.partition, subpartitions: held.subpartitions, bytes, records }
    }
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// Its transport is up, its input is open.
    Ready { location: Location, engine: String, disk: Option<DiskInUse>, bytes_estimate: u64, held: Vec<Held> },
    /// Payload so far.
    Progress { written: u64, read: u64 },
    /// It has read as much as it was to.
    Halted,
    /// Its tasks of the phase are through; digests follow: of each of its producers for each consumer, then of each of
    /// its consumers for each producer, as far as they ran in it.
    Done(Box<Done>),
    /// Its partitions are gone.
    Released(Totals),
    /// It cannot go on.
    Failed { error: String },
}

/// What a worker did in a phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// Nanoseconds of the machine's monotone clock: comparable between processes.
    pub(super) started: u64,
    pub(super) ended: u64,
    pub(super) credit_seconds: f64,
    pub(super) buffer_seconds: f64,
    pub(super) disk_seconds: f64,
    pub(super) totals: Totals,
    /// What its producers have finished that can be read again, with the engine's own figures.
    pub(super) finished: Vec<Held>,
    pub(super) sent_digests: u64,
    pub(super) received_digests: u64,
}

/// What a worker did since its first phase began.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory_bytes: u64,
    pub(super) links_lost: u64,
    pub(super) links_resumed: u64,
    pub(super) disk_written_bytes: u64,
    pub(super) disk_read_bytes: u64,
}

pub(super) fn tell(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// The next message; `None` when the other side is gone.
pub(super) fn hear<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

pub(super) fn tell_digests(to: &mut impl Write, digests: &[Digest]) -> io::Result<()> {
    for digest in digests {
        to.write_all(&digest.to_bytes())?;
    }
    to.flush()
}

pub(super) fn hear_digests(from: &mut impl BufRead, count: u64) -> io::Result<Vec<Digest>> {
    let mut digests = Vec::new();
    let mut bytes = [0; Digest::ENCODED_BYTES];
    for _ in 0..count {
        from.read_exact(&mut bytes)?;
        digests.push(Digest::from_bytes(&bytes));
    }
    Ok(digests)
}
