//! The jobs of a run: who writes what to whom, and how willingly it is read.

use std::fmt;
use std::time::Duration;

use sluice_core::PartitionKind;

use super::script::{Piece, Script, Step, Target};
use crate::seed::Random;

/// A job: every producer writes for every consumer.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// Its number, from 1.
    pub number: u64,
    /// How its partitions are kept.
    pub kind: PartitionKind,
    /// How many each of them has.
    pub subpartitions: u32,
    /// Its producers.
    pub producers: Vec<ProducerPlan>,
    /// Its consumers.
    pub consumers: Vec<ConsumerPlan>,
    /// Whether its workers have to know a token.
    pub has_token: bool,
    /// A worker that knows a wrong one.
    pub stranger: Option<usize>,
}

/// A task that writes a partition.
#[derive(Clone, Debug)]
pub struct ProducerPlan {
    /// Where it runs.
    pub worker: usize,
    /// When it starts.
    pub starts: Duration,
    /// What it does.
    pub script: Script,
    /// How it ends.
    pub ending: Ending,
}

/// How a producer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Completes its partition.
    Finish,
    /// Says that it failed.
    Fail,
    /// Is dropped in the middle.
    Drop,
    /// Its partition is released under its hands.
    Release,
}

/// A task that reads one subpartition of every producer.
#[derive(Clone, Debug)]
pub struct ConsumerPlan {
    /// Where it runs.
    pub worker: usize,
    /// What it reads of each producer.
    pub subpartition: u32,
    /// When it starts.
    pub starts: Duration,
    /// Not before all producers have ended.
    pub after_producers: bool,
    /// How fast it reads.
    pub pace: Pace,
    /// Between the locations that it is told; all at once if zero.
    pub locations: Duration,
    /// After how many deliveries it loses interest.
    pub cancels_after: Option<u64>,
    /// It reads everything again, so often.
    pub again: Vec<Again>,
    /// It reads the producers from this one on by a second gate, which it does not touch before the end of the first: as
    /// a join does that builds and then probes.
    pub probes_from: Option<usize>,
}

/// One more reading of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// How long after the one before.
    pub pause: Duration,
    /// After how many deliveries it loses interest.
    pub cancels_after: Option<u64>,
}

/// How fast a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it can.
    Fast,
    /// Pauses after every so many deliveries.
    Slow(u64, Duration),
    /// Pauses once, for long.
    Stops(u64, Duration),
}

impl ConsumerPlan {
    /// How many gates there may be of it: those that it has, and those that it had and that are not closed yet.
    fn gates(&self) -> usize {
        (1 + self.again.len()) * if self.probes_from.is_some() { 2 } else { 1 }
    }
}

impl JobPlan {
    /// What a worker knows of the job's token.
    pub fn token_of(&self, worker: usize) -> Option<[u8; 16]> {
        let knows = [self.number as u8; 16];
        self.has_token.then_some(if self.stranger == Some(worker) { [0xff; 16] } else { knows })
    }

    /// Whether the first may read what the second has.
    pub fn may_read(&self, consumer: usize, producer: usize) -> bool {
        consumer == producer || self.token_of(consumer) == self.token_of(producer)
    }

    /// Writers and gates on one worker.
    pub fn task_ends_on(&self, worker: usize) -> usize {
        let producers = self.producers.iter().filter(|producer| producer.worker == worker).count();
        let consumers = self.consumers.iter().filter(|consumer| consumer.worker == worker);
        producers + consumers.map(ConsumerPlan::gates).sum::<usize>()
    }
}

pub(super) fn draw(random: &mut Random, workers: usize) -> Vec<JobPlan> {
    let jobs = if random.chance(70) { 1 } else { random.within(2..=3) };
    (1..=jobs).map(|number| job(random, number, workers)).collect()
}

fn job(random: &mut Random, number: u64, workers: usize) -> JobPlan {
    let most = if random.chance(80) { 3 } else { 8 };
    let (producers, consumers) = (random.within(1..=most), random.within(1..=most));
    // Jobs that come later meet what is left of the earlier ones.
    let begins = match number {
        1 => Duration::ZERO,
        _ => random.time(Duration::from_millis(1)..=Duration::from_secs(4)),
    };
    let spread = *random.pick(&[Duration::from_micros(1), Duration::from_millis(5), Duration::from_millis(200)]);
    let size = random.magnitude(4 << 10..=1 << 20) / producers;
    let producers = (0..producers).map(|_| producer(random, workers, begins, spread, consumers as u32, size)).collect();
    let subpartitions = consumers as u32;
    let consumers = (0..subpartitions).map(|index| consumer(random, workers, index, begins, spread)).collect();
    let has_token = random.chance(25);
    let stranger = (has_token && random.chance(15)).then(|| random.below(workers as u64) as usize);
    let kind = PartitionKind::Pipelined;
    JobPlan { number, kind, subpartitions, producers, consumers, has_token, stranger }
}

fn start(random: &mut Random, begins: Duration, spread: Duration) -> Duration {
    begins + random.time(Duration::from_nanos(1)..=spread)
}

fn producer(
    random: &mut Random,
    workers: usize,
    begins: Duration,
    spread: Duration,
    consumers: u32,
    bytes: u64,
) -> ProducerPlan {
    let worker = random.below(workers as u64) as usize;
    let ending = match random.below(100) {
        0..=2 => Ending::Fail,
        3..=5 => Ending::Drop,
        6..=7 => Ending::Release,
        _ => Ending::Finish,
    };
    let script = script(random, consumers, bytes);
    ProducerPlan { worker, starts: start(random, begins, spread), script, ending }
}

pub(super) fn script(random: &mut Random, subpartitions: u32, bytes: u64) -> Script {
    let record_bytes_max = *random.pick(&[16, 200, 3000, 20_000, 150_000]);
    let (batches, broadcasts, events) = (random.chance(50), random.chance(30), random.chance(40));
    let pauses = random.chance(30);
    let skewed = random.chance(25);
    let mut kind = 0;
    let mut left = bytes as i64;
    let mut steps = Vec::new();
    while left > 0 && steps.len() < 400 {
        let target = |random: &mut Random| match skewed && random.chance(80) {
            true => 0,
            false => random.below(subpartitions.into()) as u32,
        };
        let piece = |random: &mut Random| {
            let length = random.magnitude(1..=record_bytes_max) - u64::from(random.chance(5));
            Piece::draw(random, length)
        };
        let step = match random.below(20) {
            0..=3 if batches => {
                let count = random.within(1..=40);
                let targets: Vec<_> = (0..count).map(|_| target(random)).collect();
                let pieces: Vec<_> = (0..count).map(|_| piece(random)).collect();
                left -= pieces.iter().map(|piece| piece.bytes().len() as i64 + 4).sum::<i64>();
                Step::Batch(targets, pieces)
            }
            4 if broadcasts => {
                let piece = piece(random);
                left -= (piece.bytes().len() as i64 + 4) * i64::from(subpartitions);
                Step::Broadcast(piece)
            }
            5..=6 if events => {
                kind += 1;
                let target = if random.chance(50) { Target::All } else { Target::One(target(random)) };
                let length = random.magnitude(1..=4096);
                let length = if random.chance(90) { length.min(64) } else { length };
                let payload = Piece::draw(random, length);
                Step::Event { target, kind, payload, priority: random.chance(30) }
            }
            7 => Step::Flush,
            8 if pauses => Step::Pause(random.time(Duration::from_micros(10)..=Duration::from_millis(100))),
            _ => {
                let (target, piece) = (target(random), piece(random));
                left -= piece.bytes().len() as i64 + 4;
                Step::Write(target, piece)
            }
        };
        steps.push(step);
    }
    Script(steps)
}

fn consumer(
    random: &mut Random,
    workers: usize,
    subpartition: u32,
    begins: Duration,
    spread: Duration,
) -> ConsumerPlan {
    let worker = random.below(workers as u64) as usize;
    let pace = match random.below(10) {
        0..=1 => Pace::Slow(random.within(1..=20), random.time(Duration::from_micros(10)..=Duration::from_millis(20))),
        2 => {
            let pause = random.time(Duration::from_millis(50)..=Duration::from_secs(5));
            Pace::Stops(random.within(0..=40), pause)
        }
        _ => Pace::Fast,
    };
    let locations = match random.chance(15) {
        true => random.time(Duration::from_micros(1)..=Duration::from_millis(300)),
        false => Duration::ZERO,
    };
    let cancels_after = random.chance(10).then(|| random.magnitude(1..=100) - 1);
    let late =
        if random.chance(10) { random.time(Duration::from_millis(1)..=Duration::from_secs(2)) } else { Duration::ZERO };
    let starts = start(random, begins, spread) + late;
    let (after_producers, again, probes_from) = (false, Vec::new(), None);
    ConsumerPlan { worker, subpartition, starts, after_producers, pace, locations, cancels_after, again, probes_from }
}

impl fmt::Display for JobPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (producers, consumers) = (self.producers.len(), self.consumers.len());
        write!(f, "job {}: {producers} producers, {consumers} consumers", self.number)?;
        if self.kind.is_retained() {
            write!(f, ", {} partitions of {} subpartitions", self.kind, self.subpartitions)?;
        }
        match (self.has_token, self.stranger) {
            (true, Some(stranger)) => writeln!(f, ", a token that worker {stranger} does not know")?,
            (true, None) => writeln!(f, ", a token")?,
            (false, _) => writeln!(f)?,
        }
        for (index, producer) in self.producers.iter().enumerate() {
            let ProducerPlan { worker, starts, script, ending } = producer;
            let steps = script.0.len();
            writeln!(f, "  producer {index} on worker {worker} from {starts:?}: {steps} steps, then {ending:?}")?;
        }
        for (index, consumer) in self.consumers.iter().enumerate() {
            let ConsumerPlan { worker, subpartition, starts, pace, locations, cancels_after, .. } = consumer;
            write!(f, "  consumer {index} on worker {worker} from {starts:?}: subpartition {subpartition}, {pace:?}")?;
            if consumer.after_producers {
                write!(f, ", after the last producer")?;
            }
            if let Some(producer) = consumer.probes_from {
                write!(f, ", producers from {producer} on by a second gate")?;
            }
            if !locations.is_zero() {
                write!(f, ", learns a location every {locations:?}")?;
            }
            if let Some(deliveries) = cancels_after {
                write!(f, ", cancels after {deliveries} deliveries")?;
            }
            for Again { pause, cancels_after } in &consumer.again {
                write!(f, "; again after {pause:?}")?;
                cancels_after.map_or(Ok(()), |after| write!(f, ", until {after} deliveries"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
