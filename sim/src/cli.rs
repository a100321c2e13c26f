//! What `sluice-sim` does: runs seeds on all cores, and explains the first failures.

mod crew;
mod options;
mod show;

use std::time::Instant;

pub use options::{Options, Seeds};

use crate::coverage::Coverage;
use crate::run::{Report, run};
use crew::Crew;

/// Failures that are shown in full; of the others only their seed.
const SHOWN_MAX: usize = 3;

/// Runs what the options ask for. False if a rule did not hold in some run.
pub fn simulate(options: &Options) -> bool {
    if let Some(seed) = options.single() {
        return one(options, seed);
    }
    let seeds = options.choose();
    println!("{}", show::begin(&seeds, options.jobs()));
    let (began, progress) = (Instant::now(), show::progress(&seeds));
    let (mut runs, mut failed, mut coverage) = (0u64, Vec::new(), Coverage::default());
    let crew = Crew::begin(options, &seeds);
    for report in crew.reports() {
        runs += 1;
        coverage.add_run(&report.coverage);
        progress.inc(1);
        if report.failures.is_empty() {
            continue;
        }
        if failed.len() < SHOWN_MAX {
            // Its text is written only now: the run is the same.
            let again = traced(options, &report);
            progress.suspend(|| println!("{}", show::failure(&again, options)));
        } else {
            progress.suspend(|| println!("{}", show::verdict(&report)));
        }
        failed.push(report.seed);
    }
    progress.finish_and_clear();
    println!("{}", show::end(runs, &failed, &coverage, began.elapsed()));
    failed.is_empty()
}

fn one(options: &Options, seed: u64) -> bool {
    options.mistake();
    let report = run(crate::seed::Seed(seed), true);
    println!("{}", show::everything(&report));
    report.failures.is_empty()
}

fn traced(options: &Options, report: &Report) -> Report {
    options.mistake();
    run(report.seed, true)
}
