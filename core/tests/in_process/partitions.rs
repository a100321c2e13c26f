//! Partitions that are asked for before they are there, too late, twice, or by the wrong name.

use std::time::Duration;

use sluice_core::{CreateError, Delivery, EnvironmentConfig, ReadError, ReasonCode};

use crate::stage::{PLACES, Seen, Stage, config, partition, record};

fn code(error: &ReadError) -> ReasonCode {
    match error {
        ReadError::Channel { code, .. } => *code,
        other => panic!("a channel's error was due, not {other}"),
    }
}

fn deadline(time: Duration) -> EnvironmentConfig {
    EnvironmentConfig { partition_deadline: time, ..config() }
}

#[test]
fn a_partition_that_never_comes_is_not_found_at_the_deadline() {
    for place in PLACES {
        let mut stage = Stage::with(2, &deadline(Duration::from_secs(5)));
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        for _ in 0..4 {
            stage.pass(Duration::from_secs(1));
            assert!(stage.is_waiting(&mut gate), "not before the deadline");
        }
        stage.pass(Duration::from_secs(1));
        let error = stage.failure(&mut gate);
        assert_eq!(code(&error), ReasonCode::PartitionNotFound);
        assert!(error.to_string().contains("shuffle.partition_deadline"), "{error}");
        assert!(error.to_string().contains("node 0"), "{error}");
    }
}

#[test]
fn a_partition_that_comes_before_the_deadline_is_read() {
    for place in PLACES {
        let mut stage = Stage::with(2, &deadline(Duration::from_secs(5)));
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        stage.pass(Duration::from_secs(1));
        let mut writer = stage.writer(0, 1, 1);
        stage.write(&mut writer, 0, b"here at last");
        stage.pass(Duration::from_secs(1));
        for _ in 0..10 {
            stage.pass(Duration::from_secs(1));
        }
        stage.finish(writer);
        assert_eq!(stage.seen(&mut gate), [record(0, "here at last"), Seen::End(0)]);
    }
}

#[test]
fn who_waits_for_a_partition_and_goes_away_is_forgotten() {
    for place in PLACES {
        let mut stage = Stage::with(2, &deadline(Duration::from_secs(5)));
        let gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        drop(gate);
        stage.settle();
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        let mut writer = stage.writer(0, 1, 1);
        stage.write(&mut writer, 0, b"for the second");
        stage.finish(writer);
        assert_eq!(stage.seen(&mut gate), [record(0, "for the second"), Seen::End(0)]);
    }
}

#[test]
fn a_partition_that_was_read_is_gone() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.finish(writer);
        assert_eq!(stage.seen(&mut gate), [Seen::End(0)]);
        let mut again = stage.gate(place, &[(0, 1, 0)]);
        assert_eq!(code(&stage.failure(&mut again)), ReasonCode::PartitionGone);
    }
}

#[test]
fn a_subpartition_has_one_consumer() {
    for place in PLACES {
        for second in PLACES {
            let mut stage = Stage::new(2);
            let mut writer = stage.writer(0, 1, 2);
            let mut gate = stage.gate(place, &[(0, 1, 0)]);
            stage.write(&mut writer, 0, b"mine");
            stage.flush(&mut writer);
            let mut again = stage.gate(second, &[(0, 1, 0)]);
            let error = stage.failure(&mut again);
            assert_eq!(code(&error), ReasonCode::AlreadyConsumed);
            drop(again);
            stage.settle();
            assert!(matches!(stage.next(&mut gate), Delivery::Buffer { .. }), "the first one is not harmed");
            drop(gate);
            stage.settle();
            let mut late = stage.gate(second, &[(0, 1, 0)]);
            assert_eq!(code(&stage.failure(&mut late)), ReasonCode::AlreadyConsumed, "it was read in part");
        }
    }
}

#[test]
fn a_subpartition_that_does_not_exist_is_said_not_to() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 2);
        let mut gate = stage.gate(place, &[(0, 1, 2)]);
        let error = stage.failure(&mut gate);
        assert_eq!(code(&error), ReasonCode::NoSuchSubpartition);
        assert!(error.to_string().contains("has 2 subpartitions, 2 was asked for"), "{error}");
        drop(gate);
        stage.settle();
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.write(&mut writer, 0, b"unharmed");
        stage.flush(&mut writer);
        assert_eq!(stage.seen(&mut gate), [record(0, "unharmed")]);
    }
}

#[test]
fn a_partition_exists_once_on_a_worker() {
    let stage = Stage::new(1);
    let _writer = stage.writer(0, 1, 1);
    let error = stage.worker(0).create_writer(partition(1), 1).map(drop).expect_err("it exists");
    assert!(matches!(error, CreateError::PartitionExists(id) if id == partition(1)), "{error}");
    assert_eq!(stage.worker(0).occupied_partitions(), [partition(1)]);
}

/// The second of two is refused; the first must not stay behind without a writer.
#[test]
fn writers_are_created_all_or_none() {
    let mut stage = Stage::new(1);
    let _writer = stage.writer(0, 2, 1);
    let both = [(partition(1), 1), (partition(2), 1)];
    assert!(matches!(stage.worker(0).create_writers(&both), Err(CreateError::PartitionExists(_))));
    stage.settle();
    assert_eq!(stage.worker(0).occupied_partitions(), [partition(2)]);
}

#[test]
fn nothing_is_created_without_subpartitions_or_channels() {
    let stage = Stage::new(1);
    assert!(matches!(stage.worker(0).create_writer(partition(1), 0), Err(CreateError::Empty { .. })));
    assert!(matches!(stage.worker(0).create_gate("a test", 0, &[]), Err(CreateError::Empty { .. })));
    assert_eq!(stage.worker(0).occupied_partitions(), vec![]);
}

#[test]
fn a_worker_that_is_nowhere_is_said_to_be_lost() {
    let mut stage = Stage::new(1);
    let mut location = stage.location(0, 1, 0);
    location.node = sluice_core::NodeId(9);
    location.address = sluice_core::Address("in-process:99".into());
    let mut gate = stage.worker(0).create_gate("a test", 1, &[(0, location)]).expect("there is memory");
    let error = stage.failure(&mut gate);
    assert_eq!(code(&error), ReasonCode::WorkerLost);
    assert!(error.to_string().contains("node 9 at in-process:99"), "{error}");
}

/// Who is there is another node than the descriptor says: its partitions are not the ones that are meant.
#[test]
fn another_node_at_the_address_is_not_believed() {
    let mut stage = Stage::new(2);
    let mut location = stage.location(0, 1, 0);
    location.node = sluice_core::NodeId(9);
    let _writer = stage.writer(0, 1, 1);
    let mut gate = stage.worker(1).create_gate("a test", 1, &[(0, location)]).expect("there is memory");
    assert_eq!(code(&stage.failure(&mut gate)), ReasonCode::WorkerLost);
}

/// Between two turns of the reactor a partition appeared and was released again: its consumer, which had waited for it,
/// was taken out of the list and told nothing. (Found by the simulator.)
#[test]
fn who_waits_for_a_partition_that_comes_and_goes_at_once_is_told() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        drop(stage.writer(0, 1, 1));
        stage.worker(0).release_partition(partition(1));
        stage.settle();
        let error = stage.failure(&mut gate).to_string();
        assert!(error.contains("released") || error.contains("failed"), "{error}");
    }
}
