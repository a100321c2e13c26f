//! Some workers on one thread, driven in turns.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sluice_memory::{Buffer, BufferMut, SizeClass};
use sluice_protocol::wire::Head;
use sluice_protocol::{Lane, LinkEpoch, Time};

use super::worker::{Sleeper, Worker, sleep};
use crate::link::{CloseCause, Connect, LinkId, Peer};
use crate::transport::{Landed, Message, PayloadPlacement, Setup, Transport, TransportEvent, TransportFactory};

/// Far more than anything here takes, far less than the patience of who waits for the tests.
const PATIENCE: Duration = Duration::from_secs(20);
/// The workers of a rule.
pub(crate) struct Stage {
    workers: Vec<Worker>,
    started: Instant,
    /// By how much the workers' clock is ahead.
    skipped: Duration,
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) worker: usize,
    pub(crate) link: LinkId,
}

impl Stage {
    /// Workers 0, 1, … that could talk to each other.
    pub(crate) fn of(factory: &dyn TransportFactory, workers: usize) -> Self {
        Self::with(factory, workers, |_, _| {})
    }

    /// As `of`; `adjust` may make each different.
    pub(crate) fn with(factory: &dyn TransportFactory, workers: usize, adjust: impl Fn(usize, &mut Setup)) -> Self {
        let workers = (0..workers).map(|worker| Worker::build(factory, worker, &adjust)).collect();
        Self { workers, started: Instant::now(), skipped: Duration::ZERO }
    }

    /// Two workers with a link: the end of the one that began it, and the other.
    pub(crate) fn pair(factory: &dyn TransportFactory) -> (Self, End, End) {
        let mut stage = Self::of(factory, 2);
        let (near, far) = stage.link(0, 1);
        (stage, near, far)
    }

    /// A link from one worker to another.
    pub(crate) fn link(&mut self, from: usize, to: usize) -> (End, End) {
        let near = self.connect(from, self.wish(from, to));
        self.connected(near);
        let (far, _) = self.accepted(to);
        (near, far)
    }

    /// What `from` says to reach `to`.
    pub(crate) fn wish(&self, from: usize, to: usize) -> Connect {
        let there = &self.workers[to];
        Connect {
            address: there.transport().address().clone(),
            node: there.setup.node,
            session: 100 + from as u64,
            epoch: LinkEpoch(1),
            lane: Lane(0),
        }
    }

    pub(crate) fn connect(&mut self, from: usize, wish: Connect) -> End {
        let now = self.now();
        let worker = &mut self.workers[from];
        let link = worker.transport_mut().connect(now, wish);
        worker.links.push(link);
        End { worker: from, link }
    }

    pub(crate) fn setup(&self, worker: usize) -> &Setup {
        &self.workers[worker].setup
    }

    pub(crate) fn placement(&self) -> PayloadPlacement {
        self.workers[0].transport().capabilities().placement
    }

    pub(crate) fn transport(&mut self, worker: usize) -> &mut dyn Transport {
        self.workers[worker].transport_mut()
    }

    /// The process of the worker is gone, as far as its peers can tell.
    pub(crate) fn drop_transport(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        worker.transport = None;
        worker.events.clear();
    }

    // ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Memory of a worker.
    pub(crate) fn memory(&self, worker: usize, bytes: usize) -> BufferMut {
        let class = SizeClass::fitting(bytes).expect("no rule wants more than a segment");
        let mut buffer = self.workers[worker].pool.try_acquire(class).expect("the arena is made for the rules");
        buffer.truncate(bytes);
        buffer
    }

    /// Memory of a worker with bytes that tell one `seed` from another.
    pub(crate) fn filled(&self, worker: usize, bytes: usize, seed: usize) -> Buffer {
        let mut buffer = self.memory(worker, bytes);
        for (index, byte) in buffer.iter_mut().enumerate() {
            *byte = (index.wrapping_mul(31) ^ (index >> 8) ^ seed.wrapping_mul(131)) as u8;
        }
        buffer.freeze()
    }

    pub(crate) fn in_use_bytes(&self, worker: usize) -> usize {
        self.workers[worker].pool.in_use_bytes()
    }

    // ── What happens ────────────────────────────────────────────────────────────────────────────────────────────

    /// Sends; waits for `Writable` where the link is full.
    pub(crate) fn send(&mut self, end: End, mut message: Message) {
        while let Err(refused) = self.transport(end.worker).send(end.link, message) {
            message = refused;
            self.until("Writable", |stage| stage.take_writable(end).then_some(()));
        }
    }

    pub(crate) fn take_writable(&mut self, end: End) -> bool {
        let writable = |event: &TransportEvent| matches!(event, TransportEvent::Writable { link } if *link == end.link);
        self.take(end.worker, writable).is_some()
    }

    /// The next event of a link; all that comes before it on other links waits.
    pub(crate) fn next(&mut self, end: End) -> TransportEvent {
        self.until(&format!("something on {end:?}"), |stage| stage.take(end.worker, |event| link_of(event) == end.link))
    }

    pub(crate) fn has_event(&self, end: End) -> bool {
        self.workers[end.worker].events.iter().any(|event| link_of(event) == end.link)
    }

    /// The next event of the link is a message.
    pub(crate) fn received(&mut self, end: End) -> (Head, VecDeque<Landed>) {
        match self.next(end) {
            TransportEvent::Received { head, payloads, .. } => (head, payloads),
            event => panic!("a message was due on {end:?}, not {event:?}"),
        }
    }

    /// The next event of the link says that it is up.
    pub(crate) fn connected(&mut self, end: End) -> Peer {
        match self.next(end) {
            TransportEvent::Connected { peer, .. } => peer,
            event => panic!("Connected was due on {end:?}, not {event:?}"),
        }
    }

    /// The next event of the link is its end.
    pub(crate) fn closed(&mut self, end: End) -> CloseCause {
        match self.next(end) {
            TransportEvent::Closed { cause, .. } => {
                self.workers[end.worker].links.retain(|link| *link != end.link);
                cause
            }
            event => panic!("Closed was due on {end:?}, not {event:?}"),
        }
    }

    /// The end of a link that the worker need not have heard of.
    pub(crate) fn closed_unheard(&mut self, worker: usize) -> CloseCause {
        let what = format!("Closed at worker {worker}");
        let event =
            self.until(&what, |stage| stage.take(worker, |event| matches!(event, TransportEvent::Closed { .. })));
        match event {
            TransportEvent::Closed { link, cause } => {
                let worker = &mut self.workers[worker];
                worker.links.retain(|open| *open != link);
                worker.events.retain(|event| link_of(event) != link);
                cause
            }
            event => panic!("taken because it was Closed, not {event:?}"),
        }
    }

    /// A peer has connected to the worker.
    pub(crate) fn accepted(&mut self, worker: usize) -> (End, Peer) {
        let what = format!("Accepted at worker {worker}");
        let event =
            self.until(&what, |stage| stage.take(worker, |event| matches!(event, TransportEvent::Accepted { .. })));
        match event {
            TransportEvent::Accepted { link, peer } => {
                self.workers[worker].links.push(link);
                (End { worker, link }, peer)
            }
            event => panic!("taken because it was Accepted, not {event:?}"),
        }
    }

    /// Closes all links; everything the workers have lent to them comes back.
    pub(crate) fn end(mut self) {
        for worker in 0..self.workers.len() {
            let Worker { transport: Some(transport), links, .. } = &mut self.workers[worker] else { continue };
            links.iter().for_each(|link| transport.close(*link));
        }
        for worker in 0..self.workers.len() {
            while self.workers[worker].transport.is_some()
                && let Some(link) = self.workers[worker].links.first().copied()
            {
                // What had not been read when the link was closed may come or be lost.
                while !matches!(self.next(End { worker, link }), TransportEvent::Closed { .. }) {}
                self.workers[worker].links.remove(0);
            }
        }
        let present = (0..self.workers.len()).filter(|worker| self.workers[*worker].transport.is_some());
        present.collect::<Vec<_>>().into_iter().for_each(|worker| self.settle(worker));
        for worker in &mut self.workers {
            let untaken: Vec<_> = worker.events.drain(..).collect();
            assert!(untaken.is_empty(), "something happened that nothing had caused: {untaken:?}");
        }
        for (index, worker) in self.workers.iter().enumerate() {
            assert_eq!(worker.pool.in_use_bytes(), 0, "bytes that worker {index} has not got back");
        }
    }

    // ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Drives all workers until `done` finds what it wants.
    pub(crate) fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = done(self) {
                return found;
            }
            let left = patience.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not happen within {PATIENCE:?}, or woke nobody");
            self.step(left);
        }
    }

    /// Sleeps as the reactors of all workers would, for at most `bound`, and polls those that have cause to wake;
    /// whether there were any. The others are left alone: a transport that forgets to wake is not polled by luck.
    pub(crate) fn step(&mut self, bound: Duration) -> bool {
        self.step_but_for(|_| false, bound)
    }

    /// As `step`, with one worker that sleeps on.
    pub(crate) fn step_without(&mut self, worker: usize, bound: Duration) {
        self.step_but_for(|index| index == worker, bound);
    }

    fn step_but_for(&mut self, left_alone: impl Fn(usize) -> bool, bound: Duration) -> bool {
        let now = self.now();
        let timeouts = self.workers.iter().filter_map(Worker::poll_timeout);
        let bound = timeouts.map(|at| at.since(now)).min().map_or(bound, |timeout| timeout.min(bound));
        let mut woken = sleep(&mut self.workers, &left_alone, bound);
        let now = self.now();
        for (index, worker) in self.workers.iter().enumerate() {
            let due = worker.poll_timeout().is_some_and(|at| at <= now);
            if due && !left_alone(index) && !woken.contains(&index) {
                woken.push(index);
            }
        }
        woken.iter().for_each(|index| self.workers[*index].poll(now));
        !woken.is_empty()
    }

    /// The worker has nothing more to do by itself; the others have not been looked at.
    pub(crate) fn settle(&mut self, worker: usize) {
        self.asleep(worker);
    }

    /// While `worker` sleeps, `cause`, and what the others do about it, wakes it.
    pub(crate) fn assert_wakes(&mut self, worker: usize, cause: impl FnOnce(&mut Self)) {
        let sleeper = self.asleep(worker);
        cause(self);
        let patience = Instant::now() + PATIENCE;
        while !sleeper.is_woken() {
            assert!(Instant::now() < patience, "nothing has woken worker {worker} within {PATIENCE:?}");
            self.step_but_for(|index| index == worker, Duration::from_millis(10));
        }
    }

    fn asleep(&mut self, worker: usize) -> Sleeper {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(sleeper) = self.workers[worker].fall_asleep() {
                return sleeper;
            }
            assert!(Instant::now() < patience, "worker {worker} finds no sleep");
            let now = self.now();
            self.workers[worker].poll(now);
        }
    }

    /// Lets the workers' clock jump to the next moment at which one of them wants to be polled.
    pub(crate) fn skip_to_timeout(&mut self) {
        let now = self.now();
        let timeouts = self.workers.iter().filter_map(Worker::poll_timeout);
        self.skipped += timeouts.min().map_or(Duration::ZERO, |at| at.since(now));
    }

    fn take(&mut self, worker: usize, wanted: impl Fn(&TransportEvent) -> bool) -> Option<TransportEvent> {
        let events = &mut self.workers[worker].events;
        let index = events.iter().position(wanted)?;
        events.remove(index)
    }

    fn now(&self) -> Time {
        // Not from zero: a transport must not take the origin for a moment.
        Time(0).after(Duration::from_secs(1000) + self.started.elapsed() + self.skipped)
    }
}

fn link_of(event: &TransportEvent) -> LinkId {
    match event {
        TransportEvent::Accepted { link, .. }
        | TransportEvent::Connected { link, .. }
        | TransportEvent::Received { link, .. }
        | TransportEvent::Writable { link }
        | TransportEvent::Closed { link, .. } => *link,
    }
}
