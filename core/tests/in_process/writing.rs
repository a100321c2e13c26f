//! What a writer takes, and in which order it comes out.

use sluice_core::{Delivery, EnvironmentConfig, Event, RecordBatch, RecordReader, WriteError};

use crate::stage::{PLACES, Seen, Stage, config, partition, record};

#[test]
fn single_records_and_batches_stand_in_the_order_of_writing() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let mut writer = stage.writer(0, 1, 2);
        let mut gates = [stage.gate(place, &[(0, 1, 0)]), stage.gate(place, &[(0, 1, 1)])];
        stage.write(&mut writer, 0, b"a");
        stage.write_batch(&mut writer, &[b"b", b"x", b""], &[0, 1, 0]);
        stage.write(&mut writer, 1, b"y");
        stage.write(&mut writer, 0, b"c");
        stage.finish(writer);
        let expected = [
            vec![record(0, "a"), record(0, "b"), record(0, ""), record(0, "c"), Seen::End(0)],
            vec![record(0, "x"), record(0, "y"), Seen::End(0)],
        ];
        for (gate, expected) in gates.iter_mut().zip(expected) {
            assert_eq!(stage.seen(gate), expected);
        }
        drop(gates);
        stage.assert_all_memory_is_back();
    }
}

/// 32 KiB is all that the writer has; each of the records is longer, and goes through it in parts while the consumer
/// reads. The batch is given again and again until it is through.
#[test]
fn a_record_may_be_longer_than_all_buffers_of_its_writer() {
    for place in PLACES {
        for targets in [1, 3, 64] {
            let mut stage = Stage::with(2, &EnvironmentConfig { memory_bytes: 2 * (32 << 10), ..config() });
            let mut writer = stage.writer(0, 1, targets);
            let mut gate = stage.gate(place, &[(0, 1, targets - 1)]);
            let long: Vec<Vec<u8>> = (1..4u8).map(|byte| vec![byte; 100_000 + usize::from(byte)]).collect();
            let records: Vec<&[u8]> = long.iter().map(Vec::as_slice).collect();
            let to = vec![targets - 1; records.len()];
            let mut batch = RecordBatch::new(&records, &to);
            let mut reader = RecordReader::new(1 << 20);
            let mut got = Vec::new();
            while stage.until(|context| writer.poll_write_batch(context, &mut batch)).is_none() {
                let Delivery::Buffer { buffer, .. } = stage.next(&mut gate) else { panic!("data was due") };
                reader.read(&buffer, |record| got.push(record.to_vec())).expect("within the limit");
            }
            let mut ended = false;
            while stage.until(|context| writer.poll_finish(context)).is_none() || !ended {
                match stage.next(&mut gate) {
                    Delivery::Buffer { buffer, .. } => {
                        reader.read(&buffer, |record| got.push(record.to_vec())).expect("within the limit");
                    }
                    Delivery::End { .. } => ended = true,
                    Delivery::Event { .. } => panic!("nobody wrote an event"),
                }
            }
            assert_eq!(got, long, "{targets} targets");
        }
    }
}

#[test]
fn a_broadcast_reaches_every_subpartition_in_its_place_among_the_records() {
    for place in PLACES {
        for targets in [3, 300] {
            let mut stage = Stage::with(2, &EnvironmentConfig { memory_bytes: 512 << 10, ..config() });
            let mut writer = stage.writer(0, 1, targets);
            let mut gate = stage.gate(place, &[(0, 1, 0), (0, 1, 1), (0, 1, targets - 1)]);
            stage.write(&mut writer, 0, b"before");
            stage.broadcast(&mut writer, b"all");
            stage.broadcast(&mut writer, b"of you");
            stage.write(&mut writer, 1, b"after");
            stage.write_batch(&mut writer, &[b"after"], &[0]);
            stage.broadcast(&mut writer, b"again");
            stage.finish(writer);
            let seen = stage.seen(&mut gate);
            let of = |channel: u32| -> Vec<Seen> {
                let mine = seen.iter().filter(|seen| match seen {
                    Seen::Record(from, _) | Seen::End(from) => *from == channel,
                    Seen::Event(..) => panic!("nobody wrote an event"),
                });
                mine.cloned().collect()
            };
            let say = |channel, words: &[&str]| -> Vec<Seen> {
                words.iter().map(|word| record(channel, word)).chain([Seen::End(channel)]).collect()
            };
            assert_eq!(of(0), say(0, &["before", "all", "of you", "after", "again"]));
            assert_eq!(of(1), say(1, &["all", "of you", "after", "again"]));
            assert_eq!(of(2), say(2, &["all", "of you", "again"]));
        }
    }
}

#[test]
fn a_broadcast_is_stored_once() {
    let mut stage = Stage::new(1);
    let mut writer = stage.writer(0, 1, 50);
    stage.broadcast(&mut writer, &[7; 20_000]);
    stage.flush(&mut writer);
    let used = stage.bytes_in_use(0);
    assert!(used <= 32 << 10, "{used} bytes for one record of 20 000 to 50 subpartitions");
}

/// The record waits for memory between its parts: each target still gets it once, and whole.
#[test]
fn a_broadcast_may_be_longer_than_all_buffers_of_its_writer() {
    for place in PLACES {
        let mut stage = Stage::with(2, &EnvironmentConfig { memory_bytes: 3 * (32 << 10), ..config() });
        let mut writer = stage.writer(0, 1, 2);
        let mut gate = stage.gate(place, &[(0, 1, 0), (0, 1, 1)]);
        stage.write(&mut writer, 1, b"before");
        let long = vec![9; 200_000];
        let mut readers = [RecordReader::new(1 << 20), RecordReader::new(1 << 20)];
        let mut got = [Vec::new(), Vec::new()];
        let mut ended = 0;
        let mut written = false;
        while ended < 2 {
            written = written || stage.until(|context| writer.poll_broadcast(context, &long)).is_some();
            if written {
                let _ = stage.until(|context| writer.poll_finish(context));
            }
            match stage.next(&mut gate) {
                Delivery::Buffer { channel, buffer } => {
                    let got = &mut got[channel as usize];
                    readers[channel as usize].read(&buffer, |record| got.push(record.to_vec())).expect("short enough");
                }
                Delivery::End { .. } => ended += 1,
                Delivery::Event { .. } => panic!("nobody wrote an event"),
            }
        }
        assert_eq!(got, [vec![long.clone()], vec![b"before".to_vec(), long]]);
    }
}

#[test]
fn a_record_over_the_limit_is_refused_and_nothing_of_it_is_written() {
    let mut stage = Stage::with(1, &EnvironmentConfig { record_bytes_max: 100, ..config() });
    let mut writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(0, &[(0, 1, 0)]);
    let refused = WriteError::RecordTooLong { partition: partition(1), bytes: 101, limit: 100 };
    let long = [0; 101];
    assert_eq!(stage.try_write(&mut writer, 0, &long), Some(Err(refused.clone())));
    let (records, targets) = ([&b"first"[..], &long], [0, 0]);
    let mut batch = RecordBatch::new(&records, &targets);
    let written = stage.until(|context| writer.poll_write_batch(context, &mut batch));
    assert_eq!((written, batch.written()), (Some(Err(refused.clone())), 1));
    assert_eq!(stage.until(|context| writer.poll_broadcast(context, &long)), Some(Err(refused.clone())));
    assert!(refused.to_string().contains("shuffle.record_bytes_max"), "{refused}");
    stage.write(&mut writer, 0, &[1; 100]);
    stage.finish(writer);
    assert_eq!(stage.seen(&mut gate), vec![record(0, "first"), Seen::Record(0, vec![1; 100]), Seen::End(0)]);
}

#[test]
fn a_record_over_the_limit_of_its_reader_is_refused_before_it_is_put_together() {
    let mut stage = Stage::new(1);
    let mut writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(0, &[(0, 1, 0)]);
    stage.write(&mut writer, 0, &[1; 1001]);
    stage.finish(writer);
    let Delivery::Buffer { buffer, .. } = stage.next(&mut gate) else { panic!("data was due") };
    let error = RecordReader::new(1000).read(&buffer, |_| panic!("too long")).expect_err("too long");
    assert_eq!((error.bytes, error.limit), (1001, 1000));
}

#[test]
fn a_target_that_the_partition_does_not_have_is_refused() {
    let mut stage = Stage::new(1);
    let mut writer = stage.writer(0, 1, 4);
    let refused = WriteError::NoSuchSubpartition { partition: partition(1), target: 4, subpartitions: 4 };
    assert_eq!(stage.try_write(&mut writer, 4, b"x"), Some(Err(refused.clone())));
    let (records, targets) = ([&b"x"[..]], [4]);
    let mut batch = RecordBatch::new(&records, &targets);
    assert_eq!(stage.until(|context| writer.poll_write_batch(context, &mut batch)), Some(Err(refused.clone())));
    let event = Event { kind: 1, payload: Box::default() };
    assert_eq!(stage.until(|context| writer.poll_event(context, Some(4), &event, false)), Some(Err(refused)));
}

#[test]
fn an_event_longer_than_the_wire_carries_is_refused() {
    let mut stage = Stage::new(1);
    let mut writer = stage.writer(0, 1, 1);
    let event = Event { kind: 1, payload: vec![0; 4097].into() };
    let refused = WriteError::EventTooLong { partition: partition(1), bytes: 4097, limit: 4096 };
    assert_eq!(stage.until(|context| writer.poll_event(context, None, &event, false)), Some(Err(refused)));
}
