//! What a task has besides the engine: a clock, a place to say what it is doing, and some whims.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluice_core::{Clock, ReadError, Time};

use super::Shared;
use crate::journal::Journal;
use crate::seed::Random;

/// Wakers by the time at which they are called.
#[derive(Clone, Default)]
pub(crate) struct Timers(Shared<BTreeMap<(Time, u64), Waker>>, Rc<Cell<u64>>);

impl Timers {
    fn add(&self, at: Time, waker: Waker) {
        self.1.set(self.1.get() + 1);
        self.0.borrow_mut().insert((at, self.1.get()), waker);
    }

    /// Calls those that are due. True if there was one.
    pub(crate) fn fire(&self, now: Time) -> bool {
        let mut fired = false;
        while let Some(waker) = {
            let mut timers = self.0.borrow_mut();
            timers.first_entry().filter(|entry| entry.key().0 <= now).map(|entry| entry.remove())
        } {
            waker.wake();
            fired = true;
        }
        fired
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.0.borrow().first_key_value().map(|((at, _), _)| *at)
    }
}

/// A task's.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) number: u64,
    pub(crate) journal: Journal,
    clock: Clock,
    timers: Timers,
    whims: Shared<Random>,
    doing: Rc<RefCell<String>>,
    steps: Rc<Cell<u64>>,
    errors: Shared<Vec<ReadError>>,
}

impl Desk {
    pub(crate) fn new(number: u64, journal: Journal, clock: Clock, timers: Timers, whims: Shared<Random>) -> Self {
        let doing = Rc::new(RefCell::new(String::from("starting")));
        Self { number, journal, clock, timers, whims, doing, steps: Rc::default(), errors: Rc::default() }
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// What is waited for from now on.
    pub(crate) fn begins(&self, doing: &str) {
        let mut place = self.doing.borrow_mut();
        place.clear();
        place.push_str(doing);
    }

    pub(crate) fn doing(&self) -> String {
        self.doing.borrow().clone()
    }

    /// An error after which the task tries again.
    pub(crate) fn met(&self, error: &ReadError) {
        self.errors.borrow_mut().push(error.clone());
    }

    pub(crate) fn errors(&self) -> Vec<ReadError> {
        self.errors.borrow().clone()
    }

    /// Something was brought to an end.
    pub(crate) fn progressed(&self) {
        self.steps.set(self.steps.get() + 1);
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// Waits for something that the engine does.
    pub(crate) async fn wait<T>(&self, doing: &str, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        self.begins(doing);
        let done = poll_fn(poll).await;
        self.progressed();
        done
    }

    pub(crate) async fn sleep(&self, pause: Duration) {
        let until = self.now().after(pause);
        self.begins("pausing");
        poll_fn(|context| self.poll_until(context, until)).await;
        self.progressed();
    }

    /// Ready from this time on.
    pub(crate) fn poll_until(&self, context: &Context<'_>, until: Time) -> Poll<()> {
        if self.now() >= until {
            return Poll::Ready(());
        }
        self.timers.add(until, context.waker().clone());
        Poll::Pending
    }

    /// Lets others run, now and then.
    pub(crate) fn breathe(&self) -> impl Future<Output = ()> + '_ {
        let mut waits = self.whims.borrow_mut().chance(12);
        poll_fn(move |context| {
            if std::mem::take(&mut waits) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
    }
}
