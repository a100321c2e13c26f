//! The queue pairs of a device, and what becomes of their completions.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::completion_queue::{Overrun, Queue};
use super::device::Event;
use super::memory_region::Domain;
use crate::driver::Driver;
use crate::packet::QueuePairNumber;
use crate::queue_pair::{QueuePair, State};
use crate::work::{Completion, CompletionKind};

/// The queue pairs, with their completion queues.
pub(super) struct Engine {
    pub(super) driver: Driver<Arc<Domain>, Queues>,
    pub(super) events: VecDeque<Event>,
    /// Why the socket is of no use any more.
    pub(super) failed: Option<io::ErrorKind>,
}

/// The completion queues of a queue pair.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) send: Arc<Queue>,
    pub(super) receive: Arc<Queue>,
    /// It was in error when last looked at.
    pub(super) failed: bool,
}

/// Events that nobody asks for are forgotten, the oldest first.
const EVENTS_MAX: usize = 1024;

impl Engine {
    /// Hands completions on after anything was done; says whether there were any.
    pub(super) fn settle(&mut self) -> bool {
        let mut handed_on = 0;
        for number in self.driver.touched() {
            let Some(connection) = self.driver.connection(number) else { continue };
            let drained = drain(&mut connection.queue_pair, &connection.user);
            handed_on += drained.unwrap_or(1);
            let overrun = drained.is_err();
            if overrun {
                connection.queue_pair.to_error();
                // There is nowhere to put what is flushed.
                while connection.queue_pair.poll_completion().is_some() {}
            }
            let in_error = connection.queue_pair.state() == State::Error;
            let news = in_error && !connection.user.failed;
            connection.user.failed = in_error;
            if news {
                self.event(Event::QueuePairError(number));
            }
            if overrun {
                self.overrun(number);
            }
        }
        while self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
        handed_on > 0
    }

    fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Every queue pair that has a queue of `number`'s which was overrun is in error.
    fn overrun(&mut self, number: QueuePairNumber) {
        self.event(Event::CompletionQueueOverrun(number));
        let Some(connection) = self.driver.connection(number) else { return };
        let queues = [&connection.user.send, &connection.user.receive].map(Arc::clone);
        let overrun: Vec<_> = queues.into_iter().filter(|queue| queue.is_overrun()).collect();
        let mut failed = Vec::new();
        for connection in self.driver.connections() {
            let shares = |queue: &Arc<Queue>| {
                Arc::ptr_eq(queue, &connection.user.send) || Arc::ptr_eq(queue, &connection.user.receive)
            };
            if overrun.iter().any(shares) && connection.queue_pair.state() != State::Error {
                connection.queue_pair.to_error();
                // What has another queue than the one that is full still goes there.
                let _ = drain(&mut connection.queue_pair, &connection.user);
                while connection.queue_pair.poll_completion().is_some() {}
                connection.user.failed = true;
                failed.push(connection.queue_pair.number());
            }
        }
        self.events.extend(failed.into_iter().map(Event::QueuePairError));
    }
}

/// Puts all completions of a queue pair where they belong, and counts them; those that find no room are lost.
fn drain(queue_pair: &mut QueuePair<Arc<Domain>>, queues: &Queues) -> Result<usize, Overrun> {
    let mut result = Ok(0);
    while let Some(completion) = queue_pair.poll_completion() {
        let pushed = queues.of(&completion).push(completion);
        result = result.and_then(|count| pushed.map(|()| count + 1));
    }
    result
}

impl Queues {
    fn of(&self, completion: &Completion) -> &Queue {
        match completion.kind {
            CompletionKind::Receive | CompletionKind::ReceiveWrite => &self.receive,
            CompletionKind::Send | CompletionKind::Write | CompletionKind::Read => &self.send,
        }
    }
}
