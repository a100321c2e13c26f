//! A thread sleeps when there is nothing to reap, and only then.

use crate::*;

#[test]
fn an_idle_ring_neither_blocks_nor_completes() {
    let mut ring = ring_or_skip!(8, 8);
    let mut none = Vec::new();
    ring.reap(&mut none).unwrap();
    ring.wait(None, &mut none).unwrap();
    ring.wait(Some(Duration::ZERO), &mut none).unwrap();
    let (ours, _theirs) = connection();
    ring.push(0, receive(&ours, 1)).unwrap();
    ring.reap(&mut none).unwrap();
    ring.wait(Some(Duration::from_millis(1)), &mut none).unwrap();
    assert!(none.is_empty());
}

#[test]
fn the_longest_timeout_is_one_the_kernel_takes() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    theirs.write_all(b"x").unwrap();
    ring.push(0, receive(&ours, 1)).unwrap();
    let mut done = Vec::new();
    ring.wait(Some(Duration::MAX), &mut done).unwrap();
    assert_eq!(done.len(), 1);
}

/// Returns when that thread of this process sleeps in the kernel.
fn until_asleep(thread: rustix::thread::Pid) {
    let path = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
    while !fs::read_to_string(&path).unwrap().rsplit(')').next().unwrap().starts_with(" S") {
        thread::yield_now();
    }
}

#[test]
fn a_thread_asleep_in_poll_wakes_for_a_completion() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    let event = eventfd(0, EventfdFlags::empty()).unwrap();
    // More than once: the first completion must not leave the ring deaf or for ever readable.
    for byte in 0..50 {
        ring.push(0, receive(&ours, 1)).unwrap();
        let Sleep::On(wake) = ring.prepare_to_sleep().unwrap() else { panic!("nothing has come") };
        let mut files = [PollFd::new(&wake, PollFlags::IN), PollFd::new(&event, PollFlags::IN)];
        assert_eq!(poll(&mut files, Some(&Timespec::default())).unwrap(), 0, "nothing has come");

        let sleeper = rustix::thread::gettid();
        let woken = thread::scope(|scope| {
            scope.spawn(|| {
                until_asleep(sleeper);
                theirs.write_all(&[byte]).unwrap();
            });
            poll(&mut files, Some(&PATIENCE)).unwrap()
        });
        assert_eq!(woken, 1);
        assert!(files[0].revents().contains(PollFlags::IN));
        let mut done = Vec::new();
        ring.reap(&mut done).unwrap();
        assert_eq!(received(&done.pop().unwrap().operation), [byte]);
    }
}

#[test]
fn a_ring_with_something_to_reap_does_not_let_its_thread_sleep() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    let mut done = Vec::new();
    // Here before the push, and before the arming.
    theirs.write_all(b"x").unwrap();
    ring.push(0, receive(&ours, 1)).unwrap();
    assert!(matches!(ring.prepare_to_sleep().unwrap(), Sleep::Ready));
    ring.reap(&mut done).unwrap();
    ring.push(0, receive(&ours, 1)).unwrap();
    ring.submit().unwrap();
    theirs.write_all(b"x").unwrap();
    assert!(matches!(ring.prepare_to_sleep().unwrap(), Sleep::Ready));
    ring.reap(&mut done).unwrap();
    assert_eq!(done.len(), 2);
    assert!(matches!(ring.prepare_to_sleep().unwrap(), Sleep::On(_)));
}

#[test]
fn no_wake_up_is_lost_however_the_peer_comes() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    let rounds = 20_000;
    thread::scope(|scope| {
        scope.spawn(move || {
            // The answer comes at any point of the other thread's turn.
            for round in 0..rounds {
                for _ in 0..round % 64 {
                    std::hint::spin_loop();
                }
                theirs.write_all(&[1]).unwrap();
                theirs.read_exact(&mut [0]).unwrap();
            }
        });
        let mut done = Vec::new();
        for _ in 0..rounds {
            ring.push(0, receive(&ours, 1)).unwrap();
            ring.reap(&mut done).unwrap();
            while done.is_empty() {
                if let Sleep::On(wake) = ring.prepare_to_sleep().unwrap() {
                    let woken = poll(&mut [PollFd::new(&wake, PollFlags::IN)], Some(&PATIENCE)).unwrap();
                    assert_eq!(woken, 1, "a wake-up is lost");
                }
                ring.reap(&mut done).unwrap();
            }
            assert!(matches!(done.pop().unwrap().result, Ok(Done::Received(1))));
            ring.push(1, send(&ours, vec![Outgoing::Bytes(vec![1])])).unwrap();
            bytes_sent(&completion(&mut ring));
        }
    });
}

#[test]
fn a_watched_file_wakes_the_ring() {
    let mut ring = ring_or_skip!(8, 8);
    let event = Arc::new(eventfd(0, EventfdFlags::empty()).unwrap());
    ring.push(5, Operation::Watch { file: Arc::clone(&event) }).unwrap();
    let sleeper = rustix::thread::gettid();
    let done = thread::scope(|scope| {
        scope.spawn(|| {
            until_asleep(sleeper);
            rustix::io::write(&event, &1_u64.to_ne_bytes()).unwrap();
        });
        completion(&mut ring)
    });
    assert!(done.token == 5 && matches!(done.result, Ok(Done::Ready)), "{done:?}");
}
