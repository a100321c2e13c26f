//! Events: in their place, or before everything; and never so many that they fill the consumer's memory.

use sluice_core::Delivery;

use crate::stage::{PLACES, Seen, Stage, record};

#[test]
fn an_event_stands_behind_what_was_written_before_it() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 2);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        let mut other = stage.gate(place, &[(0, 1, 1)]);
        stage.write(&mut writer, 0, b"a");
        stage.event(&mut writer, None, 1, false);
        stage.broadcast(&mut writer, b"b");
        stage.event(&mut writer, Some(0), 2, false);
        stage.write_batch(&mut writer, &[b"c"], &[0]);
        stage.event(&mut writer, None, 3, false);
        stage.finish(writer);
        let event = |kind| Seen::Event(0, kind, None);
        let expected = [record(0, "a"), event(1), record(0, "b"), event(2), record(0, "c"), event(3), Seen::End(0)];
        assert_eq!(stage.seen(&mut gate), expected);
        assert_eq!(stage.seen(&mut other), [event(1), record(0, "b"), event(3), Seen::End(0)]);
    }
}

#[test]
fn an_event_is_visible_at_once_and_so_is_what_stands_before_it() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.write(&mut writer, 0, b"a");
        assert!(stage.is_waiting(&mut gate));
        stage.event(&mut writer, None, 1, false);
        assert_eq!(stage.seen(&mut gate), [record(0, "a"), Seen::Event(0, 1, None)]);
    }
}

#[test]
fn a_priority_event_overtakes_what_has_not_been_sent_and_says_how_much() {
    let mut stage = Stage::new(1);
    let mut writer = stage.writer(0, 1, 1);
    for text in ["a", "b", "c"] {
        stage.write(&mut writer, 0, text.as_bytes());
        stage.flush(&mut writer);
    }
    stage.write(&mut writer, 0, b"d");
    stage.event(&mut writer, None, 1, true);
    stage.event(&mut writer, None, 2, true);
    let mut gate = stage.gate(0, &[(0, 1, 0)]);
    stage.finish(writer);
    let mut expected = vec![Seen::Event(0, 1, Some(4)), Seen::Event(0, 2, Some(4))];
    expected.extend(["a", "b", "c", "d"].map(|text| record(0, text)));
    expected.push(Seen::End(0));
    assert_eq!(stage.seen(&mut gate), expected);
}

/// The producer's side has sent what its credit allows; the event goes before the rest, and the gate gives it before
/// all that it has not given.
#[test]
fn a_priority_event_goes_out_although_the_credit_is_spent() {
    let mut stage = Stage::new(2);
    let mut writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    stage.settle();
    while stage.try_write(&mut writer, 0, &[1; 10_000]).is_some() {}
    let sent = stage.worker(0).traffic().sent_bytes;
    let queued = stage.bytes_in_use(0) as u64;
    assert!(sent > 0 && queued > sent, "{sent} bytes sent of {queued}: some wait for credit");
    stage.event(&mut writer, None, 5, true);
    stage.settle();
    match stage.next(&mut gate) {
        Delivery::Event { event, overtook: Some(overtook), .. } => {
            assert_eq!(event.kind, 5);
            assert!(overtook > 0, "it overtook the blocks that wait");
        }
        other => panic!("the event was due, not {other:?}"),
    }
}

#[test]
fn a_flood_of_events_waits_for_the_task_and_goes_on() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.settle();
        for kind in 0..100 {
            stage.event(&mut writer, None, kind, false);
            stage.settle();
        }
        stage.finish(writer);
        let expected: Vec<_> = (0..100).map(|kind| Seen::Event(0, kind, None)).chain([Seen::End(0)]).collect();
        assert_eq!(stage.seen(&mut gate), expected);
    }
}

#[test]
fn a_flood_of_events_does_not_hold_up_another_channel() {
    let mut stage = Stage::new(2);
    let (mut noisy, mut quiet) = (stage.writer(0, 1, 1), stage.writer(0, 2, 1));
    let mut gates = [stage.gate(1, &[(0, 1, 0)]), stage.gate(1, &[(0, 2, 0)])];
    stage.settle();
    for kind in 0..50 {
        stage.event(&mut noisy, None, kind, false);
    }
    stage.settle();
    stage.write(&mut quiet, 0, b"here");
    stage.finish(quiet);
    assert_eq!(stage.seen(&mut gates[1]), [record(0, "here"), Seen::End(0)]);
}

/// The event window is full, so the priority events wait, too: one is taken out of the queue and shown to the link
/// already when the next one comes. They must not change places.
#[test]
fn priority_events_that_wait_for_the_window_keep_their_order() {
    let mut stage = Stage::new(2);
    let mut writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    stage.settle();
    for kind in 0..17 {
        stage.event(&mut writer, None, kind, false);
        stage.settle();
    }
    for kind in 100..105 {
        stage.event(&mut writer, None, kind, true);
        stage.settle();
    }
    stage.finish(writer);
    let seen = stage.seen(&mut gate);
    let priority: Vec<_> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::Event(_, kind, Some(_)) => Some(*kind),
            _ => None,
        })
        .collect();
    assert_eq!(priority, [100, 101, 102, 103, 104]);
}
