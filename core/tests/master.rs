//! The master: who has to produce what again, what comes back with a worker, and that it is the same after a restart,
//! whatever a crash has left of its log.

#![expect(clippy::unwrap_used, reason = "in a test it is the failure")]

#[path = "master/hostile.rs"]
mod hostile;
#[path = "master/log.rs"]
mod log;
#[path = "master/property.rs"]
mod property;
#[path = "master/workers.rs"]
mod workers;

use sluice_core::{
    Address, HeldPartition, Incarnation, JobId, JobSpec, NodeId, PartitionId, PartitionKind, PartitionSpec,
    PartitionStatistics, ProducerLocation, ShuffleMaster,
};

const SUBPARTITIONS: u32 = 2;

/// A partition of job 1.
fn partition(number: u64) -> PartitionId {
    PartitionId { job: JobId(1), partition: number, attempt: 0 }
}

/// A life of a worker. Each life listens somewhere else.
fn at(node: u64, life: u64) -> ProducerLocation {
    let address = Address(format!("10.0.0.{node}:{life}"));
    ProducerLocation { node: NodeId(node), incarnation: Incarnation(life), address }
}

fn statistics(seed: u64) -> PartitionStatistics {
    PartitionStatistics { bytes: vec![seed * 100, 7], records: vec![seed, 1] }
}

fn held(number: u64) -> HeldPartition {
    HeldPartition {
        partition: partition(number),
        kind: PartitionKind::SortMerge,
        subpartitions: SUBPARTITIONS,
        statistics: statistics(number),
    }
}

/// A master that keeps a log and knows job 1.
fn master() -> ShuffleMaster {
    let mut master = ShuffleMaster::restore("tcp", None, &[]).unwrap().master;
    master.register_job(&JobSpec { job: JobId(1), transport: None }).unwrap();
    master
}

fn announce(master: &mut ShuffleMaster, kind: PartitionKind, number: u64, producer: ProducerLocation) {
    let spec = PartitionSpec { partition: partition(number), subpartitions: SUBPARTITIONS };
    master.register_partition_as(kind, spec, producer).unwrap();
}

/// A finished sort-merge partition of the first life of this worker.
fn finished(master: &mut ShuffleMaster, number: u64, node: u64) {
    announce(master, PartitionKind::SortMerge, number, at(node, 1));
    master.partition_finished(partition(number), statistics(number)).unwrap();
}
