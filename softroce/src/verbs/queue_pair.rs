//! A handle to a queue pair of a device.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::completion_queue::Queue;
use super::engine::Queues;
use super::memory_region::{Domain, ProtectionDomain, random};
use super::shared::Shared;
use crate::packet::{Psn, QueuePairNumber, RnrTimer};
use crate::queue_pair::{
    Capabilities, Counters, PathMtu, PostError, READS_MAX, ReceiveAttributes, Rights, SendAttributes, State,
    TransitionError,
};
use crate::work::{ReceiveRequest, SendRequest};

/// What a peer must know to connect: tell it by whatever means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The device's address and UDP port.
    pub address: SocketAddr,
    /// The queue pair on it.
    pub number: QueuePairNumber,
    /// The number of its first packet.
    pub first_psn: Psn,
}

/// How two queue pairs talk; both sides must agree on the path MTU, and each `reads_max` bounds the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect {
    /// The most payload of a packet. With all headers at most 84 bytes more must fit into the network's frames.
    pub path_mtu: PathMtu,
    /// READs under way in either direction: 0 to 16.
    pub reads_max: u8,
    /// How long to wait for an answer before sending again; for ever if `None`.
    pub timeout: Option<Duration>,
    /// How often to send again without any progress: 0 to 7.
    pub retries_max: u8,
    /// How often to try again if the peer has no receive: 0 to 7, and 7 is for ever.
    pub rnr_retries_max: u8,
    /// How long the peer is to wait if there is no receive: 10 µs to 655 ms.
    pub rnr_delay: Duration,
    /// The most bytes under way; never more than half of what this side's socket holds, for the peer's is likely as
    /// large.
    pub window_bytes_max: usize,
}

impl Default for Connect {
    /// 1024 bytes, which fit into Ethernet's usual frame; 16 READs; 67 ms, seven times; for ever if there is no
    /// receive, each time 0.64 ms; 512 KiB under way.
    fn default() -> Connect {
        let sending = SendAttributes::new(Psn::default());
        Connect {
            path_mtu: PathMtu::Bytes1024,
            reads_max: READS_MAX,
            timeout: sending.timeout,
            retries_max: sending.retries_max,
            rnr_retries_max: sending.rnr_retries_max,
            rnr_delay: Duration::from_micros(640),
            window_bytes_max: sending.window_bytes_max,
        }
    }
}

/// Why two queue pairs were not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// A state or an attribute is wrong.
    #[error(transparent)]
    Transition(#[from] TransitionError),
    /// One side has IPv4, the other IPv6.
    #[error("{peer} cannot be reached from {address}")]
    Family {
        /// This side.
        address: SocketAddr,
        /// The peer.
        peer: SocketAddr,
    },
}

/// A queue pair of a device. Dropping it destroys it: what is posted is forgotten, and packets for it are dropped.
pub struct QueuePair {
    device: Arc<Shared>,
    number: QueuePairNumber,
    first_psn: Psn,
}

impl QueuePair {
    pub(super) fn new(
        device: Arc<Shared>,
        domain: &ProtectionDomain,
        send: Arc<Queue>,
        receive: Arc<Queue>,
        capabilities: Capabilities,
    ) -> QueuePair {
        let number = {
            let mut engine = device.engine();
            // 0 and 1 are for management.
            let free = |number: &QueuePairNumber| number.value() > 1 && !engine.driver.contains(*number);
            let number = std::iter::repeat_with(|| QueuePairNumber::new(random())).find(free);
            let number = number.expect("it goes on until a number is free");
            let mut queue_pair = crate::queue_pair::QueuePair::new(number, capabilities, domain.domain());
            queue_pair.to_init(Rights::ALL).expect("it is new");
            engine.driver.add(queue_pair, Queues { send, receive, failed: false });
            number
        };
        QueuePair { device, number, first_psn: Psn::new(random()) }
    }

    /// Its number.
    pub fn number(&self) -> QueuePairNumber {
        self.number
    }

    /// What the peer needs to connect.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { address: self.device.address(), number: self.number, first_psn: self.first_psn }
    }

    /// Makes it ready to receive and to send. The peer may send before this side is ready to: what comes too early is
    /// lost and sent again.
    ///
    /// # Errors
    ///
    /// If the peer cannot be reached from here, an attribute is out of range, or it was connected before.
    pub fn connect(&self, peer: &Endpoint, connect: &Connect) -> Result<(), ConnectError> {
        let address = self.device.address();
        if address.is_ipv4() != peer.address.is_ipv4() {
            return Err(ConnectError::Family { address, peer: peer.address });
        }
        let receiving = ReceiveAttributes {
            reads_max: connect.reads_max,
            rnr_timer: RnrTimer::at_least(connect.rnr_delay),
            ..ReceiveAttributes::new(connect.path_mtu, peer.address.ip(), peer.number, peer.first_psn)
        };
        let sending = SendAttributes {
            first_psn: self.first_psn,
            reads_max: connect.reads_max,
            timeout: connect.timeout,
            retries_max: connect.retries_max,
            rnr_retries_max: connect.rnr_retries_max,
            window_bytes_max: connect.window_bytes_max.min(self.device.receive_buffer_bytes() / 2),
        };
        self.device.act(self.number, |engine| {
            let connection = engine.driver.connection(self.number).expect("it is there until it is dropped");
            connection.peer = peer.address;
            connection.queue_pair.to_ready_to_receive(receiving)?;
            connection.queue_pair.to_ready_to_send(sending)?;
            Ok(())
        })
    }

    /// Adds a request to the send queue. What the window allows is sent at once.
    ///
    /// # Errors
    ///
    /// If it is not taken; there is then no completion.
    pub fn post_send(&self, request: SendRequest) -> Result<(), PostError> {
        self.with(|queue_pair| queue_pair.post_send(request))
    }

    /// Adds requests to the send queue, and then sends: fewer and fuller calls of the socket than one by one.
    ///
    /// # Errors
    ///
    /// At the first that is not taken; those before it are posted, those from it on are not.
    pub fn post_sends(&self, requests: impl IntoIterator<Item = SendRequest>) -> Result<(), PostError> {
        self.with(|queue_pair| requests.into_iter().try_for_each(|request| queue_pair.post_send(request)))
    }

    /// Adds a request to the receive queue.
    ///
    /// # Errors
    ///
    /// If it is not taken; there is then no completion.
    pub fn post_receive(&self, request: ReceiveRequest) -> Result<(), PostError> {
        self.with(|queue_pair| queue_pair.post_receive(request))
    }

    /// To the error state: everything posted is flushed. The peer hears nothing of it.
    pub fn to_error(&self) {
        self.with(|queue_pair| queue_pair.to_error());
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.with(|queue_pair| queue_pair.state())
    }

    /// What it has seen.
    pub fn counters(&self) -> Counters {
        self.with(|queue_pair| queue_pair.counters())
    }

    fn with<T>(&self, act: impl FnOnce(&mut crate::queue_pair::QueuePair<Arc<Domain>>) -> T) -> T {
        self.device.act(self.number, |engine| {
            let connection = engine.driver.connection(self.number).expect("it is there until it is dropped");
            act(&mut connection.queue_pair)
        })
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        // What it has received is acknowledged before it is gone.
        self.device.act(self.number, |_engine| ());
        self.device.engine().driver.remove(self.number);
    }
}

impl fmt::Debug for QueuePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueuePair({} at {})", self.number, self.device.address())
    }
}
