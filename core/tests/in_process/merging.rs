//! Regions that are merged when all is written: nobody who reads sees a difference, whatever happens meanwhile.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sluice_core::{
    Compression, Devices, DiskSettings, Durability, EnvironmentConfig, Merge, PartitionKind, PartitionWriter,
    RecordBatch,
};
use sluice_plugin::{DirectoryId, MemoryDisk};

use crate::stage::{PLACES, Seen, Stage, config, partition};

/// Little memory to sort in, so that there are many regions.
fn merging(merge: Merge) -> EnvironmentConfig {
    let disk = DiskSettings { merge, sort_threads: 0, sort_bytes_max: 700 << 10, ..DiskSettings::default() };
    EnvironmentConfig { disk, ..config() }
}

fn stage(disk: &MemoryDisk, config: &EnvironmentConfig) -> Stage {
    let devices = Devices { transport: crate::transport_beside_a_disk(), disk: Some(Arc::new(disk.clone())) };
    Stage::on(devices, 2, |_| config.clone())
}

fn writer(stage: &Stage, number: u64, n: u32) -> PartitionWriter {
    stage.worker(0).create_writer_of(PartitionKind::SortMerge, partition(number), n).expect("there is memory")
}

/// What is written: for one, for all, or an event for all.
#[derive(Clone)]
enum Written {
    One(u32, Vec<u8>),
    All(Vec<u8>),
    Event(u16),
}

/// Records of lengths that fit nothing; now and then one for all, or an event.
fn data(count: u32, n: u32, shared: u32) -> Vec<Written> {
    let each = (0..count).map(|index| {
        let mut record = index.to_le_bytes().to_vec();
        record.resize(4 + (index.wrapping_mul(2_654_435_761) >> 16) as usize % 700, index as u8);
        match shared > 0 && index % (count / shared) == count / shared / 2 {
            true if index % 2 == 0 => Written::Event(index as u16),
            true => Written::All(record),
            false => Written::One(index.wrapping_mul(7919) % n, record),
        }
    });
    each.collect()
}

fn expected(data: &[Written], target: u32) -> Vec<Seen> {
    let each = data.iter().filter_map(|written| match written {
        Written::One(its, record) => (*its == target).then(|| Seen::Record(0, record.clone())),
        Written::All(record) => Some(Seen::Record(0, record.clone())),
        Written::Event(tag) => Some(Seen::Event(0, *tag, None)),
    });
    each.chain([Seen::End(0)]).collect()
}

fn drive<T>(stage: &mut Stage, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    (0..100_000).find_map(|_| stage.until(&mut poll)).expect("it is ready at some time")
}

fn write(stage: &mut Stage, writer: &mut PartitionWriter, data: &[Written]) {
    for written in data {
        match written {
            Written::One(target, record) => {
                let (records, targets) = ([&record[..]], [*target]);
                let mut batch = RecordBatch::new(&records, &targets);
                drive(stage, |context| writer.poll_write_batch(context, &mut batch)).expect("it is written");
            }
            Written::All(record) => {
                drive(stage, |context| writer.poll_broadcast(context, record)).expect("it is written");
            }
            Written::Event(tag) => stage.event(writer, None, *tag, false),
        }
    }
}

fn finish(stage: &mut Stage, mut writer: PartitionWriter) {
    drive(stage, |context| writer.poll_finish(context)).expect("it is complete");
    stage.settle();
}

fn all_is_read(stage: &mut Stage, data: &[Written], n: u32, what: &str) {
    for target in [0, n / 2, n - 1] {
        for place in PLACES {
            let mut gate = stage.gate(place, &[(0, 1, target)]);
            let (seen, expected) = (stage.seen(&mut gate), expected(data, target));
            let (here, there) = (seen.len(), expected.len());
            assert!(seen == expected, "{what}: {target} of {n} at {place}: {here} of {there}");
        }
    }
}

fn names(disk: &MemoryDisk) -> Vec<String> {
    disk.files().into_iter().map(|(_, _, name)| name).collect()
}

#[test]
fn what_was_merged_is_read_as_if_it_was_not_and_is_one_file() {
    for (n, shared) in [(1, 0), (3, 0), (50, 0), (50, 3), (7, 40)] {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let mut config = merging(Merge::Always);
            config.disk.compression = compression;
            let disk = MemoryDisk::new();
            let mut stage = stage(&disk, &config);
            let mut writer = writer(&stage, 1, n);
            let data = data(9_000, n, shared);
            write(&mut stage, &mut writer, &data);
            finish(&mut stage, writer);
            let what = format!("{compression:?}, {shared} shared");
            // With more shared slices than regions none would become larger.
            let name = if shared < 40 {
                "job1-partition1-attempt0-sub0-m0.spill"
            } else {
                "job1-partition1-attempt0-sub0-0.spill"
            };
            assert_eq!(names(&disk), [name], "{what}");
            all_is_read(&mut stage, &data, n, &what);
            let statistics = stage.worker(0).partition_statistics(partition(1)).expect("it is here");
            let records =
                |target| expected(&data, target).iter().filter(|seen| matches!(seen, Seen::Record(..))).count();
            let told: Vec<_> = (0..n).map(|target| records(target) as u64).collect();
            assert_eq!(statistics.records, told, "{what}");
            stage.worker(0).release_partition(partition(1));
            stage.settle();
            assert_eq!(disk.files(), []);
            stage.assert_all_memory_is_back();
        }
    }
}

#[test]
fn small_partitions_are_left_as_they_are() {
    for merge in [Merge::Auto, Merge::Never] {
        let disk = MemoryDisk::new();
        let mut stage = stage(&disk, &merging(merge));
        let mut writer = writer(&stage, 1, 2);
        let data = data(9_000, 2, 0);
        write(&mut stage, &mut writer, &data);
        finish(&mut stage, writer);
        assert_eq!(names(&disk), ["job1-partition1-attempt0-sub0-0.spill"], "{merge:?}");
        all_is_read(&mut stage, &data, 2, "not merged");
    }
}

/// A kilobyte for each of so many and each region: reading them takes longer than reading and writing all.
#[test]
fn slices_of_some_bytes_are_merged_unasked() {
    let disk = MemoryDisk::new();
    let mut stage = stage(&disk, &merging(Merge::Auto));
    let mut writer = writer(&stage, 1, 100);
    let data = data(9_000, 100, 0);
    write(&mut stage, &mut writer, &data);
    finish(&mut stage, writer);
    assert_eq!(names(&disk), ["job1-partition1-attempt0-sub0-m0.spill"]);
    all_is_read(&mut stage, &data, 100, "merged");
}

#[test]
fn without_room_for_it_a_partition_is_complete_as_it_was_written() {
    let disk = MemoryDisk::with_directories(&[4 << 20]);
    let mut stage = stage(&disk, &merging(Merge::Always));
    let mut writer = writer(&stage, 1, 20);
    let data = data(9_000, 20, 0);
    write(&mut stage, &mut writer, &data);
    finish(&mut stage, writer);
    assert_eq!(names(&disk), ["job1-partition1-attempt0-sub0-0.spill"]);
    all_is_read(&mut stage, &data, 20, "given up");
    stage.worker(0).release_partition(partition(1));
    stage.settle();
    assert_eq!(disk.files(), []);
    stage.assert_all_memory_is_back();
}

/// Room goes, a directory goes, the partition is released, or the worker ends: after each number of steps of the merge.
#[test]
fn whatever_comes_in_the_middle_nothing_is_lost_and_nothing_stays() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Comes {
        NoRoom,
        Release,
        End,
    }
    let data = data(6_000, 20, 2);
    for comes in [Comes::NoRoom, Comes::Release, Comes::End] {
        for steps in (0..60).step_by(3) {
            let disk = MemoryDisk::new();
            let mut config = merging(Merge::Always);
            config.disk.durability = Durability::OnFinish;
            let mut stage = stage(&disk, &config);
            let mut writer = writer(&stage, 1, 20);
            write(&mut stage, &mut writer, &data);
            let context = &mut Context::from_waker(Waker::noop());
            let mut finished = writer.poll_finish(context);
            for _ in 0..steps {
                stage.turn();
            }
            finished = if finished.is_pending() { writer.poll_finish(context) } else { finished };
            let what = format!("{comes:?} after {steps} steps");
            match comes {
                Comes::NoRoom => {
                    disk.resize(DirectoryId(0), 0);
                    if finished.is_pending() {
                        let _ = drive(&mut stage, |context| writer.poll_finish(context));
                    }
                    drop(writer);
                    stage.settle();
                    assert!(names(&disk).len() <= 1, "{what}: {:?}", names(&disk));
                    if names(&disk).len() == 1 {
                        all_is_read(&mut stage, &data, 20, &what);
                    }
                }
                Comes::Release => {
                    stage.worker(0).release_partition(partition(1));
                    drop(writer);
                    stage.settle();
                    assert_eq!(disk.files(), [], "{what}");
                    stage.assert_all_memory_is_back();
                }
                Comes::End => {
                    drop(stage.take_reactor(0));
                    drop(writer);
                    let devices =
                        Devices { transport: crate::transport_beside_a_disk(), disk: Some(Arc::new(disk.clone())) };
                    stage.restart(0, devices, config);
                    stage.settle();
                    let complete = matches!(finished, Poll::Ready(Ok(())));
                    assert!(!complete || names(&disk).len() == 1, "{what}: {:?}", names(&disk));
                    if names(&disk).len() == 1 {
                        all_is_read(&mut stage, &data, 20, &what);
                    }
                    stage.worker(0).release_job(partition(1).job);
                    stage.settle();
                    assert_eq!(disk.files(), [], "{what}");
                }
            }
        }
    }
}

/// Half of the floor is read into, the other half written from; slices of some bytes become slices of some more.
#[test]
fn the_floors_alone_do_to_merge() {
    let mut config = merging(Merge::Always);
    config.memory_bytes = 5 * (32 << 10) + (128 << 10);
    let disk = MemoryDisk::new();
    let mut stage = stage(&disk, &config);
    let mut writer = writer(&stage, 1, 40);
    let data = data(1_500, 40, 5);
    write(&mut stage, &mut writer, &data);
    finish(&mut stage, writer);
    assert_eq!(names(&disk), ["job1-partition1-attempt0-sub0-m0.spill"]);
    all_is_read(&mut stage, &data, 40, "with the floors alone");
    stage.assert_all_memory_is_back();
}
