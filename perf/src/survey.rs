//! The subcommand `ceiling`: measures every ceiling in turn, round after round, and prints the medians.
use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    thread,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use crate::{
    causes::with_causes,
    ceiling::{Bench, CeilingError, DiskMode, DiskWork, Limit, Rate, RawDisk, Records, WriteSize},
    cli::CeilingArgs,
    host::Host,
    input::InputSpec,
    progress::Progress,
    report::{ReportFile, ReportFileError},
    units::gigabytes_per_second,
};

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// Nothing to measure a disk by.
    #[error("--disk {}: is no directory; make it, or name another one", .0.display())]
    NoDirectory(PathBuf),
    /// This program cannot be started again.
    #[error("cannot find this program to start it for the ceilings")]
    Program(#[source] io::Error),
    /// A ceiling could not be measured.
    #[error(transparent)]
    Ceiling(#[from] CeilingError),
    /// The report could not be written.
    #[error(transparent)]
    Json(#[from] ReportFileError),
    /// The figures could not be printed.
    #[error("standard output: cannot be written")]
    Print(#[source] io::Error),
}

/// All figures of one call.
#[derive(Debug, Serialize)]
struct Survey {
    host: Host,
    measurements: Vec<Measurement>,
    disk: Option<DiskFacts>,
}

/// One ceiling for one input.
#[derive(Debug, Serialize)]
struct Measurement {
    name: String,
    input: Option<InputSpec>,
    median: Option<Rate>,
    rounds: Vec<Rate>,
}

/// What the disk's figures are of.
#[derive(Clone, Debug, Serialize)]
struct DiskFacts {
    work: DiskWork,
    engine: String,
    /// Whether all rounds went past the page cache. If not, the figures are the cache's.
    is_direct: bool,
}

/// What is measured at once, and where the figures go.
struct Probe {
    kind: Kind,
    measurements: Vec<Measurement>,
}

#[derive(Clone, Debug)]
enum Kind {
    PlainStream,
    BarePipeline(Records, WriteSize),
    Memcpy(Records, u32),
    /// Two figures: writing, reading.
    RawDisk(DiskWork),
}

/// Measures as asked, with a progress line on standard error and the figures on standard output.
pub fn run(args: &CeilingArgs, specs: Vec<InputSpec>) -> Result<(), SurveyError> {
    if let Some(missing) = args.disk.iter().find(|directory| !directory.is_dir()) {
        return Err(SurveyError::NoDirectory(missing.clone()));
    }
    let mut file = args.json.as_deref().map(ReportFile::claim).transpose()?;
    let survey = measure(args, probes(args, specs));
    match (&survey, &mut file) {
        (Ok(survey), Some(file)) => file.write(survey)?,
        // The error of the measurement is the one to end with.
        (Err(error), Some(file)) => drop(file.write_failure(&Value::Null, &with_causes(error))),
        (_, None) => {}
    }
    let survey = survey?;
    let mut out = io::stdout().lock();
    survey.print(args.rounds, &mut out).and_then(|()| out.flush()).map_err(SurveyError::Print)
}

fn measure(args: &CeilingArgs, mut probes: Vec<Probe>) -> Result<Survey, SurveyError> {
    let program = env::current_exe().map_err(SurveyError::Program)?;
    let bench = Bench::new(program, Limit::Time(Duration::from(args.duration)));
    let progress = Progress::of_steps(u64::from(args.rounds) * probes.len() as u64);
    let mut disk = None;
    // Round by round rather than one ceiling after the other: a slow minute then slows all of them.
    for _ in 0..args.rounds {
        for Probe { kind, measurements } in &mut probes {
            progress.set_message(measurements[0].name.clone());
            for (measurement, rate) in measurements.iter_mut().zip(kind.measure(&bench, &mut disk)?) {
                measurement.rounds.push(rate);
            }
            progress.inc(1);
        }
    }
    let mut measurements: Vec<_> = probes.into_iter().flat_map(|probe| probe.measurements).collect();
    for measurement in &mut measurements {
        measurement.median = Rate::median(&measurement.rounds);
    }
    Ok(Survey { host: Host::here(None), measurements, disk })
}

fn probes(args: &CeilingArgs, specs: Vec<InputSpec>) -> Vec<Probe> {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u32;
    let threads = args.threads.unwrap_or(cores);
    let mut probes = vec![Probe::new(&["plain stream".into()], Kind::PlainStream)];
    for input in specs {
        let of = described(&input);
        let records = Records { input, targets: args.targets };
        // Each size by itself: taking the better one round by round would favour noise.
        for (write, size) in [(WriteSize::KiB32, "32 KiB"), (WriteSize::KiB256, "256 KiB")] {
            let name = format!("bare pipeline, {of}, {size} writes");
            probes.push(Probe::new(&[name], Kind::BarePipeline(records.clone(), write)));
        }
        let memcpy = format!("memcpy and checks, {of}, {threads} threads");
        probes.push(Probe::new(&[memcpy], Kind::Memcpy(records, threads)));
    }
    if !args.disk.is_empty() {
        let work = DiskWork::ceiling(&args.disk, true, Duration::from(args.duration));
        let (kib, depth) = (work.request_bytes >> 10, work.depth);
        let names = ["write", "read"].map(|mode| format!("raw disk, {mode}, {kib} KiB, {depth} at a time"));
        probes.push(Probe::new(&names, Kind::RawDisk(work)));
    }
    probes
}

fn described(input: &InputSpec) -> String {
    match input {
        InputSpec::Lineitem { .. } => "lineitem".into(),
        InputSpec::Random { record_bytes, .. } => format!("{record_bytes} B records"),
        InputSpec::Files { paths, .. } => format!("{} files", paths.len()),
    }
}

impl Probe {
    fn new(names: &[String], kind: Kind) -> Probe {
        let of =
            |name: &String| Measurement { name: name.clone(), input: kind.input(), median: None, rounds: Vec::new() };
        Probe { measurements: names.iter().map(of).collect(), kind }
    }
}

impl Kind {
    /// A rate for each figure; notes what is to be known of the disk.
    fn measure(&self, bench: &Bench, disk: &mut Option<DiskFacts>) -> Result<Vec<Rate>, CeilingError> {
        Ok(match self {
            Kind::PlainStream => vec![bench.plain_stream()?],
            Kind::BarePipeline(records, write) => vec![bench.bare_pipeline_writing(records, *write)?],
            Kind::Memcpy(records, threads) => vec![bench.memcpy(records, *threads)?],
            Kind::RawDisk(work) => {
                let raw = bench.raw_disk(work)?;
                let rates = [DiskMode::Write, DiskMode::Read].map(|mode| raw.phase(mode).rate());
                let RawDisk { engine, is_direct, .. } = raw;
                let is_direct = is_direct && disk.as_ref().is_none_or(|before| before.is_direct);
                *disk = Some(DiskFacts { work: work.clone(), engine, is_direct });
                rates.to_vec()
            }
        })
    }

    fn input(&self) -> Option<InputSpec> {
        match self {
            Kind::PlainStream | Kind::RawDisk(_) => None,
            Kind::BarePipeline(records, _) | Kind::Memcpy(records, _) => Some(records.input.clone()),
        }
    }
}

impl Survey {
    fn print(&self, rounds: u32, out: &mut impl Write) -> io::Result<()> {
        for measurement in &self.measurements {
            writeln!(out, "{}", measurement.line())?;
        }
        if let Some(DiskFacts { work, engine, is_direct }) = &self.disk {
            let cache = match is_direct {
                true => "past the page cache",
                false => "through the page cache, whose figures these are: the file system has no direct IO",
            };
            let directories: Vec<_> = work.directories.iter().map(|path| path.display().to_string()).collect();
            let files = format!("a file of at most {} MiB in {}", work.file_bytes >> 20, directories.join(", "));
            writeln!(out, "raw disk: {engine}, {cache}; {files}")?;
        }
        let Host { kernel, cores, .. } = &self.host;
        writeln!(out, "Linux {kernel}, {cores} cores; medians of {rounds} rounds")
    }
}

impl Measurement {
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
