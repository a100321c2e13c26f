//! The report as a person reads it at the end of a run.
use std::fmt;

use super::{DiskOutcome, Links, Report, Spread, Stalls};
use crate::{
    ceiling::Rate,
    units::{gigabytes_per_second, grouped, mebibytes},
};

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = &self.result;
        let (records, gigabytes) = (grouped(result.records), result.payload_bytes as f64 / 1e9);
        line(out, "shuffled", format!("{records} records, {gigabytes:.3} GB, in {:.2} s", result.seconds))?;
        let rate = gigabytes_per_second(result.payload_bytes_per_second);
        line(out, "rate", format!("{rate}, {:.2} CPU s/GB", result.cpu_seconds_per_gb))?;
        self.write_shares(out)?;
        self.write_pairs(out)?;
        self.write_disk(out)?;
        line(out, "memory", format!("{} resident at most, in all workers", mebibytes(result.peak_memory_bytes)))?;
        let Stalls { credit_seconds, buffer_seconds, disk_seconds } = result.stalls;
        line(
            out,
            "waited",
            match result.disk {
                None => {
                    format!("{credit_seconds:.2} s for credit, {buffer_seconds:.2} s for buffers, in all producers")
                }
                Some(_) => {
                    format!("{disk_seconds:.2} s for the disk, {buffer_seconds:.2} s for buffers, in all producers")
                }
            },
        )?;
        let Links { lost, resumed } = result.links;
        if lost > 0 {
            line(out, "links", format!("{lost} ends lost, {resumed} resumed"))?;
        }
        let engine = self.host.engine.as_deref().unwrap_or("no engine");
        line(out, "machine", format!("Linux {}, {} cores, {engine}", self.host.kernel, self.host.cores))?;
        line(out, "verified", if result.verified { "yes: every record, in its order" } else { "NO" })
    }
}

impl Report {
    fn write_pairs(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pairs) = &self.pairs else { return Ok(()) };
        line(out, "pairs", format!("{} by turns; median of the ratios [quartiles]", pairs.count))?;
        let mut ratio = |spread: Spread, of: &str| {
            let Spread { lower_quartile, median, upper_quartile } = spread;
            line(out, "", format!("{median:.2} [{lower_quartile:.2} – {upper_quartile:.2}] {of}"))
        };
        ratio(pairs.share_of_plain, "of the plain stream")?;
        ratio(pairs.share_of_bare, "of the bare pipeline")?;
        ratio(pairs.cpu_over_bare, "× the bare pipeline's CPU")?;
        pairs.share_of_memcpy.map_or(Ok(()), |spread| ratio(spread, "of memcpy with the same checks"))?;
        pairs.share_of_disk.map_or(Ok(()), |spread| ratio(spread, "of writing and reading at the raw disk's rates"))
    }

    fn write_disk(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(disk) = &self.result.disk else { return Ok(()) };
        let DiskOutcome { written_bytes, read_bytes, write_seconds, read_seconds, payload_over_written } = *disk;
        let moved = |bytes: u64, seconds: f64| format!("{:.3} GB in {seconds:.2} s", bytes as f64 / 1e9);
        let (written, read) = (moved(written_bytes, write_seconds), moved(read_bytes, read_seconds));
        line(
            out,
            "disk",
            format!("{written} written, {read} read; {payload_over_written:.2} × payload for each byte"),
        )?;
        if let Some(used) = &self.host.disk {
            let cached = if used.is_direct { "direct" } else { "CACHED: not the disk's figures" };
            let places: Vec<_> = self.scenario.directories.iter().map(|place| place.display().to_string()).collect();
            line(out, "", format!("{} by {}, {cached}", places.join(", "), used.engine))?;
        }
        let Some(ceiling) = self.ceiling.as_ref().and_then(|ceiling| ceiling.disk.as_ref()) else { return Ok(()) };
        let [write, read] = [ceiling.write, ceiling.read].map(|rate| gigabytes_per_second(rate.bytes_per_second));
        let share = self.share_of_disk.unwrap_or(0.0);
        let cached = if ceiling.is_direct { "" } else { ", cached" };
        line(out, "", format!("{share:.2} of the raw disk's time (writes {write}, reads {read}{cached})"))
    }

    fn write_shares(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ceiling) = &self.ceiling else { return Ok(()) };
        let mut share = |share: Option<f64>, of: &str, rate: Rate, more: &str| match share {
            Some(share) => {
                let ceiling = gigabytes_per_second(rate.bytes_per_second);
                line(out, "", format!("{share:.2} of {of} ({ceiling}, {:.2} CPU s/GB){more}", rate.cpu_seconds_per_gb))
            }
            None => Ok(()),
        };
        let cpu = self.cpu_over_bare.map(|cpu| format!(", {cpu:.2} × its CPU")).unwrap_or_default();
        share(self.share_of_plain, "the plain stream", ceiling.plain_stream, "")?;
        share(self.share_of_bare, "the bare pipeline", ceiling.bare_pipeline, &cpu)?;
        match ceiling.memcpy {
            Some(memcpy) => share(self.share_of_memcpy, "memcpy with the same checks", memcpy, ""),
            None => Ok(()),
        }
    }
}

fn line(out: &mut fmt::Formatter<'_>, name: &str, text: impl fmt::Display) -> fmt::Result {
    writeln!(out, "{name:<10}{text}")
}

#[cfg(test)]
mod tests {
    use super::super::{Ceiling, Outcome};
    use super::*;
    use crate::{cli, host::Host};

    fn report(ceiling: Option<Ceiling>) -> Report {
        let mut result = Outcome::new(6_001_215, 750_000_000, 0.5, 1.5);
        (result.peak_memory_bytes, result.verified) = (96 << 20, true);
        let host = Host { kernel: "6.1.0 x86_64".into(), cores: 2, engine: Some("io_uring".into()), disk: None };
        Report::new(cli::scenario_of(&["sluice-perf"]), host, result, ceiling)
    }

    fn ceiling() -> Ceiling {
        let rate = |gigabytes: f64, cpu_seconds_per_gb| Rate { bytes_per_second: gigabytes * 1e9, cpu_seconds_per_gb };
        Ceiling { plain_stream: rate(4.0, 0.4), bare_pipeline: rate(2.0, 1.6), memcpy: None, disk: None }
    }

    #[test]
    fn a_summary_is_aligned_and_says_its_units() {
        let expected = "\
shuffled  6 001 215 records, 0.750 GB, in 0.50 s
rate      1.50 GB/s, 2.00 CPU s/GB
          0.38 of the plain stream (4.00 GB/s, 0.40 CPU s/GB)
          0.75 of the bare pipeline (2.00 GB/s, 1.60 CPU s/GB), 1.25 × its CPU
memory    96.0 MiB resident at most, in all workers
waited    0.00 s for credit, 0.00 s for buffers, in all producers
machine   Linux 6.1.0 x86_64, 2 cores, io_uring
verified  yes: every record, in its order
";
        assert_eq!(report(Some(ceiling())).to_string(), expected);
    }

    #[test]
    fn lost_links_are_said_where_there_are_any() {
        let mut report = report(None);
        report.result.links = Links { lost: 5, resumed: 4 };
        assert!(report.to_string().contains("\nlinks     5 ends lost, 4 resumed\n"), "{report}");
    }

    #[test]
    fn without_ceilings_there_are_no_shares() {
        let report = report(None);
        assert!(!report.to_string().contains(" of the "));
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["share_of_bare"].is_null() && json["ceiling"].is_null());
    }

    #[test]
    fn the_json_has_the_names_that_others_rely_on() {
        let json = serde_json::to_value(report(Some(ceiling()))).unwrap();
        for path in [
            "/scenario/workers",
            "/host/kernel",
            "/host/cores",
            "/host/engine",
            "/result/records",
            "/result/payload_bytes",
            "/result/seconds",
            "/result/payload_bytes_per_second",
            "/result/cpu_seconds_per_gb",
            "/result/peak_memory_bytes",
            "/result/verified",
            "/result/stalls/credit_seconds",
            "/result/stalls/buffer_seconds",
            "/ceiling/plain_stream/bytes_per_second",
            "/ceiling/plain_stream/cpu_seconds_per_gb",
            "/ceiling/bare_pipeline/bytes_per_second",
            "/ceiling/bare_pipeline/cpu_seconds_per_gb",
        ] {
            assert!(json.pointer(path).is_some_and(|value| !value.is_null()), "{path}");
        }
        let number = |name: &str| json[name].as_f64();
        assert_eq!(number("share_of_plain"), Some(0.375));
        assert_eq!((number("share_of_bare"), number("cpu_over_bare")), (Some(0.75), Some(1.25)));
    }
}
