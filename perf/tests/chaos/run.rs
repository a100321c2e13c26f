//! One run of the program through a relay, and how it ends.

use std::process::{Child, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::faults::Faults;
use crate::processes::{children, is_alive};
use crate::program::sluice_perf;
use crate::relay::Relay;

/// A run that takes longer hangs: many times what it needs on a busy machine.
const HANGS_AFTER: Duration = Duration::from_secs(180);

/// The words and variables of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shuffle {
    pub(crate) words: String,
    pub(crate) settings: Vec<(&'static str, &'static str)>,
    pub(crate) hangs_after: Option<Duration>,
}

impl Shuffle {
    /// Random records.
    pub(crate) fn new(words: &str) -> Self {
        Self { words: format!("--no-ceiling --generate random {words}"), ..Self::default() }
    }

    pub(crate) fn set(mut self, variable: &'static str, value: &'static str) -> Self {
        self.settings.push((variable, value));
        self
    }

    pub(crate) fn start(&self, faults: Faults) -> Running {
        let relay = Relay::new(faults);
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = sluice_perf(&self.words);
        command.args(["--relay", &relay.address.to_string(), "--json"]).arg(folder.path().join("report.json"));
        command.envs(self.settings.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        let coordinator = child.id();
        let (tell, ended) = channel();
        std::thread::spawn(move || tell.send(wait(child)));
        let hangs_at = Instant::now() + self.hangs_after.unwrap_or(HANGS_AFTER);
        Running { what: self.words.clone(), relay, folder, coordinator, workers: Vec::new(), ended, hangs_at }
    }

    /// Runs to its end.
    pub(crate) fn run(&self, faults: Faults) -> Ended {
        self.start(faults).end()
    }
}

/// Its status and what it said about it.
fn wait(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().expect("it is ours");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) struct Running {
    what: String,
    pub(crate) relay: Relay,
    folder: TempDir,
    coordinator: u32,
    /// The process of each worker, once they are asked for.
    pub(crate) workers: Vec<u32>,
    ended: Receiver<(Option<i32>, String)>,
    hangs_at: Instant,
}

impl Running {
    /// Waits until this holds while the run goes on.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            match self.ended.recv_timeout(Duration::from_millis(1)) {
                Err(RecvTimeoutError::Timeout) => {}
                ended => panic!("{}: it ended before {what}: {ended:?}", self.what),
            }
            assert!(Instant::now() < self.hangs_at, "{}: it hangs before {what}: {:?}", self.what, self.relay.tally());
        }
    }

    /// Waits until all workers are in the middle of it: so many bytes went between them.
    pub(crate) fn until_it_flows(&mut self, bytes: u64) {
        self.until("it flows", |run| run.relay.bytes() > bytes);
        self.workers = children(self.coordinator);
    }

    /// To one of the workers, counted from 0: they were started in this order.
    pub(crate) fn signal(&self, worker: usize, signal: Signal) {
        kill_process(pid(self.workers[worker]), signal).expect("it is a process of ours");
    }

    /// How it ends. One that does not is a failure, and so are processes that it leaves.
    pub(crate) fn end(self) -> Ended {
        let patience = self.hangs_at.saturating_duration_since(Instant::now());
        let Ok((status, said)) = self.ended.recv_timeout(patience) else {
            panic!("{}: it hangs: {:?}", self.what, self.relay.tally());
        };
        assert!(!said.contains("panicked"), "{}: {said}", self.what);
        let left: Vec<_> = self.workers.iter().filter(|worker| is_alive(**worker)).collect();
        assert!(left.is_empty(), "{}: {left:?} are left", self.what);
        let report = std::fs::read(self.folder.path().join("report.json")).unwrap_or_default();
        let report = serde_json::from_slice(&report).unwrap_or_default();
        let tally = self.relay.tally();
        let (cuts, flips) = (tally.cuts.load(Ordering::Relaxed), tally.flips.load(Ordering::Relaxed));
        Ended { what: self.what.clone(), status, said, report, cuts, flips }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let workers = children(self.coordinator);
            for process in workers.into_iter().chain([self.coordinator]) {
                let _ = kill_process(pid(process), Signal::KILL);
            }
        }
    }
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(process as i32).expect("it is no 0")
}

/// How a run has ended.
pub(crate) struct Ended {
    what: String,
    pub(crate) status: Option<i32>,
    pub(crate) said: String,
    pub(crate) report: Value,
    pub(crate) cuts: u64,
    pub(crate) flips: u64,
}

impl Ended {
    /// Verified. Gives how many ends of links were lost, and resumed.
    #[track_caller]
    pub(crate) fn verified(&self) -> (u64, u64) {
        assert_eq!(self.status, Some(0), "{}: {} cuts, {} flips: {}", self.what, self.cuts, self.flips, self.said);
        assert_eq!(self.report["result"]["verified"], true, "{:#}", self.report);
        let links = |what| self.report["result"]["links"][what].as_u64().expect("a number");
        (links("lost"), links("resumed"))
    }

    /// An error that says all of this.
    #[track_caller]
    pub(crate) fn failed_with(&self, parts: &[&str]) {
        assert_eq!(self.status, Some(1), "{}: {}", self.what, self.said);
        assert_eq!(self.report["result"]["verified"], false, "{:#}", self.report);
        for part in parts {
            assert!(self.said.contains(part), "{}: {part} is not in: {}", self.what, self.said);
        }
    }
}
