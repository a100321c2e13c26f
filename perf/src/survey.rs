//! The subcommand `ceiling`: measures every ceiling in turn, round after round, and prints the medians.
use std::{
    env, fs,
    io::{self, Write},
    thread,
    time::Duration,
};

use serde::Serialize;

use crate::{
    ceiling::{Bench, CeilingError, Limit, Rate, Records, WriteSize},
    cli::CeilingArgs,
    host::Host,
    input::InputSpec,
    progress::Progress,
    units::gigabytes_per_second,
};

/// All figures of one call.
#[derive(Debug, Serialize)]
struct Survey {
    host: Host,
    measurements: Vec<Measurement>,
}

/// One ceiling for one input.
#[derive(Debug, Serialize)]
struct Measurement {
    name: String,
    input: Option<InputSpec>,
    median: Option<Rate>,
    rounds: Vec<Rate>,
    #[serde(skip)]
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    PlainStream,
    BarePipeline(Records, WriteSize),
    Memcpy(Records, u32),
}

/// Measures as asked, with a progress line on standard error and the figures on standard output.
pub fn run(args: &CeilingArgs, specs: Vec<InputSpec>) -> Result<(), CeilingError> {
    let bench = Bench::new(env::current_exe()?, Limit::Time(Duration::from(args.duration)));
    let mut survey = Survey { host: Host::here(None), measurements: measurements(args, specs) };
    let progress = Progress::of_steps(u64::from(args.rounds) * survey.measurements.len() as u64);
    // Round by round rather than one ceiling after the other: a slow minute then slows all of them.
    for _ in 0..args.rounds {
        for measurement in &mut survey.measurements {
            progress.set_message(measurement.name.clone());
            measurement.rounds.push(measurement.kind.measure(&bench)?);
            progress.inc(1);
        }
    }
    drop(progress);
    let mut out = io::stdout().lock();
    for measurement in &mut survey.measurements {
        measurement.median = Rate::median(&measurement.rounds);
        writeln!(out, "{}", measurement.line())?;
    }
    let Host { kernel, cores, .. } = &survey.host;
    writeln!(out, "Linux {kernel}, {cores} cores; medians of {} rounds", args.rounds)?;
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_string_pretty(&survey).map_err(io::Error::from)?)?;
    }
    Ok(())
}

fn measurements(args: &CeilingArgs, specs: Vec<InputSpec>) -> Vec<Measurement> {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u32;
    let threads = args.threads.unwrap_or(cores);
    let mut measurements = vec![Measurement::new("plain stream".into(), Kind::PlainStream)];
    for input in specs {
        let of = described(&input);
        let records = Records { input, targets: args.targets };
        // Each size by itself: taking the better one round by round would favour noise.
        for (write, size) in [(WriteSize::KiB32, "32 KiB"), (WriteSize::KiB256, "256 KiB")] {
            let name = format!("bare pipeline, {of}, {size} writes");
            measurements.push(Measurement::new(name, Kind::BarePipeline(records.clone(), write)));
        }
        let memcpy = format!("memcpy and checks, {of}, {threads} threads");
        measurements.push(Measurement::new(memcpy, Kind::Memcpy(records, threads)));
    }
    measurements
}

fn described(input: &InputSpec) -> String {
    match input {
        InputSpec::Lineitem { .. } => "lineitem".into(),
        InputSpec::Random { record_bytes, .. } => format!("{record_bytes} B records"),
        InputSpec::Files { paths, .. } => format!("{} files", paths.len()),
    }
}

impl Kind {
    fn measure(&self, bench: &Bench) -> Result<Rate, CeilingError> {
        match self {
            Kind::PlainStream => bench.plain_stream(),
            Kind::BarePipeline(records, write) => bench.bare_pipeline_writing(records, *write),
            Kind::Memcpy(records, threads) => bench.memcpy(records, *threads),
        }
    }

    fn input(&self) -> Option<InputSpec> {
        match self {
            Kind::PlainStream => None,
            Kind::BarePipeline(records, _) | Kind::Memcpy(records, _) => Some(records.input.clone()),
        }
    }
}

impl Measurement {
    fn new(name: String, kind: Kind) -> Measurement {
        Measurement { name, input: kind.input(), median: None, rounds: Vec::new(), kind }
    }

    /// The median, with the slowest and the fastest round beside it.
    fn line(&self) -> String {
        let Some(median) = self.median else { return format!("{:<48}not measured", self.name) };
        let speeds = || self.rounds.iter().map(|rate| rate.bytes_per_second);
        let (slowest, fastest) = (speeds().fold(f64::INFINITY, f64::min), speeds().fold(0.0, f64::max));
        format!(
            "{:<48}{:>10}  ({:.2} – {:.2})  {:.2} CPU s/GB",
            self.name,
            gigabytes_per_second(median.bytes_per_second),
            slowest / 1e9,
            fastest / 1e9,
            median.cpu_seconds_per_gb
        )
    }
}
