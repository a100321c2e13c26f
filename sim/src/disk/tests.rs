//! That a disk keeps what it has to keep through crashes, loses what it may lose, and is seen to do what it was told.

use std::io::ErrorKind;
use std::task::Waker;
use std::time::Duration;

use sluice_core::{HugePages, Incarnation, NodeId};
use sluice_memory::{Arena, ArenaOptions, BufferPool, Memory, PoolSpec, SizeClass};
use sluice_plugin::{DirectoryId, DiskCompletion, DiskDone, DiskError, DiskRequest, FileId};

use super::content::PAGE;
use super::*;
use crate::journal::Rule;
use crate::seed::{Purpose, Seed};

const HERE: DirectoryId = DirectoryId(0);
const FULL: u64 = 64 * PAGE as u64;

/// A worker's life with a disk; a page is all of one number.
struct Worker {
    all: SimDisk,
    disk: Box<dyn Disk>,
    pool: BufferPool,
    completed: Vec<DiskCompletion>,
}

fn disk(seed: u64) -> (SimDisk, Journal) {
    let journal = Journal::new(false);
    let random = Seed(seed).stream(Purpose::Disk);
    (SimDisk::new("a test", Drive::with_directories(&[FULL]), random, journal.clone()), journal)
}

impl Worker {
    fn on(all: &SimDisk, life: u64) -> Self {
        let arena = Arena::map(ArenaOptions { bytes: 1 << 20, huge_pages: HugePages::Never });
        let memory = Memory::new(arena.expect("a megabyte"));
        let spec = PoolSpec { owner: "a test".into(), unit: SizeClass::UNIT, floor_units: 1, bytes_max: 1 << 20 };
        let pool = memory.pool(spec).expect("there is room");
        let setup = DiskSetup {
            node: NodeId(1),
            incarnation: Incarnation(life),
            cluster: "a test".into(),
            arena: memory.arena().clone(),
            waker: Waker::noop().clone(),
        };
        let disk = all.build(setup).expect("this life is new");
        Self { all: all.clone(), disk, pool, completed: Vec::new() }
    }

    fn submit(&mut self, request: DiskRequest) {
        self.disk.submit(0, request).expect("there is room");
    }

    fn run(&mut self, request: DiskRequest) -> (DiskRequest, Result<DiskDone, DiskError>) {
        self.submit(request);
        while self.completed.is_empty() {
            self.all.advance(self.all.next_due().expect("a request is under way"));
            self.disk.poll(&mut self.completed);
        }
        let DiskCompletion { request, result, .. } = self.completed.remove(0);
        (request, result)
    }

    fn done(&mut self, request: DiskRequest) {
        self.run(request).1.expect("nothing is wrong");
    }

    fn fails(&mut self, request: DiskRequest) -> ErrorKind {
        self.run(request).1.expect_err("something is wrong").source.kind()
    }

    fn opened(&mut self, request: DiskRequest) -> (FileId, u64) {
        match self.run(request).1 {
            Ok(DiskDone::Opened { file, bytes }) => (file, bytes),
            other => panic!("{other:?}"),
        }
    }

    fn create(&mut self, name: &str) -> FileId {
        self.opened(DiskRequest::Create { directory: HERE, name: name.into() }).0
    }

    fn write_of(&self, file: FileId, first: u64, pages: usize, number: u8) -> DiskRequest {
        let mut buffer = self.pool.try_acquire(SizeClass::UNIT).expect("the pool's own");
        buffer.truncate(pages * PAGE);
        buffer.fill(number);
        DiskRequest::Write { file, offset: first * PAGE as u64, from: vec![buffer.freeze()] }
    }

    fn write(&mut self, file: FileId, first: u64, pages: usize, number: u8) {
        let request = self.write_of(file, first, pages, number);
        self.done(request);
    }

    fn read_of(&self, file: FileId, first: u64, pages: usize) -> DiskRequest {
        let mut buffer = self.pool.try_acquire(SizeClass::UNIT).expect("the pool's own");
        buffer.truncate(pages * PAGE);
        DiskRequest::Read { file, offset: first * PAGE as u64, into: vec![buffer] }
    }

    fn read(&mut self, file: FileId, pages: usize) -> Vec<u8> {
        let request = self.read_of(file, 0, pages);
        match self.run(request) {
            (DiskRequest::Read { into, .. }, Ok(_)) => into[0].to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// The bytes of a file of a life that is over; `None` if there is none.
    fn inherit(&mut self, life: u64, name: &str) -> Option<Vec<u8>> {
        let owner = sluice_plugin::FileOwner(format!("a=20test-1-{life}"));
        let adopted = self.run(DiskRequest::Adopt { directory: HERE, owner, name: name.into() }).1;
        if adopted.is_err() {
            return None;
        }
        let (file, bytes) = self.opened(DiskRequest::Open { directory: HERE, name: name.into() });
        let pages = bytes as usize / PAGE;
        Some(if pages == 0 { Vec::new() } else { self.read(file, pages) })
    }
}

fn broken(journal: &Journal) -> Vec<Rule> {
    journal.close().0.iter().map(|failure| failure.rule).collect()
}

/// What is found of a file of four pages, written in two halves with what `between` does after the first, in a hundred
/// crashes.
fn found(power: bool, between: impl Fn(&mut Worker, FileId)) -> Vec<Option<Vec<u8>>> {
    let life = |seed| {
        let (all, _) = disk(seed);
        let mut worker = Worker::on(&all, 1);
        let file = worker.create("file");
        worker.write(file, 0, 2, 1);
        between(&mut worker, file);
        let rest = worker.write_of(file, 2, 2, 2);
        worker.submit(rest);
        drop(worker);
        if power {
            all.lose_power();
        }
        Worker::on(&all, 2).inherit(1, "file")
    };
    (0..100).map(life).collect()
}

#[test]
fn a_process_that_dies_leaves_what_it_was_told_as_done_and_any_part_of_the_rest() {
    let found = found(false, |_, _| {});
    let files: Vec<_> = found.into_iter().map(|file| file.expect("its creation was done")).collect();
    assert!(files.iter().all(|file| file[..2 * PAGE] == [1; 2 * PAGE]));
    let whole = files.iter().filter(|file| file.len() == 4 * PAGE && file[2 * PAGE..] == [2; 2 * PAGE]).count();
    let none = files.iter().filter(|file| file.len() == 2 * PAGE).count();
    let torn = files.iter().filter(|file| file.chunks(PAGE).any(|page| page.contains(&0) && page.contains(&2))).count();
    assert!(whole > 20 && none > 10 && torn > 5, "{whole} whole, {none} not there, {torn} torn");
}

#[test]
fn a_loss_of_power_may_take_all_that_no_sync_has_covered() {
    let found = found(true, |_, _| {});
    let gone = found.iter().filter(|file| file.is_none()).count();
    let whole = found.iter().flatten().filter(|file| file.len() >= 2 * PAGE && file[..2 * PAGE] == [1; 2 * PAGE]);
    let whole = whole.count();
    assert!(gone > 10 && whole > 10 && gone + whole < 100, "{gone} gone, {whole} with their first half");
}

#[test]
fn a_loss_of_power_leaves_what_a_sync_has_covered() {
    let found = found(true, |worker, file| worker.done(DiskRequest::Sync { file }));
    assert!(found.iter().all(|file| file.as_ref().expect("its name was synced")[..2 * PAGE] == [1; 2 * PAGE]));
}

#[test]
fn a_sync_covers_only_what_was_done_when_it_was_asked_for() {
    let found = found(true, |worker, file| {
        let write = worker.write_of(file, 1, 1, 3);
        worker.submit(write);
        worker.submit(DiskRequest::Sync { file });
        while worker.all.under_way() > 0 {
            let due = worker.all.next_due().unwrap_or(Time(0));
            worker.all.advance(due);
            worker.disk.poll(&mut worker.completed);
        }
        worker.completed.clear();
    });
    let second = |file: &Option<Vec<u8>>| file.as_ref().map(|file| file[PAGE]);
    assert!(found.iter().any(|file| second(file) != Some(3)), "the write beside the sync was never lost");
}

#[test]
fn a_removed_file_may_come_back_after_a_loss_of_power_and_only_then() {
    for power in [false, true] {
        let found = found(power, |worker, file| {
            worker.done(DiskRequest::Sync { file });
            worker.done(DiskRequest::Remove { directory: HERE, owner: None, name: "file".into() });
        });
        let back = found.iter().flatten().count();
        assert_eq!(back > 0, power, "{back} of 100 came back");
    }
}

#[test]
fn faults_hit_what_they_are_armed_for_and_are_told() {
    let (all, journal) = disk(1);
    let mut worker = Worker::on(&all, 1);
    let file = worker.create("file");
    let hit = |moves, hit| DiskFault::Hit { moves, after: 2, hit };
    all.harm(hit(Moves::Write, Hit::Spoils));
    worker.write(file, 0, 1, 1);
    for _ in 0..2 {
        let request = worker.write_of(file, 1, 1, 1);
        assert_eq!(worker.fails(request), std::io::Error::from_raw_os_error(5).kind());
    }
    all.harm(hit(Moves::Read, Hit::Flips));
    assert!(worker.read(file, 1) == [1; PAGE]);
    let read = worker.read(file, 1);
    let bits: u32 = read.iter().map(|byte| (byte ^ 1).count_ones()).sum();
    assert_eq!((bits, worker.read(file, 1)), (1, vec![1; PAGE]));
    all.harm(DiskFault::Resize { directory: 0, bytes_max: PAGE as u64 });
    let request = worker.write_of(file, 30, 1, 1);
    assert_eq!(worker.fails(request), ErrorKind::StorageFull);
    let told: Vec<_> = all.happened().into_iter().map(|happened| happened.what).collect();
    assert_eq!(told, [Mishap::Failed, Mishap::Altered, Mishap::Full]);
    assert_eq!(broken(&journal), []);
}

#[test]
fn a_directory_that_breaks_or_is_lost_gives_errors_and_lets_files_be_closed() {
    let (breaks, is_lost) = (DiskFault::Break { directory: 0 }, DiskFault::Lose { directory: 0 });
    for (fault, first) in [(breaks, Mishap::Failed), (is_lost, Mishap::Lost)] {
        let (all, _) = disk(1);
        let mut worker = Worker::on(&all, 1);
        let file = worker.create("file");
        all.harm(fault);
        worker.fails(DiskRequest::Create { directory: HERE, name: "other".into() });
        worker.fails(DiskRequest::List { directory: HERE });
        worker.done(DiskRequest::Close { file });
        assert_eq!(all.happened()[0].what, first);
        assert!(all.happened().iter().any(|happened| happened.what == Mishap::Failed));
    }
}

#[test]
fn requests_are_slower_while_they_are_to_be() {
    let (all, _) = disk(1);
    let mut worker = Worker::on(&all, 1);
    all.harm(DiskFault::Slow { by: Duration::from_secs(1), lasts: Duration::from_secs(10) });
    worker.submit(DiskRequest::Space { directory: HERE });
    assert!(all.next_due().expect("it is under way") >= Time(1_000_000_000));
}

#[test]
fn to_read_what_was_not_written_is_found() {
    let (all, journal) = disk(1);
    let mut worker = Worker::on(&all, 1);
    let file = worker.create("file");
    worker.done(DiskRequest::Allocate { file, bytes: FULL });
    worker.write(file, 0, 1, 1);
    worker.read(file, 1);
    assert!(!journal.has_failed());
    worker.read(file, 2);
    assert_eq!(broken(&journal), [Rule::Disk]);
}

#[test]
fn to_read_what_is_being_written_is_found() {
    let (all, journal) = disk(1);
    let mut worker = Worker::on(&all, 1);
    let file = worker.create("file");
    worker.write(file, 0, 2, 1);
    for (first, is_broken) in [(1, false), (0, true)] {
        let write = worker.write_of(file, 0, 1, 2);
        worker.submit(write);
        let read = worker.read_of(file, first, 1);
        worker.submit(read);
        assert_eq!(broken(&journal) == [Rule::Disk], is_broken);
        while let Some(due) = all.next_due() {
            all.advance(due);
        }
    }
}

#[test]
fn what_is_under_way_or_left_at_the_end_is_found() {
    let (all, journal) = disk(1);
    let mut worker = Worker::on(&all, 1);
    let file = worker.create("file");
    all.must_be_idle();
    all.must_be_empty();
    assert_eq!(broken(&journal), [Rule::Disk; 2]);
    worker.done(DiskRequest::Close { file });
    worker.submit(DiskRequest::Remove { directory: HERE, owner: None, name: "file".into() });
    all.must_be_idle();
    assert_eq!(broken(&journal), [], "it was asked for just now");
    all.harm(DiskFault::Slow { by: Duration::from_secs(9), lasts: Duration::from_secs(9) });
    worker.submit(DiskRequest::Space { directory: HERE });
    all.advance(Time(2_000_000_000));
    worker.disk.poll(&mut worker.completed);
    all.must_be_idle();
    assert_eq!(broken(&journal), [Rule::Disk]);
    while let Some(due) = all.next_due() {
        all.advance(due);
    }
    worker.disk.poll(&mut worker.completed);
    all.must_be_idle();
    all.must_be_empty();
    assert_eq!((broken(&journal), all.bytes_inside()), (vec![], 0));
}
