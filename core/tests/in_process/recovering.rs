//! What earlier lives of a worker have left: how long it stays, and what becomes of files that cannot be read. And files of
//! finished partitions that somebody removes, shortens or alters.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluice_core::{Devices, DiskSettings, EnvironmentConfig, HeldPartition, PartitionKind, ReadError, ReasonCode};
use sluice_plugin::{DirectoryId, FileOwner, MemoryDisk};

use crate::stage::{PLACES, Seen, Stage, config, partition, record};

const TIMEOUT: Duration = Duration::from_secs(600);

fn disk_config() -> EnvironmentConfig {
    let disk = DiskSettings { sort_threads: 0, recover_timeout: TIMEOUT, ..DiskSettings::default() };
    EnvironmentConfig { disk, ..config() }
}

fn devices(disk: &MemoryDisk) -> Devices {
    Devices { transport: crate::transport_beside_a_disk(), disk: Some(Arc::new(disk.clone())) }
}

/// A worker that has finished these partitions, of one record each.
fn stage_with(disk: &MemoryDisk, numbers: &[u64]) -> Stage {
    let mut stage = Stage::on(devices(disk), 1, |_| disk_config());
    for number in numbers {
        write(&mut stage, *number);
    }
    stage
}

fn write(stage: &mut Stage, number: u64) {
    let kind = PartitionKind::SortMerge;
    let mut writer = stage.worker(0).create_writer_of(kind, partition(number), 1).expect("there is memory");
    stage.write(&mut writer, 0, b"a");
    for _ in 0..20 {
        stage.settle();
        if stage.until(|context| writer.poll_finish(context)).is_some() {
            return stage.settle();
        }
    }
    panic!("{number} is not finished");
}

fn kill(stage: &mut Stage) {
    drop(stage.take_reactor(0));
}

/// Another life, and what it holds.
fn restart(stage: &mut Stage, disk: &MemoryDisk) -> Vec<u64> {
    stage.restart(0, devices(disk), disk_config());
    stage.settle();
    let mut held: Vec<_> = held(stage).iter().map(|held| held.partition.partition).collect();
    held.sort_unstable();
    held
}

fn held(stage: &Stage) -> Vec<HeldPartition> {
    let directories = stage.worker(0).disk().expect("it has one").directories;
    let context = &mut Context::from_waker(Waker::noop());
    let mut held = Vec::new();
    for directory in directories {
        let Poll::Ready(found) = stage.worker(0).poll_recover(context, &directory.path) else {
            panic!("all has been looked at");
        };
        held.extend(found.expect("it is one of its directories"));
    }
    held.dedup();
    held
}

/// Time passes for the worker and for the files alike.
fn pass(stage: &mut Stage, disk: &MemoryDisk, time: Duration) {
    let step = Duration::from_secs(10);
    for _ in 0..time.as_secs() / step.as_secs() {
        disk.pass(step);
        stage.pass(step);
    }
}

fn numbers(disk: &MemoryDisk) -> Vec<u64> {
    let number = |(_, _, name): &(DirectoryId, FileOwner, String)| {
        let from = name.split("partition").nth(1).expect("it is a partition's");
        from.split('-').next().and_then(|number| number.parse().ok()).expect("with a number")
    };
    let mut numbers: Vec<_> = disk.files().iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Each life began to count anew, so what nobody claimed stayed for ever where no life was as long as the timeout.
#[test]
fn what_nobody_claims_goes_in_time_however_short_the_lives_are() {
    let disk = MemoryDisk::new();
    let mut stage = stage_with(&disk, &[1]);
    kill(&mut stage);
    let life = TIMEOUT / 5;
    for number in 1..=4 {
        assert_eq!(restart(&mut stage, &disk), [1], "life {number}");
        pass(&mut stage, &disk, life);
        kill(&mut stage);
    }
    restart(&mut stage, &disk);
    pass(&mut stage, &disk, life);
    assert_eq!((stage.worker(0).occupied_partitions(), disk.files()), (vec![], vec![]));
}

/// The machine was down for the night: what it has is not removed before anybody can have claimed it.
#[test]
fn who_was_away_for_longer_than_the_timeout_gives_time_to_claim_what_it_has() {
    let disk = MemoryDisk::new();
    let mut stage = stage_with(&disk, &[1, 2]);
    kill(&mut stage);
    disk.pass(100 * TIMEOUT);
    assert_eq!(restart(&mut stage, &disk), [1, 2]);
    pass(&mut stage, &disk, TIMEOUT / 10);
    stage.worker(0).claim(partition(2));
    assert_eq!(numbers(&disk), [1, 2]);
    pass(&mut stage, &disk, TIMEOUT / 4);
    assert_eq!(numbers(&disk), [2], "nobody wanted the first");
}

/// A worker held a partition for longer than the timeout, as its producer or because it was claimed or read. When it dies
/// the next life has the whole timeout, but for what lies between two touches.
#[test]
fn what_a_life_wanted_is_young_when_it_ends() {
    let disk = MemoryDisk::new();
    let mut stage = stage_with(&disk, &[1, 2, 3]);
    pass(&mut stage, &disk, 3 * TIMEOUT);
    kill(&mut stage);
    assert_eq!(restart(&mut stage, &disk), [1, 2, 3], "its own");
    pass(&mut stage, &disk, TIMEOUT / 2);
    stage.worker(0).claim(partition(1));
    let mut gate = stage.gate(0, &[(0, 2, 0)]);
    assert_eq!(stage.seen(&mut gate), [record(0, "a"), Seen::End(0)]);
    pass(&mut stage, &disk, 10 * TIMEOUT);
    assert_eq!(numbers(&disk), [1, 2], "nobody wanted the third");
    kill(&mut stage);
    disk.pass(TIMEOUT / 2);
    assert_eq!(restart(&mut stage, &disk), [1, 2]);
}

/// The machine's clock was set back: what seems to come from the future has the whole timeout, and no more.
#[test]
fn a_clock_that_is_set_back_neither_removes_nor_keeps_for_ever() {
    let disk = MemoryDisk::new();
    disk.pass(100 * TIMEOUT);
    let mut stage = stage_with(&disk, &[1]);
    kill(&mut stage);
    disk.set_clock_back(50 * TIMEOUT);
    assert_eq!(restart(&mut stage, &disk), [1]);
    pass(&mut stage, &disk, TIMEOUT / 2);
    assert_eq!(numbers(&disk), [1]);
    pass(&mut stage, &disk, TIMEOUT);
    assert_eq!(disk.files(), []);
}

/// The machine's clock was set forward while a life has it: by the worker's own it is young.
#[test]
fn a_clock_that_is_set_forward_takes_nothing_from_a_life_that_has_seen_it() {
    let disk = MemoryDisk::new();
    let mut stage = stage_with(&disk, &[1]);
    kill(&mut stage);
    assert_eq!(restart(&mut stage, &disk), [1]);
    disk.pass(50 * TIMEOUT);
    pass(&mut stage, &disk, TIMEOUT / 2);
    assert_eq!(numbers(&disk), [1]);
}

/// What a neighbour has left is its own for as long as it may come back, and nobody's afterwards; while it lives, it is
/// left alone however old it is.
#[test]
fn what_a_dead_neighbour_has_left_goes_when_it_is_too_old() {
    let disk = MemoryDisk::new();
    let mut stage = Stage::on(devices(&disk), 2, |_| disk_config());
    write(&mut stage, 1);
    // A file that its owner does not touch, as one that it never finished.
    let owner = disk.files()[0].1.clone();
    disk.overwrite(DirectoryId(0), &owner, "job1-partition9-attempt0-sub0-0.spill", &[1; 8192]);
    pass(&mut stage, &disk, 3 * TIMEOUT);
    assert_eq!(numbers(&disk), [1, 9], "its owner lives");
    kill(&mut stage);
    pass(&mut stage, &disk, TIMEOUT / 2);
    assert!(numbers(&disk).contains(&1), "it was wanted until now");
    // Its neighbour looks as often as something may be too old.
    pass(&mut stage, &disk, 2 * TIMEOUT);
    assert_eq!(disk.files(), []);
}

/// One read failed, and a partition that was whole was removed.
#[test]
fn a_read_that_fails_once_costs_nothing() {
    for times in [1, 2] {
        let disk = MemoryDisk::new();
        let mut stage = stage_with(&disk, &[1, 2]);
        kill(&mut stage);
        disk.fail_reads("partition1-", times);
        assert_eq!(restart(&mut stage, &disk), [1, 2], "{times}");
        assert_eq!(stage.worker(0).unread_partitions(), []);
    }
}

#[test]
fn what_cannot_be_read_is_left_alone_and_told() {
    let disk = MemoryDisk::new();
    let mut stage = stage_with(&disk, &[1, 2]);
    kill(&mut stage);
    disk.fail_reads("partition1-", u32::MAX);
    assert_eq!(restart(&mut stage, &disk), [2]);
    let unread = stage.worker(0).unread_partitions();
    assert_eq!(unread.iter().map(|unread| unread.partition).collect::<Vec<_>>(), [partition(1)]);
    let cause = &unread[0].cause;
    assert!(cause.contains("read") && cause.contains("partition1-") && cause.contains(" at 0: "), "{cause}");
    assert_eq!(numbers(&disk), [1, 2]);
    // The next life finds it, now that it can be read.
    kill(&mut stage);
    disk.fail_reads("", 0);
    assert_eq!(restart(&mut stage, &disk), [1, 2]);
}

#[test]
fn what_cannot_be_read_goes_with_its_job_or_in_time() {
    for in_time in [false, true] {
        let disk = MemoryDisk::new();
        let mut stage = stage_with(&disk, &[1]);
        kill(&mut stage);
        disk.fail_reads("partition1-", u32::MAX);
        assert_eq!(restart(&mut stage, &disk), []);
        if in_time {
            pass(&mut stage, &disk, 2 * TIMEOUT);
        } else {
            stage.worker(0).release_job(partition(1).job);
            stage.settle();
        }
        assert_eq!((disk.files(), stage.worker(0).unread_partitions()), (vec![], vec![]));
    }
}

/// Of a partition in two files one cannot be read: the other one is not taken for the rest of something unfinished.
#[test]
fn the_other_files_of_what_cannot_be_read_stay_as_well() {
    let disk = MemoryDisk::new();
    let mut stage = Stage::on(devices(&disk), 1, |_| disk_config());
    let mut writer = stage.worker(0).create_writer_of(PartitionKind::Hash, partition(1), 2).expect("there is memory");
    stage.broadcast(&mut writer, b"a");
    while stage.until(|context| writer.poll_finish(context)).is_none() {}
    stage.settle();
    kill(&mut stage);
    disk.fail_reads("sub0-", u32::MAX);
    assert_eq!(restart(&mut stage, &disk), []);
    assert_eq!(numbers(&disk), [1, 1]);
    kill(&mut stage);
    disk.fail_reads("", 0);
    assert_eq!(restart(&mut stage, &disk), [1]);
}

/// What was read and is damaged each time goes, as ever.
#[test]
fn what_was_read_and_is_damaged_goes() {
    let disk = MemoryDisk::new();
    let mut stage = stage_with(&disk, &[1]);
    kill(&mut stage);
    let (directory, owner, name) = disk.files().remove(0);
    let mut bytes = disk.contents(directory, &owner, &name).expect("it is there");
    bytes[20] ^= 1;
    disk.overwrite(directory, &owner, &name, &bytes);
    assert_eq!(restart(&mut stage, &disk), []);
    assert_eq!((disk.files(), stage.worker(0).unread_partitions()), (vec![], vec![]));
}

/// Reads the first partition after something was done to its file, by gates here and elsewhere: what they are told.
fn told_after(harm: impl Fn(&MemoryDisk, DirectoryId, &FileOwner, &str)) -> Vec<(ReasonCode, String)> {
    let told = PLACES.map(|place| {
        let disk = MemoryDisk::new();
        let mut stage = Stage::on(devices(&disk), 2, |_| disk_config());
        write(&mut stage, 1);
        let (directory, owner, name) = disk.files().remove(0);
        harm(&disk, directory, &owner, &name);
        let mut gate = stage.gate(place, &[(0, 1, 0)]);
        let error = stage.failure(&mut gate);
        assert_eq!(error.lost_partition(), Some(partition(1)), "{error}");
        let ReadError::Channel { code, text, .. } = error else { panic!("{error}") };
        assert!(text.contains(&name) && text.contains(&owner.0), "where it lay: {text}");
        (code, text)
    });
    told.to_vec()
}

/// Its consumers were told that the producer had failed, which had done its work.
#[test]
fn a_file_that_somebody_has_removed_is_told_as_lost() {
    for (code, text) in told_after(|disk, directory, owner, name| disk.remove(directory, owner, name)) {
        assert_eq!(code, ReasonCode::PartitionLost);
        assert!(text.starts_with("open "), "{text}");
    }
}

#[test]
fn a_file_that_somebody_has_shortened_is_told_as_lost_with_the_place() {
    let cut = |disk: &MemoryDisk, directory, owner: &FileOwner, name: &str| {
        disk.overwrite(directory, owner, name, &[0; 8192]);
    };
    for (code, text) in told_after(cut) {
        assert_eq!(code, ReasonCode::PartitionLost);
        // The directory, which is read first.
        assert!(text.starts_with("read ") && text.ends_with(" at 8192: unexpected end of file"), "{text}");
    }
}

#[test]
fn a_bit_that_somebody_has_altered_is_told_with_what_was_found_and_expected() {
    let flip = |disk: &MemoryDisk, directory, owner: &FileOwner, name: &str| {
        let mut bytes = disk.contents(directory, owner, name).expect("it is there");
        bytes[4096] ^= 1;
        disk.overwrite(directory, owner, name, &bytes);
    };
    for (code, text) in told_after(flip) {
        assert_eq!(code, ReasonCode::CorruptBlock);
        assert!(text.contains("offset 0") && text.contains("checksum") && text.contains("expected"), "{text}");
    }
}

/// What cannot be read now may be read later; so a consumer is told with the cause, and the file stays.
#[test]
fn a_read_that_fails_is_told_with_path_and_place() {
    for (code, text) in told_after(|disk, _, _, name| disk.fail_reads(name, u32::MAX)) {
        assert_eq!(code, ReasonCode::PartitionLost);
        assert!(text.starts_with("read ") && text.contains(" at "), "{text}");
    }
}
