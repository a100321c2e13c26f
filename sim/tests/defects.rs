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

#[test]
fn a_block_of_the_disk_that_is_not_checked_is_found() {
    is_caught(Defect::SkipBlockChecksum);
}

#[test]
fn a_subpartition_that_is_read_for_another_is_found() {
    is_caught(Defect::IndexOffByOne);
}

#[test]
fn a_partition_that_is_offered_without_some_of_its_files_is_found() {
    is_caught(Defect::AcceptMissingParts);
}

#[test]
fn a_partition_that_is_offered_after_a_loss_of_power_is_found() {
    is_caught(Defect::RecoverFromOtherBoot);
}

#[test]
fn a_partition_that_is_finished_before_its_end_is_written_is_found() {
    is_caught(Defect::FinishBeforeTrailer);
}

#[test]
fn a_partition_that_is_durable_but_for_its_end_is_found() {
    is_caught(Defect::SyncBeforeTrailer);
}

#[test]
fn a_file_that_is_forgotten_when_its_partition_is_released_is_found() {
    is_caught(Defect::ForgetFileOnRelease);
}

#[test]
fn a_read_that_is_starved_is_found() {
    is_caught(Defect::StarveRead);
}

#[test]
fn a_file_that_is_removed_before_it_is_merged_is_found() {
    is_caught(Defect::RemoveBeforeMerged);
}

#[test]
fn a_file_that_could_not_be_read_and_is_removed_is_found() {
    is_caught(Defect::RemoveUnread);
}

#[test]
fn files_that_are_taken_from_the_living_are_found() {
    is_caught(Defect::TakeFromTheLiving);
}

#[test]
fn files_of_the_dead_that_nobody_removes_are_found() {
    is_caught(Defect::LeaveTheDead);
}

#[test]
fn memory_that_was_read_into_and_is_not_given_back_is_found() {
    is_caught(Defect::LeakReadMemory);
}
