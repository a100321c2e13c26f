//! Workers that go and come back, and what is finished, away and lost meanwhile.

use super::*;
use sluice_core::{DescriptorError, FinishError, JobError, Relearned};

fn relearned(kept: &[u64], unknown: &[u64]) -> Relearned {
    let ids = |numbers: &[u64]| numbers.iter().copied().map(partition).collect();
    Relearned { kept: ids(kept), unknown: ids(unknown) }
}

#[test]
fn what_is_finished_has_not_to_be_produced() {
    let mut master = master();
    finished(&mut master, 0, 1);
    announce(&mut master, PartitionKind::Hash, 1, at(1, 1));
    assert_eq!(master.to_produce(JobId(1)), [partition(1)]);
    assert_eq!([0, 1, 2].map(|number| master.is_finished(partition(number))), [true, false, false]);
    assert_eq!(master.statistics(partition(0)), Some(&statistics(0)));
    assert_eq!(master.to_produce(JobId(2)), []);
}

#[test]
fn a_finished_partition_is_not_registered_again_under_its_name() {
    let mut master = master();
    finished(&mut master, 0, 1);
    let spec = PartitionSpec { partition: partition(0), subpartitions: SUBPARTITIONS };
    let again = master.register_partition_as(PartitionKind::SortMerge, spec, at(2, 1));
    assert_eq!(again, Err(JobError::Finished(partition(0))));
    master.worker_lost(NodeId(1), Incarnation(1));
    assert_eq!(master.register_partition(spec, at(2, 1)), Err(JobError::Finished(partition(0))), "only away");
    master.give_up_worker(NodeId(1));
    master.register_partition(spec, at(2, 1)).unwrap();
}

#[test]
fn a_finish_that_is_repeated_is_no_error_and_one_that_differs_is() {
    let mut master = master();
    finished(&mut master, 0, 1);
    master.take_events();
    assert_eq!(master.partition_finished(partition(0), statistics(0)), Ok(()));
    assert_eq!(master.partition_finished(partition(0), statistics(1)), Err(FinishError::Differs(partition(0))));
    assert_eq!(master.partition_finished(partition(9), statistics(9)), Err(FinishError::Unknown(partition(9))));
    assert_eq!(master.take_events(), [], "nothing has changed");
}

#[test]
fn statistics_of_other_subpartitions_are_refused_with_the_figures() {
    let mut master = master();
    announce(&mut master, PartitionKind::Hash, 0, at(1, 1));
    let refused = PartitionStatistics { bytes: vec![1], records: vec![1, 2, 3] };
    let error = master.partition_finished(partition(0), refused).unwrap_err();
    assert_eq!(error.to_string(), "job 1 partition 0 attempt 0 has 2 subpartitions: statistics have 1 and 3 figures");
    assert!(!master.is_finished(partition(0)));
}

#[test]
fn a_lost_worker_takes_along_what_is_pipelined_or_unfinished_and_the_rest_is_away() {
    let mut master = master();
    announce(&mut master, PartitionKind::Pipelined, 0, at(1, 1));
    announce(&mut master, PartitionKind::Pipelined, 1, at(1, 1));
    master.partition_finished(partition(1), statistics(1)).unwrap();
    announce(&mut master, PartitionKind::SortMerge, 2, at(1, 1));
    finished(&mut master, 3, 1);
    finished(&mut master, 4, 2);
    assert_eq!(master.worker_lost(NodeId(1), Incarnation(1)), [0, 1, 2].map(partition));
    let away = DescriptorError::Away { partition: partition(3), node: NodeId(1) };
    assert_eq!(master.descriptor(partition(3)), Err(away));
    assert_eq!(master.descriptor(partition(0)), Err(DescriptorError::Unknown(partition(0))));
    assert_eq!(master.descriptor(partition(4)).unwrap().producer, at(2, 1));
    assert!(master.is_finished(partition(3)), "its data is not lost yet");
    assert_eq!(master.to_produce(JobId(1)), []);
}

#[test]
fn a_worker_that_is_back_is_read_at_its_new_place() {
    let mut master = master();
    finished(&mut master, 0, 1);
    master.worker_lost(NodeId(1), Incarnation(1));
    assert_eq!(master.relearn(&at(1, 2), &[held(0)]), relearned(&[0], &[]));
    assert_eq!(master.descriptor(partition(0)).unwrap().producer, at(1, 2));
    assert_eq!(master.give_up_worker(NodeId(1)), [], "nothing is away any more");
}

#[test]
fn what_a_worker_does_not_bring_back_is_lost_when_it_is_given_up() {
    let mut master = master();
    finished(&mut master, 0, 1);
    finished(&mut master, 1, 1);
    finished(&mut master, 2, 2);
    for node in [1, 2] {
        master.worker_lost(NodeId(node), Incarnation(1));
    }
    master.relearn(&at(1, 2), &[held(1)]);
    assert_eq!(master.give_up_worker(NodeId(1)), [partition(0)]);
    assert_eq!(master.descriptor(partition(0)), Err(DescriptorError::Unknown(partition(0))));
    assert!(master.is_finished(partition(1)) && master.is_finished(partition(2)), "of others who are waited for");
}

#[test]
fn a_finish_that_was_not_heard_of_is_learned_from_who_holds_the_partition() {
    let mut master = master();
    announce(&mut master, PartitionKind::SortMerge, 5, at(1, 1));
    assert_eq!(master.relearn(&at(1, 2), &[held(5)]), relearned(&[5], &[]));
    assert_eq!(master.to_produce(JobId(1)), []);
    assert_eq!(master.statistics(partition(5)), Some(&statistics(5)));
    assert_eq!(master.descriptor(partition(5)).unwrap().producer, at(1, 2));
}

#[test]
fn what_nobody_waits_for_is_told_to_be_released() {
    let mut master = master();
    finished(&mut master, 0, 1);
    finished(&mut master, 1, 1);
    master.release_partition(partition(1));
    let other_attempt = PartitionId { attempt: 1, ..partition(0) };
    let other_job = PartitionId { job: JobId(2), ..partition(0) };
    let told = [other_attempt, other_job, partition(1), partition(0)];
    let held = told.map(|partition| HeldPartition { partition, ..held(0) });
    let expected = Relearned { kept: vec![partition(0)], unknown: told[..3].to_vec() };
    assert_eq!(master.relearn(&at(1, 2), &held), expected);
    master.unregister_job(JobId(1));
    assert_eq!(master.relearn(&at(1, 2), &held).kept, []);
}

#[test]
fn other_data_under_a_known_name_is_not_taken_for_it() {
    let mut master = master();
    finished(&mut master, 0, 1);
    announce(&mut master, PartitionKind::Pipelined, 1, at(1, 1));
    announce(&mut master, PartitionKind::SortMerge, 2, at(1, 1));
    let before = master.clone();
    let others = [
        HeldPartition { statistics: PartitionStatistics::default(), ..held(2) },
        HeldPartition { kind: PartitionKind::Hash, ..held(0) },
        HeldPartition { subpartitions: 3, ..held(0) },
        HeldPartition { statistics: statistics(9), ..held(0) },
        HeldPartition { statistics: PartitionStatistics::default(), ..held(0) },
        HeldPartition { kind: PartitionKind::Pipelined, ..held(1) },
    ];
    for other in others {
        assert_eq!(master.relearn(&at(1, 2), &[other]).kept, []);
    }
    assert_eq!(master, before);
}

#[test]
fn a_late_word_of_an_earlier_life_changes_nothing_and_releases_nothing() {
    let mut master = master();
    finished(&mut master, 0, 1);
    master.relearn(&at(1, 3), &[held(0)]);
    let before = master.clone();
    assert_eq!(master.relearn(&at(1, 2), &[held(0)]), relearned(&[0], &[]), "the files are the new life's");
    assert_eq!(master, before);
}

#[test]
fn a_disk_that_moved_to_another_worker_brings_its_partitions_along() {
    let mut master = master();
    finished(&mut master, 0, 2);
    master.relearn(&at(2, 5), &[held(0)]);
    master.worker_lost(NodeId(2), Incarnation(5));
    // Lives of different workers are not compared.
    master.relearn(&at(1, 1), &[held(0)]);
    assert_eq!(master.descriptor(partition(0)).unwrap().producer, at(1, 1));
    assert_eq!(master.give_up_worker(NodeId(2)), []);
}

#[test]
fn a_worker_that_was_taken_for_lost_is_read_where_it_was() {
    let mut master = master();
    finished(&mut master, 0, 1);
    master.worker_lost(NodeId(1), Incarnation(1));
    assert_eq!(master.relearn(&at(1, 1), &[held(0)]), relearned(&[0], &[]));
    assert_eq!(master.descriptor(partition(0)).unwrap().producer, at(1, 1));
}

#[test]
fn what_was_known_before_is_not_logged_again() {
    let mut master = master();
    finished(&mut master, 0, 1);
    master.take_events();
    announce(&mut master, PartitionKind::Hash, 1, at(1, 1));
    assert_ne!(master.take_events(), []);
    announce(&mut master, PartitionKind::Hash, 1, at(1, 1));
    master.relearn(&at(1, 1), &[held(0)]);
    master.worker_lost(NodeId(1), Incarnation(7));
    assert_eq!(master.take_events(), []);
    master.worker_lost(NodeId(1), Incarnation(1));
    assert_ne!(master.take_events(), []);
    master.worker_lost(NodeId(1), Incarnation(1));
    master.give_up_worker(NodeId(2));
    master.release_partition(partition(7));
    master.unregister_job(JobId(7));
    assert_eq!(master.take_events(), []);
}

/// A consumer has found a file of it removed, or damaged.
#[test]
fn what_is_lost_where_it_lay_has_to_be_produced_again() {
    let mut master = master();
    finished(&mut master, 0, 1);
    let read = master.descriptor(partition(0)).unwrap().clone();
    assert!(master.partition_lost(&read));
    assert_eq!(master.to_produce(JobId(1)), [partition(0)]);
    assert_eq!(master.descriptor(partition(0)), Err(DescriptorError::Lost(partition(0))));
    assert!(!master.partition_lost(&read), "that is known");
    // Its worker still believes that it holds it.
    let held = |number| HeldPartition {
        partition: partition(number),
        kind: PartitionKind::SortMerge,
        subpartitions: SUBPARTITIONS,
        statistics: statistics(number),
    };
    assert_eq!(master.relearn(&at(1, 2), &[held(0)]), relearned(&[], &[0]));
    assert_eq!(master.partition_finished(partition(0), statistics(0)), Err(FinishError::Lost(partition(0))));
    // It is written once more, on the same worker or another one; who read the old one is late.
    announce(&mut master, PartitionKind::SortMerge, 0, at(2, 1));
    assert_eq!(master.to_produce(JobId(1)), [partition(0)]);
    master.partition_finished(partition(0), statistics(0)).unwrap();
    assert!(!master.partition_lost(&read) && master.is_finished(partition(0)));
}

#[test]
fn what_is_lost_is_known_after_a_restart_of_the_master() {
    for with_snapshot in [false, true] {
        let mut master = ShuffleMaster::restore("tcp", None, &[]).unwrap().master;
        master.register_job(&JobSpec { job: JobId(1), transport: None }).unwrap();
        finished(&mut master, 0, 1);
        let read = master.descriptor(partition(0)).unwrap().clone();
        master.partition_lost(&read);
        let snapshot = with_snapshot.then(|| master.snapshot());
        let log = master.take_events();
        let restored = ShuffleMaster::restore("tcp", snapshot.as_deref(), &log).unwrap().master;
        assert_eq!((restored.to_produce(JobId(1)), &restored), (vec![partition(0)], &master));
    }
}

#[test]
fn what_is_pipelined_or_not_finished_is_not_lost_by_being_said_to_be() {
    let mut master = master();
    announce(&mut master, PartitionKind::SortMerge, 0, at(1, 1));
    let read = master.descriptor(partition(0)).unwrap().clone();
    assert!(!master.partition_lost(&read));
    assert!(master.descriptor(partition(0)).is_ok());
}
