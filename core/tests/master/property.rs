//! Whatever has happened, and wherever a crash has cut the log: the restored master is the one that was.

use proptest::prelude::*;
use sluice_core::DescriptorError;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    RegisterJob(u64),
    UnregisterJob(u64),
    Register(PartitionKind, PartitionId, u32, ProducerLocation),
    Finish(PartitionId, PartitionStatistics),
    Release(PartitionId),
    WorkerLost(u64, u64),
    GiveUp(u64),
    Lost(PartitionId),
    Relearn(ProducerLocation, Vec<HeldPartition>),
    /// Appends to the log.
    Store,
    Snapshot,
    /// All is stored, and another process goes on.
    Restart,
}

// Few of everything, so that steps meet.
fn any_partition() -> impl Strategy<Value = PartitionId> {
    let ids = (1..3_u64, 0..3_u64, 0..2_u32);
    ids.prop_map(|(job, partition, attempt)| PartitionId { job: JobId(job), partition, attempt })
}

fn any_kind() -> impl Strategy<Value = PartitionKind> {
    prop::sample::select(vec![PartitionKind::Pipelined, PartitionKind::SortMerge, PartitionKind::Hash])
}

fn any_location() -> impl Strategy<Value = ProducerLocation> {
    (0..2_u64, 1..4_u64).prop_map(|(node, life)| at(node, life))
}

fn any_statistics() -> impl Strategy<Value = PartitionStatistics> {
    let figures = prop::sample::select(vec![vec![], vec![1], vec![1, 2], vec![u64::MAX, 3]]);
    figures.prop_map(|bytes: Vec<u64>| PartitionStatistics { records: bytes.clone(), bytes })
}

fn any_held() -> impl Strategy<Value = HeldPartition> {
    let parts = (any_partition(), any_kind(), any_statistics());
    parts.prop_map(|(partition, kind, statistics)| {
        let subpartitions = statistics.bytes.len() as u32;
        HeldPartition { partition, kind, subpartitions, statistics }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..3_u64).prop_map(Step::RegisterJob),
        1 => (1..3_u64).prop_map(Step::UnregisterJob),
        8 => (any_kind(), any_partition(), 0..3_u32, any_location()).prop_map(|(k, p, n, l)| Step::Register(k, p, n, l)),
        8 => (any_partition(), any_statistics()).prop_map(|(p, s)| Step::Finish(p, s)),
        1 => any_partition().prop_map(Step::Release),
        2 => (0..2_u64, 1..4_u64).prop_map(|(node, life)| Step::WorkerLost(node, life)),
        1 => (0..2_u64).prop_map(Step::GiveUp),
        2 => any_partition().prop_map(Step::Lost),
        3 => (any_location(), prop::collection::vec(any_held(), 0..4)).prop_map(|(l, h)| Step::Relearn(l, h)),
        3 => Just(Step::Store),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
    ]
}

/// What the engine that embeds the master has on its disk, and what the master was whenever that changed.
struct Run {
    master: ShuffleMaster,
    steps: usize,
    log: Vec<u8>,
    /// How long the log was, at which step, and what the master was then.
    stored: Vec<(usize, usize, ShuffleMaster)>,
    /// Snapshots likewise.
    snapshots: Vec<(Option<Vec<u8>>, usize, ShuffleMaster)>,
}

impl Run {
    fn new() -> Self {
        let master = ShuffleMaster::restore("tcp", None, &[]).unwrap().master;
        let (stored, snapshots) = (vec![(0, 0, master.clone())], vec![(None, 0, master.clone())]);
        Self { master, steps: 0, log: Vec::new(), stored, snapshots }
    }

    fn step(&mut self, step: Step) {
        self.steps += 1;
        let master = &mut self.master;
        match step {
            Step::RegisterJob(job) => drop(master.register_job(&JobSpec { job: JobId(job), transport: None })),
            Step::UnregisterJob(job) => drop(master.unregister_job(JobId(job))),
            Step::Register(kind, partition, subpartitions, producer) => {
                let spec = PartitionSpec { partition, subpartitions };
                drop(master.register_partition_as(kind, spec, producer));
            }
            Step::Finish(partition, statistics) => {
                let is_finished = master.partition_finished(partition, statistics).is_ok();
                assert!(!is_finished || master.is_finished(partition));
            }
            Step::Release(partition) => drop(master.release_partition(partition)),
            Step::WorkerLost(node, life) => {
                let lost = master.worker_lost(NodeId(node), Incarnation(life));
                assert!(lost.iter().all(|lost| !master.is_finished(*lost)));
            }
            Step::GiveUp(node) => {
                let lost = master.give_up_worker(NodeId(node));
                assert!(lost.iter().all(|lost| !master.is_finished(*lost)));
            }
            Step::Lost(partition) => {
                if let Ok(descriptor) = master.descriptor(partition).cloned()
                    && master.partition_lost(&descriptor)
                {
                    assert!(!master.is_finished(partition) && master.to_produce(partition.job).contains(&partition));
                }
            }
            Step::Relearn(location, held) => {
                let relearned = master.relearn(&location, &held);
                assert_eq!(relearned.kept.len() + relearned.unknown.len(), held.len());
                // Known, but not always readable: a late word does not undo a later loss.
                let known = |id: &PartitionId| master.descriptor(*id) != Err(DescriptorError::Unknown(*id));
                assert!(relearned.kept.iter().all(known));
            }
            Step::Store => self.store(),
            Step::Snapshot => {
                let snapshot = Some(master.snapshot());
                self.snapshots.push((snapshot, self.steps, master.clone()));
            }
            Step::Restart => {
                self.store();
                let (snapshot, ..) = self.snapshots.last().unwrap();
                self.master = ShuffleMaster::restore("tcp", snapshot.as_deref(), &self.log).unwrap().master;
                assert_eq!(self.master, self.stored.last().unwrap().2);
            }
        }
    }

    fn store(&mut self) {
        self.log.extend(self.master.take_events());
        self.stored.push((self.log.len(), self.steps, self.master.clone()));
    }

    /// Restores with every snapshot from a log that was cut.
    fn check_cut(&self, cut: usize) {
        let (whole, stored_at, stored) = self.stored.iter().rfind(|(bytes, ..)| *bytes <= cut).unwrap();
        for (snapshot, made_at, then) in &self.snapshots {
            let restored = ShuffleMaster::restore("tcp", snapshot.as_deref(), &self.log[..cut]).unwrap();
            let expected = if made_at > stored_at { then } else { stored };
            assert_eq!(&restored.master, expected, "cut at {cut}, snapshot at step {made_at}");
            assert_eq!((restored.log_bytes_used as usize, restored.torn_tail), (*whole, cut != *whole));
        }
    }

    /// Restores with every snapshot from a log that begins at any record which is not behind it.
    fn check_beginnings(&self) {
        for (snapshot, made_at, _) in &self.snapshots {
            for (begin, ..) in self.stored.iter().filter(|(_, stored_at, _)| stored_at <= made_at) {
                let restored = ShuffleMaster::restore("tcp", snapshot.as_deref(), &self.log[*begin..]).unwrap();
                assert_eq!(restored.master, self.master, "log from {begin}, snapshot at step {made_at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_master_is_the_one_that_was(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut run = Run::new();
        steps.into_iter().for_each(|step| run.step(step));
        run.store();
        run.check_beginnings();
        (0..=run.log.len()).for_each(|cut| run.check_cut(cut));
    }
}
