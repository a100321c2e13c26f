//! What the tasks of a worker bring home.

use std::time::Duration;

use crate::digest::Digest;
use crate::scenario::Scenario;

use super::super::produce::Produced;

/// What a task brings home.
pub(super) enum Outcome {
    Produced(u32, Result<Produced, String>),
    Consumed(u32, Result<Vec<Digest>, String>),
}

/// Of one phase.
pub(super) struct Tally {
    first_producer: u32,
    first_consumer: u32,
    producers: usize,
    consumers: usize,
    /// Of each of the worker's producers for each consumer, if they ran.
    pub(super) sent: Vec<Digest>,
    /// Of each of the worker's consumers for each producer, if they ran.
    pub(super) received: Vec<Digest>,
    pub(super) credit: Duration,
    pub(super) buffer: Duration,
    pub(super) disk: Duration,
}

impl Tally {
    pub(super) fn new(scenario: &Scenario, worker: u32, produces: bool, consumes: bool) -> Self {
        let (mine, theirs) = (scenario.producers_of(worker), scenario.consumers_of(worker));
        let (producers, consumers) = (scenario.producers() as usize, scenario.consumers() as usize);
        Self {
            first_producer: mine.start,
            first_consumer: theirs.start,
            producers,
            consumers,
            sent: vec![Digest::default(); if produces { mine.len() * consumers } else { 0 }],
            received: vec![Digest::default(); if consumes { theirs.len() * producers } else { 0 }],
            credit: Duration::ZERO,
            buffer: Duration::ZERO,
            disk: Duration::ZERO,
        }
    }

    pub(super) fn take(&mut self, outcome: Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Produced(producer, produced) => {
                let produced = produced.map_err(|error| format!("producer {producer}: {error}"))?;
                let first = (producer - self.first_producer) as usize * self.consumers;
                self.sent[first..first + self.consumers].copy_from_slice(&produced.digests);
                self.credit += produced.statistics.credit_stall;
                self.buffer += produced.statistics.buffer_stall;
                self.disk += produced.statistics.disk_stall;
            }
            Outcome::Consumed(consumer, digests) => {
                let digests = digests.map_err(|error| format!("consumer {consumer}: {error}"))?;
                let first = (consumer - self.first_consumer) as usize * self.producers;
                self.received[first..first + self.producers].copy_from_slice(&digests);
            }
        }
        Ok(())
    }
}
