//! Leases: a file that a life has locked as long as it lives, and that frees itself however it dies.
//!
//! The owner's lock is exclusive. Who wants to know how an owner fares tries a shared one, so that askers do not take each
//! other for the owner; while they have it the owner cannot come back.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use sluice_plugin::FileOwner;

use crate::names;

/// Who asks after an owner, or forgets one, holds the lock for some microseconds, or as long as a busy machine lets it
/// wait; after so many tries, 2 s, it is neither.
const TRIES_MAX: usize = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// The lease of this life in one directory. Dropped, it is over, and what the life has left there is a dead one's.
#[derive(Debug)]
pub(crate) struct Lease {
    path: PathBuf,
    file: File,
}

impl Lease {
    /// `None` if somebody of that name lives here.
    pub(crate) fn take(directory: &Path, owner: &FileOwner) -> io::Result<Option<Lease>> {
        let path = directory.join(names::lease(owner));
        for _ in 0..TRIES_MAX {
            let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file = File::from(open(&path, flags, Mode::RUSR | Mode::WUSR)?);
            match file.try_lock() {
                // Who clears up may have removed it between the two calls: then it protects nothing.
                Ok(()) if is_at(&file, &path)? => return Ok(Some(Lease { path, file })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Nobody else removes it while it is locked. The directory may be gone: then so is the lease.
        if is_at(&self.file, &self.path).unwrap_or(false) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// That an owner is dead, and stays so as long as this lives.
#[derive(Debug)]
pub(crate) struct Death {
    _lease: Option<File>,
}

/// Asks after another owner; `None` if it lives, or if that cannot be told.
pub(crate) fn death(directory: &Path, owner: &FileOwner) -> Option<Death> {
    match File::open(directory.join(names::lease(owner))) {
        Ok(file) => file.try_lock_shared().is_ok().then_some(Death { _lease: Some(file) }),
        // Each life takes its lease before it makes a file.
        Err(error) if error.kind() == ErrorKind::NotFound => Some(Death { _lease: None }),
        Err(_) => None,
    }
}

/// Removes what a dead owner without files has left. Somebody else may be about to do the same, or to take the lease.
pub(crate) fn forget(directory: &Path, owner: &FileOwner) {
    let path = directory.join(names::lease(owner));
    let Ok(file) = File::open(&path) else { return };
    if file.try_lock().is_ok() && is_at(&file, &path).unwrap_or(false) {
        let _ = std::fs::remove_file(directory.join(names::probe(owner)));
        let _ = std::fs::remove_file(&path);
    }
}

/// Whether this file is the one of that name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let here = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((here.dev(), here.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn owner() -> FileOwner {
        FileOwner("c-1-2".into())
    }

    fn entries(directory: &Path) -> usize {
        fs::read_dir(directory).expect("it is there").count()
    }

    #[test]
    fn an_owner_is_alive_as_long_as_its_lease() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path();
        let lease = Lease::take(at, &owner()).expect("a writable directory").expect("nobody has it");
        assert!(death(at, &owner()).is_none());
        forget(at, &owner());
        assert!(death(at, &owner()).is_none(), "what is locked is not forgotten");
        drop(lease);
        assert!(death(at, &owner()).is_some());
        assert_eq!(entries(at), 0);
    }

    #[test]
    fn a_lease_that_nobody_holds_is_dead_to_all_who_ask_and_is_forgotten_once() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path();
        fs::write(at.join(names::lease(&owner())), "").expect("writable");
        fs::write(at.join(names::probe(&owner())), "").expect("writable");
        let first = death(at, &owner());
        assert!(first.is_some() && death(at, &owner()).is_some());
        forget(at, &owner());
        assert_eq!(entries(at), 2, "somebody relies on its death");
        drop(first);
        forget(at, &owner());
        forget(at, &owner());
        assert_eq!(entries(at), 0);
    }

    #[test]
    fn a_lease_that_was_left_is_taken_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path();
        fs::write(at.join(names::lease(&owner())), "").expect("writable");
        let lease = Lease::take(at, &owner()).expect("a writable directory").expect("nobody holds it");
        assert!(death(at, &owner()).is_none());
        drop(lease);
    }

    #[test]
    fn who_asks_does_not_keep_an_owner_from_its_lease_for_long() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path();
        fs::write(at.join(names::lease(&owner())), "").expect("writable");
        thread::scope(|scope| {
            let asker = scope.spawn(|| (0..200).filter(|_| death(at, &owner()).is_some()).count());
            let lease = Lease::take(at, &owner()).expect("a writable directory");
            assert!(lease.is_some());
            asker.join().expect("asking does not panic");
        });
    }

    /// One takes it while the other removes what it takes for left over.
    #[test]
    fn a_lease_that_is_taken_while_others_forget_it_is_there() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    forget(at, &owner());
                }
            });
            let leases = (0..300).filter_map(|_| Lease::take(at, &owner()).ok().flatten());
            let is_there = |lease: Lease| is_at(&lease.file, &lease.path).is_ok_and(|is_there| is_there);
            let are_there: Vec<_> = leases.map(is_there).collect();
            is_over.store(true, Ordering::Relaxed);
            // Starved, one may go without; with one that is not on the disk, never.
            assert!(!are_there.is_empty() && are_there.iter().all(|is_there| *is_there), "{are_there:?}");
        });
    }
}
