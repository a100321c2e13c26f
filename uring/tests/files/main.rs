//! What the ring promises of files, over real ones: past the page cache where the file system lets us.
#![expect(clippy::unwrap_used, reason = "in a test it is the failure")]

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use rustix::fs::{Mode, OFlags};
use sluice_memory::{Arena, ArenaOptions, BufferMut, BufferPool, HugePages, Memory, PoolSpec, SizeClass};
use sluice_uring::{Completion, Done, Incoming, Operation, Outgoing, Ring, RingError, RingOptions};
use tempfile::TempDir;

/// A test of a ring that does files, or nothing where there can be none.
macro_rules! ring_or_skip {
    () => {
        match ring(RingOptions { entries: 64, operations_max: 128 }) {
            Some(ring) => ring,
            None => return,
        }
    };
}

mod fixed;
mod lifetime;
mod polled;
mod sleep;
mod transfer;

const PAGE: usize = 4096;

fn ring(options: RingOptions) -> Option<Ring> {
    let refusal = match Ring::new(options) {
        Ok(ring) if ring.features().files() => return Some(ring),
        Ok(_) => "its kernel does no files".to_owned(),
        Err(RingError::Refused(refusal)) => refusal.to_string(),
        Err(error) => panic!("{error}"),
    };
    // Not eprintln!: the line of a test that passes would not be shown.
    let mut shown = io::stderr();
    writeln!(shown, "skipped, this host refuses io_uring: {refusal}").unwrap();
    None
}

/// A folder that is likely on a disk: `/tmp` often is not, and has no direct IO then.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Opens a file to read and write, past the page cache where that can be.
fn open(path: &Path) -> Arc<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let direct = rustix::fs::open(path, flags | OFlags::DIRECT, mode);
    Arc::new(direct.or_else(|_| rustix::fs::open(path, flags, mode)).unwrap())
}

/// A file of these bytes.
fn file_of(folder: &TempDir, bytes: &[u8]) -> Arc<OwnedFd> {
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    open(&path)
}

/// So many pages, each full of its own number.
fn numbered_pages(count: usize) -> Vec<u8> {
    (0..count).flat_map(|page| [page as u8; PAGE]).collect()
}

/// Memory of an arena of its own.
fn memory(bytes: usize) -> (Arena, BufferPool) {
    let arena = Arena::map(ArenaOptions { bytes, huge_pages: HugePages::Never }).unwrap();
    let spec = PoolSpec { owner: "test".into(), unit: SizeClass::MAX, floor_units: 1, bytes_max: bytes };
    let pool = Memory::new(arena.clone()).pool(spec).unwrap();
    (arena, pool)
}

fn pages(pool: &BufferPool, count: usize) -> BufferMut {
    let mut buffer = pool.try_acquire(SizeClass::fitting(count * PAGE).unwrap()).expect("the arena is large enough");
    buffer.truncate(count * PAGE);
    buffer
}

fn filled(pool: &BufferPool, byte: u8, count: usize) -> Outgoing {
    let mut buffer = pages(pool, count);
    buffer.fill(byte);
    Outgoing::Buffer(buffer.freeze())
}

fn read(file: &Arc<OwnedFd>, offset: usize, pieces: Vec<Incoming>) -> Operation {
    Operation::Read { file: Arc::clone(file), offset: offset as u64, pieces, skip: 0 }
}

fn write(file: &Arc<OwnedFd>, offset: usize, pieces: Vec<Outgoing>) -> Operation {
    Operation::Write { file: Arc::clone(file), offset: offset as u64, pieces, skip: 0 }
}

/// The next so many completions.
fn completions(ring: &mut Ring, count: usize) -> Vec<Completion> {
    let mut completions = Vec::new();
    while completions.len() < count {
        ring.wait(None, &mut completions).unwrap();
    }
    assert_eq!(completions.len(), count);
    completions
}

fn run(ring: &mut Ring, operation: Operation) -> Completion {
    ring.push(0, operation).unwrap();
    completions(ring, 1).pop().unwrap()
}

/// How many bytes a completed transfer moved.
fn moved(completion: &Completion) -> usize {
    match completion.result {
        Ok(Done::Read(bytes) | Done::Written(bytes)) => bytes,
        ref other => panic!("nothing moved: {other:?}"),
    }
}

/// All that a read has in its pieces.
fn content(operation: &Operation) -> Vec<u8> {
    let Operation::Read { pieces, .. } = operation else { panic!("not a read: {operation:?}") };
    pieces.iter().flat_map(|piece| piece.as_slice()).copied().collect()
}

fn errno(completion: &Completion) -> Option<i32> {
    completion.result.as_ref().expect_err("an error").raw_os_error()
}
