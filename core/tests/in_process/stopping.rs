//! A worker that stops: its tasks and its peers are told, and nobody waits for ever.

use sluice_core::{CreateError, Delivery, ReadError, ReasonCode};

use crate::stage::{PLACES, Seen, Stage, partition, record};

#[test]
fn the_gates_of_a_worker_that_stops_are_told() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let _writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        stage.worker(place).stop();
        stage.settle();
        assert_eq!(stage.failure(&mut gate), ReadError::Stopped);
        assert!(stage.has_stopped(place));
    }
}

#[test]
fn the_peers_of_a_worker_that_stops_get_an_error_and_live_on() {
    let mut stage = Stage::new(3);
    let (mut going, mut staying) = (stage.writer(0, 1, 1), stage.writer(2, 2, 1));
    let mut gates = [stage.gate(1, &[(0, 1, 0)]), stage.gate(1, &[(2, 2, 0)])];
    stage.write(&mut going, 0, b"half of it");
    stage.flush(&mut going);
    assert!(matches!(stage.next(&mut gates[0]), Delivery::Buffer { .. }));
    stage.worker(0).stop();
    stage.settle();
    match stage.failure(&mut gates[0]) {
        ReadError::Channel { code, text, .. } => {
            assert_eq!(code, ReasonCode::Shutdown);
            assert!(text.contains("the worker stops"), "{text}");
        }
        other => panic!("a channel's error was due, not {other}"),
    }
    stage.write(&mut staying, 0, b"alive");
    stage.finish(staying);
    assert_eq!(stage.seen(&mut gates[1]), [record(0, "alive"), Seen::End(0)]);
}

#[test]
fn a_producer_whose_only_consumer_stops_is_told() {
    let mut stage = Stage::new(2);
    let mut writer = stage.writer(0, 1, 1);
    let gate = stage.gate(1, &[(0, 1, 0)]);
    stage.settle();
    while stage.try_write(&mut writer, 0, &[1; 10_000]).is_some() {}
    stage.worker(1).stop();
    stage.settle();
    let told = (0..1000).find_map(|_| stage.try_write(&mut writer, 0, &[1; 10_000]).expect("no wait").err());
    assert!(told.is_some());
    drop((writer, gate));
    assert_eq!(stage.bytes_in_use(0), 0);
}

#[test]
fn a_gate_of_a_worker_that_has_stopped_is_not_created() {
    let mut stage = Stage::new(1);
    stage.worker(0).stop();
    stage.settle();
    drop(stage.take_reactor(0));
    let gate = stage.worker(0).create_gate("a test", 1, &[]);
    assert!(matches!(gate, Err(CreateError::Stopped)), "{:?}", gate.map(drop));
    let writer = stage.worker(0).create_writer(partition(1), 1);
    assert!(matches!(writer, Err(CreateError::Stopped)), "{:?}", writer.map(drop));
}

/// The order to stop stands in the mailbox before the gate: the reactor takes both in one turn.
#[test]
fn a_gate_that_comes_while_its_worker_stops_is_told() {
    let mut stage = Stage::new(1);
    stage.worker(0).stop();
    let Ok(mut gate) = stage.worker(0).create_gate("a test", 1, &[]) else { return };
    stage.settle();
    assert_eq!(stage.failure(&mut gate), ReadError::Stopped);
}

/// Its thread has panicked, or the thread that drove it is gone.
#[test]
fn gates_whose_reactor_is_gone_are_told() {
    let mut stage = Stage::new(1);
    let _writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(0, &[(0, 1, 0)]);
    stage.settle();
    drop(stage.take_reactor(0));
    assert_eq!(stage.failure(&mut gate), ReadError::Stopped);
}

/// Nobody has asked for the partition, and nobody will.
#[test]
fn a_writer_that_waits_for_memory_is_told_when_its_worker_stops() {
    let mut stage = Stage::new(1);
    let mut writer = stage.writer(0, 1, 1);
    while stage.try_write(&mut writer, 0, &[1; 10_000]).is_some() {}
    stage.worker(0).stop();
    stage.settle();
    let told = (0..1000).find_map(|_| stage.try_write(&mut writer, 0, &[1; 10_000]).expect("no wait").err());
    assert!(told.is_some());
}
