//! That the net catches fish: each mistake that can be switched on is found, and it is the mistake that is found.

#![forbid(unsafe_code)]

use sluice_protocol::defect::{self, Defect};
use sluice_sim::run::run;
use sluice_sim::seed::Seed;

/// In so many seeds at the latest.
const SEEDS: u64 = 500;

fn is_caught(defect: Defect) {
    for seed in (0..SEEDS).map(Seed) {
        defect::set(Some(defect));
        let report = run(seed, false);
        defect::set(None);
        // A seed that fails anyway proves nothing.
        if !report.failures.is_empty() && run(seed, false).failures.is_empty() {
            println!("{}: seed {}: {}", defect.name(), seed.0, report.failures[0]);
            return;
        }
    }
    panic!("{} was not found in {SEEDS} seeds", defect.name());
}

#[test]
fn credit_that_is_dropped_is_found() {
    is_caught(Defect::DropCredit);
}

#[test]
fn memory_that_is_taken_back_before_the_cancel_is_answered_is_found() {
    is_caught(Defect::SkipCancelHandshake);
}

#[test]
fn memory_that_is_reused_early_is_found() {
    is_caught(Defect::ReuseMemoryEarly);
}

#[test]
fn a_missing_end_that_is_accepted_is_found() {
    is_caught(Defect::AcceptMissingEnd);
}

#[test]
fn what_is_delivered_twice_after_a_resume_is_found() {
    is_caught(Defect::DeliverTwiceAfterResume);
}

#[test]
fn a_block_that_is_forgotten_before_it_is_acknowledged_is_found() {
    is_caught(Defect::ForgetUnacknowledged);
}

#[test]
fn a_channel_that_is_starved_is_found() {
    is_caught(Defect::StarveChannel);
}
