//! Bytes come from and go to their place in the file, whole and in order.

use crate::*;

/// Runs a rule with memory that is registered and with memory that is not.
fn with_both_kinds_of_memory(rule: impl Fn(&mut Ring, &BufferPool)) {
    for registered in [true, false] {
        let mut ring = ring_or_skip!();
        let (arena, pool) = memory(4 << 20);
        if registered {
            ring.register(&arena).unwrap();
        }
        rule(&mut ring, &pool);
    }
}

#[test]
fn a_piece_is_read_from_its_offset() {
    with_both_kinds_of_memory(|ring, pool| {
        let folder = folder();
        let file = file_of(&folder, &numbered_pages(8));
        let done = run(ring, read(&file, 3 * PAGE, vec![Incoming::Buffer(pages(pool, 2))]));
        assert_eq!(moved(&done), 2 * PAGE);
        assert_eq!(content(&done.operation), numbered_pages(8)[3 * PAGE..5 * PAGE]);
    });
}

#[test]
fn a_piece_is_written_to_its_offset() {
    with_both_kinds_of_memory(|ring, pool| {
        let folder = folder();
        let file = file_of(&folder, &numbered_pages(8));
        let done = run(ring, write(&file, 3 * PAGE, vec![filled(pool, 100, 2)]));
        assert_eq!(moved(&done), 2 * PAGE);
        let mut expected = numbered_pages(8);
        expected[3 * PAGE..5 * PAGE].fill(100);
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), expected);
    });
}

#[test]
fn pieces_are_read_one_after_the_other() {
    with_both_kinds_of_memory(|ring, pool| {
        let folder = folder();
        let file = file_of(&folder, &numbered_pages(8));
        let pieces = [1, 3, 2].map(|count| Incoming::Buffer(pages(pool, count))).into();
        let done = run(ring, read(&file, PAGE, pieces));
        assert_eq!(moved(&done), 6 * PAGE);
        assert_eq!(content(&done.operation), numbered_pages(8)[PAGE..7 * PAGE]);
    });
}

#[test]
fn pieces_are_written_one_after_the_other() {
    with_both_kinds_of_memory(|ring, pool| {
        let folder = folder();
        let file = file_of(&folder, &[]);
        let pieces = vec![filled(pool, 0, 1), filled(pool, 1, 1), filled(pool, 2, 1)];
        assert_eq!(moved(&run(ring, write(&file, 0, pieces))), 3 * PAGE);
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), numbered_pages(3));
    });
}

#[test]
fn what_is_skipped_stays_as_it_is_and_the_rest_keeps_its_place() {
    with_both_kinds_of_memory(|ring, pool| {
        let folder = folder();
        let file = file_of(&folder, &numbered_pages(8));
        // A whole piece, and the first page of the second.
        let pieces: Vec<_> = [1, 3].map(|count| Incoming::Buffer(pages(pool, count))).into();
        let before: Vec<u8> = pieces.iter().flat_map(|piece| piece.as_slice()[..PAGE].to_vec()).collect();
        let going_on = Operation::Read { file: Arc::clone(&file), offset: 0, pieces, skip: 2 * PAGE };
        let done = run(ring, going_on);
        assert_eq!(moved(&done), 2 * PAGE);
        let content = content(&done.operation);
        assert_eq!((&content[..2 * PAGE], &content[2 * PAGE..]), (&before[..], &numbered_pages(4)[2 * PAGE..]));

        let pieces = vec![filled(pool, 100, 1), filled(pool, 101, 3)];
        let going_on = Operation::Write { file, offset: 0, pieces, skip: 2 * PAGE };
        assert_eq!(moved(&run(ring, going_on)), 2 * PAGE);
        let mut expected = numbered_pages(8);
        expected[2 * PAGE..4 * PAGE].fill(101);
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), expected);
    });
}

#[test]
fn a_read_is_short_only_at_the_end_of_the_file() {
    with_both_kinds_of_memory(|ring, pool| {
        let folder = folder();
        let file = file_of(&folder, &numbered_pages(3)[..2 * PAGE + 100]);
        let done = run(ring, read(&file, PAGE, vec![Incoming::Buffer(pages(pool, 4))]));
        assert_eq!(moved(&done), PAGE + 100);
        assert_eq!(content(&done.operation)[..PAGE + 100], numbered_pages(3)[PAGE..2 * PAGE + 100]);
        let past = read(&file, 3 * PAGE, vec![Incoming::Buffer(pages(pool, 1))]);
        assert_eq!(moved(&run(ring, past)), 0);
    });
}

#[test]
fn many_requests_at_a_time_each_find_their_place() {
    with_both_kinds_of_memory(|ring, pool| {
        let folder = folder();
        let file = file_of(&folder, &[]);
        let count = 128;
        for page in (0..count).rev() {
            ring.push(page as u64, write(&file, page * PAGE, vec![filled(pool, page as u8, 1)])).unwrap();
        }
        drop(completions(ring, count));
        for page in 0..count {
            let into = vec![Incoming::Buffer(pages(pool, 1))];
            ring.push(page as u64, read(&file, page * PAGE, into)).unwrap();
        }
        for done in completions(ring, count) {
            assert_eq!(moved(&done), PAGE);
            assert_eq!(content(&done.operation), [done.token as u8; PAGE]);
        }
    });
}

#[test]
fn what_was_written_can_be_made_to_survive() {
    let mut ring = ring_or_skip!();
    let (_, pool) = memory(4 << 20);
    let folder = folder();
    let file = file_of(&folder, &[]);
    run(&mut ring, write(&file, 0, vec![filled(&pool, 1, 1)])).result.unwrap();
    for data_only in [true, false] {
        let done = run(&mut ring, Operation::Sync { file: Arc::clone(&file), data_only });
        assert!(matches!(done.result, Ok(Done::Synced)), "{:?}", done.result);
    }
    // A device that cannot: a result, and nothing else.
    let null = Arc::new(rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).unwrap());
    let done = run(&mut ring, Operation::Sync { file: null, data_only: true });
    assert_eq!(errno(&done), Some(rustix::io::Errno::INVAL.raw_os_error()));
}

#[test]
fn a_device_without_room_is_an_error_and_gives_the_memory_back() {
    with_both_kinds_of_memory(|ring, pool| {
        let full = Arc::new(rustix::fs::open("/dev/full", OFlags::RDWR, Mode::empty()).unwrap());
        let done = run(ring, write(&full, 0, vec![filled(pool, 1, 1)]));
        assert_eq!(errno(&done), Some(rustix::io::Errno::NOSPC.raw_os_error()));
        assert!(pool.in_use_bytes() > 0);
        drop(done);
        assert_eq!(pool.in_use_bytes(), 0);
    });
}

#[test]
fn bytes_of_no_arena_are_read_and_written_as_well() {
    let mut ring = ring_or_skip!();
    let folder = folder();
    // Through the page cache: nothing here is aligned.
    fs::write(folder.path().join("file"), b"0123456789").unwrap();
    let file = fs::File::options().read(true).write(true).open(folder.path().join("file")).unwrap();
    let file = Arc::new(OwnedFd::from(file));
    let done = run(&mut ring, read(&file, 2, vec![Incoming::Bytes(vec![0; 3]), Incoming::Bytes(vec![0; 2])]));
    assert_eq!((moved(&done), &content(&done.operation)[..]), (5, &b"23456"[..]));
    let pieces = vec![Outgoing::Bytes(b"abc".to_vec()), Outgoing::Bytes(b"de".to_vec())];
    assert_eq!(moved(&run(&mut ring, write(&file, 1, pieces))), 5);
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"0abcde6789");
}

#[test]
#[should_panic(expected = "no file is longer")]
fn an_offset_that_means_the_files_position_is_a_mistake() {
    let Some(mut ring) = ring(RingOptions { entries: 1, operations_max: 1 }) else {
        panic!("no file is longer (skipped)")
    };
    let folder = folder();
    let file = file_of(&folder, b"x");
    let pieces = vec![Incoming::Bytes(vec![0])];
    ring.push(0, Operation::Read { file, offset: u64::MAX, pieces, skip: 0 }).unwrap();
}
