//! The bookkeeping of a cluster's shuffles. No IO: plain data in, plain data out.
//!
//! Every change is an event. A master that keeps a log gives them out as bytes ([`ShuffleMaster::take_events`]), and
//! now and then all it knows ([`ShuffleMaster::snapshot`]); whoever stores both gets the same master back
//! ([`ShuffleMaster::restore`]).

mod bytes;
mod descriptor;
mod error;
mod event;
mod frame;
mod journal;
mod relearn;
mod restore;
mod snapshot;
mod state;

use std::collections::BTreeMap;

use sluice_protocol::{Incarnation, JobId, NodeId, PartitionId};

pub use descriptor::{JobSpec, PartitionSpec, ProducerLocation, ShuffleDescriptor, TaskShape};
pub use error::{DescriptorError, FinishError, RestoreError, Stored};
pub use relearn::Relearned;
pub use restore::Restored;

use crate::error::JobError;
use crate::memory_need::MemoryNeed;
use crate::partition::{PartitionKind, PartitionStatistics};
use event::MasterEvent;
use journal::Journal;
use state::{Entry, Progress, State};

/// Knows the jobs and partitions of a cluster. Two are equal if they know the same, whatever was taken of their logs.
#[derive(Clone, Debug)]
pub struct ShuffleMaster {
    transport: String,
    state: State,
    journal: Option<Journal>,
}

impl PartialEq for ShuffleMaster {
    fn eq(&self, other: &Self) -> bool {
        self.transport == other.transport && self.state == other.state
    }
}

impl Eq for ShuffleMaster {}

impl ShuffleMaster {
    /// A master of a cluster that runs `transport`. It keeps no log: what it knows ends with it.
    /// [`restore`](Self::restore) makes one that does.
    pub fn new(transport: impl Into<String>) -> Self {
        Self { transport: transport.into(), state: State::default(), journal: None }
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
        if self.state.jobs.contains_key(&spec.job) {
            return Err(JobError::Registered(spec.job));
        }
        self.record(MasterEvent::JobRegistered(spec.job));
        Ok(())
    }

    /// Forgets a job; returns the partitions that its workers should release. A worker that is away is told when it
    /// comes back, by [`relearn`](Self::relearn).
    pub fn unregister_job(&mut self, job: JobId) -> Vec<ShuffleDescriptor> {
        let Some(partitions) = self.state.jobs.get(&job) else { return Vec::new() };
        let descriptors = partitions.values().map(|entry| entry.descriptor.clone()).collect();
        self.record(MasterEvent::JobUnregistered(job));
        descriptors
    }

    /// Notes a pipelined partition and where it is produced. The same partition again replaces its location: the
    /// producer moved before it started.
    ///
    /// # Errors
    /// If the partition's job is not registered, or the partition is finished.
    pub fn register_partition(
        &mut self,
        spec: PartitionSpec,
        producer: ProducerLocation,
    ) -> Result<ShuffleDescriptor, JobError> {
        self.register_partition_as(PartitionKind::Pipelined, spec, producer)
    }

    /// Notes a partition of any kind, as [`register_partition`](Self::register_partition) does a pipelined one.
    ///
    /// # Errors
    /// If the partition's job is not registered, or the partition is finished: nothing has to be produced.
    pub fn register_partition_as(
        &mut self,
        kind: PartitionKind,
        spec: PartitionSpec,
        producer: ProducerLocation,
    ) -> Result<ShuffleDescriptor, JobError> {
        let partition = spec.partition;
        let partitions = self.state.jobs.get(&partition.job).ok_or(JobError::Unknown(partition.job))?;
        let descriptor = ShuffleDescriptor { partition, subpartitions: spec.subpartitions, producer };
        let known = partitions.get(&partition);
        if known.is_some_and(|known| known.statistics().is_some()) {
            return Err(JobError::Finished(partition));
        }
        let is_known = |known: &Entry| {
            (known.kind, &known.descriptor, &known.progress) == (kind, &descriptor, &Progress::Producing)
        };
        if !known.is_some_and(is_known) {
            self.record(MasterEvent::PartitionRegistered { kind, descriptor: descriptor.clone() });
        }
        Ok(descriptor)
    }

    /// Notes that a partition is written to its end, and how much each consumer will read. The same again is no error:
    /// a worker repeats what it does not know to have arrived.
    ///
    /// # Errors
    /// If the partition is not known, or the figures cannot be its own.
    pub fn partition_finished(
        &mut self,
        partition: PartitionId,
        statistics: PartitionStatistics,
    ) -> Result<(), FinishError> {
        let entry = self.state.entry(partition).ok_or(FinishError::Unknown(partition))?;
        let subpartitions = entry.descriptor.subpartitions;
        if !statistics.is_of(subpartitions) {
            let (bytes, records) = (statistics.bytes.len(), statistics.records.len());
            return Err(FinishError::Subpartitions { partition, subpartitions, bytes, records });
        }
        if entry.progress == Progress::Lost {
            return Err(FinishError::Lost(partition));
        }
        match entry.statistics() {
            None => self.record(MasterEvent::PartitionFinished { partition, statistics }),
            Some(known) if *known != statistics => return Err(FinishError::Differs(partition)),
            Some(_) => {}
        }
        Ok(())
    }

    /// Whether a partition is written to its end and not lost. It may be away; see [`descriptor`](Self::descriptor).
    pub fn is_finished(&self, partition: PartitionId) -> bool {
        self.statistics(partition).is_some()
    }

    /// How much each consumer of a finished partition will read.
    pub fn statistics(&self, partition: PartitionId) -> Option<&PartitionStatistics> {
        self.state.entry(partition)?.statistics()
    }

    /// The partitions of a job that are registered and not finished, or lost since. After a restart of the master these are to be
    /// looked after, and no others.
    pub fn to_produce(&self, job: JobId) -> Vec<PartitionId> {
        let entries = self.state.jobs.get(&job).into_iter().flat_map(BTreeMap::values);
        entries.filter(|entry| entry.statistics().is_none()).map(id).collect()
    }

    /// Where a partition is and what it has.
    ///
    /// # Errors
    /// If it is not known, or nobody can read it at present.
    pub fn descriptor(&self, partition: PartitionId) -> Result<&ShuffleDescriptor, DescriptorError> {
        let entry = self.state.entry(partition).ok_or(DescriptorError::Unknown(partition))?;
        match entry.progress {
            Progress::Away(_) => Err(DescriptorError::Away { partition, node: entry.descriptor.producer.node }),
            Progress::Lost => Err(DescriptorError::Lost(partition)),
            Progress::Producing | Progress::Held(_) => Ok(&entry.descriptor),
        }
    }

    /// A consumer has found that data of a finished partition is lost or damaged
    /// ([`ReadError::lost_partition`](crate::ReadError::lost_partition)), where this descriptor says. It has to be produced
    /// again: as another attempt, or, once its worker has released what there is of it, registered anew. False if that is known, or
    /// the partition is somewhere else by now.
    pub fn partition_lost(&mut self, read: &ShuffleDescriptor) -> bool {
        let known = self.state.entry(read.partition);
        let is_there = known.is_some_and(|entry| {
            entry.kind.is_retained() && entry.statistics().is_some() && entry.descriptor.producer == read.producer
        });
        if is_there {
            self.record(MasterEvent::PartitionLost(read.partition));
        }
        is_there
    }

    /// Forgets a partition. True if it was known.
    pub fn release_partition(&mut self, partition: PartitionId) -> bool {
        let known = self.state.entry(partition).is_some();
        if known {
            self.record(MasterEvent::PartitionReleased(partition));
        }
        known
    }

    /// This life of a worker is gone. What it had not finished, and what was pipelined, is lost: it is forgotten, and
    /// returned. Its jobs have to produce it again, as another attempt. Finished blocking partitions are away until the
    /// worker is back ([`relearn`](Self::relearn)) or given up ([`give_up_worker`](Self::give_up_worker)).
    pub fn worker_lost(&mut self, node: NodeId, incarnation: Incarnation) -> Vec<PartitionId> {
        let lost = self.state.entries().filter(|entry| entry.is_lost_with(node, incarnation)).map(id).collect();
        if self.state.entries().any(|entry| entry.is_touched_by(node, incarnation)) {
            self.record(MasterEvent::WorkerLost { node, incarnation });
        }
        lost
    }

    /// Nobody waits any longer for what is away with this worker, in any of its lives: it is forgotten, and returned.
    /// Its jobs have to produce it again, as another attempt.
    pub fn give_up_worker(&mut self, node: NodeId) -> Vec<PartitionId> {
        let lost: Vec<_> = self.state.entries().filter(|entry| entry.is_away_with(node)).map(id).collect();
        if !lost.is_empty() {
            self.record(MasterEvent::WorkerGivenUp(node));
        }
        lost
    }

    /// What a task needs at least, in bytes of its worker's arena.
    pub fn memory_for_task(&self, task: &TaskShape, buffer_bytes: usize) -> usize {
        MemoryNeed { writers: task.writers, gates: task.gates, buffer_bytes, disk: false }.total()
    }

    /// What has happened since the last call, as one record to be appended to the log; empty if nothing has. Store it
    /// before you act on what it says, keep it until it is stored, and store one at a time: only the last record of a
    /// log may be damaged by a crash.
    ///
    /// # Panics
    /// If this master keeps no log: its events are gone.
    pub fn take_events(&mut self) -> Vec<u8> {
        let journal = self.journal.as_mut().expect("a master that was made by `restore` keeps a log");
        journal.take()
    }

    /// All that the master knows. Once it is stored, the log up to here is not needed; what
    /// [`take_events`](Self::take_events) gives next goes behind it.
    pub fn snapshot(&mut self) -> Vec<u8> {
        if let Some(journal) = &mut self.journal {
            journal.snapshot_made();
        }
        snapshot::encode(&self.state)
    }

    /// How much has been logged since the last snapshot, in bytes: what the next restore has to read. The caller
    /// decides when it is time for another snapshot.
    pub fn log_bytes_since_snapshot(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::bytes_since_snapshot)
    }

    fn record(&mut self, event: MasterEvent) {
        if let Some(journal) = &mut self.journal {
            journal.note(self.state.events + 1, &event);
        }
        self.state.apply(event).expect("an event is made from the state that it changes");
    }
}

fn id(entry: &Entry) -> PartitionId {
    entry.descriptor.partition
}

#[cfg(test)]
mod tests {
    use sluice_plugin::Address;

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
        assert!(master.descriptor(partition(1, 1).partition).is_ok());
        assert_eq!(master.worker_lost(NodeId(2), Incarnation(2)), vec![], "another life of the node");
    }

    #[test]
    fn a_partition_of_an_unknown_job_is_refused() {
        let mut master = ShuffleMaster::new("tcp");
        assert_eq!(master.register_partition(partition(7, 0), at(1)), Err(JobError::Unknown(JobId(7))));
    }
}
