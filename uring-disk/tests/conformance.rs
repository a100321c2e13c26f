//! The rules of every disk, on both engines, past the page cache and through it.

use std::path::{Path, PathBuf};

use sluice_plugin::{Disk, DiskBuildError, DiskFactory, DiskSetup};
use sluice_uring_disk::{DirectIo, DiskEngine, LocalDiskConfig, LocalDisks};
use tempfile::TempDir;

/// A disk with two directories of its own, which go with it.
struct Scratch {
    disks: LocalDisks,
    _folder: TempDir,
}

impl Scratch {
    fn new(engine: DiskEngine, direct: DirectIo, within: &Path) -> Self {
        let folder = tempfile::tempdir_in(within).expect("a folder for temporary files");
        let directories: Vec<PathBuf> = ["first", "second"].iter().map(|name| folder.path().join(name)).collect();
        for directory in &directories {
            std::fs::create_dir(directory).expect("the folder is new");
        }
        let config = LocalDiskConfig { directories, engine, direct, ..LocalDiskConfig::default() };
        Self { disks: LocalDisks::new(config), _folder: folder }
    }
}

impl DiskFactory for Scratch {
    fn name(&self) -> &'static str {
        self.disks.name()
    }

    fn build(&self, setup: DiskSetup) -> Result<Box<dyn Disk>, DiskBuildError> {
        self.disks.build(setup)
    }
}

fn threads(direct: DirectIo) -> Scratch {
    Scratch::new(DiskEngine::Threads, direct, &std::env::temp_dir())
}

/// None, and a line that says why, where the host refuses.
fn io_uring(direct: DirectIo, within: &Path) -> Option<Scratch> {
    match sluice_uring::probe() {
        Ok(_) => Some(Scratch::new(DiskEngine::IoUring, direct, within)),
        Err(refusal) => {
            eprintln!("skipped: {refusal}");
            None
        }
    }
}

/// The usual place of a tmpfs; none, and a line that says so, where it is missing.
fn tmpfs() -> Option<&'static Path> {
    let path = Path::new("/dev/shm");
    let is_there = path.is_dir();
    if !is_there {
        eprintln!("skipped: no {}", path.display());
    }
    is_there.then_some(path)
}

mod threads_past_the_cache {
    use super::*;

    sluice_plugin::disk_conformance!(threads(DirectIo::Auto));
}

mod threads_through_the_cache {
    use super::*;

    sluice_plugin::disk_conformance!(threads(DirectIo::Never));
}

mod threads_on_tmpfs {
    use super::*;

    sluice_plugin::disk_conformance!(
        optional: tmpfs().map(|at| Scratch::new(DiskEngine::Threads, DirectIo::Auto, at))
    );
}

mod uring_past_the_cache {
    use super::*;

    sluice_plugin::disk_conformance!(optional: io_uring(DirectIo::Auto, &std::env::temp_dir()));
}

mod uring_through_the_cache {
    use super::*;

    sluice_plugin::disk_conformance!(optional: io_uring(DirectIo::Never, &std::env::temp_dir()));
}

mod uring_on_tmpfs {
    use super::*;

    sluice_plugin::disk_conformance!(optional: tmpfs().and_then(|at| io_uring(DirectIo::Auto, at)));
}
