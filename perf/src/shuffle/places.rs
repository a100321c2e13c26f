//! Where the partitions of a run are: what the master of a real engine knows.

use std::collections::HashSet;

use sluice_core::{
    Address, HeldPartition, Incarnation, JobId, JobSpec, NodeId, PartitionSpec, PartitionStatistics, ProducerLocation,
    ShuffleMaster,
};

use super::control::{Held, Location};
use super::{partition, partition_of};
use crate::causes::with_causes;
use crate::scenario::Scenario;

/// The master's view of a run, and the workers' places by their number.
pub(super) struct Places<'a> {
    scenario: &'a Scenario,
    master: ShuffleMaster,
    workers: Vec<Location>,
}

impl<'a> Places<'a> {
    /// All workers are ready.
    pub(super) fn new(scenario: &'a Scenario, workers: Vec<Location>) -> Result<Self, String> {
        let mut master = ShuffleMaster::new("any");
        master
            .register_job(&JobSpec { job: JobId(scenario.job), transport: None })
            .map_err(|error| with_causes(&error))?;
        for (worker, location) in workers.iter().enumerate() {
            for producer in scenario.producers_of(worker as u32) {
                let spec =
                    PartitionSpec { partition: partition(scenario, producer), subpartitions: scenario.consumers() };
                let registered = master.register_partition_as(scenario.partition, spec, at(worker, location));
                registered.map_err(|error| with_causes(&error))?;
            }
        }
        Ok(Self { scenario, master, workers })
    }

    /// Where each worker is that has something to read.
    ///
    /// # Errors
    /// If a partition can be read nowhere.
    pub(super) fn all(&self) -> Result<Vec<Location>, String> {
        let mut workers = self.workers.clone();
        for (worker, location) in workers.iter_mut().enumerate() {
            for producer in self.scenario.producers_of(worker as u32) {
                let known =
                    self.master.descriptor(partition(self.scenario, producer)).map_err(|error| with_causes(&error))?;
                let ProducerLocation { incarnation, address, .. } = &known.producer;
                *location = Location { incarnation: incarnation.0, address: address.0.clone() };
            }
        }
        Ok(workers)
    }

    /// A producer has finished its partition.
    pub(super) fn finished(&mut self, held: &Held) -> Result<(), String> {
        let statistics = PartitionStatistics { bytes: held.bytes.clone(), records: held.records.clone() };
        let finished = self.master.partition_finished(partition_of(self.scenario, held.partition), statistics);
        finished.map_err(|error| with_causes(&error))
    }

    /// The life of a worker that is known so far is over; which it was.
    pub(super) fn lost(&mut self, worker: usize) -> u64 {
        let incarnation = self.workers[worker].incarnation;
        self.master.worker_lost(NodeId(worker as u64), Incarnation(incarnation));
        incarnation
    }

    /// Another life of a worker is here, and has found what an earlier one left.
    ///
    /// # Errors
    /// If that is not all that the earlier one had.
    pub(super) fn came_back(&mut self, worker: usize, location: Location, held: Vec<Held>) -> Result<(), String> {
        let held = held.into_iter().map(|held| HeldPartition {
            partition: partition_of(self.scenario, held.partition),
            kind: self.scenario.partition,
            subpartitions: held.subpartitions,
            statistics: PartitionStatistics { bytes: held.bytes, records: held.records },
        });
        let relearned = self.master.relearn(&at(worker, &location), &held.collect::<Vec<_>>());
        let kept: HashSet<_> = relearned.kept.into_iter().collect();
        let mut its = self.scenario.producers_of(worker as u32);
        if let Some(lost) = its.find(|producer| !kept.contains(&partition(self.scenario, *producer))) {
            return Err(format!("worker {worker} does not hold the partition of producer {lost} after its restart"));
        }
        self.workers[worker] = location;
        Ok(())
    }
}

fn at(worker: usize, location: &Location) -> ProducerLocation {
    let (node, incarnation) = (NodeId(worker as u64), Incarnation(location.incarnation));
    ProducerLocation { node, incarnation, address: Address(location.address.clone()) }
}
