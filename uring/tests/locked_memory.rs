//! A user who may lock next to nothing reads and writes all the same. In a process of its own: the limit is the process's.
#![expect(clippy::unwrap_used, reason = "in a test it is the failure")]

use std::env;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use sluice_memory::{Arena, ArenaOptions, HugePages, Memory, PoolSpec, SizeClass};
use sluice_uring::{Done, Incoming, LockLimit, Operation, RegisterError, Ring, RingOptions, probe};

const THIS: &str = "an_arena_that_may_not_be_locked_is_used_without";
const CHILD: &str = "SLUICE_TEST_LOCKS_NOTHING";
const LIMIT: u64 = 64 << 10;

#[test]
fn an_arena_that_may_not_be_locked_is_used_without() {
    if env::var_os(CHILD).is_some() {
        return lock_nothing();
    }
    if !probe().is_ok_and(|features| features.files()) {
        return;
    }
    let child = Command::new(env::current_exe().unwrap()).args(["--exact", THIS]).env(CHILD, "1").output().unwrap();
    assert!(
        child.status.success(),
        "{}{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
}

fn lock_nothing() {
    // Whoever may lock anything is not asked for the limit.
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets).unwrap();
    setrlimit(Resource::Memlock, Rlimit { current: Some(LIMIT), maximum: Some(LIMIT) }).unwrap();

    let arena = Arena::map(ArenaOptions { bytes: 1 << 20, huge_pages: HugePages::Never }).unwrap();
    let mut ring = Ring::new(RingOptions { entries: 8, operations_max: 8 }).unwrap();
    let error = ring.register(&arena).unwrap_err();
    assert!(
        matches!(error, RegisterError::LockedMemory { bytes, limit: LockLimit(Some(LIMIT)), .. } if bytes == 1 << 20)
    );
    assert!(error.to_string().contains("the limit on locked memory is 65536 bytes"), "{error}");
    assert!(!ring.is_registered());

    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(folder.path().join("file"), [7; 4096]).unwrap();
    let file = Arc::new(OwnedFd::from(File::open(folder.path().join("file")).unwrap()));
    let spec = PoolSpec { owner: "test".into(), unit: SizeClass::UNIT, floor_units: 1, bytes_max: 1 << 20 };
    let pool = Memory::new(arena).pool(spec).unwrap();
    let pieces = vec![Incoming::Buffer(pool.acquire(SizeClass::MIN))];
    ring.push(0, Operation::Read { file, offset: 0, pieces, skip: 0 }).unwrap();
    let mut done = Vec::new();
    while done.is_empty() {
        ring.wait(None, &mut done).unwrap();
    }
    assert!(matches!(done[0].result, Ok(Done::Read(4096))), "{:?}", done[0].result);
    let Operation::Read { pieces, .. } = &done[0].operation else { panic!("a read") };
    assert_eq!(pieces[0].as_slice(), [7; 4096]);
}
