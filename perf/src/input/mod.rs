//! Where records come from, and the consumer each is for.
//!
//! A source fills a [`Batch`] at a time: one virtual call for some 64 KiB of records, not one for each.
mod batch;
mod file;
mod lineitem;
mod random;
mod target;

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use batch::{Batch, Range};
pub use file::Key;
pub use lineitem::{ROWS_AT_SCALE_1, check_scale_factor};
pub use random::{check_record_bytes, check_skew};
pub use target::Targets;

use self::{file::Files, lineitem::Lineitem, random::Random};

/// A producer's records, in their order.
pub trait Source {
    /// Replaces what is in `batch` by the next records; `false`, and an empty batch, at the end.
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, InputError>;
}

/// Which records there are. Plain data, so that every worker process can be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSpec {
    /// Rows of the TPC-H table, as `.tbl` lines without the newline, keyed by `l_orderkey`.
    Lineitem {
        /// 1 is 6 001 215 rows.
        scale_factor: f64,
    },
    /// Records of random bytes and of one size, each unlike all others.
    Random {
        /// Of all producers together, rounded up to whole records.
        bytes: u64,
        /// At least 8.
        record_bytes: u32,
        /// The Zipf exponent over the consumers: 0 is uniform; with 1 the first gets twice what the second gets.
        skew: f64,
        /// The same seed gives the same records.
        seed: u64,
    },
    /// The lines of files.
    Files {
        /// CSV, TSV and `.tbl` by their extension; lines otherwise.
        paths: Vec<PathBuf>,
        /// What decides the consumer; the whole record if absent.
        key: Option<Key>,
        /// Whether each CSV and TSV file starts with a line of column names, which is no record.
        header: bool,
    },
}

/// Why there are no records, or no more.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file is missing, unreadable, or went away.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One record has not the shape its file promised.
    #[error("{}:{line}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with that line.
        reason: String,
    },
    /// The file as a whole cannot be used as asked.
    #[error("{}: {reason}", path.display())]
    Unsuitable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The settings contradict themselves or the input.
    #[error("{0}")]
    Setting(String),
}

/// An input made ready for a number of producers and consumers. Every process that has the same
/// spec and numbers gives producer `n` the same records.
pub struct Input {
    kind: Kind,
}

enum Kind {
    Lineitem(Lineitem),
    Random(Random),
    Files(Files),
}

impl Input {
    /// Opens and splits the input: all slow work (the 300 MiB of text that TPC-H comments are cut
    /// from, a look through each CSV file) happens here, before any clock runs.
    pub fn prepare(spec: &InputSpec, producers: u32, consumers: u32) -> Result<Input, InputError> {
        if producers == 0 || consumers == 0 {
            return Err(InputError::Setting("at least one producer and one consumer are needed".into()));
        }
        let targets = Targets::new(consumers);
        let kind = match spec {
            InputSpec::Lineitem { scale_factor } => {
                Kind::Lineitem(Lineitem::prepare(*scale_factor, producers, targets)?)
            }
            InputSpec::Random { bytes, record_bytes, skew, seed } => {
                let size = random::Size { bytes: *bytes, record_bytes: *record_bytes };
                Kind::Random(Random::prepare(size, *skew, *seed, producers, targets)?)
            }
            InputSpec::Files { paths, key, header } => {
                Kind::Files(Files::prepare(paths, key.clone(), *header, producers, targets)?)
            }
        };
        Ok(Input { kind })
    }

    /// The records of one producer, counted from 0 over all workers.
    pub fn source(&self, producer: u32) -> Result<Box<dyn Source + Send>, InputError> {
        Ok(match &self.kind {
            Kind::Lineitem(lineitem) => Box::new(lineitem.source(producer)),
            Kind::Random(random) => Box::new(random.source(producer)),
            Kind::Files(files) => Box::new(files.source(producer)?),
        })
    }

    /// How much payload all producers make together: for a progress bar, so within a few percent is enough.
    pub fn bytes_estimate(&self) -> u64 {
        match &self.kind {
            Kind::Lineitem(lineitem) => lineitem.bytes_estimate(),
            Kind::Random(random) => random.bytes(),
            Kind::Files(files) => files.bytes_estimate(),
        }
    }
}

#[cfg(test)]
mod testing {
    //! What the tests of all sources share.
    use super::*;

    /// All records of all producers with their targets, in the order of producers.
    pub(super) fn records(spec: &InputSpec, producers: u32, consumers: u32) -> Result<Vec<(Vec<u8>, u32)>, InputError> {
        let input = Input::prepare(spec, producers, consumers)?;
        let mut records = Vec::new();
        let mut batch = Batch::default();
        for producer in 0..producers {
            let mut source = input.source(producer)?;
            while source.fill(&mut batch)? {
                records.extend(batch.records().map(|(record, target)| (record.to_vec(), target)));
            }
            assert!(batch.is_empty(), "a source that ended leaves nothing in the batch");
        }
        Ok(records)
    }

    pub(super) fn sorted(mut records: Vec<(Vec<u8>, u32)>) -> Vec<(Vec<u8>, u32)> {
        records.sort();
        records
    }
}
