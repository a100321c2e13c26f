//! Files: names, lengths, and what becomes of them.

use std::fs;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::life::{HERE, Life, PAGE, adopt, create, open, pattern, remove, remove_of, touch};
use crate::disk::{DirectoryId, DiskDone, DiskFactory, DiskRequest, FileId, FileOwner};

/// Open or closed; and the one that is there stays as it is.
pub fn a_file_that_exists_is_not_created_again(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    life.leave_file("twice", 2, 1);
    let error = life.fails(create("twice"));
    assert_eq!(error.source.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(error.path.to_string_lossy().ends_with("twice"), "{error}");
    life.assert_file("twice", 2, 1);
    life.end();
}

/// The error says which.
pub fn a_file_that_is_missing_is_not_opened(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let error = life.fails(open("missing"));
    assert_eq!((error.source.kind(), error.offset), (ErrorKind::NotFound, None), "{error}");
    assert!(error.path.to_string_lossy().ends_with("missing"), "{error}");
    assert_eq!(life.list(), []);
    life.end();
}

/// Each opening has an id of its own, which is never used again.
pub fn a_file_is_opened_as_often_as_one_likes(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let first = life.create("often");
    life.write(first, 0, &[PAGE], 1);
    let (second, bytes) = life.open("often");
    assert_eq!(bytes, PAGE as u64);
    life.close(first);
    assert!(life.read(second, 0, &[PAGE]) == pattern(PAGE, 1));
    let (third, _) = life.open("often");
    assert!(first != second && second != third && third != first);
    life.close(second);
    assert!(life.read(third, 0, &[PAGE]) == pattern(PAGE, 1));
    life.end();
}

/// By nothing that is done to it: what else has it open reads what was there.
pub fn a_file_that_was_opened_to_read_stays_as_it_is(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    life.leave_file("finished", 2, 1);
    let (file, _) = life.open("finished");
    let from = vec![life.filled(PAGE, 2)];
    for request in [
        DiskRequest::Write { file, offset: 0, from },
        DiskRequest::Truncate { file, bytes: 0 },
        DiskRequest::Allocate { file, bytes: 16 * PAGE as u64 },
    ] {
        let error = life.fails(request);
        assert!(error.path.to_string_lossy().ends_with("finished"), "{error}");
    }
    life.done(DiskRequest::Sync { file });
    assert!(life.read(file, 0, &[2 * PAGE]) == pattern(2 * PAGE, 1));
    life.close(file);
    life.assert_file("finished", 2, 1);
    life.end();
}

/// It makes a file longer, never shorter, and changes nothing that is written.
pub fn what_is_allocated_is_there_and_stays(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("room");
    life.done(DiskRequest::Allocate { file, bytes: 16 * PAGE as u64 });
    assert_eq!(life.list()[0].bytes, 16 * PAGE as u64);
    life.write(file, 3 * PAGE as u64, &[PAGE], 3);
    life.read(file, 15 * PAGE as u64, &[PAGE]);
    for pages in [0, 2, 32] {
        life.done(DiskRequest::Allocate { file, bytes: pages * PAGE as u64 });
        assert_eq!(life.list()[0].bytes, 16.max(pages) * PAGE as u64);
        assert!(life.read(file, 3 * PAGE as u64, &[PAGE]) == pattern(PAGE, 3));
    }
    life.end();
}

/// What is before the cut stays, what is behind it is gone: longer again, it is zeros there.
pub fn a_truncated_file_ends_where_it_was_cut(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("cut");
    life.write(file, 0, &[8 * PAGE], 1);
    life.done(DiskRequest::Truncate { file, bytes: 3 * PAGE as u64 });
    assert_eq!(life.list()[0].bytes, 3 * PAGE as u64);
    let into = vec![life.memory(PAGE)];
    let error = life.fails(DiskRequest::Read { file, offset: 3 * PAGE as u64, into });
    assert_eq!(error.source.kind(), ErrorKind::UnexpectedEof, "{error}");
    life.done(DiskRequest::Truncate { file, bytes: 4 * PAGE as u64 });
    let read = life.read(file, 0, &[4 * PAGE]);
    assert!(read[..3 * PAGE] == pattern(8 * PAGE, 1)[..3 * PAGE]);
    assert!(read[3 * PAGE..] == [0; PAGE], "what was cut off is not read again");
    life.done(DiskRequest::Truncate { file, bytes: 0 });
    assert_eq!(life.list()[0].bytes, 0);
    life.end();
}

/// And so is one with nothing in it.
pub fn a_synced_file_is_unchanged(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("durable");
    life.done(DiskRequest::Sync { file });
    life.write(file, 0, &[2 * PAGE], 5);
    life.done(DiskRequest::Sync { file });
    life.close(file);
    life.assert_file("durable", 2, 5);
    life.end();
}

/// Removed again, or never there, it is as good as removed.
pub fn a_removed_file_is_gone_and_its_name_is_free(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    life.leave_file("gone", 2, 1);
    life.leave_file("stays", 1, 2);
    life.done(remove("gone"));
    let names: Vec<_> = life.list().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["stays"]);
    assert_eq!(life.fails(open("gone")).source.kind(), ErrorKind::NotFound);
    life.done(remove("gone"));
    let own = life.owner();
    life.done(remove_of(&own, "never-there"));
    life.leave_file("gone", 3, 3);
    life.assert_file("gone", 3, 3);
    life.assert_file("stays", 1, 2);
    life.end();
}

/// A new file may have its name meanwhile.
pub fn a_file_that_is_removed_while_open_is_read_until_it_is_closed(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("open");
    life.write(file, 0, &[PAGE], 1);
    life.done(remove("open"));
    assert_eq!(life.list(), []);
    life.leave_file("open", 1, 2);
    life.write(file, PAGE as u64, &[PAGE], 3);
    assert!(life.read(file, 0, &[PAGE]) == pattern(PAGE, 1));
    assert!(life.read(file, PAGE as u64, &[PAGE]) == pattern(PAGE, 3));
    life.close(file);
    life.assert_file("open", 1, 2);
    life.end();
}

/// Nor can one be closed that is being read.
pub fn a_file_that_is_not_open_cannot_be_used(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let file = life.create("closed");
    life.write(file, 0, &[PAGE], 1);
    let into = vec![life.memory(PAGE)];
    let reads = life.submit(DiskRequest::Read { file, offset: 0, into });
    assert_panics(&mut life, DiskRequest::Close { file });
    assert!(life.completion(reads).result.is_ok());
    life.close(file);
    assert_panics(&mut life, DiskRequest::Close { file });
    assert_panics(&mut life, DiskRequest::Sync { file });
    assert_panics(&mut life, DiskRequest::Allocate { file: FileId(file.0 + 1), bytes: 1 });
    life.assert_file("closed", 1, 1);
    life.end();
}

fn assert_panics(life: &mut Life, request: DiskRequest) {
    let what = format!("{request:?}");
    let submitted = catch_unwind(AssertUnwindSafe(|| life.disk().submit(0, request).is_ok()));
    assert!(submitted.is_err(), "{what} was not refused with a panic");
}

/// By whatever request, and nothing is made, found or removed by them.
pub fn names_that_are_none_are_refused_everywhere(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    life.leave_file("good", 1, 1);
    let nobody = FileOwner("nobody".into());
    let long = "x".repeat(101);
    for name in ["", "a/b", "/", "../good", "a b", "a~b", "a\0b", "ä", long.as_str()] {
        let own = [create(name), open(name), remove(name), touch(name)];
        for request in own.into_iter().chain([remove_of(&nobody, name), adopt(&nobody, name)]) {
            let what = format!("{request:?}");
            let error = life.fails(request);
            assert_eq!(error.source.kind(), ErrorKind::InvalidInput, "{what}: {error}");
        }
    }
    for name in ["..", ".", "-", "a.B_c-9", &long[1..]] {
        life.leave_file(name, 1, 2);
        life.assert_file(name, 1, 2);
        life.done(remove(name));
    }
    assert_eq!(life.list().len(), 1);
    life.assert_file("good", 1, 1);
    life.end();
}

/// The same name in each of them is another file.
pub fn directories_have_names_of_their_own(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let directories = life.disk().capabilities().directories.len();
    let mut files = Vec::new();
    for index in 0..directories {
        let request = DiskRequest::Create { directory: DirectoryId(index as u16), name: "same".into() };
        match life.run(request).1 {
            Ok(DiskDone::Opened { file, .. }) => files.push(file),
            result => panic!("creating a file in directory {index} gave {result:?}"),
        }
    }
    for (seed, file) in files.iter().enumerate() {
        life.write(*file, 0, &[PAGE], seed);
    }
    for (seed, file) in files.iter().enumerate() {
        assert!(life.read(*file, 0, &[PAGE]) == pattern(PAGE, seed));
    }
    life.done(remove("same"));
    for index in 1..directories {
        match life.run(DiskRequest::List { directory: DirectoryId(index as u16) }).1 {
            Ok(DiskDone::Listed(files)) => assert_eq!(files.len(), 1),
            result => panic!("a list gave {result:?}"),
        }
    }
    life.end();
}

/// Of every directory.
pub fn space_is_told(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    for index in 0..life.disk().capabilities().directories.len() {
        match life.run(DiskRequest::Space { directory: DirectoryId(index as u16) }).1 {
            Ok(DiskDone::Space { free, total }) => assert!(0 < free && free <= total, "{free} of {total} bytes free"),
            result => panic!("asking for space gave {result:?}"),
        }
    }
    life.end();
}

/// What names it fails and says where; what is open may work or fail. Once it is back, so is everything else.
pub fn a_directory_that_vanishes_is_an_error_and_no_more(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    let path = life.disk().capabilities().directories[0].path.clone();
    if !path.is_dir() {
        return eprintln!("unproved: {} is no directory that could vanish", path.display());
    }
    let file = life.create("lost");
    life.write(file, 0, &[PAGE], 1);
    let mut elsewhere = path.clone().into_os_string();
    elsewhere.push(".vanished");
    fs::rename(&path, &elsewhere).expect("the directory and its parent are the test's own");
    let nobody = FileOwner("nobody".into());
    let names = [create("new"), open("lost"), adopt(&nobody, "any"), DiskRequest::List { directory: HERE }];
    for request in names.into_iter().chain([DiskRequest::Space { directory: HERE }]) {
        let what = format!("{request:?}");
        let error = life.fails(request);
        assert!(error.path.starts_with(&path), "{what}: {error}");
    }
    let from = vec![life.filled(PAGE, 2)];
    for request in [DiskRequest::Write { file, offset: 0, from }, DiskRequest::Sync { file }, remove("lost")] {
        // An open file is there for whoever has it open, wherever its directory is.
        let _ = life.run(request);
    }
    fs::rename(&elsewhere, &path).expect("as above");
    life.close(file);
    life.leave_file("back", 1, 3);
    life.assert_file("back", 1, 3);
    life.end();
}
