//! When written records become visible although their buffer is not full.

use std::sync::Arc;
use std::time::Duration;

use sluice_core::{Delivery, EnvironmentConfig, FlushInterval, NodeId, ReactorDrive, ShuffleEnvironment};
use sluice_plugin::TransportFactory;

use crate::stage::{PLACES, Seen, Stage, config, partition, record};

fn every(time: Duration) -> EnvironmentConfig {
    EnvironmentConfig { flush: FlushInterval::After(time), ..config() }
}

#[test]
fn the_timer_flushes_while_the_task_does_nothing() {
    for place in PLACES {
        for targets in [1, 1000] {
            let mut stage = Stage::with(2, &every(Duration::from_millis(10)));
            let mut writer = stage.writer(0, 1, targets);
            let mut gate = stage.gate(place, &[(0, 1, 0)]);
            for text in ["a", "b"] {
                stage.write(&mut writer, 0, text.as_bytes());
                stage.settle();
                stage.pass(Duration::from_millis(9));
                assert!(stage.is_waiting(&mut gate), "not before its time");
                stage.pass(Duration::from_millis(1));
                assert_eq!(stage.seen(&mut gate), [record(0, text)]);
            }
            stage.broadcast(&mut writer, b"c");
            stage.settle();
            stage.pass(Duration::from_millis(10));
            assert_eq!(stage.seen(&mut gate), [record(0, "c")]);
        }
    }
}

/// With threads and the real clock: the task sleeps in a channel, the reader in its gate.
#[test]
fn a_reader_that_sleeps_is_woken_by_the_timer_of_a_writer_that_sleeps() {
    let transport = crate::transport();
    let start = |node| {
        let config = EnvironmentConfig { node: NodeId(node), ..every(Duration::from_millis(2)) };
        let transport = Arc::<dyn TransportFactory>::clone(&transport);
        ShuffleEnvironment::start(config, transport, ReactorDrive::OwnThread).expect("a worker starts").environment
    };
    let (near, far) = (start(0), start(1));
    for (reader, number) in [(&near, 1), (&far, 2)] {
        let mut writer = near.create_writer(partition(number), 1).expect("there is memory");
        let at = near.location();
        let location = sluice_core::ChannelLocation {
            partition: partition(number),
            subpartition: 0,
            node: at.node,
            address: at.address,
        };
        let mut gate = reader.create_gate("a test", 1, &[(0, location)]).expect("there is memory");
        let (done, wait) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                writer.write(0, b"visible").expect("it is written");
                wait.recv().expect("the reader has seen it");
                writer.finish().expect("the reader is there");
            });
            assert!(matches!(gate.read(), Some(Ok(Delivery::Buffer { .. }))));
            done.send(()).expect("the writer waits");
            assert!(matches!(gate.read(), Some(Ok(Delivery::End { .. }))));
            assert!(gate.read().is_none());
        });
    }
}

#[test]
fn without_flushes_only_full_buffers_are_visible_until_the_end() {
    for place in PLACES {
        let mut stage = Stage::with(2, &EnvironmentConfig { flush: FlushInterval::Off, ..config() });
        let mut writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.write(&mut writer, 0, b"kept");
        stage.write_batch(&mut writer, &[b"as well"], &[0]);
        stage.pass(Duration::from_secs(1));
        assert!(stage.is_waiting(&mut gate));
        stage.finish(writer);
        assert_eq!(stage.seen(&mut gate), [record(0, "kept"), record(0, "as well"), Seen::End(0)]);
    }
}

#[test]
fn with_interval_zero_every_call_is_visible_at_once() {
    for place in PLACES {
        for targets in [1, 1000] {
            let mut stage = Stage::with(2, &EnvironmentConfig { flush: FlushInterval::Always, ..config() });
            let mut writer = stage.writer(0, 1, targets);
            let mut gate = stage.gate(place, &[(0, 1, 0)]);
            stage.write(&mut writer, 0, b"a");
            assert_eq!(stage.seen(&mut gate), [record(0, "a")]);
            stage.write_batch(&mut writer, &[b"b", b"c"], &[0, 0]);
            assert_eq!(stage.seen(&mut gate), [record(0, "b"), record(0, "c")]);
            stage.broadcast(&mut writer, b"d");
            assert_eq!(stage.seen(&mut gate), [record(0, "d")]);
        }
    }
}

#[test]
fn a_flush_of_the_task_makes_everything_visible() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 1000);
        let mut gate = stage.gate(place, &[(0, 1, 7)]);
        stage.write(&mut writer, 7, b"a");
        stage.flush(&mut writer);
        assert_eq!(stage.seen(&mut gate), [record(0, "a")]);
    }
}
