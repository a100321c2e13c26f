//! What coordinator and workers tell each other: a line of JSON each, and digests as bytes behind the line that
//! announces them.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{digest::Digest, scenario::Scenario};

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Who it is, and what is going to happen. It prepares and answers `Ready`.
    Prepare { worker: u32, scenario: Box<Scenario> },
    /// Where all workers are, by their number. It shuffles.
    Go { workers: Vec<Location> },
    /// All have what they wanted. It ends.
    Stop,
}

/// Where a worker can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Location {
    pub(super) incarnation: u64,
    pub(super) address: String,
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// Its transport is up, its input is open.
    Ready { location: Location, engine: String, bytes_estimate: u64 },
    /// Payload so far.
    Progress { written: u64, read: u64 },
    /// Its tasks are through; digests follow: of each of its producers for each consumer, then of each of its consumers
    /// for each producer.
    Done(Box<Done>),
    /// It cannot go on.
    Failed { error: String },
}

/// What a worker did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// Nanoseconds of the machine's monotone clock: comparable between processes.
    pub(super) started: u64,
    pub(super) ended: u64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory_bytes: u64,
    pub(super) credit_seconds: f64,
    pub(super) buffer_seconds: f64,
    pub(super) links_lost: u64,
    pub(super) links_resumed: u64,
    pub(super) sent_digests: u64,
    pub(super) received_digests: u64,
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
