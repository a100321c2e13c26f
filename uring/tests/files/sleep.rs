//! Who sleeps in `poll(2)` is woken by a disk as by a socket.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sluice_uring::Sleep;

use crate::*;

// Long enough that only a lost wake-up reaches it.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

#[test]
fn every_read_wakes_who_sleeps_for_it() {
    let mut ring = ring_or_skip!();
    let (arena, pool) = memory(1 << 20);
    ring.register(&arena).unwrap();
    let folder = folder();
    let file = file_of(&folder, &numbered_pages(64));
    let mut done = Vec::new();
    for round in 0..512 {
        let page = round % 64;
        ring.push(0, read(&file, page * PAGE, vec![Incoming::Buffer(pages(&pool, 1))])).unwrap();
        while done.is_empty() {
            if let Sleep::On(wake) = ring.prepare_to_sleep().unwrap() {
                let woken = poll(&mut [PollFd::new(&wake, PollFlags::IN)], Some(&PATIENCE)).unwrap();
                assert_eq!(woken, 1, "a wake-up is lost");
            }
            ring.reap(&mut done).unwrap();
        }
        assert_eq!(content(&done.pop().unwrap().operation), [page as u8; PAGE]);
    }
}
