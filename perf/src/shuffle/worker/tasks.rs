//! The tasks of a phase: as many at a time as there are slots, the next when one has ended.

use std::collections::VecDeque;

use sluice_core::{Address, ChannelLocation, NodeId, ShuffleEnvironment};

use super::super::consume::consume;
use super::super::control::{Location, Phase};
use super::super::executor::Task;
use super::super::output::Output;
use super::super::partition;
use super::super::produce::produce;
use super::progress::Progress;
use super::tally::Outcome;
use crate::causes::with_causes;
use crate::input::Input;
use crate::scenario::Scenario;

/// What tasks are made of.
#[derive(Clone, Copy)]
pub(super) struct Stage<'a> {
    pub(super) environment: &'a ShuffleEnvironment,
    pub(super) input: Option<&'a Input>,
    pub(super) record_bytes_max: usize,
    pub(super) scenario: &'a Scenario,
    pub(super) worker: u32,
    pub(super) progress: &'a Progress,
}

/// The tasks of a phase that have not ended.
pub(super) struct Shift {
    waiting: VecDeque<Job>,
    running: usize,
    workers: Vec<Location>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Consume(u32),
    Produce(u32),
}

impl Shift {
    /// The tasks of this worker, of which none runs yet.
    pub(super) fn new(stage: Stage<'_>, phase: Phase, workers: Vec<Location>) -> Self {
        let (scenario, worker) = (stage.scenario, stage.worker);
        let consumers = scenario.consumers_of(worker).map(Job::Consume).filter(|_| phase != Phase::Produce);
        let producers = scenario.producers_of(worker).map(Job::Produce).filter(|_| phase != Phase::Consume);
        Self { waiting: consumers.chain(producers).collect(), running: 0, workers }
    }

    pub(super) fn is_over(&self) -> bool {
        self.running == 0 && self.waiting.is_empty()
    }

    /// One has ended: its slot is free.
    pub(super) fn ended(&mut self) {
        self.running -= 1;
    }

    /// As many tasks as there are free slots. Writers and gates first, all of them, so that each knows its share of the
    /// memory.
    pub(super) fn start<'a>(&mut self, stage: Stage<'a>) -> Result<Vec<Task<'a, Outcome>>, String> {
        let slots = stage.scenario.slots.map_or(usize::MAX, |slots| slots as usize);
        let free = slots.saturating_sub(self.running).min(self.waiting.len());
        let jobs: Vec<Job> = self.waiting.drain(..free).collect();
        self.running += jobs.len();
        let mut tasks: Vec<Task<'a, Outcome>> = Vec::new();
        let mut producers = Vec::new();
        for job in jobs {
            match job {
                Job::Consume(consumer) => tasks.push(consuming(stage, consumer, &self.workers)?),
                Job::Produce(producer) => producers.push(producer),
            }
        }
        producing(stage, &producers, &mut tasks)?;
        Ok(tasks)
    }
}

fn consuming<'a>(stage: Stage<'a>, consumer: u32, workers: &[Location]) -> Result<Task<'a, Outcome>, String> {
    let Stage { environment, scenario, record_bytes_max, progress, .. } = stage;
    let channels = channels(scenario, consumer, workers);
    let owner = format!("consumer {consumer}");
    let gate = environment.create_gate(&owner, scenario.producers(), &channels).map_err(|error| with_causes(&error))?;
    let output = scenario.output.as_ref().map(|folder| Output::create(folder, consumer)).transpose()?;
    Ok(Box::pin(async move { Outcome::Consumed(consumer, consume(gate, output, record_bytes_max, progress).await) }))
}

fn producing<'a>(stage: Stage<'a>, producers: &[u32], tasks: &mut Vec<Task<'a, Outcome>>) -> Result<(), String> {
    let Stage { environment, scenario, progress, .. } = stage;
    let partitions: Vec<_> =
        producers.iter().map(|producer| (partition(scenario, *producer), scenario.consumers())).collect();
    let writers =
        environment.create_writers_of(scenario.partition, &partitions).map_err(|error| with_causes(&error))?;
    for (producer, writer) in producers.iter().copied().zip(writers) {
        let input = stage.input.expect("a worker with producers has prepared the input");
        let source = input.source(producer).map_err(|error| with_causes(&error))?;
        let task = async move { Outcome::Produced(producer, produce(source, writer, &progress.written).await) };
        tasks.push(Box::pin(task));
    }
    Ok(())
}

/// Where the consumer finds its part of each producer's partition.
fn channels(scenario: &Scenario, consumer: u32, workers: &[Location]) -> Vec<(u32, ChannelLocation)> {
    let of_worker = |(worker, location): (usize, &Location)| {
        let (node, address) = (NodeId(worker as u64), Address(location.address.clone()));
        scenario.producers_of(worker as u32).map(move |producer| {
            let (partition, address) = (partition(scenario, producer), address.clone());
            (producer, ChannelLocation { partition, subpartition: consumer, node, address })
        })
    };
    workers.iter().enumerate().flat_map(of_worker).collect()
}
