//! Two queue pairs over a bad network: whatever happens to packets, every request completes exactly once, in order,
//! with the right bytes; or the queue pair is in error and everything is flushed.
//!
//! `SOFTROCE_SEEDS=10000` runs so many seeds, `SOFTROCE_SEED=17` only that one.

use std::env;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::plan::Plan;

const SEEDS: u64 = 400;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn seeds() -> Range<u64> {
    match number("SOFTROCE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SOFTROCE_SEEDS").unwrap_or(SEEDS),
    }
}

#[test]
fn every_request_completes_once_in_order_with_the_right_bytes() {
    let (mut failed, mut cut) = (0, 0);
    for seed in seeds() {
        let plan = Plan::draw(seed);
        let faults = plan.faults;
        let outcome = catch_unwind(AssertUnwindSafe(|| plan.run()));
        let Ok(outcome) = outcome else { panic!("SOFTROCE_SEED={seed} repeats it; {faults:?}") };
        failed += u64::from(outcome.failed);
        cut += u64::from(faults.cut_at.is_some());
        assert!(faults.may_fail() || !outcome.failed, "SOFTROCE_SEED={seed}: failed without a loss; {faults:?}");
    }
    println!("{failed} failed, {cut} were cut");
}
