//! A fixed set of seeds, as every change runs it. Fresh ones are for the command line.

#![forbid(unsafe_code)]

use sluice_sim::coverage::{Coverage, Sight};
use sluice_sim::run::run;
use sluice_sim::seed::Seed;

const SEEDS: u64 = 300;

#[test]
fn a_fixed_set_of_seeds_breaks_no_rule_and_has_seen_what_it_should() {
    let mut coverage = Coverage::default();
    let mut failed = Vec::new();
    for seed in (0..SEEDS).map(Seed) {
        let report = run(seed, false);
        coverage.add_run(&report.coverage);
        failed.extend(report.failures.first().map(|failure| format!("seed {}: {failure}", seed.0)));
    }
    assert!(failed.is_empty(), "{} of {SEEDS} failed:\n{}", failed.len(), failed.join("\n"));
    for sight in [
        Sight::RemotePlacement,
        Sight::Resume,
        Sight::CutInMessage,
        Sight::HalfOpen,
        Sight::Stall,
        Sight::Kill,
        Sight::Restart,
        Sight::Unreachable,
        Sight::HeadCorrupted,
        Sight::PayloadCorrupted,
        Sight::LateWrite,
        Sight::Refused,
        Sight::OnDemand,
        Sight::Reclaim,
        Sight::Cancel,
        Sight::PriorityEvent,
        Sight::LargeRecord,
        Sight::SuccessAfterCut,
        Sight::SortMerge,
        Sight::Hash,
        Sight::ReadAgain,
        Sight::Retry,
        Sight::Probe,
        Sight::Recovered,
        Sight::Shared,
        Sight::Swept,
        Sight::LeftAlone,
        Sight::MasterRestart,
        Sight::JobReleased,
        Sight::DiskError,
        Sight::DiskFull,
        Sight::DiskAltered,
        Sight::WriteBrokenOff,
        Sight::PowerLoss,
        Sight::Merge,
        Sight::MergedOpened,
    ] {
        assert!(coverage.count(sight) >= 3, "{sight:?} in {} of {SEEDS} runs:\n{coverage}", coverage.count(sight));
    }
}
