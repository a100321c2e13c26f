//! A reactor sleeps until a request is over, and no longer; and a disk that goes keeps nothing.

use std::time::Duration;

use super::life::{HERE, Life, PAGE, create, open, remove, touch};
use crate::disk::{DiskFactory, DiskRequest};

/// `Ready` is for what has happened, and a file is readable only until it is polled for.
pub fn an_idle_disk_lets_its_reactor_sleep(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    life.leave_file("idle", 2, 1);
    life.assert_file("idle", 2, 1);
    let mut undisturbed = 0;
    for _ in 0..200 {
        undisturbed = if life.step(Duration::from_millis(10)) { 0 } else { undisturbed + 1 };
        if undisturbed == 3 {
            return life.end();
        }
    }
    panic!("the reactor of an idle disk was woken two hundred times");
}

/// It has nothing else to wake it: each request is alone, and submitted after the reactor has slept before.
pub fn a_reactor_that_sleeps_is_woken_by_every_kind_of_completion(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("wakes");
    let offset = 0;
    let requests = [
        DiskRequest::Allocate { file, bytes: 4 * PAGE as u64 },
        DiskRequest::Write { file, offset, from: vec![life.filled(PAGE, 1)] },
        DiskRequest::Read { file, offset, into: vec![life.memory(PAGE)] },
        DiskRequest::Read { file, offset: 99 * PAGE as u64, into: vec![life.memory(PAGE)] },
        DiskRequest::Truncate { file, bytes: PAGE as u64 },
        DiskRequest::Sync { file },
        create("other"),
        open("missing"),
        open("no/name"),
        DiskRequest::List { directory: HERE },
        DiskRequest::Space { directory: HERE },
        touch("wakes"),
        remove("wakes"),
        DiskRequest::Close { file },
    ];
    for request in requests {
        let token = life.submit(request);
        let mut completed = Vec::new();
        while completed.is_empty() {
            life.sleep_until_woken();
            life.poll();
            completed = life.take_completed();
        }
        assert_eq!((completed.len(), completed[0].token), (1, token));
    }
    life.end();
}

/// The reactor was awake when it was woken, and so has missed it: it is told when it looks for the last time.
pub fn what_is_over_before_the_reactor_sleeps_keeps_it_awake(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("over");
    life.write(file, 0, &[PAGE], 1);
    let requests = [
        DiskRequest::Space { directory: HERE },
        DiskRequest::Read { file, offset: 0, into: vec![life.memory(PAGE)] },
        DiskRequest::Write { file, offset: 0, from: vec![life.filled(PAGE, 2)] },
        open("missing"),
    ];
    for request in requests {
        let token = life.submit(request);
        let mut completed = Vec::new();
        while completed.is_empty() {
            life.sleep_until_woken();
            life.miss_the_bell();
            life.step(Duration::ZERO);
            completed = life.take_completed();
        }
        assert_eq!((completed.len(), completed[0].token), (1, token));
    }
    life.end();
}

/// Reads, writes and names that nobody has polled for, as many as it takes.
pub fn a_disk_that_is_dropped_gives_all_memory_back(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("dropped");
    life.write(file, 0, &[128 * PAGE], 1);
    for number in 0.. {
        let offset = (number % 128 * PAGE) as u64;
        let request = match number % 3 {
            0 => DiskRequest::Read { file, offset, into: vec![life.memory(PAGE)] },
            1 => DiskRequest::Write { file, offset, from: vec![life.filled(PAGE, number)] },
            _ => create(&format!("new-{number}")),
        };
        if number == 400 || life.try_submit(request).is_err() {
            break;
        }
    }
    assert!(life.in_use_bytes() > 0, "the disk holds what is under way");
    life.drop_disk();
    assert_eq!(life.in_use_bytes(), 0, "bytes that are not back");
    let mut next = Life::numbered(factory, 2);
    next.list();
    next.end();
    life.end();
}
