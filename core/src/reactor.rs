//! The loop that owns a worker's transport, sessions and timers, and serves its gates and partitions.
//!
//! `turn` is one pass: drain the mailbox, poll the transport, apply what happened, grant, transmit. It is driven by the
//! reactor's own thread ([`Reactor::run`]) or by the thread that runs the tasks, which then parks in [`Reactor::park`].

mod gates;
mod incoming;
mod patience;
mod resume;
mod serving;
mod sessions;
mod source;
mod storage;
mod timers;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sluice_memory::Memory;
use sluice_plugin::{Disk, PayloadPlacement, Transport, TransportEvent, Wait};
use sluice_protocol::{Incarnation, NodeId, ReasonCode, Time};

use crate::clock::Clock;
use crate::gate::GateId;
use crate::job_token::JobTokens;
use crate::mailbox::{Command, MailSlot, Mailbox};
use crate::partition::{BlockLog, PartitionManager, ReaderId};
use crate::stats::Counters;
use gates::ServedGate;
use incoming::Subscription;
use sessions::Sessions;
use storage::Storage;
pub use storage::UnreadPartition;
pub(crate) use storage::{ReadPools, Recovered, StorageSettings};
use timers::Timers;

/// Commands taken in one turn. The links have theirs in between, or peers would take a busy worker for a dead one.
const COMMANDS_A_TURN: usize = 4096;

/// What a reactor has to know of its worker.
pub(crate) struct ReactorSettings {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) tokens: Arc<JobTokens>,
    pub(crate) memory: Memory,
    pub(crate) lanes: u16,
    pub(crate) partition_deadline: Duration,
    pub(crate) resume_timeout: Duration,
}

/// What a reactor does its IO with.
pub(crate) struct ReactorDevices {
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) disk: Option<(StorageSettings, Box<dyn Disk>)>,
}

/// Owns everything of a worker that does IO. Lives on one thread.
pub struct Reactor {
    settings: ReactorSettings,
    clock: Clock,
    mail: MailSlot,
    mailbox: Mailbox,
    transport: Box<dyn Transport>,
    placement: PayloadPlacement,
    events: Vec<TransportEvent>,
    manager: Arc<PartitionManager>,
    gates: BTreeMap<GateId, ServedGate>,
    sessions: Sessions,
    timers: Timers,
    /// Its disks, if it has any.
    storage: Option<Storage>,
    counters: Arc<Counters>,
    /// As the gates know it: [`Memory::divisions`].
    divisions: u64,
    stopping: bool,
}

impl Reactor {
    pub(crate) fn new(
        settings: ReactorSettings,
        clock: Clock,
        mail: MailSlot,
        mailbox: Mailbox,
        ReactorDevices { transport, disk }: ReactorDevices,
        manager: Arc<PartitionManager>,
        counters: Arc<Counters>,
    ) -> Self {
        let placement = transport.capabilities().placement;
        let now = clock.now();
        let storage = disk.map(|(settings, disk)| Storage::new(settings, disk, now));
        Self {
            settings,
            clock,
            mail,
            mailbox,
            transport,
            placement,
            events: Vec::new(),
            manager,
            gates: BTreeMap::new(),
            sessions: Sessions::default(),
            timers: Timers::default(),
            storage,
            counters,
            divisions: 0,
            stopping: false,
        }
    }

    /// Turns until the environment stops.
    pub fn run(mut self) -> std::io::Result<()> {
        loop {
            let busy = self.turn();
            if self.has_stopped() {
                return Ok(());
            }
            if !busy {
                self.park(None)?;
            }
        }
    }

    /// One pass. True if something was done: there may be more.
    pub fn turn(&mut self) -> bool {
        let now = self.clock.now();
        let mut busy = false;
        for _ in 0..COMMANDS_A_TURN {
            let Some(command) = self.mail.next() else { break };
            busy = true;
            self.apply(now, command);
        }
        let mut events = std::mem::take(&mut self.events);
        self.transport.poll(now, &mut events);
        for event in events.drain(..) {
            busy = true;
            if self.handle_event(now, event) {
                // A thousand grants or small blocks: the peer can work on the answer while this side reads on.
                self.grant();
                self.transmit(now);
            }
        }
        self.events = events;
        if let Some(storage) = &mut self.storage {
            busy |= storage.turn(now);
        }
        busy |= self.take_back_if_due(now);
        busy |= self.handle_timers(now);
        self.look_at_shares();
        self.grant();
        busy |= self.transmit(now);
        busy
    }

    /// When the next thing is due, if nothing happens before: what a `park` sleeps until.
    pub fn next_due(&self) -> Option<Time> {
        let storage = self.storage.as_ref().and_then(Storage::next_due);
        let due = [self.timers.next(), self.sessions.next_timeout(), self.transport.poll_timeout(), storage];
        due.into_iter().flatten().min()
    }

    /// Sleeps until a command, the transport, a timer or `at_most` ends it. Costs no CPU meanwhile.
    pub fn park(&mut self, at_most: Option<Duration>) -> std::io::Result<()> {
        let due = self.next_due();
        let now = self.clock.now();
        let timeout = match (due.map(|due| due.since(now)), at_most) {
            (Some(due), Some(most)) => Some(due.min(most)),
            (due, most) => due.or(most),
        };
        let result = self.sleep(timeout);
        self.mail.awake();
        result
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        // Armed before the last look: what comes between the look and the sleep rings the bell.
        if !self.mail.fall_asleep() || timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        let bell = PollFd::from_borrowed_fd(self.mail.fd(), PollFlags::IN);
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut files = vec![bell];
        let disk = self.storage.as_mut().map(Storage::prepare_to_wait).transpose()?;
        for device in [Some(self.transport.prepare_to_wait()?), disk].into_iter().flatten() {
            match device {
                Wait::Ready => return Ok(()),
                Wait::Waker => {}
                Wait::On(fd) => files.push(PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            }
        }
        let polled = poll(&mut files, timeout.as_ref());
        match polled {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the environment was told to stop, the links are closed, and nothing is under way on the disk.
    pub fn has_stopped(&self) -> bool {
        self.stopping && self.sessions.is_empty() && self.storage.as_ref().is_none_or(Storage::is_quiet)
    }

    fn apply(&mut self, now: Time, command: Command) {
        match command {
            Command::Ready(channels) => {
                for (session, channel) in channels {
                    self.sessions.data_ready(session, channel);
                }
            }
            Command::OpenGate { gate, inbox, memory, channels } => self.open_gate(gate, inbox, memory, channels),
            Command::Subscribe { gate, channel, location } => {
                self.subscribe(now, Subscription { gate, channel, location, attempts: 0 });
            }
            Command::Consumed { gate, channel } => self.consumed(gate, channel),
            Command::EventsTaken { gate, channel, events } => self.events_taken(gate, channel, events),
            Command::GateMemory(gate) => self.sessions.dirty_gate(gate),
            Command::CloseGate(gate) => self.close_gate(gate),
            Command::Registered(partition) => self.serve_waiting(now, partition),
            Command::Released(partition) => self.released(partition),
            Command::FlushLater(writer) => self.timers.flush_later(now, writer),
            Command::WorkerLost(node, incarnation) => self.worker_lost(now, node, incarnation),
            Command::Stop => self.stop(now),
            Command::Claim(_)
            | Command::Sort(_)
            | Command::Spilled(_)
            | Command::ReadMore(..)
            | Command::Fetch(..)
            | Command::ReaderGone(..) => {
                self.tell_storage(command);
            }
        }
    }

    fn handle_timers(&mut self, now: Time) -> bool {
        let mut busy = self.timers.flush_due(now);
        for waiting in self.timers.overdue(now) {
            busy = true;
            self.partition_overdue(&waiting);
        }
        while let Some(subscription) = self.timers.subscription_due(now) {
            busy = true;
            self.subscribe(now, subscription);
        }
        for session in self.sessions.due(now) {
            busy = true;
            self.session_due(now, session);
        }
        busy
    }

    fn stop(&mut self, now: Time) {
        self.stopping = true;
        self.end_tasks();
        if let Some(storage) = &mut self.storage {
            storage.stop();
        }
        self.sessions.say_goodbye();
        self.transmit(now);
        for session in self.sessions.all() {
            if self.sessions.get(session).is_some_and(|entry| entry.link().is_none()) {
                self.end_session(now, session, ReasonCode::Shutdown, "the worker stops");
            }
        }
        for link in self.sessions.all_links() {
            self.transport.close(link);
        }
    }

    /// Gates get no more, and what writers have written is dropped: nobody waits for a worker that is not there.
    fn end_tasks(&mut self) {
        self.mail.close();
        for gate in self.gates.values() {
            gate.inbox.stop();
        }
        for partition in self.manager.present() {
            if let Some(partition) = self.manager.remove(partition) {
                partition.release();
            }
        }
    }

    /// What concerns the disk.
    fn tell_storage(&mut self, command: Command) {
        let Some(storage) = &mut self.storage else { return };
        match command {
            Command::Claim(partition) => storage.claim(partition),
            Command::Sort(spill) => storage.sort(spill),
            Command::Spilled(spill) => storage.spilled(&spill),
            Command::ReadMore(partition, reader) => storage.read_more(partition, reader),
            Command::Fetch(partition, reader, credit_bytes) => storage.fetch(partition, reader, credit_bytes),
            Command::ReaderGone(partition, reader) => storage.reader_gone(partition, reader),
            _ => unreachable!("not for the storage"),
        }
    }

    /// A consumer has got its reader: of what is on the disk it has to be read.
    pub(super) fn reader_attached(&mut self, log: &BlockLog, reader: ReaderId, subpartition: u32, first: u64) {
        if log.kind().is_retained()
            && let Some(storage) = &mut self.storage
        {
            storage.claim(log.id());
            storage.attach(log.id(), reader, subpartition, first);
        }
    }

    /// What waits in queues, or has been shown to a session, is taken back when memory has been short for too long. True
    /// if it was: others go on with it.
    fn take_back_if_due(&mut self, now: Time) -> bool {
        let Some(storage) = &mut self.storage else { return false };
        if storage.take_back_due().is_none_or(|due| due > now) {
            return false;
        }
        for session in self.sessions.all() {
            if let Some(entry) = self.sessions.get(session) {
                entry.source.put_back_retained();
            }
        }
        self.counters.disk.took_back();
        storage.take_back();
        true
    }

    /// Where peers reach this worker.
    pub(crate) fn address(&self) -> sluice_plugin::Address {
        self.transport.address().clone()
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.end_tasks();
        while let Some(command) = self.mail.next() {
            if let Command::OpenGate { inbox, .. } = command {
                inbox.stop();
            }
        }
    }
}
