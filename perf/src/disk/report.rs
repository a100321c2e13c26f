//! The figures of `disk`, as JSON and as a table.

use std::fmt;

use serde::Serialize;

use super::DiskSpec;
use super::measure::{DiskFigures, Engines};
use crate::ceiling::DiskMode;
use crate::host::Host;
use crate::report::Spread;

/// What `--json` writes.
#[derive(Clone, Debug, Serialize)]
pub struct DiskReport {
    /// What was asked for.
    pub(super) spec: DiskSpec,
    /// The machine.
    pub(super) host: Host,
    /// What did the IO on both sides.
    pub(super) engines: Engines,
    /// A row of the table each.
    pub(super) figures: Vec<DiskFigures>,
}

impl fmt::Display for DiskReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<6}{:>9}{:>7}{:>11}{:>10}{:>10}{:>10}{:>10}  {:<22}{:>9}",
            "mode", "request", "depth", "rate", "IOPS", "p50", "p99", "raw", "share of raw", "CPU s/GiB"
        )?;
        for row in &self.figures {
            row.write(out)?;
        }
        let Host { kernel, cores, .. } = &self.host;
        let cached = |is_direct: bool| if is_direct { "direct" } else { "CACHED: not the disk's figures" };
        let Engines { seam, raw, is_direct, is_raw_direct } = &self.engines;
        writeln!(out, "engine    {seam}, {}", cached(*is_direct))?;
        writeln!(out, "raw disk  {raw}, {}", cached(*is_raw_direct))?;
        writeln!(out, "machine   Linux {kernel}, {cores} cores; medians of {} pairs", self.spec.pairs)?;
        writeln!(out, "verified  yes: every byte that was read")
    }
}

impl DiskFigures {
    fn write(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            DiskMode::Write => "write",
            DiskMode::Read => "read",
            DiskMode::Mixed => "mixed",
        };
        let Spread { lower_quartile, median, upper_quartile } = self.share_of_raw;
        let share = format!("{median:.2} [{lower_quartile:.2} – {upper_quartile:.2}]");
        let gigabytes = |rate: f64| format!("{:.3} GB/s", rate / 1e9);
        let cpu = self.rate.cpu_seconds_per_gb * (1 << 30) as f64 / 1e9;
        writeln!(
            out,
            "{mode:<6}{:>9}{:>7}{:>11}{:>10.0}{:>10}{:>10}{:>10.3}  {share:<22}{cpu:>9.2}",
            format!("{} KiB", self.request_bytes >> 10),
            self.depth,
            gigabytes(self.rate.bytes_per_second),
            self.requests_per_second,
            microseconds(self.latency_p50),
            microseconds(self.latency_p99),
            self.raw.bytes_per_second / 1e9,
        )
    }
}

fn microseconds(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{micros} µs"),
        _ => format!("{:.1} ms", micros as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_the_unit_that_reads_best() {
        assert_eq!([95, 9_999, 12_345].map(microseconds), ["95 µs", "9999 µs", "12.3 ms"]);
    }
}
