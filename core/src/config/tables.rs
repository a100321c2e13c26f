//! The tables of the file as plain data. Each default is the engine's own, so the two cannot differ; the reasons are in
//! the list of [keys](super::keys), which also makes the sample file and the document.

use serde::{Deserialize, Serialize};
use sluice_memory::HugePages;
use sluice_protocol::Limits;

use super::units::{Period, Size};
use crate::partition::FlushInterval;
use crate::service::EnvironmentConfig;

/// `[cluster]`: the cluster that the worker belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterConfig {
    /// Its name; workers of another one are refused.
    pub name: String,
    /// What carries bytes between its workers: the name of a transport.
    pub transport: String,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { name: EnvironmentConfig::default().cluster, transport: "tcp".into() }
    }
}

/// `[memory]`: what shuffles run in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryConfig {
    /// Shuffle memory of the worker.
    pub bytes: Size,
    /// What of it is for floors only.
    pub floors_percent: u8,
    /// The size of a buffer.
    pub buffer_bytes: Size,
    /// Whether the kernel is asked for huge pages.
    #[serde(with = "HugePagesText")]
    pub huge_pages: HugePages,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        let own = EnvironmentConfig::default();
        let floors_percent = EnvironmentConfig::FLOORS_PERCENT;
        Self {
            bytes: Size(own.memory_bytes),
            floors_percent,
            buffer_bytes: Size(own.buffer_bytes),
            huge_pages: own.huge_pages,
        }
    }
}

/// How the memory crate's choice is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "HugePages", rename_all = "lowercase")]
enum HugePagesText {
    Try,
    Never,
}

/// `[shuffle]`: how writers write and gates read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShuffleConfig {
    /// When written records become visible although their buffer is not full.
    pub flush_interval: FlushInterval,
    /// How much a writer collects before it hands over.
    pub hand_over_bytes: Size,
    /// The most that one writer takes of the memory.
    pub writer_bytes_max: Size,
    /// The most that is set aside for one channel of a gate.
    pub window_bytes_max: Size,
    /// The longest record.
    pub record_bytes_max: Size,
    /// How long a consumer waits for a partition to appear.
    pub partition_deadline: Period,
}

impl Default for ShuffleConfig {
    fn default() -> Self {
        let own = EnvironmentConfig::default();
        Self {
            flush_interval: own.flush,
            hand_over_bytes: Size(own.hand_over_bytes),
            writer_bytes_max: Size(own.writer_bytes_max),
            window_bytes_max: Size(own.window_bytes_max),
            record_bytes_max: Size(own.record_bytes_max),
            partition_deadline: Period(own.partition_deadline),
        }
    }
}

/// `[session]`: the links to peers. What two workers offer differently, they settle on in the handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionConfig {
    /// Parallel links to each peer.
    pub lanes: u16,
    /// Silence after which a side says that it is alive.
    pub heartbeat: Period,
    /// Silence after which a peer counts as gone.
    pub silence_max: Period,
    /// How long a session whose link is lost tries to get another one.
    pub resume_timeout: Period,
    /// Heads that may be under way unacknowledged.
    pub control_window: u32,
    /// The longest head.
    pub head_bytes_max: Size,
    /// The most payload of one message.
    pub body_bytes_max: Size,
}

impl Default for SessionConfig {
    fn default() -> Self {
        let (own, limits) = (EnvironmentConfig::default(), Limits::default());
        Self {
            lanes: own.lanes,
            heartbeat: Period(limits.heartbeat),
            silence_max: Period(limits.silence_max),
            resume_timeout: Period(own.resume_timeout),
            control_window: limits.control_window,
            head_bytes_max: Size(limits.head_bytes_max as usize),
            body_bytes_max: Size(limits.body_bytes_max as usize),
        }
    }
}
