//! The rules of every disk, and what only a disk of memory can be asked for.

use std::io::ErrorKind;

use super::*;
use crate::conformance::disk::life::{HERE, Life, PAGE, create, open, pattern, remove};

crate::disk_conformance!(MemoryDisk::new());

fn write(life: &Life, file: FileId, page: usize, pages: usize) -> DiskRequest {
    DiskRequest::Write { file, offset: (page * PAGE) as u64, from: vec![life.filled(pages * PAGE, page)] }
}

#[test]
fn a_directory_that_is_full_refuses_what_makes_a_file_longer_and_nothing_else() {
    let disk = MemoryDisk::with_directories(&[4 * PAGE as u64]);
    let mut life = Life::first(&disk);
    let file = life.create("full");
    life.done(DiskRequest::Allocate { file, bytes: 3 * PAGE as u64 });
    let error = life.fails(DiskRequest::Allocate { file, bytes: 5 * PAGE as u64 });
    assert_eq!(error.source.kind(), ErrorKind::StorageFull);
    let request = write(&life, file, 3, 2);
    let error = life.fails(request);
    assert_eq!((error.source.kind(), error.offset), (ErrorKind::StorageFull, Some(3 * PAGE as u64)));
    let request = write(&life, file, 0, 4);
    life.done(request);
    let other = life.create("other");
    let request = write(&life, other, 0, 1);
    assert_eq!(life.fails(request).source.kind(), ErrorKind::StorageFull);

    disk.resize(HERE, 5 * PAGE as u64);
    let request = write(&life, other, 0, 1);
    life.done(request);
    let space = life.run(DiskRequest::Space { directory: HERE }).1.expect("space is told");
    assert_eq!(space, DiskDone::Space { free: 0, total: 5 * PAGE as u64 });
    life.end();
}

#[test]
fn the_room_of_a_removed_file_is_free_when_it_is_closed() {
    let disk = MemoryDisk::with_directories(&[4 * PAGE as u64]);
    let mut life = Life::first(&disk);
    let file = life.create("removed");
    life.write(file, 0, &[4 * PAGE], 1);
    life.done(remove("removed"));
    let next = life.create("next");
    let request = write(&life, next, 0, 1);
    life.fails(request);
    life.close(file);
    life.write(next, 0, &[4 * PAGE], 1);
    life.end();
}

#[test]
fn a_directory_that_is_lost_gives_errors_and_what_is_open_stays_open() {
    let disk = MemoryDisk::new();
    let mut life = Life::first(&disk);
    let file = life.create("open");
    life.write(file, 0, &[PAGE], 1);
    disk.lose(HERE);
    for request in [create("new"), open("open"), DiskRequest::List { directory: HERE }] {
        assert_eq!(life.fails(request).source.kind(), ErrorKind::NotFound);
    }
    assert!(life.read(file, 0, &[PAGE]) == pattern(PAGE, 1));
    life.end();
}

#[test]
fn a_test_sees_and_changes_the_bytes_of_a_file() {
    let disk = MemoryDisk::new();
    let mut life = Life::first(&disk);
    life.leave_file("seen", 2, 1);
    let owner = life.owner();
    assert!(disk.contents(HERE, &owner, "seen").expect("it is there") == pattern(2 * PAGE, 1));
    assert_eq!(disk.contents(HERE, &owner, "unseen"), None);
    disk.overwrite(HERE, &owner, "seen", &pattern(PAGE, 2));
    life.assert_file("seen", 1, 2);
    disk.overwrite(HERE, &owner, "short", b"abc");
    assert_eq!((life.open("short").1, disk.contents(HERE, &owner, "short")), (3, Some(b"abc".to_vec())));
    life.end();
}

#[test]
fn requests_are_carried_out_in_an_order_of_their_own_that_repeats() {
    let order = || {
        let mut life = Life::first(&MemoryDisk::new());
        let tokens: Vec<_> = (0..20).map(|_| life.submit(DiskRequest::Space { directory: HERE })).collect();
        life.poll();
        let order: Vec<_> = life.take_completed().into_iter().map(|completion| completion.token).collect();
        assert_ne!(order, tokens);
        order
    };
    assert_eq!(order(), order());
}
