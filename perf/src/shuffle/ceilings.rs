//! What the machine can do, measured before and after each shuffle of a run.

use std::env;
use std::time::Duration;

use sluice_core::DirectIo;

use super::run::ShuffleError;
use crate::ceiling::{Bench, DiskMode, DiskWork, Limit, Rate, RawDisk, Records, WriteSize};
use crate::interrupt::Interrupts;
use crate::report::{Ceiling, DiskCeiling, Outcome, Pairs, Spread};
use crate::scenario::{Scenario, Transport};

/// How long each ceiling is measured, before and after.
const CEILING_TIME: Duration = Duration::from_millis(500);

pub(super) struct Ceilings {
    bench: Bench,
    records: Records,
    threads: Option<u32>,
    plain: Vec<Rate>,
    bare: [Vec<Rate>; 2],
    memcpy: Vec<Rate>,
    disk: Option<DiskWork>,
    raw_disk: Vec<RawDisk>,
}

impl Ceilings {
    pub(super) fn new(scenario: &Scenario) -> Result<Self, ShuffleError> {
        let program = env::current_exe().map_err(ShuffleError::Launch)?;
        Ok(Self {
            bench: Bench::new(program, Limit::Time(CEILING_TIME)),
            records: Records { input: scenario.input.clone(), targets: scenario.consumers() },
            threads: (scenario.transport == Transport::InProcess).then_some(scenario.workers),
            plain: Vec::new(),
            bare: [Vec::new(), Vec::new()],
            memcpy: Vec::new(),
            disk: disk_work(scenario)?,
            raw_disk: Vec::new(),
        })
    }

    /// All of them once; between two of them it may be interrupted.
    pub(super) fn measure(&mut self, interrupts: &Interrupts) -> Result<(), ShuffleError> {
        self.plain.push(self.bench.plain_stream()?);
        for (rates, write) in self.bare.iter_mut().zip([WriteSize::KiB32, WriteSize::KiB256]) {
            interrupts.check()?;
            rates.push(self.bench.bare_pipeline_writing(&self.records, write)?);
        }
        interrupts.check()?;
        if let Some(threads) = self.threads {
            self.memcpy.push(self.bench.memcpy(&self.records, threads)?);
            interrupts.check()?;
        }
        if let Some(work) = &self.disk {
            self.raw_disk.push(self.bench.raw_disk(work)?);
            interrupts.check()?;
        }
        Ok(())
    }

    /// The ceilings around each shuffle: the one before it and the one after it, in the middle.
    pub(super) fn pairs(&self, outcomes: &[Outcome]) -> Option<Pairs> {
        let bare = self.better_bare()?;
        let around = |rates: &[Rate], pair: usize| Rate::median(rates.get(pair..pair + 2)?);
        let share = |rates: &[Rate]| {
            let ratio = |(pair, outcome): (usize, &Outcome)| {
                Some(outcome.payload_bytes_per_second / around(rates, pair)?.bytes_per_second)
            };
            Spread::of(outcomes.iter().enumerate().filter_map(ratio))
        };
        let cpu = |(pair, outcome): (usize, &Outcome)| {
            Some(outcome.cpu_seconds_per_gb / around(bare, pair)?.cpu_seconds_per_gb)
        };
        Some(Pairs {
            count: outcomes.len(),
            share_of_plain: share(&self.plain)?,
            share_of_bare: share(bare)?,
            cpu_over_bare: Spread::of(outcomes.iter().enumerate().filter_map(cpu))?,
            share_of_memcpy: share(&self.memcpy),
            share_of_disk: Spread::of(outcomes.iter().enumerate().filter_map(|(pair, outcome)| {
                let disk = Self::disk_ceiling(self.raw_disk.get(pair..pair + 2)?)?;
                Some(disk.seconds(outcome.payload_bytes) / outcome.seconds)
            })),
        })
    }

    /// The medians of these measurements; `None` of none.
    fn disk_ceiling(measured: &[RawDisk]) -> Option<DiskCeiling> {
        let median = |mode| Rate::median(&measured.iter().map(|raw| raw.phase(mode).rate()).collect::<Vec<_>>());
        Some(DiskCeiling {
            engine: measured.first()?.engine.clone(),
            is_direct: measured.iter().all(|raw| raw.is_direct),
            write: median(DiskMode::Write)?,
            read: median(DiskMode::Read)?,
        })
    }

    /// The size of writes with the better median.
    fn better_bare(&self) -> Option<&[Rate]> {
        let speed = |rates: &[Rate]| Rate::median(rates).map_or(0.0, |rate| rate.bytes_per_second);
        let [small, large] = &self.bare;
        let better = if speed(small) > speed(large) { small } else { large };
        (!better.is_empty()).then_some(better)
    }

    pub(super) fn result(&self) -> Option<Ceiling> {
        Some(Ceiling {
            plain_stream: Rate::median(&self.plain)?,
            bare_pipeline: Rate::median(self.better_bare()?)?,
            memcpy: Rate::median(&self.memcpy),
            disk: Self::disk_ceiling(&self.raw_disk),
        })
    }
}

/// The raw disk of the directories that the shuffle uses, if it uses any.
fn disk_work(scenario: &Scenario) -> Result<Option<DiskWork>, ShuffleError> {
    if scenario.directories.is_empty() {
        return Ok(None);
    }
    let direct = scenario.settings.load()?.disk.direct == DirectIo::Auto;
    Ok(Some(DiskWork::ceiling(&scenario.directories, direct, CEILING_TIME)))
}
