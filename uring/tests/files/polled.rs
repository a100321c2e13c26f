//! A polled ring reads and writes where the device can be polled, and says so where it cannot.

use sluice_uring::{NoPolling, PolledRing, probe_io_poll};

use crate::*;

fn polled() -> Option<PolledRing> {
    // Says why it is skipped.
    ring(RingOptions { entries: 8, operations_max: 8 })?;
    Some(PolledRing::new(RingOptions { entries: 8, operations_max: 8 }).unwrap())
}

fn polled_for(ring: &mut PolledRing) -> Completion {
    let mut done = Vec::new();
    while ring.in_flight() > 0 {
        ring.wait(&mut done).unwrap();
    }
    done.pop().unwrap()
}

#[test]
fn the_probe_says_what_a_polled_ring_can_do() {
    let Some(mut ring) = polled() else { return };
    let (arena, pool) = memory(1 << 20);
    ring.register(&arena).unwrap();
    let folder = folder();
    let file = file_of(&folder, &numbered_pages(8));
    let works = match probe_io_poll(&file) {
        Ok(()) => true,
        Err(NoPolling::Unsupported) => false,
        Err(error) => panic!("{error}"),
    };
    ring.push(0, read(&file, 5 * PAGE, vec![Incoming::Buffer(pages(&pool, 1))])).unwrap();
    let done = polled_for(&mut ring);
    if works {
        assert_eq!(content(&done.operation), [5; PAGE]);
        ring.push(0, write(&file, 7 * PAGE, vec![filled(&pool, 100, 1)])).unwrap();
        assert_eq!(moved(&polled_for(&mut ring)), PAGE);
    } else {
        // A write may work nevertheless: the kernel does not poll for one that needs the file system afterwards.
        assert_eq!(errno(&done), Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()));
    }
    // With nothing in flight there is nothing to wait for.
    ring.wait(&mut Vec::new()).unwrap();
}

#[test]
fn a_file_that_goes_through_the_page_cache_cannot_be_polled_for() {
    if polled().is_none() {
        return;
    }
    let folder = folder();
    fs::write(folder.path().join("file"), numbered_pages(2)).unwrap();
    let file = Arc::new(OwnedFd::from(fs::File::open(folder.path().join("file")).unwrap()));
    assert!(matches!(probe_io_poll(&file), Err(NoPolling::Unsupported)));
}

#[test]
#[should_panic(expected = "a polled ring reads and writes files only")]
fn a_polled_ring_takes_nothing_else() {
    let Some(mut ring) = polled() else { panic!("a polled ring reads and writes files only (skipped)") };
    let folder = folder();
    let file = file_of(&folder, b"x");
    ring.push(0, Operation::Sync { file, data_only: true }).unwrap();
}
