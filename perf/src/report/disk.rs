//! What the disk did in a shuffle with blocking partitions, and what it can do.

use serde::{Deserialize, Serialize};

use crate::ceiling::Rate;

/// What the disk did, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskOutcome {
    /// As the engine counts, with all that stands around the payload.
    pub written_bytes: u64,
    /// As the engine counts: more than was written if something was read again.
    pub read_bytes: u64,
    /// From the first record written to the last partition finished.
    pub write_seconds: f64,
    /// From the first gate opened to the last record read.
    pub read_seconds: f64,
    /// Payload over what was written: above 1 if compression pays.
    pub payload_over_written: f64,
}

/// The raw disk of the same directories, measured beside the shuffle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskCeiling {
    /// What did the IO.
    pub engine: String,
    /// Whether it went past the page cache. If not, the figures are the cache's.
    pub is_direct: bool,
    /// Requests of 512 KiB, 32 at a time.
    pub write: Rate,
    /// As writing.
    pub read: Rate,
}

impl DiskCeiling {
    /// How long the raw disk takes to write so much and read it again, in seconds.
    pub fn seconds(&self, bytes: u64) -> f64 {
        seconds(bytes, self.write, self.read)
    }
}

/// How long a disk of these rates takes to write so much and read it again, in seconds; zero if it has none.
pub(crate) fn seconds(bytes: u64, write: Rate, read: Rate) -> f64 {
    let one = |rate: Rate| if rate.bytes_per_second > 0.0 { bytes as f64 / rate.bytes_per_second } else { 0.0 };
    one(write) + one(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_and_reading_again_take_the_sum() {
        let rate = |bytes_per_second| Rate { bytes_per_second, cpu_seconds_per_gb: 0.1 };
        assert_eq!(seconds(6_000, rate(2_000.0), rate(3_000.0)), 5.0);
    }
}
