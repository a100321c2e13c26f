//! Tasks: futures that the simulator polls when they were woken, and only then.

mod consumer;
mod content;
mod desk;
mod producer;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sluice_core::{ReadError, Time, WriteError};

pub(crate) use consumer::{Ask, Places, Reading, consume};
pub(crate) use content::Content;
pub(crate) use desk::{Desk, Timers};
pub(crate) use producer::{Writing, produce};

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A producer that completed its partition.
    Finished,
    /// A producer that failed, was dropped, or whose partition was released, as planned.
    Ended,
    /// A producer that was told of an error.
    WriteFailed(WriteError),
    /// A consumer that has read everything.
    Complete,
    /// A consumer that lost interest.
    Cancelled,
    /// A consumer that was told of an error.
    ReadFailed(ReadError),
    /// A consumer whose partitions are nowhere, as the master says.
    NowhereFound,
    /// Its worker was killed, or not there.
    Killed,
    /// Its writer or gate could not be created.
    NotCreated(String),
}

/// A task of the run.
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) worker: usize,
    pub(crate) desk: Desk,
    pub(crate) future: Option<Pin<Box<dyn Future<Output = Outcome>>>>,
    pub(crate) outcome: Option<Outcome>,
    /// When that was.
    pub(crate) ended_at: Option<Time>,
    /// Its worker is gone, and its next life is to run it again.
    pub(crate) is_interrupted: bool,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Notes that a task was woken.
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Task {
    /// A task that has not started.
    pub(crate) fn new(name: String, worker: usize, desk: Desk) -> Self {
        let bell = Arc::new(Bell(AtomicBool::new(false)));
        let waker = Waker::from(Arc::<Bell>::clone(&bell));
        Self { name, worker, desk, future: None, outcome: None, ended_at: None, is_interrupted: false, bell, waker }
    }

    pub(crate) fn start(&mut self, future: impl Future<Output = Outcome> + 'static) {
        self.future = Some(Box::pin(future));
        self.waker.wake_by_ref();
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.future.is_some() && self.bell.0.load(Ordering::Relaxed)
    }

    /// Runs it until it waits. True if it ended.
    pub(crate) fn poll(&mut self) -> bool {
        let Some(future) = &mut self.future else { return false };
        self.bell.0.store(false, Ordering::Relaxed);
        match future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => false,
            Poll::Ready(outcome) => {
                self.end(outcome);
                true
            }
        }
    }

    /// Its worker is gone, and it begins again with the next life.
    pub(crate) fn interrupt(&mut self) {
        self.future = None;
        self.is_interrupted = true;
        self.desk.progressed();
    }

    /// It is over, whatever it was doing.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        self.future = None;
        self.outcome.get_or_insert(outcome);
        self.desk.progressed();
    }

    pub(crate) fn words(&self) -> String {
        let state = match (&self.outcome, &self.future) {
            (Some(outcome), _) => format!("ended: {outcome:?}"),
            (None, Some(_)) => {
                let woken = if self.is_woken() { " (woken)" } else { "" };
                format!("{}{woken}, after {} steps", self.desk.doing(), self.desk.steps())
            }
            (None, None) => "has not started".into(),
        };
        format!("  {} on worker {}: {state}", self.name, self.worker)
    }
}

pub(crate) type Shared<T> = Rc<std::cell::RefCell<T>>;
