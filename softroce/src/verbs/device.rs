//! A device: one socket, and everything that goes through it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;

use super::completion_queue::CompletionQueue;
use super::memory_region::ProtectionDomain;
use super::queue_pair::QueuePair;
use super::shared::Shared;
use crate::driver::DeviceCounters;
use crate::packet::QueuePairNumber;
use crate::queue_pair::Capabilities;

/// What a device is opened with.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// Its address, and its UDP port: 0 for any that is free, 4791 to talk with a kernel or an RNIC, which know no
    /// other. IPv6 needs no rights; IPv4 takes a raw socket (CAP_NET_RAW).
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
        let shared = Arc::new(Shared::open(&config).map_err(failed)?);
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
        self.shared.address()
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

    /// A new queue pair in the state [`State::Init`](crate::queue_pair::State::Init), that allows its peer whatever its regions do.
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

    /// Takes what has arrived, and does everything that can be done now; says whether anything had arrived. If there
    /// are completions to be looked at, acknowledgements wait for the next call, or the next request that is posted: so
    /// one call of the socket sends both. For [`Drive::Caller`].
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
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            // It can only have ended early by a panic, which has been reported.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.shared.address())
    }
}
