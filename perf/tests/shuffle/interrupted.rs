//! Runs through files that end before their time: whoever ends them, no worker and no file of theirs is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::processes::{children, has_worked, is_alive};
use crate::program::{report, sluice_perf};

const ENDLESS: &str = "--no-ceiling --generate random --bytes 10TB --workers 2 --memory 32MiB";

/// A shuffle through files that would take hours, once it is in the middle of its work.
struct Run {
    coordinator: Child,
    /// None with workers that are threads.
    workers: Vec<u32>,
}

impl Run {
    /// `data` has got its first files from it.
    fn start(command: &mut Command, workers: usize, data: &Path) -> Run {
        let mut coordinator = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        loop {
            let found = children(coordinator.id());
            let work = if workers == 0 { vec![coordinator.id()] } else { found.clone() };
            let all_work = work.len() == workers.max(1) && work.iter().all(|worker| has_worked(*worker, 10));
            if all_work && files(data).iter().any(|path| path.to_string_lossy().contains(".spill")) {
                return Run { coordinator, workers: found };
            }
            assert!(coordinator.try_wait().expect("it is ours").is_none(), "it ended early");
            std::thread::yield_now();
        }
    }

    /// Its end, after which nobody of it lives.
    fn end(self) -> Output {
        let ended = self.coordinator.wait_with_output().expect("it is ours");
        assert_eq!(self.workers.iter().filter(|worker| is_alive(**worker)).count(), 0);
        ended
    }
}

/// All files below the folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status().expect("there is a kill");
    assert!(sent.success());
}

#[test]
fn an_interrupted_run_ends_its_workers_and_removes_their_files() {
    let kinds =
        [("sort-merge", "-INT", 130), ("hash", "-TERM", 143), ("sort-merge --transport in-process", "-INT", 130)];
    for (words, with, status) in kinds {
        let folder = tempfile::tempdir().expect("a folder");
        let workers = if words.contains("in-process") { 0 } else { 2 };
        let mut command = sluice_perf(&format!("{ENDLESS} --partition {words}"));
        let run = Run::start(command.arg("--disk").arg(folder.path()), workers, folder.path());
        signal(run.coordinator.id(), with);
        let ended = run.end();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(status), "{words}: {said}");
        assert!(said.contains(&format!("interrupted by SIG{}", &with[1..])), "{words}: {said}");
        assert_eq!(files(folder.path()), [""; 0].map(PathBuf::from), "{words}");
    }
}

#[test]
fn the_temporary_directory_of_an_interrupted_run_goes_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = sluice_perf(&format!("{ENDLESS} --partition sort-merge"));
    let run = Run::start(command.env("TMPDIR", folder.path()), 2, folder.path());
    signal(run.coordinator.id(), "-INT");
    assert_eq!(run.end().status.code(), Some(130));
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
}

#[test]
fn a_run_that_fails_removes_the_files_of_all_its_workers() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = sluice_perf(&format!("{ENDLESS} --partition sort-merge"));
    let run = Run::start(command.arg("--disk").arg(folder.path()), 2, folder.path());
    signal(run.workers[1], "-KILL");
    let ended = run.end();
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(files(folder.path()), [""; 0].map(PathBuf::from));
}

/// Only the next run can remove what is left of one whose coordinator had no chance to.
#[test]
fn workers_whose_coordinator_is_killed_end_and_the_next_run_removes_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("the folder is ours");
    let mut command = sluice_perf(&format!("{ENDLESS} --partition sort-merge"));
    let mut run = Run::start(command.arg("--disk").arg(&data), 2, &data);
    run.coordinator.kill().expect("it runs");
    run.coordinator.wait().expect("it is ours");
    // Nobody else would end them: this waits until they do.
    while run.workers.iter().any(|worker| is_alive(*worker)) {
        std::thread::yield_now();
    }
    assert!(!files(&data).is_empty(), "nobody was there to remove them");
    let mut next = sluice_perf("--no-ceiling --generate random --bytes 1MB --workers 2 --partition sort-merge");
    report(next.arg("--disk").arg(&data), folder.path());
    assert_eq!(files(&data), [""; 0].map(PathBuf::from));
}
