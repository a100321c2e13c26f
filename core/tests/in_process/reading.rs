//! How a gate gives: when asked, in turn, and with a word to who sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sluice_core::Delivery;

use crate::stage::{PLACES, Stage};

#[derive(Default)]
struct Calls(AtomicU64);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_task_that_found_nothing_is_woken_when_there_is_something() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        let mut context = Context::from_waker(&waker);
        for round in 0..3 {
            while gate.poll_next(&mut context).is_ready() {}
            let before = calls.0.load(Ordering::SeqCst);
            stage.write(&mut writer, 0, b"x");
            assert_eq!(calls.0.load(Ordering::SeqCst), before, "nothing is visible in round {round}");
            stage.flush(&mut writer);
            assert_eq!(calls.0.load(Ordering::SeqCst), before + 1, "woken once in round {round}");
            let Poll::Ready(Some(Ok(Delivery::Buffer { .. }))) = gate.poll_next(&mut context) else {
                panic!("data was due")
            };
        }
        drop(writer);
        stage.settle();
        assert!(matches!(gate.poll_next(&mut context), Poll::Ready(Some(Err(_)))));
    }
}

/// Only the last waker counts: a gate that moved to another task wakes that one.
#[test]
fn the_task_that_asked_last_is_woken() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        let calls = [Arc::new(Calls::default()), Arc::new(Calls::default())];
        for calls in &calls {
            let waker = Waker::from(Arc::clone(calls));
            while gate.poll_next(&mut Context::from_waker(&waker)).is_ready() {}
        }
        stage.write(&mut writer, 0, b"x");
        stage.flush(&mut writer);
        assert_eq!(calls[1].0.load(Ordering::SeqCst), 1);
    }
}

/// Each delivery of the channel with endless data makes room for more of it, and the other channels still have their
/// turn at once.
#[test]
fn a_channel_with_endless_data_does_not_starve_another() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut greedy = stage.writer(0, 1, 1);
        let mut modest = [stage.writer(0, 2, 1), stage.writer(0, 3, 1)];
        let mut gate = stage.gate(place, &[(0, 1, 0), (0, 2, 0), (0, 3, 0)]);
        stage.settle();
        for round in 0..20 {
            while stage.try_write(&mut greedy, 0, &[1; 10_000]).is_some() {}
            if round % 5 == 4 {
                for writer in &mut modest {
                    stage.write(writer, 0, b"my turn");
                    stage.flush(writer);
                }
                let next: Vec<_> = (0..4).map(|_| channel(&stage.next(&mut gate))).collect();
                assert!(next.contains(&1) && next.contains(&2), "{next:?} in round {round}");
            } else {
                assert_eq!(channel(&stage.next(&mut gate)), 0);
            }
        }
    }
}

fn channel(delivery: &Delivery) -> u32 {
    match delivery {
        Delivery::Buffer { channel, .. } | Delivery::Event { channel, .. } | Delivery::End { channel } => *channel,
    }
}

#[test]
fn a_gate_that_is_complete_stays_complete() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.finish(writer);
        assert!(matches!(stage.next(&mut gate), Delivery::End { channel: 0 }));
        for _ in 0..3 {
            assert!(matches!(stage.poll(&mut gate), Some(None)));
        }
        assert_eq!(stage.worker(0).occupied_partitions(), vec![], "what was read is released");
    }
}
