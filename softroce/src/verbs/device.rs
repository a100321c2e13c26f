//! A device: one socket, and everything that goes through it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use thiserror::Error;

use super::clock::Clock;
use super::completion_queue::{CompletionQueue, Overrun, Queue};
use super::memory_region::{Domain, ProtectionDomain};
use super::queue_pair::QueuePair;
use crate::driver::{DeviceCounters, Driver, Port};
use crate::packet::QueuePairNumber;
use crate::queue_pair::{Capabilities, State};
use crate::time::Time;
use crate::work::{Completion, CompletionKind};

/// What a device is opened with.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// Its address, and its UDP port: 0 for any that is free, 4791 to talk with a kernel or an RNIC, which know no other.
    /// IPv6 needs no rights; IPv4 takes a raw socket (CAP_NET_RAW).
    pub address: SocketAddr,
    /// Who drives it.
    pub drive: Drive,
    /// How much the socket is asked to hold for its reader, and for the network. The kernel gives what
    /// `net.core.rmem_max` and `net.core.wmem_max` allow; to a process with CAP_NET_ADMIN, all of the former. What it has no room for is lost and sent again.
    pub socket_buffer_bytes: usize,
}

impl DeviceConfig {
    /// At this address, driven by a thread of its own.
    pub fn new(address: SocketAddr) -> DeviceConfig {
        // Eight windows: as much as several peers can have under way.
        DeviceConfig { address, drive: Drive::Thread, socket_buffer_bytes: 4 << 20 }
    }
}

/// Who makes a device do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// A thread of the device.
    Thread,
    /// One thread of the caller, by [`Device::turn`], [`Device::park`] or [`CompletionQueue::wait`].
    Caller,
}

/// Why a device was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process has the address and port.
    #[error("{address} is in use; another port or address is needed, or the process that has it must end")]
    InUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Raw sockets are not allowed.
    #[error("IPv4 takes a raw socket, and CAP_NET_RAW is missing; IPv6 needs no rights")]
    RawSocket(#[source] io::Error),
    /// Anything else.
    #[error("no socket at {address}")]
    Socket {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// What happened to an object of a device and has no completion (verbs call it an asynchronous event).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A queue pair has gone to the error state by itself.
    QueuePairError(QueuePairNumber),
    /// A completion queue of this queue pair was overrun.
    CompletionQueueOverrun(QueuePairNumber),
}

/// An endpoint of RoCEv2 in this process.
///
/// Dropping it ends its thread; queue pairs and completion queues of it then rest. The peer hears nothing.
pub struct Device {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What all handles of a device share.
pub(super) struct Shared {
    engine: Mutex<Engine>,
    address: SocketAddr,
    drive: Drive,
    /// Another handle to the socket, to wait at it without the lock.
    socket: OwnedFd,
    /// Wakes who parks.
    bell: OwnedFd,
    clock: Clock,
    /// Who parks does so until then, in nanoseconds of `clock`.
    parked_until: AtomicU64,
    closed: AtomicBool,
    /// As the kernel counts them.
    receive_buffer_bytes: usize,
}

/// The queue pairs, with their completion queues.
pub(super) struct Engine {
    pub(super) driver: Driver<Arc<Domain>, Queues>,
    events: VecDeque<Event>,
    /// Why the socket is of no use any more.
    failed: Option<io::ErrorKind>,
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
    fn settle(&mut self) -> bool {
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
fn drain(queue_pair: &mut crate::queue_pair::QueuePair<Arc<Domain>>, queues: &Queues) -> Result<usize, Overrun> {
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

impl Device {
    /// Opens a device.
    ///
    /// # Errors
    ///
    /// If there is no socket to be had at the address.
    pub fn open(config: DeviceConfig) -> Result<Device, OpenError> {
        let address = config.address;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => OpenError::InUse { address },
            io::ErrorKind::PermissionDenied if address.is_ipv4() => OpenError::RawSocket(source),
            _ => OpenError::Socket { address, source },
        };
        let port = Port::open(address, config.socket_buffer_bytes).map_err(failed)?;
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        let (local, receive_buffer_bytes) = (port.address(), port.receive_buffer_bytes().map_err(failed)?);
        let driver = Driver::new(port);
        let socket = driver.fd().try_clone_to_owned().map_err(failed)?;
        let shared = Arc::new(Shared {
            address: local,
            receive_buffer_bytes,
            engine: Mutex::new(Engine { driver, events: VecDeque::new(), failed: None }),
            drive: config.drive,
            socket,
            bell,
            clock: Clock::start(),
            parked_until: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let thread = match config.drive {
            Drive::Caller => None,
            Drive::Thread => {
                let shared = Arc::clone(&shared);
                let started = thread::Builder::new().name("softroce".into()).spawn(move || shared.run());
                Some(started.map_err(failed)?)
            }
        };
        Ok(Device { shared, thread })
    }

    /// Its address and UDP port.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// A new protection domain.
    pub fn protection_domain(&self) -> ProtectionDomain {
        ProtectionDomain::new()
    }

    /// A new completion queue for `capacity` completions. Give it room for every request that can be outstanding: one
    /// completion too many ends it.
    ///
    /// # Panics
    ///
    /// If the process has no file descriptor left.
    pub fn completion_queue(&self, capacity: usize) -> CompletionQueue {
        CompletionQueue::new(Arc::clone(&self.shared), capacity).expect("there is a file descriptor left")
    }

    /// A new queue pair in the state [`State::Init`], that allows its peer whatever its regions do.
    pub fn queue_pair(
        &self,
        domain: &ProtectionDomain,
        send_queue: &CompletionQueue,
        receive_queue: &CompletionQueue,
        capabilities: Capabilities,
    ) -> QueuePair {
        QueuePair::new(Arc::clone(&self.shared), domain, send_queue.queue(), receive_queue.queue(), capabilities)
    }

    /// What happened that has no completion, the oldest first.
    pub fn poll_event(&self) -> Option<Event> {
        self.shared.engine().events.pop_front()
    }

    /// What it has seen.
    pub fn counters(&self) -> DeviceCounters {
        self.shared.engine().driver.counters()
    }

    /// Takes what has arrived, and does everything that can be done now; says whether anything had arrived. If there are
    /// completions to be looked at, acknowledgements wait for the next call, or the next request that is posted: so one call of
    /// the socket sends both. For [`Drive::Caller`].
    ///
    /// # Errors
    ///
    /// If the socket is of no use any more.
    pub fn turn(&self) -> io::Result<bool> {
        self.shared.turn()
    }

    /// Sleeps until there is something to do, or `most` has passed. For [`Drive::Caller`].
    ///
    /// # Errors
    ///
    /// If the system cannot wait.
    pub fn park(&self, most: Duration) -> io::Result<()> {
        self.shared.park(most)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.ring();
        if let Some(thread) = self.thread.take() {
            // It can only have ended early by a panic, which has been reported.
            let _ = thread.join();
        }
    }
}

impl Shared {
    pub(super) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn drive(&self) -> Drive {
        self.drive
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn receive_buffer_bytes(&self) -> usize {
        self.receive_buffer_bytes
    }

    /// # Errors
    ///
    /// If the device has failed before.
    pub(super) fn failure(&self) -> io::Result<()> {
        self.engine().failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Does something to the queue pairs, and at once sends what comes of it.
    pub(super) fn act<T>(&self, number: QueuePairNumber, act: impl FnOnce(&mut Engine) -> T) -> T {
        let mut engine = self.engine();
        let result = act(&mut engine);
        engine.driver.touch(number);
        engine.driver.transmit(self.now());
        engine.settle();
        let due = engine.driver.next_timeout().map_or(u64::MAX, Time::as_nanos);
        let wake = self.drive == Drive::Thread
            && (due < self.parked_until.load(Ordering::SeqCst) || engine.driver.is_blocked());
        drop(engine);
        if wake {
            self.ring();
        }
        result
    }

    pub(super) fn turn(&self) -> io::Result<bool> {
        let (now, mut engine) = (self.now(), self.engine());
        let received = engine.driver.receive(now);
        if let Err(error) = &received {
            engine.failed = Some(error.kind());
        }
        let handed_on = engine.settle();
        // Whoever drives looks at its completions now, and what it posts for them goes out together with the
        // acknowledgements, or those with its next call.
        if !(handed_on && self.drive == Drive::Caller) {
            engine.driver.transmit(now);
            engine.settle();
        }
        received
    }

    /// Whether a turn would do something without anything having arrived since the last one.
    pub(super) fn has_work(&self) -> bool {
        let engine = self.engine();
        engine.driver.may_have_more() || engine.driver.has_senders() && !engine.driver.is_blocked()
    }

    pub(super) fn park(&self, most: Duration) -> io::Result<()> {
        let (now, engine) = (self.now(), self.engine());
        let wait = engine.driver.next_timeout().map_or(most, |due| now.until(due).min(most));
        // Under the lock: who acts after this sees it.
        self.parked_until.store(now.after(wait).as_nanos(), Ordering::SeqCst);
        let wanted = if engine.driver.is_blocked() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        drop(engine);
        let mut fds = [PollFd::new(&self.socket, wanted), PollFd::new(&self.bell, PollFlags::IN)];
        let polled = poll(&mut fds, Some(&timespec(wait)));
        self.parked_until.store(0, Ordering::SeqCst);
        match polled {
            Ok(_) if fds[1].revents().contains(PollFlags::IN) => {
                rustix::io::read(&self.bell, &mut [0; 8])?;
                Ok(())
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn ring(&self) {
        // It can only fail if it has rung 2^64 times: then it is readable anyway.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// What the device's thread does.
    fn run(&self) {
        const PARKED_MAX: Duration = Duration::from_secs(60);
        while !self.closed.load(Ordering::SeqCst) {
            let turned = match self.turn() {
                Ok(true) => Ok(()),
                Ok(false) => self.park(PARKED_MAX),
                Err(error) => Err(error),
            };
            if let Err(error) = turned {
                let mut engine = self.engine();
                engine.failed = Some(error.kind());
                // Who waits looks up.
                for connection in engine.driver.connections() {
                    connection.user.send.ring();
                    connection.user.receive.ring();
                }
                return;
            }
        }
    }
}

/// A time to wait, for `poll`.
pub(super) fn timespec(duration: Duration) -> Timespec {
    // More than a year is for ever.
    let duration = duration.min(Duration::from_secs(1 << 25));
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.shared.address)
    }
}
