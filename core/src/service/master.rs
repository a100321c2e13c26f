//! The bookkeeping of a cluster's shuffles. No IO: plain data in, plain data out.

use std::collections::BTreeMap;

use sluice_plugin::Address;
use sluice_protocol::{Incarnation, JobId, NodeId, PartitionId};

use crate::error::JobError;
use crate::gate::ChannelLocation;
use crate::memory_need::MemoryNeed;

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

/// Knows the jobs and partitions of a cluster.
#[derive(Debug)]
pub struct ShuffleMaster {
    transport: String,
    jobs: BTreeMap<JobId, BTreeMap<PartitionId, ShuffleDescriptor>>,
}

impl ShuffleMaster {
    /// A master of a cluster that runs `transport`.
    pub fn new(transport: impl Into<String>) -> Self {
        Self { transport: transport.into(), jobs: BTreeMap::new() }
    }

    /// Admits a job.
    ///
    /// # Errors
    /// If it insists on a transport that the cluster does not run, or is registered already.
    pub fn register_job(&mut self, spec: &JobSpec) -> Result<(), JobError> {
        if let Some(asked) = spec.transport.as_ref().filter(|asked| **asked != self.transport) {
            let (asked, runs) = (asked.clone(), self.transport.clone());
            return Err(JobError::Transport { job: spec.job, asked, runs });
        }
        if self.jobs.contains_key(&spec.job) {
            return Err(JobError::Registered(spec.job));
        }
        self.jobs.insert(spec.job, BTreeMap::new());
        Ok(())
    }

    /// Forgets a job; returns the partitions that its workers should release.
    pub fn unregister_job(&mut self, job: JobId) -> Vec<ShuffleDescriptor> {
        self.jobs.remove(&job).map(|partitions| partitions.into_values().collect()).unwrap_or_default()
    }

    /// Notes a partition and where it is produced. The same partition again replaces its location: the producer moved
    /// before it started.
    ///
    /// # Errors
    /// If the partition's job is not registered.
    pub fn register_partition(
        &mut self,
        spec: PartitionSpec,
        producer: ProducerLocation,
    ) -> Result<ShuffleDescriptor, JobError> {
        let job = spec.partition.job;
        let partitions = self.jobs.get_mut(&job).ok_or(JobError::Unknown(job))?;
        let descriptor = ShuffleDescriptor { partition: spec.partition, subpartitions: spec.subpartitions, producer };
        partitions.insert(spec.partition, descriptor.clone());
        Ok(descriptor)
    }

    /// What is known of a partition.
    pub fn descriptor(&self, partition: PartitionId) -> Option<&ShuffleDescriptor> {
        self.jobs.get(&partition.job)?.get(&partition)
    }

    /// Forgets a partition. True if it was known.
    pub fn release_partition(&mut self, partition: PartitionId) -> bool {
        self.jobs.get_mut(&partition.job).is_some_and(|partitions| partitions.remove(&partition).is_some())
    }

    /// A worker is gone: forgets what it held and says what that was. Its jobs have to produce it again, as another
    /// attempt.
    pub fn worker_lost(&mut self, node: NodeId, incarnation: Incarnation) -> Vec<PartitionId> {
        let mut lost = Vec::new();
        for partitions in self.jobs.values_mut() {
            partitions.retain(|partition, descriptor| {
                let theirs = descriptor.producer.node == node && descriptor.producer.incarnation == incarnation;
                if theirs {
                    lost.push(*partition);
                }
                !theirs
            });
        }
        lost
    }

    /// What a task needs at least, in bytes of its worker's arena.
    pub fn memory_for_task(&self, task: &TaskShape, buffer_bytes: usize) -> usize {
        MemoryNeed { writers: task.writers, gates: task.gates, buffer_bytes }.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(job: u64, number: u64) -> PartitionSpec {
        let partition = PartitionId { job: JobId(job), partition: number, attempt: 0 };
        PartitionSpec { partition, subpartitions: 4 }
    }

    fn at(node: u64) -> ProducerLocation {
        let address = Address(format!("127.0.0.1:{node}"));
        ProducerLocation { node: NodeId(node), incarnation: Incarnation(1), address }
    }

    #[test]
    fn a_job_that_asks_for_another_transport_is_told_which_one_runs() {
        let mut master = ShuffleMaster::new("tcp");
        let spec = JobSpec { job: JobId(1), transport: Some("rdma".into()) };
        let error = master.register_job(&spec).expect_err("the cluster runs tcp");
        assert_eq!(error, JobError::Transport { job: JobId(1), asked: "rdma".into(), runs: "tcp".into() });
        assert!(error.to_string().contains("cluster.transport"), "{error}");
        master.register_job(&JobSpec { job: JobId(1), transport: Some("tcp".into()) }).expect("it runs");
    }

    #[test]
    fn a_lost_worker_takes_its_partitions_and_no_others() {
        let mut master = ShuffleMaster::new("tcp");
        master.register_job(&JobSpec { job: JobId(1), transport: None }).expect("new");
        for (number, node) in [(0, 1), (1, 2), (2, 1)] {
            master.register_partition(partition(1, number), at(node)).expect("its job is there");
        }
        let lost = master.worker_lost(NodeId(1), Incarnation(1));
        assert_eq!(lost, vec![partition(1, 0).partition, partition(1, 2).partition]);
        assert!(master.descriptor(partition(1, 1).partition).is_some());
        assert_eq!(master.worker_lost(NodeId(2), Incarnation(2)), vec![], "another life of the node");
    }

    #[test]
    fn a_partition_of_an_unknown_job_is_refused() {
        let mut master = ShuffleMaster::new("tcp");
        assert_eq!(master.register_partition(partition(7, 0), at(1)), Err(JobError::Unknown(JobId(7))));
    }
}
