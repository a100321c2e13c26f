//! What a master knows, and how each event changes it.

use std::collections::BTreeMap;

use sluice_protocol::{Incarnation, JobId, NodeId, PartitionId};

use super::descriptor::{ProducerLocation, ShuffleDescriptor};
use super::event::MasterEvent;
use crate::partition::{PartitionKind, PartitionStatistics};

/// Everything that survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// How many events made it; the last one's number.
    pub(super) events: u64,
    pub(super) jobs: BTreeMap<JobId, BTreeMap<PartitionId, Entry>>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: PartitionKind,
    pub(super) descriptor: ShuffleDescriptor,
    pub(super) progress: Progress,
}

/// How far a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Announced, or being written.
    Producing,
    /// Its worker has it all.
    Held(PartitionStatistics),
    /// It is finished, and the process that wrote it is gone: another life of its worker may bring it back.
    Away(PartitionStatistics),
    /// It was finished, and its data is lost: it has to be produced again.
    Lost,
}

/// An event that cannot have happened to this state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misfit;

impl Entry {
    pub(super) fn statistics(&self) -> Option<&PartitionStatistics> {
        match &self.progress {
            Progress::Producing | Progress::Lost => None,
            Progress::Held(statistics) | Progress::Away(statistics) => Some(statistics),
        }
    }

    fn is_on(&self, node: NodeId, incarnation: Incarnation) -> bool {
        (self.descriptor.producer.node, self.descriptor.producer.incarnation) == (node, incarnation)
    }

    /// Whether its files outlive its process.
    fn outlives(&self) -> bool {
        self.kind.is_retained() && self.statistics().is_some()
    }

    /// Whether this life of a worker takes it along for good.
    pub(super) fn is_lost_with(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.is_on(node, incarnation) && !self.outlives()
    }

    /// Whether the end of this life of a worker changes anything for it.
    pub(super) fn is_touched_by(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.is_on(node, incarnation) && !matches!(self.progress, Progress::Away(_))
    }

    pub(super) fn is_away_with(&self, node: NodeId) -> bool {
        matches!(self.progress, Progress::Away(_)) && self.descriptor.producer.node == node
    }

    fn leave(&mut self) {
        if let Progress::Held(statistics) = &mut self.progress {
            self.progress = Progress::Away(std::mem::take(statistics));
        }
    }

    fn arrive(&mut self, producer: ProducerLocation) -> bool {
        if let Progress::Away(statistics) = &mut self.progress {
            self.progress = Progress::Held(std::mem::take(statistics));
        }
        self.descriptor.producer = producer;
        self.outlives()
    }
}

impl State {
    pub(super) fn entry(&self, partition: PartitionId) -> Option<&Entry> {
        self.jobs.get(&partition.job)?.get(&partition)
    }

    fn entry_mut(&mut self, partition: PartitionId) -> Option<&mut Entry> {
        self.jobs.get_mut(&partition.job)?.get_mut(&partition)
    }

    /// All partitions of all jobs.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.jobs.values().flat_map(BTreeMap::values)
    }

    fn forget(&mut self, lost: impl Fn(&Entry) -> bool) {
        for partitions in self.jobs.values_mut() {
            partitions.retain(|_, entry| !lost(entry));
        }
    }

    /// Counts an event and does what it says; if it does not fit, the state is not to be used any more.
    pub(super) fn apply(&mut self, event: MasterEvent) -> Result<(), Misfit> {
        self.events += 1;
        if self.change(event) { Ok(()) } else { Err(Misfit) }
    }

    fn change(&mut self, event: MasterEvent) -> bool {
        match event {
            MasterEvent::JobRegistered(job) => self.jobs.insert(job, BTreeMap::new()).is_none(),
            MasterEvent::JobUnregistered(job) => self.jobs.remove(&job).is_some(),
            MasterEvent::PartitionRegistered { kind, descriptor } => self.register(kind, descriptor),
            MasterEvent::PartitionFinished { partition, statistics } => self.finish(partition, statistics),
            MasterEvent::PartitionReleased(partition) => {
                self.jobs.get_mut(&partition.job).is_some_and(|partitions| partitions.remove(&partition).is_some())
            }
            MasterEvent::PartitionRelearned { partition, producer } => {
                self.entry_mut(partition).is_some_and(|entry| entry.arrive(producer))
            }
            MasterEvent::WorkerLost { node, incarnation } => {
                self.forget(|entry| entry.is_lost_with(node, incarnation));
                let entries = self.jobs.values_mut().flat_map(BTreeMap::values_mut);
                entries.filter(|entry| entry.is_on(node, incarnation)).for_each(Entry::leave);
                true
            }
            MasterEvent::PartitionLost(partition) => self.entry_mut(partition).is_some_and(|entry| {
                let outlives = entry.outlives();
                entry.progress = Progress::Lost;
                outlives
            }),
            MasterEvent::WorkerGivenUp(node) => {
                self.forget(|entry| entry.is_away_with(node));
                true
            }
        }
    }

    fn register(&mut self, kind: PartitionKind, descriptor: ShuffleDescriptor) -> bool {
        let partition = descriptor.partition;
        let Some(partitions) = self.jobs.get_mut(&partition.job) else { return false };
        let before = partitions.insert(partition, Entry { kind, descriptor, progress: Progress::Producing });
        before.is_none_or(|before| before.statistics().is_none())
    }

    fn finish(&mut self, partition: PartitionId, statistics: PartitionStatistics) -> bool {
        let Some(entry) = self.entry_mut(partition) else { return false };
        let fits = entry.progress == Progress::Producing && statistics.is_of(entry.descriptor.subpartitions);
        entry.progress = Progress::Held(statistics);
        fits
    }
}
