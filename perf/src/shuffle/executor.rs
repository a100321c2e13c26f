//! Runs tasks and a reactor on one thread, in turns: no hand-over between threads, no wake-up for each block.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use sluice_core::Reactor;

/// How long a thread with nothing to do looks again and again before it sleeps. A wake-up from sleep costs the peer's
/// thread some 8 µs and comes 16–36 µs later (docs/decisions/0001), so the next message often comes first. Of 0, 5, 15,
/// 50 and 150 µs, 15 cost the least CPU for a byte (docs/benchmarks.md).
const LOOK_AGAIN: Duration = Duration::from_micros(15);

/// How long tasks run one after the other before the reactor has a turn. A thousand tasks with a small block each would
/// otherwise spend more on the turns between them than on the blocks.
const RUN_FOR: Duration = Duration::from_micros(50);

/// A task: ends with what it did or with why it failed.
pub(super) type Task<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Tasks that can go on, once each.
struct RunQueue {
    ready: Mutex<VecDeque<usize>>,
    reactor: Waker,
}

struct TaskWaker {
    task: usize,
    queued: AtomicBool,
    queue: Arc<RunQueue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.queue.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.task);
            self.queue.reactor.wake_by_ref();
        }
    }
}

/// One thread's tasks.
pub(super) struct Executor<'a, T> {
    reactor: &'a mut Reactor,
    queue: Arc<RunQueue>,
    tasks: Vec<Option<Task<'a, T>>>,
    wakers: Vec<Arc<TaskWaker>>,
    /// Whether looking again has paid lately.
    eager: bool,
}

impl<'a, T> Executor<'a, T> {
    /// Without tasks. `waker` wakes the reactor when it sleeps.
    pub(super) fn new(reactor: &'a mut Reactor, waker: Waker) -> Self {
        let queue = Arc::new(RunQueue { ready: Mutex::default(), reactor: waker });
        Self { reactor, queue, tasks: Vec::new(), wakers: Vec::new(), eager: true }
    }

    /// Runs it from now on, beside the others.
    pub(super) fn spawn(&mut self, task: Task<'a, T>) {
        let (index, queue) = (self.tasks.len(), Arc::clone(&self.queue));
        self.tasks.push(Some(task));
        self.wakers.push(Arc::new(TaskWaker { task: index, queued: AtomicBool::new(true), queue }));
        self.queue.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(index);
    }

    /// Runs until a task has ended, and gives its result; `None` as soon as `until` says so.
    pub(super) fn run(&mut self, mut until: impl FnMut() -> bool) -> io::Result<Option<T>> {
        while !until() {
            let (ran, ended) = self.run_tasks();
            if ended.is_some() {
                return Ok(ended);
            }
            let turned = self.reactor.turn();
            if !ran && !turned {
                self.rest()?;
            }
        }
        Ok(None)
    }

    /// After the environment was told to stop: until the reactor has, or so much time is over.
    pub(super) fn run_to_the_end(&mut self, at_most: Duration) -> io::Result<()> {
        let until = Instant::now() + at_most;
        while !self.reactor.has_stopped() && Instant::now() < until {
            if !self.reactor.turn() {
                self.reactor.park(Some(until.saturating_duration_since(Instant::now())))?;
            }
        }
        Ok(())
    }

    fn next_task(&self) -> Option<usize> {
        self.queue.ready.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn has_ready(&self) -> bool {
        !self.queue.ready.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Runs tasks for a while, or until one has ended. Whether one could go on, and the result of who has ended.
    fn run_tasks(&mut self) -> (bool, Option<T>) {
        let began = Instant::now();
        for number in 0.. {
            let (ran, ended) = self.run_task();
            if !ran || ended.is_some() {
                return (ran || number > 0, ended);
            }
            if began.elapsed() >= RUN_FOR {
                break;
            }
        }
        (true, None)
    }

    /// Whether one could go on, and its result if that was its end.
    fn run_task(&mut self) -> (bool, Option<T>) {
        let Some(index) = self.next_task() else { return (false, None) };
        let wake = &self.wakers[index];
        wake.queued.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(wake));
        if let Some(task) = &mut self.tasks[index]
            && let Poll::Ready(result) = task.as_mut().poll(&mut Context::from_waker(&waker))
        {
            self.tasks[index] = None;
            return (true, Some(result));
        }
        (true, None)
    }

    /// Looks for a while if that has paid lately, then sleeps.
    fn rest(&mut self) -> io::Result<()> {
        let began = Instant::now();
        if self.eager {
            while began.elapsed() < LOOK_AGAIN {
                std::hint::spin_loop();
                if self.reactor.turn() || self.has_ready() {
                    return Ok(());
                }
            }
        }
        self.reactor.park(None)?;
        // What came soon after would have been found by looking on; what came late would not.
        self.eager = began.elapsed() < 4 * LOOK_AGAIN;
        Ok(())
    }
}

/// Lets the other tasks and the reactor have their turn.
pub(super) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
