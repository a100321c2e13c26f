//! What a worker does from its first phase to its end: runs tasks as it is told, and serves its peers all the while.

use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sluice_core::{HeldPartition, Incarnation, JobId, NodeId, ShuffleEnvironment};

use super::super::control::{Answer, Done, Held, Location, Order, Phase, Totals, hear, tell, tell_digests};
use super::super::executor::Executor;
use super::super::partition;
use super::Answers;
use super::prepared::Prepared;
use super::progress::{self, Progress, Through};
use super::tally::{Outcome, Tally};
use super::tasks::{Shift, Stage};
use crate::host;
use crate::scenario::Scenario;

/// Whoever still has a link is told goodbye; one that does not answer is not waited for any longer.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// Orders that have come and were not obeyed yet.
#[derive(Default)]
struct Inbox {
    /// `None` at the end: the coordinator is gone.
    orders: Mutex<VecDeque<Option<Order>>>,
    has_some: AtomicBool,
}

impl Inbox {
    /// Not of the worker's scope: one that fails ends although nobody has told it to.
    fn listen<R: BufRead + Send + 'static>(mut from: R, waker: Waker) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::default());
        let ours = Arc::clone(&inbox);
        std::thread::spawn(move || {
            loop {
                let order = hear(&mut from).unwrap_or_default();
                let is_last = order.is_none();
                ours.orders.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
                ours.has_some.store(true, Ordering::Release);
                waker.wake_by_ref();
                if is_last {
                    return;
                }
            }
        });
        inbox
    }

    fn has_some(&self) -> bool {
        self.has_some.load(Ordering::Acquire)
    }

    fn next(&self) -> Option<Order> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let next = orders.pop_front().flatten();
        self.has_some.store(!orders.is_empty(), Ordering::Release);
        next
    }
}

/// Obeys until it is told to stop.
pub(super) fn live<R, W>(
    prepared: &mut Prepared,
    scenario: &Scenario,
    worker: u32,
    orders: R,
    answers: &Answers<W>,
) -> io::Result<()>
where
    R: BufRead + Send + 'static,
    W: Write + Send,
{
    let progress = Progress::default();
    let through = AtomicBool::new(false);
    let Prepared { environment, reactor, input, record_bytes_max, .. } = prepared;
    let waker = environment.waker();
    let inbox = Inbox::listen(orders, waker.clone());
    let (input, record_bytes_max) = (input.as_ref(), *record_bytes_max);
    let stage = Stage { environment, input, record_bytes_max, scenario, worker, progress: &progress };
    std::thread::scope(|scope| {
        // However this ends: the scope waits for the thread that tells the progress.
        let _through = Through(&through);
        scope.spawn(|| progress::tell(&progress, answers, &through));
        let executor = Executor::new(reactor, waker);
        Life { stage, answers, executor, running: None, cpu: None, has_failed: false }.run(&inbox)
    })
}

struct Life<'a, W> {
    stage: Stage<'a>,
    answers: &'a Answers<W>,
    executor: Executor<'a, Outcome>,
    running: Option<Running>,
    /// Of the process, when its first phase began.
    cpu: Option<Duration>,
    has_failed: bool,
}

/// A phase that runs.
struct Running {
    shift: Shift,
    tally: Tally,
    started: u64,
}

impl<W: Write> Life<'_, W> {
    fn run(&mut self, inbox: &Inbox) -> io::Result<()> {
        loop {
            let obeyed = match self.executor.run(|| inbox.has_some())? {
                Some(outcome) => self.task_ended(outcome),
                None => match inbox.next() {
                    // Whose coordinator is gone goes at once, and leaves what it has to its next life.
                    None => return Ok(()),
                    Some(Order::Stop) => return self.stop(),
                    Some(order) => self.obey(order),
                },
            };
            if let Err(error) = obeyed
                && !std::mem::replace(&mut self.has_failed, true)
            {
                // The coordinator ends everything; until then the others may still be served.
                let _ = self.answers.say(&Answer::Failed { error });
            }
        }
    }

    /// Files that were released are there until the disk has removed them.
    fn stop(&mut self) -> io::Result<()> {
        if self.stage.scenario.partition.is_retained() {
            self.stage.environment.stop();
            self.executor.run_to_the_end(STOP_WAIT)?;
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) -> Result<(), String> {
        match order {
            Order::Run { phase, workers, halt_at } => {
                self.stage.progress.halt_at(halt_at.unwrap_or(0));
                self.begin(phase, workers)
            }
            Order::Lost { worker, incarnation } => {
                self.stage.environment.worker_lost(NodeId(worker.into()), Incarnation(incarnation));
                Ok(())
            }
            Order::Release => self.release(),
            Order::Prepare { .. } | Order::Stop => Ok(()),
        }
    }

    fn begin(&mut self, phase: Phase, workers: Vec<Location>) -> Result<(), String> {
        self.cpu.get_or_insert_with(host::cpu_time);
        let (produces, consumes) = (phase != Phase::Consume, phase != Phase::Produce);
        let tally = Tally::new(self.stage.scenario, self.stage.worker, produces, consumes);
        let shift = Shift::new(self.stage, phase, workers);
        self.running = Some(Running { shift, tally, started: monotone_nanos() });
        self.go_on()
    }

    fn task_ended(&mut self, outcome: Outcome) -> Result<(), String> {
        if self.has_failed {
            return Ok(());
        }
        let running = self.running.as_mut().expect("tasks run in a phase only");
        running.shift.ended();
        running.tally.take(outcome)?;
        self.go_on()
    }

    /// Starts what there is a slot for; says so when the phase is over.
    fn go_on(&mut self) -> Result<(), String> {
        let running = self.running.as_mut().expect("called in a phase only");
        for task in running.shift.start(self.stage)? {
            self.executor.spawn(task);
        }
        if running.shift.is_over() {
            let Running { tally, started, .. } = self.running.take().expect("looked at above");
            self.say_done(&tally, started);
        }
        Ok(())
    }

    fn say_done(&self, tally: &Tally, started: u64) {
        let done = Done {
            started,
            ended: monotone_nanos(),
            credit_seconds: tally.credit.as_secs_f64(),
            buffer_seconds: tally.buffer.as_secs_f64(),
            disk_seconds: tally.disk.as_secs_f64(),
            totals: self.totals(),
            finished: self.finished(tally),
            sent_digests: tally.sent.len() as u64,
            received_digests: tally.received.len() as u64,
        };
        // One that is not heard has no coordinator any more, and its orders end.
        let _: io::Result<()> = self.answers.with(|to| {
            tell(to, &Answer::Done(Box::new(done)))?;
            tell_digests(to, &tally.sent)?;
            tell_digests(to, &tally.received)
        });
    }

    /// What the producers of the phase have finished that can be read again.
    fn finished(&self, tally: &Tally) -> Vec<Held> {
        let Stage { scenario, environment, worker, .. } = self.stage;
        if !scenario.partition.is_retained() || tally.sent.is_empty() {
            return Vec::new();
        }
        let of = |producer| {
            let (partition, kind, subpartitions) =
                (partition(scenario, producer), scenario.partition, scenario.consumers());
            // None is a mistake of the engine, and the coordinator finds it.
            let statistics = environment.partition_statistics(partition).unwrap_or_default();
            Held::from(HeldPartition { partition, kind, subpartitions, statistics })
        };
        scenario.producers_of(worker).map(of).collect()
    }

    fn release(&mut self) -> Result<(), String> {
        let totals = self.totals();
        self.stage.environment.release_job(JobId(self.stage.scenario.job));
        let _ = self.answers.say(&Answer::Released(totals));
        Ok(())
    }

    fn totals(&self) -> Totals {
        let environment: &ShuffleEnvironment = self.stage.environment;
        let (traffic, disk) = (environment.traffic(), environment.disk_statistics());
        Totals {
            cpu_seconds: (host::cpu_time() - self.cpu.unwrap_or_default()).as_secs_f64(),
            peak_memory_bytes: host::peak_memory_bytes().unwrap_or(0),
            links_lost: traffic.links_lost,
            links_resumed: traffic.links_resumed,
            disk_written_bytes: disk.written_bytes,
            disk_read_bytes: disk.read_bytes,
        }
    }
}

fn monotone_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
