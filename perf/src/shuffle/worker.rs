//! One worker: its environment, its tasks, its reactor, on one thread.

use std::any::Any;
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use sluice_core::{
    Address, Config, EnvironmentConfig, Incarnation, JobId, JobSpec, NodeId, PartitionId, PartitionSpec,
    ProducerLocation, Reactor, ReactorDrive, ShuffleDescriptor, ShuffleEnvironment, ShuffleMaster, Traffic,
};
use sluice_plugin::InProcess;

use super::consume::consume;
use super::control::{Answer, Done, Location, Order, hear, tell, tell_digests};
use super::executor::{Executor, Task};
use super::output::Output;
use super::produce::{Produced, produce};
use super::transport::Chosen;
use crate::causes::with_causes;
use crate::digest::Digest;
use crate::host;
use crate::input::Input;
use crate::scenario::Scenario;

const JOB: JobId = JobId(1);
/// How often a worker says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// A worker process: orders on standard input, answers on standard output.
pub fn run_as_process() -> io::Result<()> {
    serve(io::BufReader::new(io::stdin()), io::stdout(), None)
}

/// Obeys until it is told to stop, its coordinator is gone, or it has said why it cannot go on.
pub(super) fn serve<R, W>(orders: R, answers: W, hub: Option<&InProcess>) -> io::Result<()>
where
    R: BufRead + Send + 'static,
    W: Write + Send,
{
    let answers = Mutex::new(answers);
    let error = match catch_unwind(AssertUnwindSafe(|| obey(orders, &answers, hub))) {
        Ok(Ok(())) => return Ok(()),
        // A coordinator that is gone does not hear it; one that is there would otherwise see an end without a reason.
        Ok(Err(error)) => with_causes(&error),
        // Nothing of this worker is used again but the pipe to say so.
        Err(panic) => format!("panicked: {}", panic_text(&*panic)),
    };
    tell(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner), &Answer::Failed { error })
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

fn obey<R, W>(mut orders: R, answers: &Mutex<W>, hub: Option<&InProcess>) -> io::Result<()>
where
    R: BufRead + Send + 'static,
    W: Write + Send,
{
    let Some(Order::Prepare { worker, scenario }) = hear(&mut orders)? else { return Ok(()) };
    let say = |answer: &Answer| tell(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner), answer);
    match prepare(worker, &scenario, hub) {
        Err(error) => say(&Answer::Failed { error }),
        Ok(mut prepared) => {
            say(&Answer::Ready {
                location: prepared.location(),
                engine: prepared.transport.engine(),
                bytes_estimate: prepared.input.as_ref().map_or(0, Input::bytes_estimate),
            })?;
            let Some(Order::Go { workers }) = hear(&mut orders)? else { return Ok(()) };
            shuffle(&mut prepared, &scenario, worker, &workers, orders, answers)
        }
    }
}

/// A worker that is ready to go.
struct Prepared {
    environment: ShuffleEnvironment,
    reactor: Reactor,
    input: Option<Input>,
    transport: Chosen,
    record_bytes_max: usize,
}

impl Prepared {
    fn location(&self) -> Location {
        let ProducerLocation { incarnation, address, .. } = self.environment.location();
        Location { incarnation: incarnation.0, address: address.0 }
    }
}

fn prepare(worker: u32, scenario: &Scenario, hub: Option<&InProcess>) -> Result<Prepared, String> {
    let config = scenario.settings.load().map_err(|error| with_causes(&error))?;
    let transport = Chosen::of(scenario.transport, &config, hub).map_err(|error| with_causes(&error))?;
    // The text that TPC-H comments are cut from takes 300 MiB: only where there are producers.
    let input = match scenario.producers_of(worker).is_empty() {
        true => None,
        false => Some(
            Input::prepare(&scenario.input, scenario.producers(), scenario.consumers())
                .map_err(|error| with_causes(&error))?,
        ),
    };
    let config = environment_config(worker, &config);
    let record_bytes_max = config.record_bytes_max;
    let started = ShuffleEnvironment::start(config, Arc::clone(&transport.factory), ReactorDrive::Caller);
    let started = started.map_err(|error| with_causes(&error))?;
    let reactor = started.reactor.expect("this thread asked to drive it");
    Ok(Prepared { environment: started.environment, reactor, input, transport, record_bytes_max })
}

fn environment_config(worker: u32, config: &Config) -> EnvironmentConfig {
    // Another run on this machine is another, later incarnation.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    config.environment(NodeId(worker.into()), Incarnation(since.as_nanos() as u64))
}

/// Payload so far, in bytes.
#[derive(Default)]
struct Progress {
    written: AtomicU64,
    read: AtomicU64,
}

/// Set when it goes: no more progress is told.
struct Through<'a>(&'a AtomicBool);

impl Drop for Through<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What a task brings home.
enum Outcome {
    Produced(u32, Result<Produced, String>),
    Consumed(u32, Result<Vec<Digest>, String>),
}

fn shuffle<R, W>(
    prepared: &mut Prepared,
    scenario: &Scenario,
    worker: u32,
    workers: &[Location],
    mut orders: R,
    answers: &Mutex<W>,
) -> io::Result<()>
where
    R: BufRead + Send + 'static,
    W: Write + Send,
{
    let say = |answer: &Answer| tell(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner), answer);
    let progress = Progress::default();
    let (stop, through) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let waker = prepared.environment.waker();
    std::thread::scope(|scope| {
        // However this ends: the scope waits for the thread that tells the progress.
        let through = Through(&through);
        let started = monotone_nanos();
        let cpu = host::cpu_time();
        let Prepared { environment, reactor, input, record_bytes_max, .. } = prepared;
        let input = input.as_ref();
        let tasks = match tasks(environment, input, *record_bytes_max, scenario, worker, workers, &progress) {
            Ok(tasks) => tasks,
            Err(error) => return say(&Answer::Failed { error }),
        };
        let mut left = tasks.len();
        // Orders come while the thread shuffles; the only one is to stop, and so is the coordinator's end.
        {
            let (waker, stop) = (waker.clone(), Arc::clone(&stop));
            // Not of this scope: a worker that fails ends although nobody has told it to.
            std::thread::spawn(move || {
                let _ = hear::<Order>(&mut orders);
                stop.store(true, Ordering::Release);
                waker.wake();
            });
        }
        {
            let (progress, through) = (&progress, through.0);
            scope.spawn(move || {
                while !through.load(Ordering::Acquire) {
                    let answer = Answer::Progress {
                        written: progress.written.load(Ordering::Relaxed),
                        read: progress.read.load(Ordering::Relaxed),
                    };
                    if tell(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner), &answer).is_err() {
                        return;
                    }
                    std::thread::park_timeout(PROGRESS_EVERY);
                }
            })
        };
        let mut tally = Tally::new(scenario, worker);
        let mut executor = Executor::new(reactor, waker, tasks);
        let mut reported = false;
        executor.run(
            || stop.load(Ordering::Acquire),
            |outcome| {
                if reported {
                    return;
                }
                left -= 1;
                if let Err(error) = tally.take(outcome) {
                    reported = true;
                    let _ = say(&Answer::Failed { error });
                } else if left == 0 {
                    through.0.store(true, Ordering::Release);
                    let cpu_seconds = (host::cpu_time() - cpu).as_secs_f64();
                    let done = tally.done(started, monotone_nanos(), cpu_seconds, environment.traffic());
                    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = tell(&mut *answers, &Answer::Done(Box::new(done)));
                    let _ = tell_digests(&mut *answers, &tally.sent);
                    let _ = tell_digests(&mut *answers, &tally.received);
                }
            },
        )
    })
}

/// The tasks of this worker: writers and gates first, all of them, so that each knows its share of the memory.
fn tasks<'a>(
    environment: &'a ShuffleEnvironment,
    input: Option<&'a Input>,
    record_bytes_max: usize,
    scenario: &Scenario,
    worker: u32,
    workers: &[Location],
    progress: &'a Progress,
) -> Result<Vec<Task<'a, Outcome>>, String> {
    let descriptors = describe(scenario, workers)?;
    let mut tasks: Vec<Task<'_, Outcome>> = Vec::new();
    for consumer in scenario.consumers_of(worker) {
        let channels: Vec<_> = descriptors.iter().map(|descriptor| descriptor.channel(consumer)).enumerate().collect();
        let channels: Vec<_> = channels.into_iter().map(|(index, location)| (index as u32, location)).collect();
        let owner = format!("consumer {consumer}");
        let gate =
            environment.create_gate(&owner, scenario.producers(), &channels).map_err(|error| with_causes(&error))?;
        let output = scenario.output.as_ref().map(|folder| Output::create(folder, consumer)).transpose()?;
        tasks.push(Box::pin(async move {
            Outcome::Consumed(consumer, consume(gate, output, record_bytes_max, &progress.read).await)
        }));
    }
    let producers = scenario.producers_of(worker);
    let partitions: Vec<_> = producers.clone().map(|producer| (partition(producer), scenario.consumers())).collect();
    let writers = environment.create_writers(&partitions).map_err(|error| with_causes(&error))?;
    for (producer, writer) in producers.zip(writers) {
        let input = input.expect("a worker with producers has prepared the input");
        let source = input.source(producer).map_err(|error| with_causes(&error))?;
        tasks.push(Box::pin(
            async move { Outcome::Produced(producer, produce(source, writer, &progress.written).await) },
        ));
    }
    Ok(tasks)
}

fn partition(producer: u32) -> PartitionId {
    PartitionId { job: JOB, partition: producer.into(), attempt: 0 }
}

/// What the master of a real engine would tell every worker.
fn describe(scenario: &Scenario, workers: &[Location]) -> Result<Vec<ShuffleDescriptor>, String> {
    let mut master = ShuffleMaster::new("any");
    master.register_job(&JobSpec { job: JOB, transport: None }).map_err(|error| with_causes(&error))?;
    let mut descriptors = Vec::new();
    for (worker, location) in workers.iter().enumerate() {
        for producer in scenario.producers_of(worker as u32) {
            let spec = PartitionSpec { partition: partition(producer), subpartitions: scenario.consumers() };
            let producer = ProducerLocation {
                node: NodeId(worker as u64),
                incarnation: Incarnation(location.incarnation),
                address: Address(location.address.clone()),
            };
            descriptors.push(master.register_partition(spec, producer).map_err(|error| with_causes(&error))?);
        }
    }
    Ok(descriptors)
}

/// What the tasks of a worker bring home.
struct Tally {
    first_producer: u32,
    first_consumer: u32,
    producers: usize,
    consumers: usize,
    sent: Vec<Digest>,
    received: Vec<Digest>,
    credit: Duration,
    buffer: Duration,
}

impl Tally {
    fn new(scenario: &Scenario, worker: u32) -> Self {
        let (mine, theirs) = (scenario.producers_of(worker), scenario.consumers_of(worker));
        let (producers, consumers) = (scenario.producers() as usize, scenario.consumers() as usize);
        Self {
            first_producer: mine.start,
            first_consumer: theirs.start,
            producers,
            consumers,
            sent: vec![Digest::default(); mine.len() * consumers],
            received: vec![Digest::default(); theirs.len() * producers],
            credit: Duration::ZERO,
            buffer: Duration::ZERO,
        }
    }

    fn take(&mut self, outcome: Outcome) -> Result<(), String> {
        match outcome {
            Outcome::Produced(producer, produced) => {
                let produced = produced.map_err(|error| format!("producer {producer}: {error}"))?;
                let first = (producer - self.first_producer) as usize * self.consumers;
                self.sent[first..first + self.consumers].copy_from_slice(&produced.digests);
                self.credit += produced.statistics.credit_stall;
                self.buffer += produced.statistics.buffer_stall;
            }
            Outcome::Consumed(consumer, digests) => {
                let digests = digests.map_err(|error| format!("consumer {consumer}: {error}"))?;
                let first = (consumer - self.first_consumer) as usize * self.producers;
                self.received[first..first + self.producers].copy_from_slice(&digests);
            }
        }
        Ok(())
    }

    fn done(&self, started: u64, ended: u64, cpu_seconds: f64, traffic: Traffic) -> Done {
        Done {
            started,
            ended,
            cpu_seconds,
            peak_memory_bytes: host::peak_memory_bytes().unwrap_or(0),
            credit_seconds: self.credit.as_secs_f64(),
            buffer_seconds: self.buffer.as_secs_f64(),
            links_lost: traffic.links_lost,
            links_resumed: traffic.links_resumed,
            sent_digests: self.sent.len() as u64,
            received_digests: self.received.len() as u64,
        }
    }
}

fn monotone_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests;
