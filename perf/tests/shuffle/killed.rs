//! Real kills of real processes.

use std::collections::HashSet;
use std::process::{Child, Command, Stdio};

use crate::processes::{children, has_worked, is_alive};
use crate::program::{engines, sluice_perf};

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
