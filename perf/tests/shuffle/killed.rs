//! Real kills of real processes.

use std::collections::HashSet;
use std::fs;
use std::process::{Child, Command, Stdio};

use crate::program::{engines, sluice_perf};

/// The processes that `parent` has started: the fourth field of `stat` is a process's parent.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("a Linux machine");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| stat(*id).is_some_and(|(state, its)| its == parent && state != "Z")).collect()
}

/// State and parent.
fn stat(process: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name is in brackets and may have spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_string(), fields.next()?.parse().ok()?))
}

fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| state != "Z")
}

/// Whether it has used so much CPU time, in hundredths of a second: then it is in the middle of its work.
fn has_worked(process: u32, ticks: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    // User and system time; behind the name, counted from 0.
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() > ticks
}

fn kill(process: u32) {
    let killed = Command::new("kill").args(["-9", &process.to_string()]).status().expect("there is a kill");
    assert!(killed.success());
}

/// A shuffle that would take minutes, once its workers have begun with it.
fn endless(engine: &str) -> (Child, Vec<u32>) {
    let words = format!("--no-ceiling --generate random --bytes 10TB --workers 3 --engine {engine} --memory 32MiB");
    let mut command = sluice_perf(&words);
    let mut coordinator = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    loop {
        let workers = children(coordinator.id());
        if workers.len() == 3 && workers.iter().all(|worker| has_worked(*worker, 10)) {
            return (coordinator, workers);
        }
        assert!(coordinator.try_wait().expect("it is ours").is_none(), "it ended early");
        std::thread::yield_now();
    }
}

#[test]
fn a_worker_that_is_killed_ends_the_run_with_an_error_that_names_it() {
    for engine in engines() {
        for victim in 0..3 {
            let (coordinator, workers) = endless(engine);
            kill(workers[victim]);
            let ended = coordinator.wait_with_output().expect("it is ours");
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(1), "{said}");
            assert!(said.contains(&format!("process {}", workers[victim])), "{} was killed: {said}", workers[victim]);
            assert!(!String::from_utf8_lossy(&ended.stdout).contains("verified"), "nothing was verified");
            let left: HashSet<_> = workers.iter().filter(|worker| is_alive(**worker)).collect();
            assert!(left.is_empty(), "{left:?} are left");
        }
    }
}

#[test]
fn workers_end_when_their_coordinator_is_killed() {
    for engine in engines() {
        let (mut coordinator, workers) = endless(engine);
        coordinator.kill().expect("it runs");
        coordinator.wait().expect("it is ours");
        // Nobody else would end them: this waits until they do.
        while workers.iter().any(|worker| is_alive(*worker)) {
            std::thread::yield_now();
        }
    }
}
