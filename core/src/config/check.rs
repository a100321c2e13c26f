//! Figures that cannot work, refused with what would.

use std::fmt::Display;
use std::time::Duration;

use sluice_memory::SizeClass;
use sluice_protocol::Limits;

use super::Config;
use super::error::ConfigError;
use super::layers::{self, Origin};
use super::units::{Period, Size};
use crate::memory_need::MemoryNeed;

/// More links to one peer than any machine has use for.
const LANES_MAX: u16 = 64;
/// Deadlines and heartbeats are not counted finer.
const PERIOD_MIN: Period = Period(Duration::from_millis(1));

impl Config {
    /// Refuses figures that cannot work, alone or together. [`Config::load`] has done it; who changes fields later
    /// calls it again.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_cluster()?;
        self.check_memory()?;
        self.check_shuffle()?;
        self.check_links()?;
        self.check_silence()?;
        self.check_disk()?;
        self.check_trust()
    }

    pub(super) fn check_transport(&self, known: &[&str]) -> Result<(), ConfigError> {
        layers::check_transport(&self.cluster.transport, known, &self.origin("cluster.transport"))
    }

    fn check_cluster(&self) -> Result<(), ConfigError> {
        let name = &self.cluster.name;
        self.require("cluster.name", format!("`{name}`"), !name.is_empty(), || {
            "is empty: give the cluster a name".into()
        })
    }

    fn check_memory(&self) -> Result<(), ConfigError> {
        let buffer = self.memory.buffer_bytes;
        let (min, max) = (Size(SizeClass::MIN.bytes()), Size(SizeClass::MAX.bytes()));
        let possible = buffer.0.is_power_of_two() && (min..=max).contains(&buffer);
        self.require("memory.buffer_bytes", buffer, possible, || {
            format!("is not a power of two from {min} to {max}: the nearest is {}", nearest_class(buffer))
        })?;
        self.within("memory.floors_percent", self.memory.floors_percent, 0, 100)?;
        let disk = !self.disk.directories.is_empty();
        let need = MemoryNeed { writers: 1, gates: 1, buffer_bytes: buffer.0, disk };
        let least = Size(need.total());
        self.require("memory.bytes", self.memory.bytes, self.memory.bytes >= least, || {
            let buffer = self.told("memory.buffer_bytes", buffer);
            format!("is too small for one writer and one gate with {buffer}: at least {least}")
        })
    }

    fn check_shuffle(&self) -> Result<(), ConfigError> {
        let shuffle = &self.shuffle;
        let (hand_over, memory, buffer) = (shuffle.hand_over_bytes, self.memory.bytes, self.memory.buffer_bytes);
        // The engine lowers the default to what a writer has; only who asks for more than there is gets told.
        let asked = self.origin("shuffle.hand_over_bytes") != Origin::Default;
        self.require("shuffle.hand_over_bytes", hand_over, !asked || hand_over <= memory, || {
            format!("is more than {}: lower it or raise memory.bytes", self.told("memory.bytes", memory))
        })?;
        let bounds = [
            ("shuffle.writer_bytes_max", shuffle.writer_bytes_max),
            ("shuffle.window_bytes_max", shuffle.window_bytes_max),
        ];
        for (key, bound) in bounds {
            self.require(key, bound, bound >= buffer, || {
                format!("holds no buffer: at least {}", self.told("memory.buffer_bytes", buffer))
            })?;
        }
        let record = shuffle.record_bytes_max;
        self.require("shuffle.record_bytes_max", record, record.0 > 0, || "admits no record: at least 1B".into())?;
        let deadline = shuffle.partition_deadline;
        self.require("shuffle.partition_deadline", deadline, deadline >= PERIOD_MIN, || {
            format!("is over before a partition can appear: at least {PERIOD_MIN}")
        })
    }

    fn check_links(&self) -> Result<(), ConfigError> {
        let session = &self.session;
        self.within("session.lanes", session.lanes, 1, LANES_MAX)?;
        self.within("session.control_window", session.control_window, Limits::CONTROL_WINDOW_MIN, u16::MAX.into())?;
        let size = |bytes: u32| Size(bytes as usize);
        let (head_min, body_min) = (size(Limits::HEAD_BYTES_MIN), size(Limits::BLOCK_BYTES_MIN));
        self.within("session.head_bytes_max", session.head_bytes_max, head_min, size(Limits::BYTES_MAX))?;
        self.within("session.body_bytes_max", session.body_bytes_max, body_min, size(Limits::BYTES_MAX))?;
        let (body, buffer) = (session.body_bytes_max, self.memory.buffer_bytes);
        self.require("session.body_bytes_max", body, body >= buffer, || {
            let buffer = self.told("memory.buffer_bytes", buffer);
            format!("cannot carry a full block, {buffer}: raise it or use smaller buffers")
        })
    }

    fn check_silence(&self) -> Result<(), ConfigError> {
        let (heartbeat, silence) = (self.session.heartbeat, self.session.silence_max);
        self.require("session.heartbeat", heartbeat, heartbeat >= PERIOD_MIN, || {
            format!("is too short: at least {PERIOD_MIN}")
        })?;
        let twice = Period(heartbeat.0.saturating_mul(2));
        self.require("session.heartbeat", heartbeat, silence >= twice, || {
            let silence = self.told("session.silence_max", silence);
            format!("is more than half of {silence}: a peer would be declared dead between two signs of life")
        })
    }

    pub(super) fn within<T: Display + PartialOrd>(
        &self,
        key: &'static str,
        value: T,
        min: T,
        max: T,
    ) -> Result<(), ConfigError> {
        let possible = value >= min && value <= max;
        self.require(key, value, possible, || format!("is not between {min} and {max}"))
    }

    pub(super) fn require(
        &self,
        key: &'static str,
        value: impl Display,
        possible: bool,
        problem: impl FnOnce() -> String,
    ) -> Result<(), ConfigError> {
        if possible {
            return Ok(());
        }
        Err(ConfigError::Impossible { key, value: value.to_string(), origin: self.origin(key), problem: problem() })
    }

    /// Another key in a sentence: `memory.bytes of 64MiB (the default)`.
    pub(super) fn told(&self, key: &str, value: impl Display) -> String {
        format!("{key} of {value} ({})", self.origin(key))
    }
}

fn nearest_class(bytes: Size) -> Size {
    let classes = SizeClass::all().map(SizeClass::bytes);
    Size(classes.min_by_key(|class| class.abs_diff(bytes.0)).expect("there are size classes"))
}
