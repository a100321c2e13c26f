//! Bytes: they come back as they were written, with the memory that they came in.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sluice_memory::Location;

use super::life::{Life, PAGE, pattern};
use crate::disk::{DISK_REQUEST_BYTES_MAX, DiskDone, DiskFactory, DiskRequest, FileId};

/// From one page to the largest request, in one piece or many, and read in other pieces than it was written in.
pub fn what_is_written_is_read_back_in_pieces_of_any_size(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("pieces");
    let many = vec![PAGE; 128];
    let kib_64 = vec![64 << 10; 8];
    let uneven = [PAGE, 5 * PAGE, 16 * PAGE, PAGE, 100 * PAGE, 5 * PAGE];
    let shapes: [&[usize]; 5] = [&[DISK_REQUEST_BYTES_MAX], &kib_64, &many, &uneven, &[64 * PAGE, 64 * PAGE]];
    let mut offset = 0;
    for (seed, pieces) in shapes.into_iter().enumerate() {
        life.write(file, offset, pieces, seed);
        offset += DISK_REQUEST_BYTES_MAX as u64;
    }
    life.write(file, offset, &[PAGE], 99);
    for (seed, pieces) in shapes.into_iter().rev().enumerate() {
        let seed_written = shapes.len() - 1 - seed;
        for shape in [pieces, shapes[seed]] {
            let read = life.read(file, (seed_written * DISK_REQUEST_BYTES_MAX) as u64, shape);
            assert!(read == pattern(DISK_REQUEST_BYTES_MAX, seed_written), "written and read in {shape:?}");
        }
    }
    assert!(life.read(file, offset, &[PAGE]) == pattern(PAGE, 99));
    // From the middle of one request to the middle of the next.
    let middle = life.read(file, (DISK_REQUEST_BYTES_MAX - PAGE) as u64, &[PAGE, PAGE]);
    assert!(middle[..PAGE] == pattern(DISK_REQUEST_BYTES_MAX, 0)[DISK_REQUEST_BYTES_MAX - PAGE..]);
    assert!(middle[PAGE..] == pattern(PAGE, 1));
    life.end();
}

/// All are under way together, the last page of the file first, and so are the reads.
pub fn requests_in_any_order_make_one_file(factory: &dyn DiskFactory) {
    const PAGES: usize = 200;
    // Coprime with the number of pages, so each has its turn.
    let shuffled = || (0..PAGES).map(|turn| turn * 77 % PAGES);
    let mut life = Life::first(factory);
    let file = life.create("any-order");
    let mut tokens = Vec::new();
    for page in shuffled() {
        let from = vec![life.filled(PAGE, page)];
        tokens.push(life.submit(DiskRequest::Write { file, offset: (page * PAGE) as u64, from }));
    }
    for token in tokens {
        assert!(matches!(life.completion(token).result, Ok(DiskDone::Done)));
    }
    let mut tokens = Vec::new();
    for page in shuffled().map(|page| PAGES - 1 - page) {
        let into = vec![life.memory(PAGE)];
        tokens.push((page, life.submit(DiskRequest::Read { file, offset: (page * PAGE) as u64, into })));
    }
    for (page, token) in tokens {
        assert_read(&mut life, token, page);
    }
    life.close(file);
    assert_eq!(life.open("any-order").1, (PAGES * PAGE) as u64);
    life.end();
}

fn assert_read(life: &mut Life, token: u64, seed: usize) {
    match life.completion(token) {
        completion if completion.result.is_err() => panic!("{completion:?}"),
        completion => match completion.request {
            DiskRequest::Read { into, .. } => {
                assert!(into[0][..] == pattern(PAGE, seed), "page {seed} reads otherwise")
            }
            request => panic!("a read came back as {request:?}"),
        },
    }
}

/// The last one counts, and the pages beside it keep theirs.
pub fn a_page_that_is_written_again_has_its_new_bytes(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("again");
    life.write(file, 0, &[3 * PAGE], 1);
    life.write(file, PAGE as u64, &[PAGE], 2);
    let read = life.read(file, 0, &[3 * PAGE]);
    let old = pattern(3 * PAGE, 1);
    assert!(read[..PAGE] == old[..PAGE] && read[2 * PAGE..] == old[2 * PAGE..]);
    assert!(read[PAGE..2 * PAGE] == pattern(PAGE, 2));
    life.end();
}

/// Reads, writes and names together: each token once, each with the very memory that it was given.
pub fn every_request_completes_once_with_its_memory(factory: &dyn DiskFactory) {
    const PAGES: u64 = 100;
    let mut life = Life::first(factory);
    let file = life.create("once");
    for page in 0..PAGES {
        life.write(file, page * PAGE as u64, &[PAGE], page as usize);
    }
    let mut due: BTreeMap<u64, Option<Location>> = BTreeMap::new();
    for page in 0..PAGES {
        let offset = page * PAGE as u64;
        let request = match page % 3 {
            0 => DiskRequest::Write { file, offset, from: vec![life.filled(PAGE, page as usize)] },
            1 => DiskRequest::Read { file, offset, into: vec![life.memory(PAGE)] },
            _ => DiskRequest::List { directory: super::life::HERE },
        };
        let at = location(&request);
        due.insert(life.submit(request), at);
    }
    life.until("the last completion", |life| {
        for completion in life.take_completed() {
            assert!(completion.result.is_ok(), "{completion:?}");
            let at = due.remove(&completion.token).expect("a token comes back once");
            assert_eq!(location(&completion.request), at, "request {} has other memory", completion.token);
        }
        due.is_empty().then_some(())
    });
    assert_eq!(life.in_use_bytes(), 0, "bytes in use after the last completion");
    life.end();
}

fn location(request: &DiskRequest) -> Option<Location> {
    match request {
        DiskRequest::Read { into, .. } => Some(into[0].location()),
        DiskRequest::Write { from, .. } => Some(from[0].location()),
        _ => None,
    }
}

/// Nothing is polled for until the disk takes no more; at its depth it takes at least as many as it says.
pub fn a_full_disk_hands_requests_back_and_loses_none(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let depth = life.disk().capabilities().depth as usize;
    assert!(depth > 0, "a disk has one request under way at least");
    let file = life.create("full");
    life.write(file, 0, &[PAGE], 7);
    let mut taken = Vec::new();
    let mut memory: Vec<_> = (0..500).map(|_| life.memory(PAGE)).collect();
    while let Some(into) = memory.pop() {
        let at = into.location();
        match life.try_submit(DiskRequest::Read { file, offset: 0, into: vec![into] }) {
            Ok(token) => taken.push(token),
            Err(DiskRequest::Read { file: of, offset: 0, mut into }) => {
                assert_eq!((of, into.len(), into[0].location(), into[0].len()), (file, 1, at, PAGE));
                memory.extend(into.pop());
                break;
            }
            Err(request) => panic!("a read was handed back as {request:?}"),
        }
    }
    assert!(!memory.is_empty(), "a disk says when it is full; this one has taken {} requests", taken.len());
    assert!(taken.len() >= depth.min(400), "{} of a depth of {depth} were taken", taken.len());
    // What is refused is welcome after the next completion.
    for into in memory {
        taken.push(life.submit(DiskRequest::Read { file, offset: 0, into: vec![into] }));
    }
    for token in taken {
        assert_read(&mut life, token, 7);
    }
    life.end();
}

/// The end in the middle of a request, at its start, and long before it.
pub fn a_read_past_the_end_fails_and_names_the_place(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("short");
    life.write(file, 0, &[2 * PAGE], 1);
    for (page, pages) in [(1, 2), (2, 1), (100, 1), (0, 3)] {
        let (offset, bytes) = ((page * PAGE) as u64, pages * PAGE);
        let into = vec![life.memory(bytes)];
        let (request, result) = life.run(DiskRequest::Read { file, offset, into });
        let error = result.expect_err("there is no such page");
        assert_eq!(error.source.kind(), ErrorKind::UnexpectedEof, "{error}");
        assert!(error.path.to_string_lossy().ends_with("short"), "{error}");
        let at = error.offset.expect("a read has a place");
        assert!((offset..offset + bytes as u64).contains(&at), "{error}: {bytes} bytes at {offset} were asked for");
        assert_eq!(request.bytes(), bytes, "the memory comes back");
    }
    assert!(life.read(file, 0, &[2 * PAGE]) == pattern(2 * PAGE, 1));
    life.end();
}

/// One that must fail between two that must not, under way together.
pub fn a_failed_request_leaves_its_neighbours_alone(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("neighbours");
    life.write(file, 0, &[PAGE], 1);
    let mut read = |offset: u64| {
        let into = vec![life.memory(PAGE)];
        life.submit(DiskRequest::Read { file, offset, into })
    };
    let (before, fails, after) = (read(0), read(77 * PAGE as u64), read(0));
    assert_read(&mut life, before, 1);
    assert_read(&mut life, after, 1);
    assert!(life.completion(fails).result.is_err());
    life.end();
}

/// In the file, in memory, in length, and with no bytes or too many.
pub fn what_is_not_aligned_is_our_own_mistake(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("aligned");
    life.write(file, 0, &[PAGE], 1);
    let shifted = |life: &Life| vec![life.memory(2 * PAGE).split_off(512)];
    let wrong = [
        read(file, 512, vec![life.memory(PAGE)]),
        read(file, 0, vec![life.memory(PAGE - 512)]),
        read(file, 0, shifted(&life)),
        read(file, 0, Vec::new()),
        read(file, 0, vec![life.memory(DISK_REQUEST_BYTES_MAX), life.memory(PAGE)]),
        DiskRequest::Write { file, offset: 1, from: vec![life.filled(PAGE, 1)] },
    ];
    for request in wrong {
        let what = format!("{request:?}");
        let submitted = catch_unwind(AssertUnwindSafe(|| life.disk().submit(0, request).is_ok()));
        assert!(submitted.is_err(), "{what} was not refused with a panic");
    }
    assert!(life.read(file, 0, &[PAGE]) == pattern(PAGE, 1), "and the disk goes on");
    life.end();
}

fn read(file: FileId, offset: u64, into: Vec<sluice_memory::BufferMut>) -> DiskRequest {
    DiskRequest::Read { file, offset, into }
}
