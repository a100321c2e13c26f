//! What can go wrong for a task that writes or reads, and for who starts an environment.

use std::path::PathBuf;

use sluice_memory::{AdmissionError, MapError};
use sluice_plugin::{BuildError, DiskBuildError};
use sluice_protocol::{JobId, LimitsError, NodeId, PartitionId, ReasonCode};

/// Why a record could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A target that the partition does not have.
    #[error("{partition}: target {target} of {subpartitions} subpartitions")]
    NoSuchSubpartition {
        /// The partition.
        partition: PartitionId,
        /// The target that was named.
        target: u32,
        /// How many there are.
        subpartitions: u32,
    },
    /// A record over the configured limit.
    #[error("{partition}: a record of {bytes} bytes, the limit is {limit} (shuffle.record_bytes_max)")]
    RecordTooLong {
        /// The partition.
        partition: PartitionId,
        /// The record.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// An event over what the wire carries.
    #[error("{partition}: an event of {bytes} bytes, the limit is {limit}")]
    EventTooLong {
        /// The partition.
        partition: PartitionId,
        /// The event.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The partition was finished before.
    #[error("{partition}: finished, so nothing more can be written")]
    Finished {
        /// The partition.
        partition: PartitionId,
    },
    /// All consumers are gone: nobody will read what is written.
    #[error("{partition}: all consumers have cancelled or are lost; the last: {last}")]
    Abandoned {
        /// The partition.
        partition: PartitionId,
        /// Who went last, and why.
        last: String,
    },
    /// What it is written to has failed.
    #[error("{partition}: {cause}")]
    Disk {
        /// The partition.
        partition: PartitionId,
        /// What did not work, where, and why.
        cause: String,
    },
    /// The partition was released while it was written.
    #[error("{partition}: released while it was being written")]
    Released {
        /// The partition.
        partition: PartitionId,
    },
}

/// Why a gate has no more to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A channel failed. The others of the gate live, but the gate's data would not be complete.
    #[error("channel {channel} ({partition} on node {node}): {code}: {text}")]
    Channel {
        /// Its index in the gate.
        channel: u32,
        /// What it reads.
        partition: PartitionId,
        /// Where that is.
        node: NodeId,
        /// Why, as a number.
        code: ReasonCode,
        /// Why, for people.
        text: String,
    },
    /// A block arrived with other bytes than were sealed.
    #[error(
        "channel {channel} ({partition} on node {node}): block {block} is corrupt: checksum {found:08x}, sealed as {sealed:08x}"
    )]
    Corrupt {
        /// Its index in the gate.
        channel: u32,
        /// What it reads.
        partition: PartitionId,
        /// Where that is.
        node: NodeId,
        /// Which block of the channel, from 0.
        block: u64,
        /// CRC32C of what arrived.
        found: u32,
        /// CRC32C of what was sealed.
        sealed: u32,
    },
    /// The environment has stopped.
    #[error("the shuffle environment has stopped")]
    Stopped,
}

impl ReadError {
    /// The partition of which something is lost or damaged where its worker keeps it. Nobody will read all of it any more:
    /// its producer has to run again, which [`ShuffleMaster::partition_lost`](crate::ShuffleMaster::partition_lost) notes.
    pub fn lost_partition(&self) -> Option<PartitionId> {
        match self {
            Self::Channel { partition, code: ReasonCode::PartitionLost | ReasonCode::CorruptBlock, .. } => {
                Some(*partition)
            }
            _ => None,
        }
    }
}

/// Why a partition or gate could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Not enough memory for its floor.
    #[error("{0}; raise memory.bytes")]
    Memory(#[from] AdmissionError),
    /// A partition of that name is here already.
    #[error("{0} exists already on this worker")]
    PartitionExists(PartitionId),
    /// A partition without subpartitions, or a gate without channels.
    #[error("{what} needs at least one {of}")]
    Empty {
        /// What was to be created.
        what: &'static str,
        /// What it lacks.
        of: &'static str,
    },
    /// It would go to the disk, and the worker has none.
    #[error("a {kind} partition goes to the disk, and this worker has none: set disk.directories")]
    NoDisk {
        /// What was to be created.
        kind: &'static str,
    },
    /// A file for each subpartition is more than a process may open.
    #[error(
        "a hash partition of {files} subpartitions writes as many files at a time, and {most} are possible (a quarter of \
         the {limit} that this process may open: ulimit -n): use a sort-merge partition, which writes one"
    )]
    TooManyFiles {
        /// How many it would write.
        files: u32,
        /// How many are possible.
        most: u64,
        /// What the process may open in all.
        limit: u64,
    },
    /// A directory that the worker does not use.
    #[error("{}: none of the directories that this worker writes to (disk.directories)", directory.display())]
    NoSuchDirectory {
        /// Which was named.
        directory: PathBuf,
    },
    /// A channel that the gate does not have.
    #[error("channel {channel} of {channels}")]
    NoSuchChannel {
        /// The one that was named.
        channel: u32,
        /// How many there are.
        channels: u32,
    },
    /// The channel's partition is known already.
    #[error("channel {channel} has its location already")]
    AlreadyKnown {
        /// The channel.
        channel: u32,
    },
    /// The environment has stopped.
    #[error("the shuffle environment has stopped")]
    Stopped,
}

/// Why an environment did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Sizes that no worker can have.
    #[error("buffers of {bytes} bytes: a buffer is a power of two from 4 KiB to 512 KiB (memory.buffer_bytes)")]
    BufferBytes {
        /// What was asked for.
        bytes: usize,
    },
    /// Bounds with which no link can run.
    #[error("the links' bounds: {0} ([session])")]
    Limits(#[from] LimitsError),
    /// The memory could not be mapped.
    #[error(transparent)]
    Memory(#[from] MapError),
    /// The transport could not be built.
    #[error(transparent)]
    Transport(#[from] BuildError),
    /// The disk could not be built.
    #[error(transparent)]
    Disk(#[from] DiskBuildError),
    /// With buffers that are handed over, a consumer that does not come for its blocks would keep the memory that all
    /// readers of the disk share, and the others would wait for it for ever.
    #[error(
        "a transport that hands over its buffers beside a disk: a consumer that stands still would keep the memory of all \
         others to read with; use one that copies, within a process `InProcess::copying()`"
    )]
    HandOverWithDisk,
    /// What reading from the disk needs in any case does not fit.
    #[error("{0}; raise memory.bytes")]
    Floor(#[from] AdmissionError),
    /// The system refused something that a reactor needs.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why the master refuses a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The transport is the cluster's choice, not the job's.
    #[error(
        "job {job} asks for transport `{asked}`; this cluster runs `{runs}` (cluster.transport in sluice.toml, the same for all jobs)"
    )]
    Transport {
        /// The job.
        job: JobId,
        /// What it asks for.
        asked: String,
        /// What there is.
        runs: String,
    },
    /// The job is known already.
    #[error("job {0} is registered already")]
    Registered(JobId),
    /// The job is not known.
    #[error("job {0} is not registered")]
    Unknown(JobId),
    /// A finished partition is not produced again under the same name.
    #[error("{0} is finished: read it, or produce it as another attempt")]
    Finished(PartitionId),
}
