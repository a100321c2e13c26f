//! What this machine can do at best, measured in the same run as the shuffle: figures of shared
//! machines mean something only as a share of that.
//!
//! Each measurement is made by fresh processes of this same program, so that neither its memory nor
//! its CPU time mixes with the shuffle's.
mod block;
mod disk;
mod job;
mod memcpy;
mod pack;
mod pipeline;
mod process;
mod stream;
mod unpack;

use std::{io, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use disk::{Checks, DirectoryError, DiskMode, DiskWork, Measured, RawDisk};
pub(crate) use disk::{Pattern, Pieces, Plan, Step, room};
pub(crate) use job::Clock;
pub use job::run_worker;
use sluice_memory::MapError;
use sluice_uring::NoPolling;

use self::job::{Job, Outcome, Work};
use crate::{digest::Difference, input::InputError, input::InputSpec};

/// How fast, and how dear.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Payload over wall time.
    pub bytes_per_second: f64,
    /// User and system time of all processes for 10⁹ bytes of payload.
    pub cpu_seconds_per_gb: f64,
}

/// When a measurement stops.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// At the first batch after so long.
    Time(Duration),
    /// At the first batch after so much payload: for tests, whose result must not depend on a clock.
    Bytes(u64),
}

/// What the pipelines move: the shuffle's own input, without its engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// Begun again at its end.
    pub input: InputSpec,
    /// How many consumers there are to choose from.
    pub targets: u32,
}

/// How much the bare pipeline writes to its socket at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteSize {
    /// One block.
    KiB32,
    /// Eight blocks.
    KiB256,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum CeilingError {
    /// A process could not be started or talked to.
    #[error("cannot run a ceiling's {role} process")]
    Process {
        /// Its part in the measurement.
        role: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A process ended with an error, which it printed itself.
    #[error("a ceiling's {role} process failed ({how})")]
    Failed {
        /// Its part in the measurement.
        role: &'static str,
        /// Its exit status, or what it said instead of a result.
        how: String,
    },
    /// The measurement itself lost or changed records, so its figure means nothing.
    #[error("the bare pipeline is broken at target {target}")]
    Mismatch {
        /// The consumer whose records differ.
        target: usize,
        /// How.
        source: Difference,
    },
    /// A socket or pipe failed under the measurement.
    #[error("the measurement was interrupted")]
    Io(#[from] io::Error),
    /// There are no records to move.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A directory cannot be measured.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The raw disk cannot be polled.
    #[error("the disk cannot be polled for completions; leave --io-poll out")]
    NoPolling(#[from] NoPolling),
    /// There is no memory for the requests.
    #[error(transparent)]
    Memory(#[from] MapError),
}

/// Measures ceilings, each in processes of its own.
#[derive(Clone, Debug)]
pub struct Bench {
    program: PathBuf,
    limit: Limit,
}

impl Bench {
    /// `program` is this program: it is started again with the hidden subcommand `ceiling-worker`.
    pub fn new(program: PathBuf, limit: Limit) -> Bench {
        Bench { program, limit }
    }

    /// One blocking socket between two processes, 256 KiB writes, nothing else.
    ///
    /// A yardstick rather than a bound: where 256 KiB do not stay in the caches, smaller writes are
    /// faster, and the bare pipeline, which may use them, can come out above this.
    pub fn plain_stream(&self) -> Result<Rate, CeilingError> {
        self.pair(Work::PlainStream)
    }

    /// Two single-threaded processes that do only what no engine can avoid: make the record, choose
    /// the target, copy once, digest, CRC32C, send; receive, CRC32C, digest. The better write size.
    ///
    /// The better of two noisy figures is a little too high: for a comparison take
    /// [`Bench::bare_pipeline_writing`] with both sizes, several times, and the better median.
    pub fn bare_pipeline(&self, records: &Records) -> Result<Rate, CeilingError> {
        let small = self.bare_pipeline_writing(records, WriteSize::KiB32)?;
        let large = self.bare_pipeline_writing(records, WriteSize::KiB256)?;
        Ok(if small.bytes_per_second > large.bytes_per_second { small } else { large })
    }

    /// The bare pipeline with one size of writes: for interleaved pairs, once the better size is known.
    pub fn bare_pipeline_writing(&self, records: &Records, write: WriteSize) -> Result<Rate, CeilingError> {
        self.pair(Work::BarePipeline { records: records.clone(), write })
    }

    /// What an in-process shuffle cannot avoid: one process whose `threads` each make records, copy
    /// them once, and check them as producer and consumer would, with no hand-over.
    pub fn memcpy(&self, records: &Records, threads: u32) -> Result<Rate, CeilingError> {
        let job = Job::Memcpy { records: records.clone(), threads, limit: self.limit };
        let outcome = process::alone(&self.program, "copying", &job)?;
        Ok(Outcome::rate(&outcome, 0.0))
    }

    /// The disk with nothing before it, in all modes. Its limit is its own.
    pub fn raw_disk(&self, work: &DiskWork) -> Result<RawDisk, CeilingError> {
        process::alone(&self.program, "disk", &Job::Disk(work.clone()))
    }

    fn pair(&self, work: Work) -> Result<Rate, CeilingError> {
        let (sent, received) = process::pair(&self.program, work, self.limit)?;
        let (count, count_received) = (sent.digests.len(), received.digests.len());
        assert_eq!(count, count_received, "both processes were told the same number of targets");
        for (target, (sent, received)) in sent.digests.iter().zip(&received.digests).enumerate() {
            if let Some(source) = sent.difference(received) {
                return Err(CeilingError::Mismatch { target, source });
            }
        }
        Ok(sent.rate(received.cpu_seconds))
    }
}

impl Rate {
    /// The middle of several measurements, of speed and of CPU time each by itself; `None` of none.
    pub fn median(rates: &[Rate]) -> Option<Rate> {
        let middle = |value: fn(&Rate) -> f64| {
            let mut values: Vec<f64> = rates.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            let half = values.len() / 2;
            match values.len() % 2 {
                1 => Some(values[half]),
                _ => Some((values.get(half.checked_sub(1)?)? + values[half]) / 2.0),
            }
        };
        let bytes_per_second = middle(|rate| rate.bytes_per_second)?;
        Some(Rate { bytes_per_second, cpu_seconds_per_gb: middle(|rate| rate.cpu_seconds_per_gb)? })
    }
}

impl Outcome {
    fn rate(&self, cpu_seconds_of_peer: f64) -> Rate {
        let bytes = self.payload_bytes as f64;
        Rate {
            bytes_per_second: bytes / self.seconds,
            cpu_seconds_per_gb: (self.cpu_seconds + cpu_seconds_of_peer) * 1e9 / bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes_per_second: f64, cpu_seconds_per_gb: f64) -> Rate {
        Rate { bytes_per_second, cpu_seconds_per_gb }
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_middle_two() {
        assert_eq!(Rate::median(&[rate(3.0, 1.0), rate(1.0, 9.0), rate(2.0, 5.0)]), Some(rate(2.0, 5.0)));
        assert_eq!(Rate::median(&[rate(3.0, 1.0), rate(1.0, 2.0)]), Some(rate(2.0, 1.5)));
        assert_eq!(Rate::median(&[]), None);
    }
}
