//! What can happen to a master's state, as data and as bytes.

use sluice_protocol::{Incarnation, JobId, NodeId, PartitionId};

use super::bytes::{Fields, Malformed, PutFields};
use super::descriptor::{ProducerLocation, ShuffleDescriptor};
use crate::partition::{PartitionKind, PartitionStatistics};

/// One change. The same events in the same order make the same state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MasterEvent {
    JobRegistered(JobId),
    JobUnregistered(JobId),
    /// Announced, or moved before its producer started.
    PartitionRegistered {
        kind: PartitionKind,
        descriptor: ShuffleDescriptor,
    },
    PartitionFinished {
        partition: PartitionId,
        statistics: PartitionStatistics,
    },
    PartitionReleased(PartitionId),
    /// A finished one is found to be here.
    PartitionRelearned {
        partition: PartitionId,
        producer: ProducerLocation,
    },
    /// One life of a worker has ended.
    WorkerLost {
        node: NodeId,
        incarnation: Incarnation,
    },
    /// Nobody waits any longer for what is away with this worker.
    WorkerGivenUp(NodeId),
    /// A finished one cannot be read any more.
    PartitionLost(PartitionId),
}

impl MasterEvent {
    /// Appends it: a byte that says which it is, and its fields.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::JobRegistered(job) => {
                out.put_u8(1);
                out.put_u64(job.0);
            }
            Self::JobUnregistered(job) => {
                out.put_u8(2);
                out.put_u64(job.0);
            }
            Self::PartitionRegistered { kind, descriptor } => {
                out.put_u8(3);
                out.put_partition(descriptor.partition);
                out.put_kind(*kind);
                out.put_u32(descriptor.subpartitions);
                out.put_location(&descriptor.producer);
            }
            Self::PartitionFinished { partition, statistics } => {
                out.put_u8(4);
                out.put_partition(*partition);
                out.put_statistics(statistics);
            }
            Self::PartitionReleased(partition) => {
                out.put_u8(5);
                out.put_partition(*partition);
            }
            Self::PartitionRelearned { partition, producer } => {
                out.put_u8(6);
                out.put_partition(*partition);
                out.put_location(producer);
            }
            Self::WorkerLost { node, incarnation } => {
                out.put_u8(7);
                out.put_u64(node.0);
                out.put_u64(incarnation.0);
            }
            Self::WorkerGivenUp(node) => {
                out.put_u8(8);
                out.put_u64(node.0);
            }
            Self::PartitionLost(partition) => {
                out.put_u8(9);
                out.put_partition(*partition);
            }
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(match fields.u8()? {
            1 => Self::JobRegistered(JobId(fields.u64()?)),
            2 => Self::JobUnregistered(JobId(fields.u64()?)),
            3 => {
                let (partition, kind) = (fields.partition()?, fields.kind()?);
                let (subpartitions, producer) = (fields.u32()?, fields.location()?);
                Self::PartitionRegistered { kind, descriptor: ShuffleDescriptor { partition, subpartitions, producer } }
            }
            4 => Self::PartitionFinished { partition: fields.partition()?, statistics: fields.statistics()? },
            5 => Self::PartitionReleased(fields.partition()?),
            6 => Self::PartitionRelearned { partition: fields.partition()?, producer: fields.location()? },
            7 => Self::WorkerLost { node: NodeId(fields.u64()?), incarnation: Incarnation(fields.u64()?) },
            8 => Self::WorkerGivenUp(NodeId(fields.u64()?)),
            9 => Self::PartitionLost(fields.partition()?),
            _ => return Err(fields.wrong("no kind of event")),
        })
    }
}
