//! What is printed.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::options::{Options, Seeds};
use crate::coverage::Coverage;
use crate::plan::Plan;
use crate::run::Report;
use crate::seed::Seed;

/// Lines of a trace that stand under a failure.
const LINES_SHOWN: usize = 200;

pub(super) fn begin(seeds: &Seeds, jobs: u32) -> String {
    match seeds {
        Seeds::Range(range) => format!("seeds {}..{} on {jobs} threads", range.start, range.end),
        Seeds::Fresh { from, minutes } => format!("fresh seeds from {from} on, for {minutes} min on {jobs} threads"),
    }
}

pub(super) fn progress(seeds: &Seeds) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    match seeds {
        Seeds::Range(range) => {
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} runs, {per_sec}");
            ProgressBar::new(range.end - range.start).with_style(style.expect("a template that indicatif knows"))
        }
        Seeds::Fresh { .. } => {
            let style = ProgressStyle::with_template("{spinner} {elapsed} {pos} runs, {per_sec}");
            ProgressBar::new_spinner().with_style(style.expect("a template that indicatif knows"))
        }
    }
}

pub(super) fn verdict(report: &Report) -> String {
    let first = report.failures.first().map_or_else(String::new, |failure| failure.to_string());
    format!("seed {}: {}", report.seed.0, first.lines().next().unwrap_or_default())
}

pub(super) fn failure(report: &Report, options: &Options) -> String {
    let mut text = format!("\nFAILED {}\n\n{}\n", verdict(report), Plan::of(report.seed));
    let hidden = report.trace.len().saturating_sub(LINES_SHOWN);
    if hidden > 0 {
        text += &format!("({hidden} lines before)\n");
    }
    for line in &report.trace[hidden..] {
        text += line;
        text += "\n";
    }
    text += &failures(report);
    let Seed(seed) = report.seed;
    text += &format!(
        "\nagain, with all lines: cargo run -p sluice-sim --release{} --seed {seed}\n",
        options.mistake_words()
    );
    text
}

pub(super) fn everything(report: &Report) -> String {
    let mut text = format!("{}\n", Plan::of(report.seed));
    for line in &report.trace {
        text += line;
        text += "\n";
    }
    text += &failures(report);
    let seconds = report.lasted.0 as f64 / 1e9 - 1.0;
    text += &format!("\nhash {:016x}, {seconds:.3} s of its own time", report.hash);
    text
}

fn failures(report: &Report) -> String {
    if report.failures.is_empty() {
        return String::from("\nall rules hold\n");
    }
    report.failures.iter().fold(String::new(), |mut text, failure| {
        let _ = write!(text, "\n{failure}\n");
        text
    })
}

pub(super) fn end(runs: u64, failed: &[Seed], coverage: &Coverage, took: Duration) -> String {
    let minutes = took.as_secs_f64() / 60.0;
    let mut text = format!("runs in which it happened:\n{coverage}");
    text += &format!("{runs} runs, {:.0} a minute, {} failed", runs as f64 / minutes.max(1e-9), failed.len());
    if !failed.is_empty() {
        let seeds: Vec<_> = failed.iter().take(50).map(|seed| seed.0.to_string()).collect();
        text += &format!(": seeds {}", seeds.join(" "));
    }
    text
}
