//! Workers that stand still for a while, for long, for ever, or are killed.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::faults::Faults;
use crate::program::engines;
use crate::run::{Running, Shuffle};

const MB: u64 = 1_000_000;

/// Producers are in worker 0 and consumers in worker 1.
fn split(engine: &str) -> Shuffle {
    Shuffle::new(&format!("--bytes 60MB --engine {engine} --placement split"))
}

fn impatient(engine: &str) -> Shuffle {
    split(engine).set("SLUICE_SESSION_HEARTBEAT", "100ms").set("SLUICE_SESSION_SILENCE_MAX", "500ms")
}

/// In the middle of it: the line is too slow for it to be over soon.
fn flowing(shuffle: &Shuffle) -> Running {
    let mut run = shuffle.start(Faults { bytes_per_second: Some(20 * MB), ..Faults::default() });
    run.until_it_flows(5 * MB);
    run
}

#[test]
fn a_worker_that_stands_still_for_a_moment_is_not_missed() {
    for engine in engines() {
        for worker in 0..2 {
            let run = flowing(&split(engine));
            run.signal(worker, Signal::STOP);
            sleep(Duration::from_millis(500));
            run.signal(worker, Signal::CONT);
            assert_eq!(run.end().verified(), (0, 0), "worker {worker}");
        }
    }
}

#[test]
fn a_worker_that_stands_still_for_longer_than_silence_max_goes_on_with_another_link() {
    for engine in engines() {
        for worker in 0..2 {
            let run = flowing(&impatient(engine));
            let before = run.relay.connections();
            run.signal(worker, Signal::STOP);
            if worker == 0 {
                run.until("its peer connects again", |run| run.relay.connections() > before);
            } else {
                // It is the one to connect, so nothing shows that it is missed.
                sleep(Duration::from_secs(3));
            }
            run.signal(worker, Signal::CONT);
            let (lost, resumed) = run.end().verified();
            assert!(lost > 0 && resumed > 0, "worker {worker}: {lost} lost, {resumed} resumed");
        }
    }
}

#[test]
fn a_worker_that_stands_still_for_ever_ends_the_run_with_an_error_that_names_it() {
    for engine in engines() {
        for worker in 0..2 {
            let run = flowing(&impatient(engine).set("SLUICE_SESSION_RESUME_TIMEOUT", "1s"));
            run.signal(worker, Signal::STOP);
            let names_it = format!("worker {worker} (process {}) has not been heard for", run.workers[worker]);
            run.end().failed_with(&[&names_it]);
        }
    }
}

/// Nobody waits for a session to go on whose other end is known to be dead.
#[test]
fn a_worker_that_is_killed_ends_the_run_although_its_sessions_could_go_on() {
    for engine in engines() {
        for worker in 0..2 {
            let run = flowing(&split(engine).set("SLUICE_SESSION_RESUME_TIMEOUT", "1h"));
            run.signal(worker, Signal::KILL);
            let process = format!("(process {})", run.workers[worker]);
            run.end().failed_with(&[&process, "signal: 9"]);
        }
    }
}
