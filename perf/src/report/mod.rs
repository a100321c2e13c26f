//! The figures of one run, as JSON and as text.
mod disk;
mod file;
mod summary;

pub use disk::{DiskCeiling, DiskOutcome};
pub use file::{ReportFile, ReportFileError};
use serde::{Deserialize, Serialize};

use crate::{ceiling::Rate, host::Host, scenario::Scenario};

/// What `--json` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// All settings.
    pub scenario: Scenario,
    /// The machine.
    pub host: Host,
    /// What the shuffle did.
    pub result: Outcome,
    /// What the machine can do; absent with `--no-ceiling`.
    pub ceiling: Option<Ceiling>,
    /// The shuffle's throughput over the plain stream's.
    pub share_of_plain: Option<f64>,
    /// The shuffle's throughput over the bare pipeline's.
    pub share_of_bare: Option<f64>,
    /// The shuffle's CPU time for a byte over the bare pipeline's.
    pub cpu_over_bare: Option<f64>,
    /// The shuffle's throughput over that of `memcpy` with the same checks: for the in-process transport.
    pub share_of_memcpy: Option<f64>,
    /// How long the raw disk takes to write the payload and read it again, over the time that the shuffle took: for
    /// blocking partitions.
    pub share_of_disk: Option<f64>,
    /// The ratios above, pair by pair, if there were several: the figures beside are then those of the last shuffle
    /// and the medians of all ceilings.
    pub pairs: Option<Pairs>,
}

/// Ratios of shuffles to the ceilings measured right before and after each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pairs {
    /// How many.
    pub count: usize,
    /// Throughput over the plain stream's.
    pub share_of_plain: Spread,
    /// Throughput over the bare pipeline's.
    pub share_of_bare: Spread,
    /// CPU time for a byte over the bare pipeline's.
    pub cpu_over_bare: Spread,
    /// Throughput over that of `memcpy` with the same checks.
    pub share_of_memcpy: Option<Spread>,
    /// Time of the raw disk over the shuffle's.
    pub share_of_disk: Option<Spread>,
}

/// The middle of several ratios and how far they are apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// A quarter is below.
    pub lower_quartile: f64,
    /// Half is below.
    pub median: f64,
    /// A quarter is above.
    pub upper_quartile: f64,
}

impl Spread {
    /// Of at least one value; `None` of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        // The value at a share of the way from the first to the last, between two where it falls between.
        let at = |share: f64| {
            let place = share * last as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(Spread { lower_quartile: at(0.25), median: at(0.5), upper_quartile: at(0.75) })
    }
}

/// What a shuffle did, over all workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// As the consumers read.
    pub records: u64,
    /// Without any framing.
    pub payload_bytes: u64,
    /// From the first record written to the last one read.
    pub seconds: f64,
    /// Payload over wall time.
    pub payload_bytes_per_second: f64,
    /// User and system time for 10⁹ bytes of payload.
    pub cpu_seconds_per_gb: f64,
    /// The sum of the workers' highest resident memory.
    pub peak_memory_bytes: u64,
    /// Whether every channel carried what was written, in its order.
    pub verified: bool,
    /// What producers waited for.
    pub stalls: Stalls,
    /// What became of connections.
    pub links: Links,
    /// What the disk did, where partitions are kept on it.
    pub disk: Option<DiskOutcome>,
}

/// Time that all producers together waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stalls {
    /// For the consumer to grant more.
    pub credit_seconds: f64,
    /// For a free buffer of their own worker.
    pub buffer_seconds: f64,
    /// For the disk to take what they have written.
    pub disk_seconds: f64,
}

/// Ends of links, over all workers: each link has two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// Lost, while what they carried went on.
    pub lost: u64,
    /// Those that took the place of lost ones.
    pub resumed: u64,
}

/// What was measured beside the shuffle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// One blocking socket and nothing else.
    pub plain_stream: Rate,
    /// Only what no engine can avoid, between two processes.
    pub bare_pipeline: Rate,
    /// Only what no engine can avoid, within one process: where the transport is in-process.
    pub memcpy: Option<Rate>,
    /// The raw disk: where partitions are kept on one.
    pub disk: Option<DiskCeiling>,
}

impl Outcome {
    /// Derives the rates from what was counted.
    pub fn new(records: u64, payload_bytes: u64, seconds: f64, cpu_seconds: f64) -> Outcome {
        let bytes = payload_bytes as f64;
        Outcome {
            records,
            payload_bytes,
            seconds,
            // An empty shuffle has no rate; zero, because JSON has no NaN.
            payload_bytes_per_second: if seconds > 0.0 { bytes / seconds } else { 0.0 },
            cpu_seconds_per_gb: if payload_bytes > 0 { cpu_seconds * 1e9 / bytes } else { 0.0 },
            peak_memory_bytes: 0,
            verified: false,
            stalls: Stalls::default(),
            links: Links::default(),
            disk: None,
        }
    }
}

impl Report {
    /// Compares the shuffle with its ceilings.
    pub fn new(scenario: Scenario, host: Host, result: Outcome, ceiling: Option<Ceiling>) -> Report {
        let share = |rate: Rate| result.payload_bytes_per_second / rate.bytes_per_second;
        let cpu = |rate: Rate| result.cpu_seconds_per_gb / rate.cpu_seconds_per_gb;
        let of = ceiling.as_ref();
        let disk = of.and_then(|ceiling| ceiling.disk.as_ref()).map(|disk| disk.seconds(result.payload_bytes));
        Report {
            share_of_plain: of.map(|ceiling| share(ceiling.plain_stream)),
            share_of_bare: of.map(|ceiling| share(ceiling.bare_pipeline)),
            cpu_over_bare: of.map(|ceiling| cpu(ceiling.bare_pipeline)),
            share_of_memcpy: of.and_then(|ceiling| ceiling.memcpy).map(share),
            share_of_disk: disk.filter(|_| result.seconds > 0.0).map(|seconds| seconds / result.seconds),
            pairs: None,
            scenario,
            host,
            result,
            ceiling,
        }
    }
}
