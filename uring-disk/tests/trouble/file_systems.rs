//! File systems that are full, read-only, or can little. They are mounted for the test, where the host lets us.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sluice_plugin::{DirectoryId, DiskRequest, FileId};
use sluice_uring_disk::{DirectIo, DiskEngine, LocalDiskConfig};
use tempfile::TempDir;

use super::worker::{FIRST, PAGE, Worker, config};

/// Far more than the kernel takes to free anything.
const PATIENCE: Duration = Duration::from_secs(20);
const KIB_64: usize = 64 << 10;
const SECOND: DirectoryId = DirectoryId(1);

/// A file system that is there as long as this.
struct Mounted {
    at: PathBuf,
    _folder: TempDir,
}

impl Mounted {
    /// `None`, and a line that says why, where it cannot be mounted.
    fn new(prepare: impl FnOnce(&Path) -> Option<Command>) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root mounts file systems");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let at = folder.path().join("mounted");
        std::fs::create_dir(&at).expect("the folder is new");
        let mut mount = prepare(folder.path())?;
        works(mount.arg(&at)).then_some(Self { at, _folder: folder })
    }

    fn of_kind(kind: &str, options: &str) -> Option<Self> {
        Self::new(|_| {
            let mut mount = Command::new("mount");
            mount.args(["-t", kind, "-o", options, "none"]);
            Some(mount)
        })
    }

    /// An ext4 of so many MiB.
    fn ext4(mib: u64) -> Option<Self> {
        Self::new(|folder| {
            let image = folder.join("image");
            let file = std::fs::File::create(&image).expect("the folder is new");
            file.set_len(mib << 20).expect("a file with holes");
            let made = works(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-O", "^has_journal"]).arg(&image));
            let mut mount = Command::new("mount");
            mount.args(["-t", "ext4", "-o", "loop"]).arg(&image);
            made.then_some(mount)
        })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that fails may have files open here.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

fn works(command: &mut Command) -> bool {
    let ran = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let works = ran.is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: {command:?} does not work here");
    }
    works
}

/// Each way to do the IO that this host has.
fn ways(config: &LocalDiskConfig) -> Vec<LocalDiskConfig> {
    let mut ways = Vec::new();
    let rings = sluice_uring::probe().is_ok().then_some(DiskEngine::IoUring);
    for engine in rings.into_iter().chain([DiskEngine::Threads]) {
        for direct in [DirectIo::Auto, DirectIo::Never] {
            ways.push(LocalDiskConfig { engine, direct, ..config.clone() });
        }
    }
    ways
}

/// Writes until there is an error; where it was, and how much went well.
fn fill(worker: &mut Worker, file: FileId) -> (sluice_plugin::DiskError, usize) {
    for offset in (0..usize::MAX).step_by(KIB_64) {
        if let Err(error) = worker.write(file, offset, KIB_64, 1) {
            return (error, offset);
        }
    }
    panic!("the file system is larger than any");
}

#[test]
fn a_full_file_system_fails_the_write_and_nothing_else() {
    let Some(small) = Mounted::ext4(8) else { return };
    let other = tempfile::tempdir().expect("a folder for temporary files");
    for (number, way) in ways(&config(&[&small.at, other.path()])).into_iter().enumerate() {
        let what = format!("{:?}, {:?}", way.engine, way.direct);
        let mut worker = Worker::new(way, number as u64).expect("a small directory is one, too");
        let free = worker.free(FIRST);
        let file = worker.create_in(FIRST, "large");
        worker.write(file, 0, KIB_64, 9).expect("there is room for this");
        worker.write(file, 0, KIB_64, 1).expect("there is room for this");
        let (error, written) = fill(&mut worker, file);
        assert_eq!(error.source.kind(), ErrorKind::StorageFull, "{what}: {error}");
        assert!(error.path.starts_with(&small.at) && error.to_string().contains("large"), "{what}: {error}");
        let at = error.offset.expect("a write has a place") as usize;
        assert!((written..written + KIB_64).contains(&at), "{what}: {error} after {written} bytes");

        // What was written is there, what lies elsewhere goes on, and what is removed makes room.
        assert!(worker.page("large", written / PAGE - 1) == [1; PAGE], "{what}");
        let elsewhere = worker.create_in(SECOND, "elsewhere");
        worker.write(elsewhere, 0, KIB_64, 2).expect("the other directory has room");
        worker.remove("large");
        worker.run(DiskRequest::Close { file }).expect("closing never fails");
        // A ring may keep a file for an instant longer than its last request.
        let patience = Instant::now() + PATIENCE;
        while worker.free(FIRST) + (1 << 20) < free {
            assert!(Instant::now() < patience, "{what}: {} of {free} bytes came back", worker.free(FIRST));
        }
        worker.leave_file("small", 3);
        assert!(worker.page("small", 0) == [3; PAGE], "{what}");
        worker.remove("small");
    }
}

#[test]
fn room_that_cannot_be_promised_is_not_taken() {
    let Some(small) = Mounted::ext4(8) else { return };
    let mut worker = Worker::at(&small.at, 1);
    let file = worker.create_in(FIRST, "promised");
    let bytes = 1 << 20;
    worker.run(DiskRequest::Allocate { file, bytes }).expect("there is a MiB");
    let free = worker.free(FIRST);
    let error = worker.run(DiskRequest::Allocate { file, bytes: 64 << 20 }).expect_err("there are 8 MiB");
    assert_eq!(error.source.kind(), ErrorKind::StorageFull, "{error}");
    assert!(error.path.starts_with(&small.at), "{error}");
    assert_eq!(worker.listed_bytes("promised"), bytes);
    // The file system may keep a block for its map of the file.
    assert!(worker.free(FIRST) + (KIB_64 as u64) > free, "{} bytes free of {free}", worker.free(FIRST));

    // What was promised is there, whatever else fills the disk.
    let other = worker.create_in(FIRST, "other");
    fill(&mut worker, other);
    for offset in (0..bytes as usize).step_by(KIB_64) {
        worker.write(file, offset, KIB_64, 4).expect("room was promised");
    }
}

#[test]
fn a_read_only_file_system_is_refused() {
    let Some(sealed) = Mounted::of_kind("tmpfs", "ro") else { return };
    let Err(error) = Worker::new(config(&[&sealed.at]), 1) else { panic!("nothing can be written there") };
    let problem = error.to_string();
    assert!(problem.contains(&sealed.at.display().to_string()) && problem.contains("mount it writable"), "{problem}");
}

/// Once opened to be written as well, and so not at all when a file system went read-only under its worker.
#[test]
fn a_finished_file_that_cannot_be_written_any_more_is_read() {
    let Some(small) = Mounted::ext4(8) else { return };
    for (number, way) in ways(&config(&[&small.at])).into_iter().enumerate() {
        let what = format!("{:?}, {:?}", way.engine, way.direct);
        let mut worker = Worker::new(way, number as u64).expect("a small directory is one, too");
        worker.leave_file("finished", 4);
        let path = small.at.join(format!("{}~finished", worker.owner.0));
        // What a file's permissions are, root does not ask; this holds for root as well.
        let seal = |how: &str| works(Command::new("chattr").arg(how).arg(&path));
        if !seal("+i") {
            return;
        }
        let refused = std::fs::File::options().write(true).open(&path);
        assert!(refused.is_err(), "{what}: it is sealed");
        let page = worker.page("finished", 0);
        assert!(seal("-i"), "{what}: it was sealed");
        assert!(page == [4; PAGE], "{what}");
    }
}

/// What is logged while `work` runs on this thread.
fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nothing panics under it").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, work);
    let lines = lines.0.lock().expect("nothing panics under it");
    String::from_utf8_lossy(&lines).into_owned()
}

#[test]
fn where_direct_io_does_not_work_one_line_says_so_and_why() {
    let Some(plain) = Mounted::of_kind("ramfs", "mode=700") else { return };
    let log = logged(|| drop(Worker::at(&plain.at, 1)));
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    let [warning] = warnings[..] else { panic!("one warning is due: {log}") };
    for part in [plain.at.to_str().expect("in UTF-8"), "through the page cache", "ramfs", "O_DIRECT"] {
        assert!(warning.contains(part), "{warning}");
    }
    let never = LocalDiskConfig { direct: DirectIo::Never, ..config(&[&plain.at]) };
    let log = logged(|| assert!(Worker::new(never, 2).is_ok()));
    assert!(!log.contains("page cache"), "nobody asked for it: {log}");
}

/// ramfs has neither O_DIRECT nor fallocate.
#[test]
fn a_file_system_that_can_little_does_all_the_same() {
    let Some(plain) = Mounted::of_kind("ramfs", "mode=700") else { return };
    for (number, way) in ways(&config(&[&plain.at])).into_iter().enumerate() {
        let mut worker = Worker::new(way, number as u64).expect("direct IO is not needed");
        assert!(!worker.disk.capabilities().directories[0].is_direct);
        let file = worker.create_in(FIRST, "plain");
        worker.run(DiskRequest::Allocate { file, bytes: 1 << 20 }).expect("longer without room");
        assert_eq!(worker.listed_bytes("plain"), 1 << 20);
        worker.run(DiskRequest::Allocate { file, bytes: 4096 }).expect("it is as long");
        assert_eq!(worker.listed_bytes("plain"), 1 << 20);
        worker.write(file, KIB_64, KIB_64, 5).expect("there is memory");
        assert!(worker.page("plain", 16) == [5; PAGE]);
        assert!(worker.page("plain", 15) == [0; PAGE]);
        worker.run(DiskRequest::Sync { file }).expect("there is nothing to do");
        worker.remove("plain");
    }
}
