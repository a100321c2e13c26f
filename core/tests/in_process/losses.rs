//! Producers and consumers that go away in the middle.

use std::time::Duration;

use sluice_core::{Delivery, ReadError, ReasonCode, WriteError};

use crate::stage::{PLACES, Seen, Stage, partition, record};

fn code(error: &ReadError) -> ReasonCode {
    match error {
        ReadError::Channel { code, .. } => *code,
        other => panic!("a channel's error was due, not {other}"),
    }
}

#[test]
fn a_consumer_that_goes_away_in_the_middle_harms_no_other() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 2);
        let (mut first, mut second) = (stage.gate(place, &[(0, 1, 0)]), stage.gate(place, &[(0, 1, 1)]));
        for target in [0, 1] {
            stage.write(&mut writer, target, b"before");
        }
        stage.flush(&mut writer);
        assert!(matches!(stage.next(&mut first), Delivery::Buffer { .. }));
        drop(first);
        stage.settle();
        for _ in 0..2000 {
            stage.write(&mut writer, 0, &[1; 10_000]);
        }
        stage.write(&mut writer, 1, b"after");
        stage.finish(writer);
        assert_eq!(stage.seen(&mut second), [record(0, "before"), record(0, "after"), Seen::End(0)]);
        drop(second);
        assert_eq!(stage.worker(0).occupied_partitions(), vec![]);
        stage.assert_all_memory_is_back();
    }
}

#[test]
fn a_producer_is_told_when_all_its_consumers_are_gone_and_its_memory_is_back() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 2);
        let mut gate = stage.gate(place, &[(0, 1, 0), (0, 1, 1)]);
        stage.settle();
        while stage.try_write(&mut writer, 0, &[1; 10_000]).is_some() {}
        let held = stage.next(&mut gate);
        drop(gate);
        stage.settle();
        let last = if place == 0 { "on the same worker" } else { "on node 1" };
        let is_told = |error: &WriteError| {
            let text = error.to_string();
            matches!(error, WriteError::Abandoned { .. })
                && text.contains(last)
                && text.contains("has dropped its gate")
        };
        let mut told = None;
        for _ in 0..1000 {
            match stage.try_write(&mut writer, 1, &[1; 10_000]).expect("what waited is dropped") {
                Ok(()) => {}
                Err(error) => {
                    told = Some(error);
                    break;
                }
            }
        }
        assert!(told.as_ref().is_some_and(is_told), "{told:?}");
        let finished = stage.until(|context| writer.poll_finish(context)).expect("nobody is left to wait for");
        assert!(finished.as_ref().is_err_and(is_told), "{finished:?}");
        drop((held, writer));
        assert_eq!(stage.worker(0).occupied_partitions(), vec![]);
        stage.assert_all_memory_is_back();
    }
}

/// The gate is gone before its worker's reactor has looked at its channels for the first time.
#[test]
fn a_gate_that_is_dropped_at_once_still_counts_as_gone() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 1);
        drop(stage.gate(place, &[(0, 1, 0)]));
        stage.settle();
        if stage.until(|context| writer.poll_flush(context)) == Some(Ok(())) {
            // As if it had never asked: then another one may.
            let mut gate = stage.gate(place, &[(0, 1, 0)]);
            stage.finish(writer);
            assert_eq!(stage.seen(&mut gate), [Seen::End(0)], "place {place}");
        }
    }
}

#[test]
fn a_producer_that_ends_without_finishing_is_never_a_short_stream() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.write(&mut writer, 0, b"half of it");
        stage.flush(&mut writer);
        drop(writer);
        stage.settle();
        assert!(matches!(stage.next(&mut gate), Delivery::Buffer { .. }), "what was handed over is read");
        let error = stage.failure(&mut gate);
        assert_eq!(code(&error), ReasonCode::ProducerFailed);
        assert!(error.to_string().contains("channel 0"), "{error}");
        assert_eq!(stage.failure(&mut gate), error, "and stays so");
        drop(gate);
        assert_eq!(stage.worker(0).occupied_partitions(), vec![]);
        stage.assert_all_memory_is_back();
    }
}

#[test]
fn the_cause_that_a_producer_gives_reaches_its_consumers() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let writer = stage.writer(0, 1, 2);
        let mut gates = [stage.gate(place, &[(0, 1, 0)]), stage.gate(place, &[(0, 1, 1)])];
        stage.settle();
        writer.fail("the disk is on fire");
        stage.settle();
        for gate in &mut gates {
            let error = stage.failure(gate);
            assert_eq!(code(&error), ReasonCode::ProducerFailed);
            assert!(error.to_string().contains("the disk is on fire"), "{error}");
        }
    }
}

#[test]
fn a_cause_of_any_length_arrives_cut_if_it_must() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        writer.fail(&format!("why: {}", "é".repeat(50_000)));
        stage.settle();
        let error = stage.failure(&mut gate);
        assert_eq!(code(&error), ReasonCode::ProducerFailed);
        assert!(error.to_string().contains("why: é"), "{error}");
    }
}

#[test]
fn a_consumer_that_comes_after_the_producer_has_failed_is_told() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        stage.writer(0, 1, 1).fail("early");
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        let error = stage.failure(&mut gate);
        assert_eq!(code(&error), ReasonCode::ProducerFailed);
    }
}

#[test]
fn the_other_channels_of_a_worker_live_on_when_one_fails() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let (one, mut two) = (stage.writer(0, 1, 1), stage.writer(0, 2, 1));
        let mut gates = [stage.gate(place, &[(0, 1, 0)]), stage.gate(place, &[(0, 2, 0)])];
        stage.settle();
        drop(one);
        stage.settle();
        stage.failure(&mut gates[0]);
        stage.write(&mut two, 0, b"alive");
        stage.finish(two);
        assert_eq!(stage.seen(&mut gates[1]), [record(0, "alive"), Seen::End(0)]);
    }
}

#[test]
fn a_released_partition_is_gone_for_who_reads_it() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.write(&mut writer, 0, b"before");
        stage.flush(&mut writer);
        assert!(matches!(stage.next(&mut gate), Delivery::Buffer { .. }));
        assert!(stage.worker(0).release_partition(partition(1)));
        assert!(!stage.worker(0).release_partition(partition(1)), "only once");
        stage.settle();
        let error = stage.failure(&mut gate);
        assert_eq!(code(&error), ReasonCode::PartitionGone);
        let released = WriteError::Released { partition: partition(1) };
        stage.try_write(&mut writer, 0, b"after").expect("there is memory").ok();
        assert_eq!(stage.until(|context| writer.poll_flush(context)), Some(Err(released)));
        drop((writer, gate));
        stage.assert_all_memory_is_back();
    }
}

/// Nobody reads; the writer waits for memory that only the release gives back.
#[test]
fn a_writer_that_waits_is_told_when_its_partition_is_released() {
    let mut stage = Stage::new(1);
    let mut writer = stage.writer(0, 1, 1);
    while stage.try_write(&mut writer, 0, &[1; 10_000]).is_some() {}
    assert_eq!(stage.worker(0).release_job(partition(1).job), [partition(1)]);
    let mut told = None;
    for _ in 0..1000 {
        if let Err(error) = stage.try_write(&mut writer, 0, &[1; 10_000]).expect("what waited is dropped") {
            told = Some(error);
            break;
        }
    }
    assert_eq!(told, Some(WriteError::Released { partition: partition(1) }));
    drop(writer);
    stage.assert_all_memory_is_back();
}

/// It neither sends nor closes: its machine is frozen, or the network between is gone.
#[test]
fn a_peer_that_says_nothing_for_too_long_is_given_up() {
    let mut stage = Stage::new(2);
    let mut writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    stage.write(&mut writer, 0, b"half of it");
    stage.flush(&mut writer);
    assert!(matches!(stage.next(&mut gate), Delivery::Buffer { .. }));
    let frozen = stage.take_reactor(0);
    stage.pass(sluice_core::Limits::default().silence_max + Duration::from_secs(1));
    let error = stage.failure(&mut gate);
    assert_eq!(code(&error), ReasonCode::Silent);
    assert!(error.to_string().contains("nothing heard"), "{error}");
    drop(frozen);
}
