//! The same seed is the same run, here and in another process: without it a failure could not be looked at twice.

#![forbid(unsafe_code)]

use std::process::Command;

use sluice_sim::run::run;
use sluice_sim::seed::Seed;

const SEEDS: u64 = 250;
/// Set for the process that only prints its hashes.
const PRINTS: &str = "SLUICE_SIM_PRINTS_HASHES";

fn hashes() -> Vec<u64> {
    (0..SEEDS).map(|seed| run(Seed(seed), false).hash).collect()
}

#[test]
fn the_same_seed_is_the_same_run_in_one_process() {
    let (first, second) = (hashes(), hashes());
    let differ: Vec<_> = (0..SEEDS).filter(|seed| first[*seed as usize] != second[*seed as usize]).collect();
    assert!(differ.is_empty(), "seeds that ran differently the second time: {differ:?}");
}

#[test]
fn the_same_seed_is_the_same_run_in_another_process() {
    if std::env::var_os(PRINTS).is_some() {
        println!("hashes {:?}", hashes());
        return;
    }
    let other = Command::new(std::env::current_exe().expect("this test is a program"))
        .args(["--exact", "the_same_seed_is_the_same_run_in_another_process", "--nocapture"])
        .env(PRINTS, "1")
        .output()
        .expect("the test runs again");
    let text = String::from_utf8_lossy(&other.stdout);
    let there = text.lines().find_map(|line| line.split_once("hashes ").map(|(_, hashes)| hashes.to_owned()));
    assert_eq!(there, Some(format!("{:?}", hashes())), "the other process ran differently");
}

#[test]
fn to_write_the_trace_does_not_change_the_run() {
    for seed in 0..SEEDS / 5 {
        assert_eq!(run(Seed(seed), false).hash, run(Seed(seed), true).hash, "seed {seed}");
    }
}
