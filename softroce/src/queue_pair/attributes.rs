//! What is agreed on before a queue pair works, and the states it goes through.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use crate::packet::{DEFAULT_PARTITION, Psn, QueuePairNumber, RnrTimer};

/// The state of a queue pair (IBTA vol. 1, 10.3.1). A send queue alone is never in error: that state is for unconnected
/// and unreliable queue pairs. Draining the send queue (SQD) is not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// New. Nothing can be posted.
    Reset,
    /// Receives can be posted; packets are dropped.
    Init,
    /// Ready to receive: requests of the peer are executed.
    ReadyToReceive,
    /// Ready to send: so are requests of this side.
    ReadyToSend,
    /// Over. Everything posted was flushed and will be.
    Error,
}

/// How many requests there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Requests in the send queue.
    pub sends_max: usize,
    /// Requests in the receive queue.
    pub receives_max: usize,
    /// Segments of a request.
    pub segments_max: usize,
}

impl Default for Capabilities {
    fn default() -> Capabilities {
        Capabilities { sends_max: 256, receives_max: 256, segments_max: 16 }
    }
}

/// What the peer may do with this side's memory through a queue pair, if the key allows it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// RDMA READ.
    pub remote_read: bool,
    /// RDMA WRITE.
    pub remote_write: bool,
}

impl Rights {
    /// Both.
    pub const ALL: Rights = Rights { remote_read: true, remote_write: true };
}

/// The most bytes of payload in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathMtu {
    /// 256 bytes.
    Bytes256,
    /// 512 bytes.
    Bytes512,
    /// 1024 bytes: what fits into Ethernet's usual frame.
    Bytes1024,
    /// 2048 bytes.
    Bytes2048,
    /// 4096 bytes.
    Bytes4096,
}

impl PathMtu {
    /// All of them, the smallest first.
    pub const ALL: [PathMtu; 5] =
        [PathMtu::Bytes256, PathMtu::Bytes512, PathMtu::Bytes1024, PathMtu::Bytes2048, PathMtu::Bytes4096];

    /// The bytes.
    pub const fn bytes(self) -> usize {
        256 << self as usize
    }

    /// The one of exactly so many bytes.
    pub fn of_bytes(bytes: usize) -> Option<PathMtu> {
        PathMtu::ALL.into_iter().find(|mtu| mtu.bytes() == bytes)
    }
}

/// What the step to [`State::ReadyToReceive`] needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveAttributes {
    /// The most payload of a packet, the same at both sides.
    pub path_mtu: PathMtu,
    /// The peer's queue pair.
    pub destination: QueuePairNumber,
    /// The peer's address. Packets from elsewhere are dropped.
    pub peer: IpAddr,
    /// The number of the peer's first packet.
    pub first_psn: Psn,
    /// The READs of the peer that may be waiting at a time: 0 to 16, none means that it may not read.
    pub reads_max: u8,
    /// What the peer is told to wait if there is no receive.
    pub rnr_timer: RnrTimer,
    /// The partition; its highest bit says full member.
    pub partition: u16,
}

impl ReceiveAttributes {
    /// For a peer at this address: 16 READs, 0.64 ms if there is no receive, the default partition.
    pub fn new(path_mtu: PathMtu, peer: IpAddr, destination: QueuePairNumber, first_psn: Psn) -> ReceiveAttributes {
        let rnr_timer = RnrTimer::at_least(Duration::from_micros(640));
        let (reads_max, partition) = (READS_MAX, DEFAULT_PARTITION);
        ReceiveAttributes { path_mtu, destination, peer, first_psn, reads_max, rnr_timer, partition }
    }
}

/// The most READs under way in a direction.
pub const READS_MAX: u8 = 16;

/// What the step to [`State::ReadyToSend`] needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendAttributes {
    /// The number of this side's first packet.
    pub first_psn: Psn,
    /// The READs of this side that may be under way: 0 to 16, and at most what the peer takes.
    pub reads_max: u8,
    /// How long to wait for an answer before sending again; for ever if `None`.
    pub timeout: Option<Duration>,
    /// How often to send again without any progress: 0 to 7.
    pub retries_max: u8,
    /// How often to try again if the peer has no receive: 0 to 7, and 7 is for ever.
    pub rnr_retries_max: u8,
    /// The most bytes of payload under way. What the peer's socket has no room for is lost, so more than its buffer
    /// holds costs throughput. The window becomes smaller by itself if packets are lost.
    pub window_bytes_max: usize,
}

impl SendAttributes {
    /// 16 READs, 67 ms and 7 retries, as `ibv_rc_pingpong` has them; 512 KiB under way.
    pub fn new(first_psn: Psn) -> SendAttributes {
        SendAttributes {
            first_psn,
            reads_max: READS_MAX,
            timeout: Some(ack_timeout(14)),
            retries_max: 7,
            rnr_retries_max: 7,
            window_bytes_max: 512 << 10,
        }
    }
}

/// The timeout of a code of five bits: 4.096 µs × 2^code (IBTA vol. 1, 9.7.6.1.3). Code 0, which stands for no timeout,
/// is `None` in [`SendAttributes`].
pub fn ack_timeout(code: u8) -> Duration {
    Duration::from_nanos(4096 << (code & 0x1F))
}

/// Why a queue pair did not go to another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TransitionError {
    /// No step leads there from where it is.
    #[error("no step leads from {from:?} to {to:?}")]
    State {
        /// Where it is.
        from: State,
        /// Where it should go.
        to: State,
    },
    /// An attribute is out of its range.
    #[error("{attribute} is {value}, the most is {most}")]
    Attribute {
        /// Which.
        attribute: &'static str,
        /// What it is.
        value: u64,
        /// The most it can be.
        most: u64,
    },
}

/// Why a request was not posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PostError {
    /// Not in this state.
    #[error("a queue pair in state {state:?} takes no such request")]
    State {
        /// The state it is in.
        state: State,
    },
    /// As many requests as the queue holds have not been completed.
    #[error("the queue has {most} requests already")]
    Full {
        /// How many it holds.
        most: usize,
    },
    /// More segments than a request can have.
    #[error("{segments} segments, the most is {most}")]
    Segments {
        /// How many there are.
        segments: usize,
        /// How many there can be.
        most: usize,
    },
    /// More bytes than a message can have.
    #[error("{bytes} bytes, the most is 2^31")]
    Length {
        /// How many there are.
        bytes: u64,
    },
    /// The queue pair was set up without READs.
    #[error("the queue pair was set up for no outstanding READs")]
    NoReads,
}
