//! Processes that share a directory, and those that die in it. Each is this program, started anew for one ignored test.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sluice_plugin::OwnerState;

use super::worker::{PAGE, Worker, entries};

const DIRECTORY: &str = "SLUICE_TEST_DIRECTORY";
const NUMBER: &str = "SLUICE_TEST_NUMBER";
/// Tells its lines from those of the test harness.
const MARK: &str = "worker: ";

/// A worker in a process of its own. It creates the file `shared`, and then does as it is told, line by line.
struct Process {
    child: Child,
    answers: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(directory: &Path, number: u64) -> Self {
        let program = env::current_exe().expect("this program is a file");
        let mut command = Command::new(program);
        command.args(["--exact", "processes::a_worker_in_a_process_of_its_own", "--ignored", "--nocapture"]);
        command.env(DIRECTORY, directory).env(NUMBER, number.to_string());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("a process is free");
        let answers = BufReader::new(child.stdout.take().expect("piped above")).lines();
        let mut process = Self { child, answers };
        assert_eq!(process.answer(), "ready");
        process
    }

    fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped at the start");
        writeln!(stdin, "{line}").expect("the process listens");
    }

    fn answer(&mut self) -> String {
        loop {
            let line = self.answers.next().expect("the process answers").expect("in UTF-8");
            if let Some((_, answer)) = line.split_once(MARK) {
                return answer.to_owned();
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().expect("it is ours");
        let status = self.child.wait().expect("it is ours");
        assert_eq!(status.signal(), Some(9));
    }

    fn end(mut self) {
        self.tell("end");
        let status = self.child.wait().expect("it is ours");
        assert!(status.success(), "{status}");
    }
}

/// Not a rule: what [`Process`] starts.
#[test]
#[ignore = "the other tests start it, in a process of its own"]
fn a_worker_in_a_process_of_its_own() {
    let directory = PathBuf::from(env::var(DIRECTORY).expect("the test that starts this sets it"));
    let number = env::var(NUMBER).ok().and_then(|number| number.parse().ok()).expect("as above");
    let mut worker = Worker::at(&directory, number);
    worker.leave_file("shared", number as u8);
    let say = |line: &str| println!("{MARK}{line}");
    say("ready");
    for line in std::io::stdin().lines() {
        match line.expect("the test speaks UTF-8").as_str() {
            "list" => {
                let states: Vec<_> = worker.list().iter().map(|file| format!("{:?}", file.state)).collect();
                say(&states.join(" "));
            }
            "adopt" => {
                let dead = worker.list().into_iter().filter(|file| file.state == OwnerState::Dead);
                let dead: Vec<_> = dead.collect();
                let got = dead.iter().filter(|file| match worker.adopt(file) {
                    Ok(()) => true,
                    Err(error) if error.source.kind() == ErrorKind::NotFound => false,
                    Err(error) => panic!("{error}"),
                });
                let got: Vec<_> = got.map(|file| file.name.clone()).collect();
                say(&got.join(" "));
            }
            _ => return,
        }
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for temporary files")
}

fn states(worker: &mut Worker) -> Vec<OwnerState> {
    worker.list().into_iter().map(|file| file.state).collect()
}

#[test]
fn files_of_a_killed_process_are_dead_from_then_on_and_can_be_adopted() {
    let folder = folder();
    let mut heir = Worker::at(folder.path(), 1);
    let process = Process::start(folder.path(), 2);
    let file = heir.list().remove(0);
    assert_eq!((file.name.as_str(), file.state, file.bytes), ("shared", OwnerState::Alive, PAGE as u64));
    let error = heir.adopt(&file).expect_err("its owner lives");
    assert_eq!(error.source.kind(), ErrorKind::ResourceBusy, "{error}");

    process.kill();
    assert_eq!(states(&mut heir), [OwnerState::Dead]);
    heir.adopt(&file).expect("its owner is dead");
    assert_eq!(states(&mut heir), [OwnerState::Own]);
    assert!(heir.page("shared", 0) == [2; PAGE]);
    let own_only = [format!("{}.lease", heir.owner.0), format!("{}~shared", heir.owner.0)];
    assert_eq!(entries(folder.path()), own_only, "what a dead owner without files leaves is forgotten");
}

#[test]
fn two_processes_in_one_directory_leave_each_other_alone() {
    let folder = folder();
    let mut here = Worker::at(folder.path(), 1);
    here.leave_file("shared", 1);
    let mut there = Process::start(folder.path(), 2);
    assert_eq!(states(&mut here), [OwnerState::Own, OwnerState::Alive]);
    there.tell("list");
    assert_eq!(there.answer(), "Alive Own");
    here.remove("shared");
    assert_eq!(states(&mut here), [OwnerState::Alive]);
    there.tell("list");
    assert_eq!(there.answer(), "Own");
    there.end();
    assert_eq!(states(&mut here), [OwnerState::Dead], "a clean end is one, too");
}

#[test]
fn of_two_processes_each_file_of_a_dead_one_goes_to_one() {
    const FILES: usize = 300;
    let folder = folder();
    let mut dead = Worker::at(folder.path(), 1);
    (0..FILES).for_each(|file| dead.leave_file(&format!("f{file}"), file as u8));
    let owner = dead.owner.clone();
    drop(dead);
    let mut heirs = [Process::start(folder.path(), 2), Process::start(folder.path(), 3)];
    heirs.iter_mut().for_each(|heir| heir.tell("adopt"));
    let mut adopted: BTreeMap<String, usize> = BTreeMap::new();
    for (index, heir) in heirs.iter_mut().enumerate() {
        for name in heir.answer().split_whitespace() {
            let other = adopted.insert(name.to_owned(), index);
            assert_eq!(other, None, "{name} was adopted twice");
        }
    }
    assert_eq!(adopted.len(), FILES);
    assert!(!entries(folder.path()).iter().any(|entry| entry.starts_with(&owner.0)));
    heirs.into_iter().for_each(Process::end);
    let mut last = Worker::at(folder.path(), 4);
    let listed = last.list();
    assert_eq!(listed.len(), FILES + 2);
    for file in listed.iter().filter(|file| file.name == "f7") {
        last.adopt(file).expect("all are dead");
        assert!(last.page("f7", 0) == [7; PAGE]);
    }
}

#[test]
fn a_clean_end_without_files_leaves_the_directory_empty() {
    let folder = folder();
    let mut worker = Worker::at(folder.path(), 1);
    worker.leave_file("short-lived", 1);
    worker.remove("short-lived");
    drop(worker);
    assert_eq!(entries(folder.path()), [""; 0]);
}

#[test]
fn what_others_have_put_there_is_neither_listed_nor_touched() {
    let folder = folder();
    let at = folder.path();
    let foreign = ["README", "a~b", "data.lease", "notes.txt~"];
    for name in foreign {
        std::fs::write(at.join(name), "of somebody else").expect("the folder is new");
    }
    // Called as a file of ours, it is a directory and so none.
    std::fs::create_dir(at.join("trouble-1-9~directory")).expect("the folder is new");
    let mut worker = Worker::at(at, 1);
    assert_eq!(worker.list(), []);
    worker.leave_file("mine", 1);
    worker.remove("mine");
    drop(worker);
    let expected: Vec<_> = foreign.iter().copied().chain(["trouble-1-9~directory"]).collect();
    assert_eq!(entries(at), expected);
}
