//! Links that break and sessions that go on.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sluice_core::{
    Delivery, EnvironmentConfig, Event, Incarnation, NodeId, PendingRecord, ReadError, ReasonCode, RecordReader,
};

use crate::cable::Cable;
use crate::stage::{Seen, Stage, config, partition, record};

const PATIENCE: Duration = Duration::from_secs(10);

fn patient() -> EnvironmentConfig {
    EnvironmentConfig { resume_timeout: PATIENCE, ..config() }
}

fn stage(count: u64, config: &EnvironmentConfig) -> (Stage, Cable) {
    let cable = Cable::new(crate::transport());
    (Stage::over(Arc::new(cable.clone()), count, |_| config.clone()), cable)
}

fn channel_error(error: ReadError) -> (ReasonCode, String) {
    match error {
        ReadError::Channel { code, text, .. } => (code, text),
        other => panic!("a channel's error was due, not {other}"),
    }
}

#[test]
fn a_consumer_sees_a_pause_and_nothing_else() {
    let (mut stage, cable) = stage(2, &patient());
    let mut writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    stage.write(&mut writer, 0, b"before");
    stage.flush(&mut writer);
    assert_eq!(stage.seen(&mut gate), [record(0, "before")]);
    cable.unplug(true);
    cable.cut();
    stage.settle();
    stage.write(&mut writer, 0, b"meanwhile");
    stage.flush(&mut writer);
    assert!(stage.is_waiting(&mut gate));
    stage.pass(PATIENCE / 2);
    assert!(stage.is_waiting(&mut gate));
    cable.unplug(false);
    stage.pass(Duration::from_secs(1));
    stage.finish(writer);
    assert_eq!(stage.seen(&mut gate), [record(0, "meanwhile"), Seen::End(0)]);
    assert_eq!(stage.worker(0).traffic().links_resumed, 1);
    assert_eq!(stage.worker(1).traffic().links_lost, 1);
    drop(gate);
    stage.assert_all_memory_is_back();
}

#[test]
fn channels_fail_with_peer_address_and_cause_when_no_link_comes_back_in_time() {
    let (mut stage, cable) = stage(2, &patient());
    let mut writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    stage.write(&mut writer, 0, b"before");
    stage.flush(&mut writer);
    cable.unplug(true);
    cable.cut();
    stage.settle();
    stage.pass(PATIENCE - Duration::from_millis(1));
    assert_eq!(stage.seen(&mut gate), [record(0, "before")]);
    stage.pass(Duration::from_millis(2));
    let (code, text) = channel_error(stage.failure(&mut gate));
    assert_eq!(code, ReasonCode::WorkerLost);
    let address = stage.worker(0).location().address;
    for part in ["node 0", &address.0, "closed the connection", "nobody is at", "session.resume_timeout", "10s"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let told = stage.until(|context| writer.poll_finish(context)).expect("nobody is left to wait for");
    let told = told.expect_err("its consumer is lost").to_string();
    assert!(told.contains("the link to node 1 was lost") && told.contains("session.resume_timeout"), "{told}");
    drop((gate, writer));
    stage.assert_all_memory_is_back();
}

#[test]
fn a_session_that_does_not_resume_ends_with_its_link() {
    let (mut stage, cable) = stage(2, &config());
    let mut writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    stage.write(&mut writer, 0, b"before");
    stage.flush(&mut writer);
    cable.cut();
    stage.settle();
    assert_eq!(channel_error(stage.failure(&mut gate)).0, ReasonCode::WorkerLost);
}

#[test]
fn a_new_life_of_a_peer_ends_what_the_old_one_had_at_once() {
    let (mut stage, cable) = stage(2, &patient());
    let mut writer = stage.writer(1, 1, 1);
    let mut gate = stage.gate(0, &[(1, 1, 0)]);
    stage.write(&mut writer, 0, b"before");
    stage.flush(&mut writer);
    cable.cut();
    stage.restart(1, Arc::new(cable.clone()), patient());
    drop(writer);
    stage.settle();
    let own = stage.writer(0, 2, 1);
    let mut anew = stage.gate(1, &[(0, 2, 0)]);
    stage.finish(own);
    assert_eq!(stage.seen(&mut anew), [Seen::End(0)]);
    let (code, text) = channel_error(stage.failure(&mut gate));
    assert_eq!(code, ReasonCode::WorkerLost);
    assert!(text.contains("node 1 has started anew"), "{text}");
}

/// The other side has lost patience first. It has given up the consumers, so none of them begins anew: one that did was
/// told that its subpartition had another consumer. (Found by the simulator.)
#[test]
fn a_session_that_the_peer_has_given_up_ends_with_that_cause() {
    let cable = Cable::new(crate::transport());
    let patience = [Duration::from_secs(1), PATIENCE];
    let config = |node: u64| EnvironmentConfig { resume_timeout: patience[node as usize], ..config() };
    let mut stage = Stage::over(Arc::new(cable.clone()), 2, config);
    let mut writer = stage.writer(0, 1, 1);
    let mut touched = stage.gate(1, &[(0, 1, 0)]);
    let silent = stage.writer(0, 2, 1);
    let mut untouched = stage.gate(1, &[(0, 2, 0)]);
    stage.write(&mut writer, 0, b"before");
    stage.flush(&mut writer);
    assert_eq!(stage.seen(&mut touched), [record(0, "before")]);
    cable.unplug(true);
    cable.cut();
    stage.settle();
    stage.pass(Duration::from_secs(2));
    assert!(stage.is_waiting(&mut touched));
    cable.unplug(false);
    stage.pass(Duration::from_secs(2));
    for gate in [&mut touched, &mut untouched] {
        let (code, text) = channel_error(stage.failure(gate));
        assert_eq!(code, ReasonCode::UnknownSession);
        assert!(text.contains("node 0 does not know"), "{text}");
    }
    drop((touched, untouched, writer, silent));
    stage.assert_all_memory_is_back();
}

#[test]
fn sessions_whose_links_are_whole_are_not_touched() {
    let cable = Cable::new(crate::transport());
    let mut stage = Stage::over(Arc::new(cable.clone()), 3, |_| patient());
    let (mut lost, mut whole) = (stage.writer(0, 1, 1), stage.writer(2, 2, 1));
    let mut gate = stage.gate(1, &[(0, 1, 0), (2, 2, 0)]);
    for writer in [&mut lost, &mut whole] {
        stage.write(writer, 0, b"before");
        stage.flush(writer);
    }
    assert_eq!(stage.seen(&mut gate).len(), 2);
    cable.unplug(true);
    cable.cut_with(NodeId(0));
    stage.settle();
    stage.write(&mut whole, 0, b"meanwhile");
    stage.finish(whole);
    assert_eq!(stage.seen(&mut gate), [record(1, "meanwhile"), Seen::End(1)]);
    assert_eq!(stage.worker(2).traffic().links_lost, 0);
    assert_eq!(stage.worker(1).traffic().links_lost, 1);
    cable.unplug(false);
    stage.pass(Duration::from_secs(1));
    stage.finish(lost);
    assert_eq!(stage.seen(&mut gate), [Seen::End(0)]);
}

#[test]
fn who_knows_that_a_worker_is_gone_ends_the_wait() {
    let (mut stage, cable) = stage(3, &patient());
    let mut writers = [stage.writer(0, 1, 1), stage.writer(2, 2, 1)];
    let mut gates = [stage.gate(1, &[(0, 1, 0)]), stage.gate(1, &[(2, 2, 0)])];
    for writer in &mut writers {
        stage.write(writer, 0, b"before");
        stage.flush(writer);
    }
    cable.unplug(true);
    cable.cut_with(NodeId(0));
    let gone = stage.worker(0).location();
    stage.worker(1).worker_lost(gone.node, Incarnation(gone.incarnation.0 + 1));
    stage.settle();
    gates.iter_mut().for_each(|gate| assert_eq!(stage.seen(gate), [record(0, "before")]));
    stage.worker(1).worker_lost(gone.node, gone.incarnation);
    stage.settle();
    let (code, text) = channel_error(stage.failure(&mut gates[0]));
    assert_eq!(code, ReasonCode::WorkerLost);
    assert!(text.contains("node 0 is reported lost"), "{text}");
    assert!(stage.is_waiting(&mut gates[1]));
}

/// However often: each link was good for something, if only to hear that the peer is alive.
#[test]
fn a_session_with_nothing_to_say_outlives_any_number_of_links() {
    let (mut stage, cable) = stage(2, &patient());
    let writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    stage.settle();
    for _ in 0..20 {
        cable.cut();
        stage.settle();
        stage.pass(PATIENCE / 4);
    }
    stage.finish(writer);
    assert_eq!(stage.seen(&mut gate), [Seen::End(0)]);
    assert_eq!(stage.worker(1).traffic().links_resumed, 20);
}

/// Each has begun a session of its own with the other, and each reads from the other.
#[test]
fn two_workers_that_connected_to_each_other_at_once_resume() {
    let (mut stage, cable) = stage(2, &patient());
    let mut writers = [stage.writer(0, 1, 1), stage.writer(1, 2, 1)];
    let mut gates = [stage.gate(0, &[(1, 2, 0)]), stage.gate(1, &[(0, 1, 0)])];
    for cut in 0..6 {
        for writer in &mut writers {
            let mut record = PendingRecord::new(b"again");
            let noop = &mut std::task::Context::from_waker(std::task::Waker::noop());
            assert!(writer.poll_write(noop, 0, &mut record).is_ready());
            assert!(writer.poll_flush(noop).is_ready());
        }
        (0..cut).for_each(|_| stage.turn());
        cable.cut();
        stage.pass(Duration::from_millis(10));
    }
    stage.pass(Duration::from_secs(2));
    writers.into_iter().for_each(|writer| stage.finish(writer));
    for gate in &mut gates {
        let mut seen = stage.seen(gate);
        assert_eq!(seen.pop(), Some(Seen::End(0)));
        assert_eq!(seen, vec![record(0, "again"); 6]);
    }
}

/// Its request, its grants, its end: whatever is lost is said again.
#[test]
fn a_cut_at_any_moment_of_a_short_stream_changes_nothing() {
    for before in 0..12 {
        let (mut stage, cable) = stage(2, &patient());
        let mut writer = stage.writer(0, 1, 1);
        stage.write(&mut writer, 0, b"one");
        let mut gate = stage.gate(1, &[(0, 1, 0)]);
        let _ = writer.poll_flush(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        for _ in 0..before {
            stage.turn();
        }
        cable.cut();
        stage.settle();
        stage.write(&mut writer, 0, b"two");
        let mut writer = Some(writer);
        for turns in 0..12 {
            if turns == before {
                cable.cut();
            }
            if turns == 2 {
                stage.finish(writer.take().expect("once"));
            }
            stage.turn();
        }
        stage.pass(Duration::from_secs(2));
        assert_eq!(stage.seen(&mut gate), [record(0, "one"), record(0, "two"), Seen::End(0)], "cut after {before}");
        drop(gate);
        stage.assert_all_memory_is_back();
        assert_eq!(stage.worker(0).occupied_partitions(), vec![]);
    }
}

/// Records of all sizes, events, little memory, and a cut every few turns.
#[test]
fn whatever_is_cut_everything_arrives_once_and_in_order() {
    for seed in 0..40u64 {
        let memory = if seed % 2 == 0 { 4 << 20 } else { 192 << 10 };
        let (mut stage, cable) = stage(2, &EnvironmentConfig { memory_bytes: memory, ..patient() });
        let mut writer = stage.writer(0, 1, 2);
        let mut gate = stage.gate(1, &[(0, 1, 0), (0, 1, 1)]);
        let mut draw = Draw(seed);
        let mut written: [Vec<Told>; 2] = Default::default();
        let mut readers = [RecordReader::new(1 << 20), RecordReader::new(1 << 20)];
        let mut read: [Vec<Told>; 2] = Default::default();
        for number in 0..200u32 {
            let target = draw.below(2) as u32;
            if draw.below(10) == 0 {
                let event = Event { kind: number as u16, payload: Box::default() };
                let done = poll(&mut stage, &mut gate, (&mut readers, &mut read), |context| {
                    writer.poll_event(context, Some(target), &event, false)
                });
                done.expect("somebody reads");
                written[target as usize].push(Told::Event(number as u16));
            } else {
                let length = [4, 40, 900, 1500, 5000, 40_000][draw.below(6) as usize];
                let bytes: Vec<u8> = number.to_le_bytes().into_iter().chain((4..length).map(|at| at as u8)).collect();
                let mut record = PendingRecord::new(&bytes);
                let done = poll(&mut stage, &mut gate, (&mut readers, &mut read), |context| {
                    writer.poll_write(context, target, &mut record)
                });
                done.expect("somebody reads");
                written[target as usize].push(Told::Record(bytes));
            }
            if draw.below(4) == 0 {
                let flushed =
                    poll(&mut stage, &mut gate, (&mut readers, &mut read), |context| writer.poll_flush(context));
                flushed.expect("somebody reads");
            }
            (0..draw.below(3)).for_each(|_| stage.turn());
            if draw.below(5) == 0 {
                cable.cut();
                stage.turn();
                stage.pass(Duration::from_millis(draw.below(60)));
            }
        }
        let finished = poll(&mut stage, &mut gate, (&mut readers, &mut read), |context| writer.poll_finish(context));
        finished.expect("somebody reads");
        drop(writer);
        while read.iter().any(|told| !matches!(told.last(), Some(Told::End))) {
            let before: usize = read.iter().map(Vec::len).sum();
            stage.pass(Duration::from_secs(1));
            drain(&mut stage, &mut gate, (&mut readers, &mut read));
            assert!(before < read.iter().map(Vec::len).sum(), "seed {seed}: nothing more comes");
        }
        for (written, read) in written.iter_mut().zip(&read) {
            written.push(Told::End);
            assert!(written == read, "seed {seed}: {} were written, {} read", written.len(), read.len());
        }
        drop(gate);
        stage.assert_all_memory_is_back();
        assert!(stage.worker(1).traffic().links_resumed > 5, "seed {seed}: links were cut and came back");
        assert_eq!(stage.worker(0).occupied_partitions(), vec![], "{:?}", partition(1));
    }
}

#[derive(PartialEq, Eq)]
enum Told {
    Record(Vec<u8>),
    Event(u16),
    End,
}

type Reading<'a> = (&'a mut [RecordReader; 2], &'a mut [Vec<Told>; 2]);

/// Polls a writer; whenever it waits, the gate is read and time passes.
fn poll<T>(
    stage: &mut Stage,
    gate: &mut sluice_core::InputGate,
    (readers, read): Reading<'_>,
    mut poll: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>,
) -> T {
    for _ in 0..1000 {
        if let Poll::Ready(ready) = poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            return ready;
        }
        stage.turn();
        drain(stage, gate, (readers, read));
        stage.pass(Duration::from_millis(1));
    }
    panic!("the writer waits for ever");
}

fn drain(stage: &mut Stage, gate: &mut sluice_core::InputGate, (readers, read): Reading<'_>) {
    while let Some(Some(delivery)) = stage.poll(gate) {
        match delivery.expect("nothing failed") {
            Delivery::Buffer { channel, buffer } => {
                let read = &mut read[channel as usize];
                let reader = &mut readers[channel as usize];
                reader.read(&buffer, |record| read.push(Told::Record(record.to_vec()))).expect("no record is too long");
            }
            Delivery::Event { channel, event, .. } => read[channel as usize].push(Told::Event(event.kind)),
            Delivery::End { channel } => read[channel as usize].push(Told::End),
        }
    }
}

struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
