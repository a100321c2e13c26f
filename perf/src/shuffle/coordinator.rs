//! Leads the workers through one shuffle and gathers what they say.

use std::io::{self, Write};

use super::control::{Held, Location, Order, Phase};
use super::crew::{Crew, Finished, Ready, Said, nanoseconds_of_day};
use super::judge::{Results, judge};
use super::leftovers::Files;
use super::places::Places;
use super::run::ShuffleError;
use crate::causes::with_causes;
use crate::digest::Digest;
use crate::host::DiskInUse;
use crate::interrupt::Interrupts;
use crate::progress::Progress;
use crate::report::Outcome;
use crate::scenario::{Kill, Scenario};

/// A run that was verified.
pub(super) struct Run {
    pub(super) outcome: Outcome,
    /// What did the IO between workers.
    pub(super) engine: String,
    /// What did that of the disk, if there was any.
    pub(super) disk: Option<DiskInUse>,
}

/// Runs the scenario once. Whether that works or not: when it returns there are no workers, and nothing that they have
/// written.
pub(super) fn shuffle(scenario: &Scenario, interrupts: &Interrupts) -> Result<Run, ShuffleError> {
    let scenario = &Scenario { job: nanoseconds_of_day(), ..scenario.clone() };
    let mut crew = Crew::start(scenario, interrupts)?;
    let led = lead(scenario, &mut crew);
    match &led {
        Ok(_) => crew.stop(),
        Err(_) => crew.abandon(),
    }
    let files = Files { directories: &scenario.directories, job: scenario.job, lives: crew.incarnations() };
    let run = led.and_then(|(ready, results)| {
        files.look_for()?;
        Ok(Run { outcome: judge(scenario, results)?, engine: ready.engine, disk: ready.disk })
    });
    if run.is_err()
        && let Err(left) = files.remove()
    {
        // The run's own error is the one to end with.
        let _ = writeln!(io::stderr(), "sluice-perf: {}", with_causes(&left));
    }
    run
}

/// Has the workers do it all; what the last of them uses, and what they say.
fn lead(scenario: &Scenario, crew: &mut Crew<'_>) -> Result<(Ready, Results), ShuffleError> {
    let ready = all_ready(crew, scenario.workers as usize)?;
    let in_use = ready.last().map(Ready::in_use).expect("there is at least one worker");
    let mut lead = Lead::new(scenario, crew, ready)?;
    let results = if scenario.partition.is_retained() { lead.one_after_the_other()? } else { lead.at_once()? };
    Ok((in_use, results))
}

impl Ready {
    /// The same, of which only what is in use counts.
    fn in_use(&self) -> Ready {
        let (location, engine, disk) = (self.location.clone(), self.engine.clone(), self.disk.clone());
        Ready { location, engine, disk, bytes_estimate: self.bytes_estimate, held: Vec::new() }
    }
}

fn all_ready(crew: &mut Crew<'_>, count: usize) -> Result<Vec<Ready>, ShuffleError> {
    let mut all: Vec<Option<Ready>> = (0..count).map(|_| None).collect();
    while all.iter().any(Option::is_none) {
        let (number, said) = crew.hear(|other| all[other].is_none())?;
        if let Said::Ready(ready) = said {
            all[number] = Some(ready);
        }
    }
    let mut all: Vec<Ready> = all.into_iter().flatten().collect();
    all.iter_mut().try_for_each(|ready| crew.redirect(&mut ready.location))?;
    Ok(all)
}

/// A run whose workers are ready.
struct Lead<'a, 'c> {
    scenario: &'a Scenario,
    crew: &'a mut Crew<'c>,
    places: Places<'a>,
    bytes: u64,
}

impl<'a, 'c> Lead<'a, 'c> {
    fn new(scenario: &'a Scenario, crew: &'a mut Crew<'c>, ready: Vec<Ready>) -> Result<Self, ShuffleError> {
        let bytes = ready.iter().map(|ready| ready.bytes_estimate).max().unwrap_or(0);
        let workers: Vec<Location> = ready.into_iter().map(|ready| ready.location).collect();
        let places = Places::new(scenario, workers).map_err(ShuffleError::Master)?;
        Ok(Self { scenario, crew, places, bytes })
    }

    /// Pipelined: consumers read while producers write.
    fn at_once(&mut self) -> Result<Results, ShuffleError> {
        let phases = vec![self.phase(Phase::Both, "shuffling")?];
        Ok(Results { phases, released: Vec::new(), killed: Vec::new() })
    }

    /// Blocking: consumers read when all producers have finished.
    fn one_after_the_other(&mut self) -> Result<Results, ShuffleError> {
        let produced = self.phase(Phase::Produce, "writing")?;
        self.note_finished(&produced)?;
        let mut killed = Vec::new();
        if self.scenario.kill == Some(Kill::Producer) {
            self.restart_producer()?;
            killed.push(produced[0].done.totals);
        }
        let consumed = self.phase_with(Phase::Consume, "reading", self.victim(&produced)?)?;
        self.crew.tell_all(&Order::Release);
        let mut released = vec![None; self.scenario.workers as usize];
        while released.iter().any(Option::is_none) {
            let (number, said) = self.crew.hear(|other| released[other].is_none())?;
            if let Said::Released(totals) = said {
                released[number] = Some(totals);
            }
        }
        Ok(Results { phases: vec![produced, consumed], released: released.into_iter().flatten().collect(), killed })
    }

    fn phase(&mut self, phase: Phase, doing: &'static str) -> Result<Vec<Finished>, ShuffleError> {
        self.phase_with(phase, doing, None)
    }

    /// Runs a phase on all workers. The victim is killed and replaced when it has read so many bytes; its tasks then run
    /// anew.
    fn phase_with(
        &mut self,
        phase: Phase,
        doing: &'static str,
        victim: Option<(usize, u64)>,
    ) -> Result<Vec<Finished>, ShuffleError> {
        let workers = self.places.all().map_err(ShuffleError::Master)?;
        for number in 0..self.scenario.workers as usize {
            let halt_at = victim.filter(|(victim, _)| *victim == number).map(|(_, bytes)| bytes);
            self.crew.tell(number, &Order::Run { phase, workers: workers.clone(), halt_at });
        }
        let mut results: Vec<Option<Finished>> = workers.iter().map(|_| None).collect();
        let mut moved_by = vec![0; workers.len()];
        let bar = Progress::of_bytes(self.bytes, doing);
        while results.iter().any(Option::is_none) {
            match self.crew.hear(|other| results[other].is_none())? {
                (number, Said::Progress { written, read }) => {
                    moved_by[number] = if phase == Phase::Produce { written } else { read };
                    bar.set_position(moved_by.iter().sum());
                }
                (number, Said::Done(finished)) => results[number] = Some(finished),
                (number, Said::Halted) => self.replace(number)?,
                (number, Said::Ready(ready)) => {
                    self.came_back(number, ready)?;
                    self.crew.tell(number, &Order::Run { phase, workers: workers.clone(), halt_at: None });
                }
                (_, Said::Released(_)) => {}
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Which worker is killed while it reads, and after how many bytes: half of what there is for it.
    fn victim(&self, produced: &[Finished]) -> Result<Option<(usize, u64)>, ShuffleError> {
        if self.scenario.kill != Some(Kill::Consumer) {
            return Ok(None);
        }
        let victim = self.scenario.workers - 1;
        let its = self.scenario.consumers_of(victim);
        let its = its.start as usize..its.end as usize;
        let rows = produced.iter().flat_map(|finished| finished.sent.chunks(self.scenario.consumers() as usize));
        let bytes: u64 = rows.flat_map(|row| &row[its.clone()]).map(|digest| digest.totals.bytes).sum();
        match bytes / 2 {
            0 => Err(ShuffleError::NothingToKill { worker: victim }),
            half => Ok(Some((victim as usize, half))),
        }
    }

    /// The first worker that produced ends after its producers have; another life of it holds what it left.
    fn restart_producer(&mut self) -> Result<(), ShuffleError> {
        self.replace(0)?;
        loop {
            if let (0, Said::Ready(ready)) = self.crew.hear(|other| other == 0)? {
                return self.came_back(0, ready);
            }
        }
    }

    fn replace(&mut self, number: usize) -> Result<(), ShuffleError> {
        self.crew.replace(number)?;
        let incarnation = self.places.lost(number);
        for other in (0..self.scenario.workers as usize).filter(|other| *other != number) {
            self.crew.tell(other, &Order::Lost { worker: number as u32, incarnation });
        }
        Ok(())
    }

    fn came_back(&mut self, number: usize, mut ready: Ready) -> Result<(), ShuffleError> {
        self.crew.redirect(&mut ready.location)?;
        self.places.came_back(number, ready.location, ready.held).map_err(ShuffleError::Master)
    }

    /// What the master is told by workers whose tasks have ended.
    fn note_finished(&mut self, produced: &[Finished]) -> Result<(), ShuffleError> {
        for Finished { done, sent, .. } in produced {
            let rows = sent.chunks(self.scenario.consumers() as usize);
            for (held, row) in done.finished.iter().zip(rows) {
                compare(held, row)?;
                self.places.finished(held).map_err(ShuffleError::Master)?;
            }
        }
        Ok(())
    }
}

/// The engine's figures of a partition are exact, or they are wrong.
fn compare(held: &Held, sent: &[Digest]) -> Result<(), ShuffleError> {
    for (consumer, digest) in sent.iter().enumerate() {
        let (written, said) = (digest.totals.records, held.records.get(consumer).copied());
        if said != Some(written) {
            return Err(ShuffleError::Figures { partition: held.partition, consumer, written, said });
        }
    }
    Ok(())
}
