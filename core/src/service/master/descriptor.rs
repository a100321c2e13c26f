//! What engine and master tell each other of jobs, partitions and workers. Plain data: send it as you like.

use sluice_plugin::Address;
use sluice_protocol::{Incarnation, JobId, NodeId, PartitionId};

use crate::gate::ChannelLocation;

/// A job that wants to shuffle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Its id.
    pub job: JobId,
    /// The transport that it insists on, if it does.
    pub transport: Option<String>,
}

/// What a producer is going to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Its identity.
    pub partition: PartitionId,
    /// How many consumers share it.
    pub subpartitions: u32,
}

/// Where a producer runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerLocation {
    /// The worker.
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Where its transport can be reached.
    pub address: Address,
}

/// Everything that a consumer needs to read a partition. Plain data: send it as you like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShuffleDescriptor {
    /// The partition.
    pub partition: PartitionId,
    /// How many subpartitions it has.
    pub subpartitions: u32,
    /// Where it is.
    pub producer: ProducerLocation,
}

impl ShuffleDescriptor {
    /// What a gate's channel needs to read one subpartition.
    pub fn channel(&self, subpartition: u32) -> ChannelLocation {
        ChannelLocation {
            partition: self.partition,
            subpartition,
            node: self.producer.node,
            address: self.producer.address.clone(),
        }
    }
}

/// How many task ends a task has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskShape {
    /// Partitions that it writes.
    pub writers: u32,
    /// Gates that it reads.
    pub gates: u32,
}
