//! The figures of `slices`, as JSON and as a table.

use std::fmt;

use serde::Serialize;

use super::measure::Measurement;
use super::{Layout, SlicesSpec};
use crate::ceiling::Measured;
use crate::host::Host;
use crate::report::Spread;
use crate::units::grouped;

/// What `--json` writes.
#[derive(Clone, Debug, Serialize)]
pub struct SlicesReport {
    /// What was asked for.
    pub(super) spec: SlicesSpec,
    /// The machine.
    pub(super) host: Host,
    /// What did the IO of the ceiling.
    pub(super) raw_engine: String,
    /// Whether past the page cache.
    pub(super) is_raw_direct: bool,
    /// A row of the table each.
    pub(super) rows: Vec<Row>,
}

/// A number of subpartitions in a layout.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    subpartitions: u32,
    layout: Layout,
    /// Half of the slices are smaller, in bytes.
    slice_bytes: u64,
    /// Payload over time, the median of all pairs, in bytes a second.
    read_bytes_per_second: f64,
    /// What the disk reads for each byte of payload, the median.
    read_amplification: f64,
    /// User and system time of reading 10⁹ bytes, the median.
    read_cpu_seconds_per_gb: f64,
    /// Over the raw disk's reading, pair by pair.
    share_of_raw: Spread,
    /// The raw disk's reading, the median, in bytes a second.
    raw_bytes_per_second: f64,
    /// From the first record until the partition can be read, the median.
    write_seconds: f64,
    /// Of these, from the last record on.
    finish_seconds: f64,
    /// Until all subpartitions are read, the median.
    read_seconds: f64,
    pairs: Vec<Measurement>,
    pairs_raw: Vec<Measured>,
}

impl Row {
    /// At least one pair.
    pub(super) fn new(subpartitions: u32, layout: Layout, pairs: Vec<(Measurement, Measured)>) -> Self {
        let (pairs, pairs_raw): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let rate = |pair: &Measurement| pair.bytes as f64 / pair.read_seconds;
        let raw = |raw: &Measured| raw.rate().bytes_per_second;
        let shares = pairs.iter().zip(&pairs_raw).map(|(pair, its)| rate(pair) / raw(its));
        let of = |figure: fn(&Measurement) -> f64| median(pairs.iter().map(figure));
        Self {
            subpartitions,
            layout,
            slice_bytes: pairs.first().map_or(0, |pair| pair.slice_bytes),
            read_bytes_per_second: median(pairs.iter().map(rate)),
            read_amplification: of(|pair| pair.disk_read_bytes as f64 / pair.bytes as f64),
            read_cpu_seconds_per_gb: of(|pair| pair.read_cpu_seconds * 1e9 / pair.bytes as f64),
            share_of_raw: Spread::of(shares).expect("there is at least one pair"),
            raw_bytes_per_second: median(pairs_raw.iter().map(raw)),
            write_seconds: of(|pair| pair.write_seconds),
            finish_seconds: of(|pair| pair.finish_seconds),
            read_seconds: of(|pair| pair.read_seconds),
            pairs,
            pairs_raw,
        }
    }
}

fn median(all: impl Iterator<Item = f64>) -> f64 {
    Spread::of(all).expect("there is at least one pair").median
}

impl fmt::Display for SlicesReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:>13}  {:<14}{:>12}{:>12}{:>10}  {:<22}{:>8}{:>10}{:>9}{:>9}{:>8}",
            "subpartitions",
            "layout",
            "slice",
            "read",
            "raw",
            "share of raw",
            "read ×",
            "CPU s/GB",
            "write",
            "finish",
            "read"
        )?;
        for row in &self.rows {
            row.write(out)?;
        }
        let Host { kernel, cores, .. } = &self.host;
        let cached = |is_direct: bool| if is_direct { "direct" } else { "CACHED: not the disk's figures" };
        let first = self.rows.iter().flat_map(|row| &row.pairs).next();
        if let Some(Measurement { engine, is_direct, .. }) = first {
            writeln!(out, "engine    {engine}, {}", cached(*is_direct))?;
        }
        writeln!(out, "raw disk  {}, {}", self.raw_engine, cached(self.is_raw_direct))?;
        writeln!(
            out,
            "machine   Linux {kernel}, {cores} cores; medians of {} pairs; {} read at a time",
            self.spec.pairs, self.spec.consumers
        )?;
        writeln!(out, "verified  yes: every block, and the records of every subpartition")
    }
}

impl Row {
    fn write(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { lower_quartile, median, upper_quartile } = self.share_of_raw;
        let share = format!("{median:.2} [{lower_quartile:.2} – {upper_quartile:.2}]");
        writeln!(
            out,
            "{:>13}  {:<14}{:>12}{:>12}{:>10.3}  {share:<22}{:>8.2}{:>10.2}{:>9}{:>9}{:>8}",
            grouped(self.subpartitions.into()),
            self.layout.name(),
            kibibytes(self.slice_bytes),
            format!("{:.3} GB/s", self.read_bytes_per_second / 1e9),
            self.raw_bytes_per_second / 1e9,
            self.read_amplification,
            self.read_cpu_seconds_per_gb,
            format!("{:.2} s", self.write_seconds),
            format!("{:.2} s", self.finish_seconds),
            format!("{:.2} s", self.read_seconds),
        )
    }
}

/// Of slices, which have some bytes or some hundred MiB.
fn kibibytes(bytes: u64) -> String {
    format!("{:.1} KiB", bytes as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_medians_and_the_share_of_each_pair() {
        let pair = |read_seconds| Measurement {
            write_seconds: 2.0,
            finish_seconds: 1.0,
            read_seconds,
            read_cpu_seconds: 0.5,
            bytes: 1_000_000_000,
            disk_read_bytes: 1_500_000_000,
            slice_bytes: 2048,
            slices: 10,
            engine: "threads".into(),
            is_direct: true,
        };
        let raw = Measured { requests: 1, bytes: 2_000_000_000, seconds: 1.0, cpu_seconds: 0.1 };
        let row = Row::new(1000, Layout::Elastic, vec![(pair(1.0), raw), (pair(2.0), raw), (pair(4.0), raw)]);
        assert_eq!((row.read_bytes_per_second, row.share_of_raw.median), (5e8, 0.25));
        assert_eq!((row.read_amplification, kibibytes(row.slice_bytes).as_str()), (1.5, "2.0 KiB"));
    }
}
