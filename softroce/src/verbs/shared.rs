//! What all handles of a device share: its engine behind a lock, and how to sleep and to be woken.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::clock::Clock;
use super::device::{DeviceConfig, Drive};
use super::engine::Engine;
use crate::driver::{Driver, Port};
use crate::packet::QueuePairNumber;
use crate::time::Time;

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

impl Shared {
    /// Everything but a thread to drive it.
    pub(super) fn open(config: &DeviceConfig) -> io::Result<Shared> {
        let port = Port::open(config.address, config.socket_buffer_bytes)?;
        let (address, receive_buffer_bytes) = (port.address(), port.receive_buffer_bytes()?);
        let driver = Driver::new(port);
        Ok(Shared {
            address,
            receive_buffer_bytes,
            socket: driver.fd().try_clone_to_owned()?,
            engine: Mutex::new(Engine { driver, events: VecDeque::new(), failed: None }),
            drive: config.drive,
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            clock: Clock::start(),
            parked_until: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// The thread that drives it is to end.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.ring();
    }

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
    pub(super) fn run(&self) {
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
