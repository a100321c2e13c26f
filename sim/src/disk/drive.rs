//! What a simulated disk is like: its room, its speed, how much it does at once.

use std::fmt;
use std::time::Duration;

use crate::seed::Random;

/// The traits of a worker's disk. Each directory is a drive of its own.
#[derive(Clone, Debug)]
pub struct Drive {
    /// Room for so many bytes, for each directory.
    pub bytes_max: Vec<u64>,
    /// As many requests as it takes before it hands them back.
    pub under_way_max: usize,
    /// So many requests of a directory are worked at together; those behind them wait, and come in a drawn order.
    pub at_once: usize,
    /// How long a request takes.
    pub fastest: Duration,
    /// The same.
    pub slowest: Duration,
    /// On top of that.
    pub nanos_per_byte: u64,
    /// So many of a thousand requests take very long.
    pub hangs_per_mille: u64,
}

/// The longest that one request takes by itself.
const HANGS_MAX: Duration = Duration::from_millis(1500);

impl Drive {
    /// A drive without troubles, with these directories.
    pub fn with_directories(bytes_max: &[u64]) -> Self {
        Self {
            bytes_max: bytes_max.to_vec(),
            under_way_max: 64,
            at_once: 16,
            fastest: Duration::from_micros(20),
            slowest: Duration::from_millis(1),
            nanos_per_byte: 0,
            hangs_per_mille: 0,
        }
    }

    /// How long a request of so many bytes takes.
    pub(super) fn draw_time(&self, random: &mut Random, bytes: usize) -> Duration {
        if random.below(1000) < self.hangs_per_mille {
            return random.time(Duration::from_millis(50)..=HANGS_MAX);
        }
        random.time(self.fastest..=self.slowest) + Duration::from_nanos(bytes as u64 * self.nanos_per_byte)
    }
}

impl fmt::Display for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room: Vec<_> = self.bytes_max.iter().map(|bytes| format!("{} KiB", bytes >> 10)).collect();
        let Self { under_way_max, at_once, fastest, slowest, nanos_per_byte, hangs_per_mille, .. } = self;
        write!(f, "a disk with room for {}; takes {under_way_max} requests, {at_once} at once, ", room.join(" + "))?;
        write!(f, "in {fastest:?} to {slowest:?} and {nanos_per_byte} ns a byte, {hangs_per_mille} ‰ of them hang")
    }
}
