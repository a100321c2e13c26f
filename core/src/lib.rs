//! The shuffle engine: partitions, gates, the reactor, and the services an engine embeds.
//!
//! A worker starts a [`ShuffleEnvironment`] with the transport that the cluster runs. Producing tasks write records
//! through a [`PartitionWriter`]; consuming tasks read them through an [`InputGate`]. Tasks never do IO: they meet the
//! [`Reactor`], which does, only in queues.

#![forbid(unsafe_code)]

mod block;
mod clock;
mod config;
mod disk_settings;
#[doc(hidden)]
pub mod elevator;
mod error;
mod gate;
mod job_token;
mod mailbox;
mod memory_need;
mod partition;
mod reactor;
mod record;
mod service;
pub mod spill;
mod stats;
mod sync;
mod task;

pub use block::Event;
pub use clock::Clock;
pub use config::{
    ClusterConfig, Config, ConfigError, DiskConfig, Key, MemoryConfig, Origin, Override, Period, SessionConfig,
    ShuffleConfig, Size, Sources, TrustConfig, TrustMode, process_environment,
};
pub use disk_settings::{Compression, DiskSettings, Durability, Merge};
pub use error::{CreateError, JobError, ReadError, StartError, WriteError};
pub use gate::{ChannelLocation, Delivery, InputGate};
pub use job_token::{JobToken, TokenTooShort};
pub use memory_need::MemoryNeed;
pub use partition::{
    FlushInterval, HeldPartition, PartitionKind, PartitionStatistics, PartitionWriter, PendingRecord, UnknownKind,
    WriterStatistics,
};
pub use reactor::{Reactor, UnreadPartition};
pub use record::{RecordBatch, RecordReader, RecordTooLong};
pub use service::{
    DescriptorError, Devices, EnvironmentConfig, FinishError, JobSpec, PartitionSpec, ProducerLocation, ReactorDrive,
    Relearned, RestoreError, Restored, ShuffleDescriptor, ShuffleEnvironment, ShuffleMaster, Stored, TaskShape, Worker,
};
pub use sluice_memory::{Buffer, HugePages};
pub use sluice_plugin::{Address, DirectIo, DiskEngine};
pub use sluice_protocol::{Incarnation, JobId, Limits, NodeId, PartitionId, ReasonCode, SubpartitionIndex, Time};
pub use stats::{DiskStatistics, Traffic};
