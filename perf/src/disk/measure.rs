//! One size of requests at one depth: the raw disk and the seam by turns, in all modes, and what comes of it.

use std::env;
use std::time::Duration;

use serde::Serialize;
use sluice_core::DirectIo;
use sluice_plugin::DiskFactory;

use super::DiskSpec;
use super::run::DiskRunError;
use super::seam::{Phase, Ran, Seam};
use crate::ceiling::{Bench, Checks, DiskMode, DiskWork, Limit, Measured, Pattern, Pieces, Plan, Rate, RawDisk};
use crate::report::Spread;

/// A phase that has not come to the end of its file by then ends there.
const TIME_MAX: Duration = Duration::from_secs(1);

/// Both sides of a size, a depth and a mode, once for each pair.
#[derive(Clone, Debug, Serialize)]
pub struct DiskFigures {
    /// What was done.
    pub mode: DiskMode,
    /// Of each request.
    pub request_bytes: usize,
    /// Requests under way at a time, in each directory.
    pub depth: u32,
    /// Through the seam, the medians of all pairs.
    pub rate: Rate,
    /// Requests a second.
    pub requests_per_second: f64,
    /// From submission to completion, half of the requests of all pairs at most so long, in microseconds.
    pub latency_p50: u64,
    /// 99 of 100 at most so long.
    pub latency_p99: u64,
    /// The raw disk's, the medians of all pairs.
    pub raw: Rate,
    /// The seam's throughput over the raw disk's, pair by pair.
    pub share_of_raw: Spread,
    /// Each pair's, through the seam.
    pub pairs: Vec<Measured>,
    /// Each pair's, of the raw disk.
    pub pairs_raw: Vec<Measured>,
}

/// What did the IO, and whether past the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Engines {
    /// The plug-in's own words.
    pub(super) seam: String,
    /// Of the ceiling.
    pub(super) raw: String,
    /// Whether all of the seam's directories are direct.
    pub(super) is_direct: bool,
    /// Whether the ceiling was.
    pub(super) is_raw_direct: bool,
}

/// The pairs of one size and depth, in the modes that are to be shown.
pub(super) fn measure(
    spec: &DiskSpec,
    factory: &dyn DiskFactory,
    (request_bytes, depth): (usize, u32),
    mut done: impl FnMut(),
) -> Result<(Vec<DiskFigures>, Engines), DiskRunError> {
    let bench = Bench::new(env::current_exe().map_err(DiskRunError::Program)?, Limit::Time(TIME_MAX));
    let work = work(spec, request_bytes, depth);
    let (mut seams, mut raws) = (Vec::new(), Vec::new());
    let mut engines = None;
    for pair in 0..spec.pairs {
        // Who goes first finds the disk rested: each in its turn.
        if pair.is_multiple_of(2) {
            raws.push(bench.raw_disk(&work)?);
        }
        let (ran, capabilities) = through_the_seam(factory, &work)?;
        seams.push(ran);
        if !pair.is_multiple_of(2) {
            raws.push(bench.raw_disk(&work)?);
        }
        engines.get_or_insert_with(|| Engines {
            seam: capabilities.0.clone(),
            raw: raws[0].engine.clone(),
            is_direct: capabilities.1,
            is_raw_direct: raws[0].is_direct,
        });
        done();
    }
    let figures = spec.modes.iter().map(|mode| figures(*mode, &work, &seams, &raws)).collect();
    Ok((figures, engines.expect("there is at least one pair")))
}

fn work(spec: &DiskSpec, request_bytes: usize, depth: u32) -> DiskWork {
    DiskWork {
        directories: spec.disk.directories.clone(),
        file_bytes: spec.file_bytes,
        request_bytes,
        depth,
        direct: spec.disk.direct == DirectIo::Auto,
        polls: spec.polls,
        checks: Checks::EveryByte,
        mixed: spec.modes.contains(&DiskMode::Mixed),
        time_max: TIME_MAX,
    }
}

/// In the order of the modes; mixed is absent if it was not asked for.
type AllModes = Vec<Ran>;

fn through_the_seam(factory: &dyn DiskFactory, work: &DiskWork) -> Result<(AllModes, (String, bool)), DiskRunError> {
    let pattern = Pattern::new(work.request_bytes);
    let pieces = work.depth as usize * work.directories.len();
    let pieces = Pieces::new(work.request_bytes, pieces, &pattern).map_err(super::SeamError::from)?;
    let mut seam = Seam::open(factory, pieces.arena.clone(), work.file_bytes)?;
    let (depth, pattern, pieces) = (work.depth as usize, &pattern, &pieces);
    let mut run = |mode, requests| {
        let plan = Plan { mode, request_bytes: work.request_bytes, requests };
        seam.run(&Phase { plan, depth, pattern, pieces, time_max: work.time_max })
    };
    let write = run(DiskMode::Write, work.file_bytes / work.request_bytes as u64)?;
    let written = write.requests_of_each;
    let mut all = vec![write, run(DiskMode::Read, written)?];
    if work.mixed {
        all.push(run(DiskMode::Mixed, written)?);
    }
    let capabilities = seam.capabilities();
    let is_direct = capabilities.directories.iter().all(|directory| directory.is_direct);
    let engine = capabilities.engine.clone();
    seam.close()?;
    Ok((all, (engine, is_direct)))
}

fn figures(mode: DiskMode, work: &DiskWork, seams: &[AllModes], raws: &[RawDisk]) -> DiskFigures {
    let pairs: Vec<_> = seams.iter().map(|seam| seam[mode as usize].measured).collect();
    let pairs_raw: Vec<_> = raws.iter().map(|raw| *raw.phase(mode)).collect();
    let median = |all: &[Measured]| Rate::median(&all.iter().map(Measured::rate).collect::<Vec<_>>());
    let share = |(seam, raw): (&Measured, &Measured)| seam.rate().bytes_per_second / raw.rate().bytes_per_second;
    let mut latency = seams[0][mode as usize].latency.clone();
    for seam in &seams[1..] {
        latency.add(&seam[mode as usize].latency).expect("all have the same bounds");
    }
    let rate = median(&pairs).expect("there is at least one pair");
    DiskFigures {
        mode,
        request_bytes: work.request_bytes,
        depth: work.depth,
        rate,
        requests_per_second: rate.bytes_per_second / work.request_bytes as f64,
        latency_p50: latency.value_at_quantile(0.5),
        latency_p99: latency.value_at_quantile(0.99),
        raw: median(&pairs_raw).expect("there is at least one pair"),
        share_of_raw: Spread::of(pairs.iter().zip(&pairs_raw).map(share)).expect("there is at least one pair"),
        pairs,
        pairs_raw,
    }
}
