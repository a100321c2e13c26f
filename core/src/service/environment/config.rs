//! What a worker's environment can be told, and what it is built on.

use std::sync::Arc;
use std::time::Duration;

use sluice_memory::HugePages;
use sluice_plugin::{DiskFactory, TransportFactory};
use sluice_protocol::{Incarnation, Limits, NodeId};

use crate::clock::Clock;
use crate::disk_settings::DiskSettings;
use crate::partition::FlushInterval;

/// Everything that a worker's environment can be told. `Default` has a reason for each figure.
#[derive(Clone, Debug)]
pub struct EnvironmentConfig {
    /// The cluster; workers of another one are refused.
    pub cluster: String,
    /// This worker.
    pub node: NodeId,
    /// This life of it; another one has forgotten everything, and a later one has a greater number. The default is the
    /// time of day in nanoseconds.
    pub incarnation: Incarnation,
    /// Shuffle memory, in bytes.
    pub memory_bytes: usize,
    /// Of that, what is for floors only, those that there are and those to come: never lent, so a writer or gate that is
    /// created while others are at work finds its floor at once. How much that is says
    /// [`ShuffleEnvironment::memory_need`](super::ShuffleEnvironment::memory_need). With less, who comes late may wait
    /// for what was lent, for ever if its holder waits for it. `None`: 12 of 100.
    pub floors_bytes: Option<usize>,
    /// Whether to ask for huge pages.
    pub huge_pages: HugePages,
    /// The size of a buffer while there is enough memory, in bytes: a power of two from 4 KiB to 512 KiB.
    pub buffer_bytes: usize,
    /// The most that one writer takes, in bytes.
    pub writer_bytes_max: usize,
    /// The most that is set aside for one channel of a gate, in bytes.
    pub window_bytes_max: usize,
    /// How much a writer collects before it hands over, in bytes.
    pub hand_over_bytes: usize,
    /// When written records become visible although their buffer is not full.
    pub flush: FlushInterval,
    /// The longest record, in bytes.
    pub record_bytes_max: usize,
    /// How long a consumer waits for a partition to appear.
    pub partition_deadline: Duration,
    /// Parallel links to each peer.
    pub lanes: u16,
    /// How long a session whose link is lost tries to get another one before its channels fail.
    pub resume_timeout: Duration,
    /// The bounds that this worker offers on its links.
    pub limits: Limits,
    /// How blocking partitions are written, read and recovered.
    pub disk: DiskSettings,
    /// Where time comes from.
    pub clock: Clock,
}

impl EnvironmentConfig {
    /// Of the memory, by default, what is for floors only: two hundred ends of tasks with the default's.
    pub(crate) const FLOORS_PERCENT: u8 = 12;
}

impl Default for EnvironmentConfig {
    fn default() -> Self {
        Self {
            cluster: "sluice".into(),
            node: NodeId(0),
            incarnation: Clock::life(),
            memory_bytes: 64 << 20,
            floors_bytes: None,
            // Registering and copying are cheaper with them, and nothing is lost where there are none.
            huge_pages: HugePages::Try,
            // As small as a disk still likes, as large as thousands of channels can afford.
            buffer_bytes: 32 << 10,
            // What a writer has on its way, acknowledgements included, should stay near the caches; more only moves the
            // wait (docs/decisions/0001).
            writer_bytes_max: 2 << 20,
            window_bytes_max: 512 << 10,
            // Below it the hand-over is the largest cost that the engine adds (docs/decisions/0001).
            hand_over_bytes: 256 << 10,
            // A tenth of what people call at once.
            flush: FlushInterval::After(Duration::from_millis(10)),
            record_bytes_max: 64 << 20,
            partition_deadline: Duration::from_secs(30),
            lanes: 1,
            // A switch that restarts or a network that heals; longer than that, the work is better done elsewhere.
            resume_timeout: Duration::from_secs(30),
            limits: Limits::default(),
            disk: DiskSettings::default(),
            clock: Clock::real(),
        }
    }
}

/// Who drives the reactor.
pub enum ReactorDrive {
    /// A thread of its own, which ends with the environment.
    OwnThread,
    /// The caller, on the thread that runs its tasks: with [`Reactor::turn`](crate::Reactor::turn) and
    /// [`Reactor::park`](crate::Reactor::park).
    Caller,
}

/// What a worker does its IO with.
#[derive(Clone)]
pub struct Devices {
    /// To and from other workers.
    pub transport: Arc<dyn TransportFactory>,
    /// To and from its disks; without it there are only pipelined partitions.
    pub disk: Option<Arc<dyn DiskFactory>>,
}

impl From<Arc<dyn TransportFactory>> for Devices {
    fn from(transport: Arc<dyn TransportFactory>) -> Self {
        Self { transport, disk: None }
    }
}

impl<T: TransportFactory + 'static> From<Arc<T>> for Devices {
    fn from(transport: Arc<T>) -> Self {
        Self { transport, disk: None }
    }
}
