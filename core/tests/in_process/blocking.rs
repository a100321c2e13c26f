//! Partitions that go to the disk: what is written is read, by whoever, as often as they like, whatever the memory.

use std::sync::Arc;
use std::task::{Context, Poll};

use sluice_core::{
    Compression, Delivery, Devices, DiskSettings, Durability, EnvironmentConfig, PartitionKind, PartitionWriter,
    ReadError, ReasonCode, RecordBatch, WriteError,
};
use sluice_plugin::MemoryDisk;

use crate::stage::{PLACES, Seen, Stage, config, partition, record};

const KINDS: [PartitionKind; 2] = [PartitionKind::SortMerge, PartitionKind::Hash];

/// As elsewhere, and regions are sorted on the thread of the test.
fn disk_config() -> EnvironmentConfig {
    EnvironmentConfig { disk: DiskSettings { sort_threads: 0, ..DiskSettings::default() }, ..config() }
}

fn stage(disk: &MemoryDisk, config: &EnvironmentConfig) -> Stage {
    let devices = Devices { transport: crate::transport_beside_a_disk(), disk: Some(Arc::new(disk.clone())) };
    Stage::on(devices, 2, |_| config.clone())
}

fn writer(stage: &Stage, kind: PartitionKind, number: u64, subpartitions: u32) -> PartitionWriter {
    stage.worker(0).create_writer_of(kind, partition(number), subpartitions).expect("there is memory")
}

/// Polls until it is ready; each round of waiting lets the disk and the sorter get on.
fn drive<T>(stage: &mut Stage, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    for _ in 0..100_000 {
        if let Some(ready) = stage.until(&mut poll) {
            return ready;
        }
    }
    panic!("it is never ready");
}

fn write_all(stage: &mut Stage, writer: &mut PartitionWriter, records: &[Vec<u8>], targets: &[u32]) {
    let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    let mut batch = RecordBatch::new(&slices, targets);
    drive(stage, |context| writer.poll_write_batch(context, &mut batch)).expect("it is written");
}

fn finish(stage: &mut Stage, mut writer: PartitionWriter) {
    drive(stage, |context| writer.poll_finish(context)).expect("it is complete");
    stage.settle();
}

/// Records of lengths that fit nothing, each for one of `n`.
fn records(count: u32, n: u32) -> (Vec<Vec<u8>>, Vec<u32>) {
    let length = |index: u32| (index.wrapping_mul(2_654_435_761) >> 16) as usize % 700;
    let records = (0..count).map(|index| {
        let mut record = index.to_le_bytes().to_vec();
        record.resize(4 + length(index), index as u8);
        record
    });
    (records.collect(), (0..count).map(|index| index.wrapping_mul(7919) % n).collect())
}

fn expected(records: &[Vec<u8>], targets: &[u32], target: u32) -> Vec<Seen> {
    let of_it = records.iter().zip(targets).filter(|(_, t)| **t == target);
    of_it.map(|(record, _)| Seen::Record(0, record.clone())).chain([Seen::End(0)]).collect()
}

#[test]
fn what_is_written_is_read_in_order_here_and_elsewhere() {
    for kind in KINDS {
        for n in [1, 3, 50] {
            let disk = MemoryDisk::new();
            let mut stage = stage(&disk, &disk_config());
            let mut writer = writer(&stage, kind, 1, n);
            let (records, targets) = records(9_000, n);
            write_all(&mut stage, &mut writer, &records, &targets);
            finish(&mut stage, writer);
            for target in [0, n / 2, n - 1] {
                for place in PLACES {
                    let mut gate = stage.gate(place, &[(0, 1, target)]);
                    assert_eq!(stage.seen(&mut gate), expected(&records, &targets, target), "{kind}, {target} of {n}");
                }
            }
            let statistics = stage.worker(0).partition_statistics(partition(1)).expect("it is here");
            let bytes = records.iter().map(|record| 4 + record.len() as u64).sum();
            assert_eq!(statistics.bytes.iter().sum::<u64>(), bytes);
            assert_eq!(statistics.records.iter().sum::<u64>(), 9_000);
            stage.worker(0).release_partition(partition(1));
            stage.settle();
            stage.assert_all_memory_is_back();
        }
    }
}

/// The floor of a writer sorts 16 KiB at a time; slices of some bytes, and still every one in its place.
#[test]
fn the_floors_alone_do_for_any_number_of_subpartitions() {
    for kind in KINDS {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let n = 40;
            let settings = DiskSettings { compression, ..disk_config().disk };
            let config =
                EnvironmentConfig { memory_bytes: 5 * (32 << 10) + (128 << 10), disk: settings, ..disk_config() };
            let disk = MemoryDisk::new();
            let mut stage = stage(&disk, &config);
            let mut writer = writer(&stage, kind, 1, n);
            let (records, targets) = records(1_500, n);
            write_all(&mut stage, &mut writer, &records, &targets);
            finish(&mut stage, writer);
            for target in [0, 17, n - 1] {
                for place in PLACES {
                    let mut gate = stage.gate(place, &[(0, 1, target)]);
                    let (seen, expected) = (stage.seen(&mut gate), expected(&records, &targets, target));
                    let (here, there) = (seen.len(), expected.len());
                    assert!(seen == expected, "{kind}, {compression:?}, {target} at {place}: {here} of {there}");
                }
            }
            stage.assert_all_memory_is_back();
        }
    }
}

#[test]
fn records_for_all_and_events_stand_where_they_were_written() {
    for kind in KINDS {
        let disk = MemoryDisk::new();
        let mut stage = stage(&disk, &disk_config());
        let mut writer = writer(&stage, kind, 1, 3);
        stage.write(&mut writer, 1, b"a");
        stage.broadcast(&mut writer, b"for all");
        stage.write(&mut writer, 1, b"b");
        stage.event(&mut writer, None, 7, false);
        stage.event(&mut writer, Some(1), 8, true);
        stage.write(&mut writer, 1, b"");
        stage.broadcast(&mut writer, b"");
        finish(&mut stage, writer);
        for place in PLACES {
            let mut gate = stage.gate(place, &[(0, 1, 1), (0, 1, 2)]);
            let seen = stage.seen(&mut gate);
            let of = |channel: u32| {
                let of_it = move |seen: &&Seen| match seen {
                    Seen::Record(c, _) | Seen::Event(c, ..) | Seen::End(c) => *c == channel,
                };
                seen.iter().filter(of_it).cloned().collect::<Vec<_>>()
            };
            let all = |channel| [record(channel, "for all"), Seen::Event(channel, 7, None), record(channel, "")];
            let [first, event, last] = all(0);
            let second = vec![
                record(0, "a"),
                first,
                record(0, "b"),
                event,
                Seen::Event(0, 8, None),
                record(0, ""),
                last,
                Seen::End(0),
            ];
            assert_eq!(of(0), second, "{kind}");
            assert_eq!(of(1), all(1).into_iter().chain([Seen::End(1)]).collect::<Vec<_>>(), "{kind}");
        }
        let statistics = stage.worker(0).partition_statistics(partition(1)).expect("it is here");
        assert_eq!(statistics.records, [2, 5, 2]);
    }
}

#[test]
fn an_empty_partition_is_complete() {
    for kind in KINDS {
        let disk = MemoryDisk::new();
        let mut stage = stage(&disk, &disk_config());
        let writer = writer(&stage, kind, 1, 3);
        finish(&mut stage, writer);
        for place in PLACES {
            let mut gate = stage.gate(place, &[(0, 1, 2)]);
            assert_eq!(stage.seen(&mut gate), [Seen::End(0)]);
        }
    }
}

#[test]
fn consumers_that_come_too_early_wait_for_the_end_of_the_producer() {
    for place in PLACES {
        let disk = MemoryDisk::new();
        let mut stage = stage(&disk, &disk_config());
        let mut writer = writer(&stage, PartitionKind::SortMerge, 1, 1);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        stage.write(&mut writer, 0, b"a");
        assert!(stage.is_waiting(&mut gate));
        finish(&mut stage, writer);
        assert_eq!(stage.seen(&mut gate), [record(0, "a"), Seen::End(0)]);
    }
}

#[test]
fn a_release_removes_the_files_whatever_is_going_on() {
    for kind in KINDS {
        let disk = MemoryDisk::new();
        let mut stage = stage(&disk, &disk_config());
        // While it is written.
        let mut early = writer(&stage, kind, 1, 2);
        let (records, targets) = records(20_000, 2);
        write_all(&mut stage, &mut early, &records, &targets);
        stage.worker(0).release_partition(partition(1));
        stage.settle();
        let error = drive(&mut stage, |context| early.poll_finish(context)).expect_err("it is released");
        assert_eq!(error, WriteError::Released { partition: partition(1) });
        drop(early);
        // While it is read.
        let mut late = writer(&stage, kind, 2, 2);
        write_all(&mut stage, &mut late, &records, &targets);
        finish(&mut stage, late);
        let mut gate = stage.gate(1, &[(0, 2, 0)]);
        assert!(matches!(stage.next(&mut gate), Delivery::Buffer { .. }));
        stage.worker(0).release_partition(partition(2));
        let ReadError::Channel { code: ReasonCode::PartitionGone, .. } = stage.failure(&mut gate) else {
            panic!("it is released");
        };
        drop(gate);
        stage.settle();
        stage.assert_all_memory_is_back();
        assert_eq!(disk.files(), [], "{kind}");
    }
}

/// Many consumers, each of which has begun and stands still, and memory for a few: another one gets all the same.
#[test]
fn readers_that_stand_still_do_not_keep_others_from_the_disk() {
    let n = 60;
    let config = EnvironmentConfig { memory_bytes: 64 * (32 << 10), ..disk_config() };
    let disk = MemoryDisk::new();
    let mut stage = stage(&disk, &config);
    let mut writer = writer(&stage, PartitionKind::SortMerge, 1, n);
    let (records, targets) = records(12_000, n);
    write_all(&mut stage, &mut writer, &records, &targets);
    finish(&mut stage, writer);
    for place in PLACES {
        let channels: Vec<_> = (0..n).map(|target| (0, 1, target)).collect();
        let mut idle = stage.gate(place, &channels);
        assert!(matches!(stage.next(&mut idle), Delivery::Buffer { .. }));
        let mut busy = stage.gate(place, &[(0, 1, 5)]);
        let mut seen = Vec::new();
        for _ in 0..100 {
            stage.pass(std::time::Duration::from_millis(30));
            seen.extend(stage.seen(&mut busy));
        }
        assert_eq!(seen.len(), expected(&records, &targets, 5).len(), "at {place}");
        drop(busy);
        let mut rest = Vec::new();
        for _ in 0..400 {
            stage.pass(std::time::Duration::from_millis(30));
            rest.extend(stage.seen(&mut idle));
        }
        assert_eq!(rest.iter().filter(|seen| matches!(seen, Seen::End(_))).count(), n as usize);
    }
}

#[test]
fn a_consumer_can_read_one_partition_to_its_end_before_another_from_the_same_disk() {
    let config = EnvironmentConfig { memory_bytes: 64 * (32 << 10), ..disk_config() };
    let disk = MemoryDisk::new();
    let mut stage = stage(&disk, &config);
    let (records, targets) = records(20_000, 1);
    for number in [1, 2] {
        let mut writer = writer(&stage, PartitionKind::SortMerge, number, 1);
        write_all(&mut stage, &mut writer, &records, &targets);
        finish(&mut stage, writer);
    }
    for place in PLACES {
        // Granted credit, and not looked at before the other one is through: as the sides of a hash join.
        let mut probe = stage.gate(place, &[(0, 2, 0)]);
        stage.settle();
        for number in [1, 2] {
            let mut build = stage.gate(place, &[(0, number, 0)]);
            assert_eq!(stage.seen(&mut build), expected(&records, &targets, 0), "{number} at {place}");
        }
        assert_eq!(stage.seen(&mut probe), expected(&records, &targets, 0), "at {place}");
    }
}

#[test]
fn a_full_directory_is_passed_over() {
    for kind in KINDS {
        let disk = MemoryDisk::with_directories(&[2 << 20, 64 << 20]);
        let mut stage = stage(&disk, &disk_config());
        let mut writer = writer(&stage, kind, 1, 2);
        let (records, targets) = records(20_000, 2);
        write_all(&mut stage, &mut writer, &records, &targets);
        finish(&mut stage, writer);
        for target in 0..2 {
            let mut gate = stage.gate(1, &[(0, 1, target)]);
            assert_eq!(stage.seen(&mut gate), expected(&records, &targets, target), "{kind}");
        }
    }
}

#[test]
fn a_partition_that_fits_nowhere_fails_with_the_path_and_its_neighbour_lives() {
    for kind in KINDS {
        let disk = MemoryDisk::with_directories(&[2 << 20, 3 << 20]);
        let mut stage = stage(&disk, &disk_config());
        let mut small = writer(&stage, kind, 1, 2);
        stage.write(&mut small, 1, b"small");
        let mut large = writer(&stage, kind, 2, 2);
        let (records, targets) = records(40_000, 2);
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let mut batch = RecordBatch::new(&slices, &targets);
        let written = drive(&mut stage, |context| large.poll_write_batch(context, &mut batch));
        let error = written.and_then(|()| drive(&mut stage, |context| large.poll_finish(context)));
        let Err(WriteError::Disk { cause, .. }) = error else { panic!("there is no room: {error:?}") };
        assert!(cause.contains("directory") || cause.contains('/'), "{cause}");
        drop(large);
        finish(&mut stage, small);
        let mut gate = stage.gate(1, &[(0, 1, 1)]);
        assert_eq!(stage.seen(&mut gate), [record(0, "small"), Seen::End(0)]);
        let mut gate = stage.gate(1, &[(0, 2, 1)]);
        let ReadError::Channel { code: ReasonCode::ProducerFailed, .. } = stage.failure(&mut gate) else {
            panic!("its producer has failed");
        };
    }
}

#[test]
fn what_is_finished_outlives_its_worker_and_what_is_not_goes() {
    for kind in KINDS {
        for durability in [Durability::None, Durability::OnFinish] {
            let disk = MemoryDisk::new();
            let settings = DiskSettings { durability, ..disk_config().disk };
            let config = EnvironmentConfig { disk: settings, ..disk_config() };
            let mut stage = stage(&disk, &config);
            let (records, targets) = records(20_000, 2);
            let mut complete = writer(&stage, kind, 1, 2);
            write_all(&mut stage, &mut complete, &records, &targets);
            finish(&mut stage, complete);
            let mut half = writer(&stage, kind, 2, 2);
            write_all(&mut stage, &mut half, &records, &targets);
            drop(stage.take_reactor(0));
            drop(half);
            let devices = Devices { transport: crate::transport_beside_a_disk(), disk: Some(Arc::new(disk.clone())) };
            stage.restart(0, devices, config);
            stage.settle();
            let directories = stage.worker(0).disk().expect("it has one").directories;
            let mut held = Vec::new();
            for directory in directories {
                let context = &mut Context::from_waker(std::task::Waker::noop());
                let Poll::Ready(found) = stage.worker(0).poll_recover(context, &directory.path) else {
                    panic!("all has been looked at");
                };
                held.extend(found.expect("it is one of its directories"));
            }
            held.dedup();
            assert_eq!(held.iter().map(|held| held.partition).collect::<Vec<_>>(), [partition(1)], "{kind}");
            assert_eq!(held[0].kind, kind);
            assert_eq!(held[0].statistics.records.iter().sum::<u64>(), 20_000);
            for target in 0..2 {
                let mut gate = stage.gate(0, &[(0, 1, target)]);
                assert_eq!(stage.seen(&mut gate), expected(&records, &targets, target), "{kind}");
            }
            // Nobody claims it but who has read it; what was half is not there.
            assert!(disk.files().iter().all(|(_, _, name)| name.contains("partition1-")), "{:?}", disk.files());
            stage.worker(0).release_job(partition(1).job);
            stage.settle();
            assert_eq!(disk.files(), []);
        }
    }
}

#[test]
fn what_nobody_claims_in_time_is_removed() {
    let disk = MemoryDisk::new();
    let mut stage = stage(&disk, &disk_config());
    for number in [1, 2] {
        let mut writer = writer(&stage, PartitionKind::SortMerge, number, 1);
        stage.write(&mut writer, 0, b"a");
        finish(&mut stage, writer);
    }
    drop(stage.take_reactor(0));
    let devices = Devices { transport: crate::transport_beside_a_disk(), disk: Some(Arc::new(disk.clone())) };
    stage.restart(0, devices, disk_config());
    stage.settle();
    assert_eq!(stage.worker(0).occupied_partitions(), [partition(1), partition(2)]);
    stage.worker(0).claim(partition(2));
    disk.pass(DiskSettings::default().recover_timeout);
    stage.pass(DiskSettings::default().recover_timeout);
    assert_eq!(stage.worker(0).occupied_partitions(), [partition(2)]);
    assert!(disk.files().iter().all(|(_, _, name)| name.contains("partition2-")), "{:?}", disk.files());
}

/// A byte of the payload changes on the medium.
#[test]
fn a_changed_byte_is_found_before_anybody_gets_it() {
    let disk = MemoryDisk::with_directories(&[64 << 20]);
    let mut stage = stage(&disk, &disk_config());
    let mut writer = writer(&stage, PartitionKind::SortMerge, 1, 1);
    let (records, targets) = records(200, 1);
    write_all(&mut stage, &mut writer, &records, &targets);
    finish(&mut stage, writer);
    let files = disk.files();
    let (directory, owner, name) = &files[0];
    let mut bytes = disk.contents(*directory, owner, name).expect("it is there");
    bytes[4096 + 1000] ^= 1;
    disk.overwrite(*directory, owner, name, &bytes);
    for place in PLACES {
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        let ReadError::Channel { code, text, .. } = stage.failure(&mut gate) else { panic!("it is changed") };
        assert_eq!(code, ReasonCode::CorruptBlock, "{text}");
        assert!(text.contains("checksum") && text.contains("offset") && text.contains("partition1"), "{text}");
    }
}

/// So many at once that what all of them want does not fit into memory.
#[test]
fn hundreds_of_gates_at_once_get_all_of_theirs() {
    for place in PLACES {
        let n = 200;
        let disk = MemoryDisk::new();
        let mut stage = stage(&disk, &EnvironmentConfig { memory_bytes: 16 << 20, ..disk_config() });
        let (records, targets) = records(60_000, n);
        for number in [1, 2] {
            let mut writer = writer(&stage, PartitionKind::SortMerge, number, n);
            write_all(&mut stage, &mut writer, &records, &targets);
            finish(&mut stage, writer);
        }
        let mut gates: Vec<_> = (0..n).map(|target| stage.gate(place, &[(0, 1, target), (0, 2, target)])).collect();
        let mut left = 2 * n as usize;
        for _ in 0..1_000 {
            for gate in &mut gates {
                let seen = stage.seen(gate);
                left -= seen.iter().filter(|seen| matches!(seen, Seen::End(_))).count();
            }
            if left == 0 {
                break;
            }
            stage.pass(std::time::Duration::from_millis(5));
        }
        assert_eq!(left, 0, "at {place}");
    }
}

#[test]
fn statistics_tell_what_the_disk_has_done_and_what_came_of_it() {
    let disk = MemoryDisk::new();
    let settings = DiskSettings { compression: Compression::Zstd, ..disk_config().disk };
    let mut stage = stage(&disk, &EnvironmentConfig { disk: settings, ..disk_config() });
    let mut writer = writer(&stage, PartitionKind::SortMerge, 1, 3);
    let (records, targets) = records(9_000, 3);
    write_all(&mut stage, &mut writer, &records, &targets);
    finish(&mut stage, writer);
    let bytes = stage.worker(0).partition_statistics(partition(1)).expect("it is here").bytes;
    for (times, place) in (1..).zip(PLACES) {
        let mut gate = stage.gate(place, &[(0, 1, 2)]);
        assert_eq!(stage.seen(&mut gate), expected(&records, &targets, 2));
        drop(gate);
        stage.settle();
        let statistics = stage.worker(0).disk_statistics();
        assert_eq!(statistics.delivered_bytes, times * bytes[2]);
    }
    let statistics = stage.worker(0).disk_statistics();
    assert_eq!(statistics.finished_raw_bytes, bytes.iter().sum::<u64>());
    assert!(statistics.finished_stored_bytes < statistics.finished_raw_bytes, "{statistics:?}");
    assert!(statistics.finished_stored_bytes < statistics.written_bytes, "with header, footer and trailer");
    assert!(statistics.writes > 3 && statistics.reads > 3, "{statistics:?}");
    assert_eq!((statistics.under_way, statistics.open_files, statistics.failures), (0, 0, 0));
    assert!(statistics.under_way_max >= 1 && statistics.open_files_max >= 1, "{statistics:?}");
    let amplification = statistics.read_bytes as f64 / statistics.delivered_bytes as f64;
    assert_eq!(statistics.read_amplification(), Some(amplification));
}
