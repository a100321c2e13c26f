//! Links: connections between two reactors, and who is at the other end.

use std::fmt;
use std::io;

use sluice_protocol::wire::DecodeError;
use sluice_protocol::{Incarnation, Lane, Limits, LinkEpoch, NodeId, ReasonCode};

/// A connection of one transport. Never used again within the life of the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Where a transport can be reached, in its own notation: `10.0.0.7:9850` for TCP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub String);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A wish for a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Where the peer is.
    pub address: Address,
    /// Who is expected there; anybody else is refused.
    pub node: NodeId,
    /// The session that the link is for; chosen by the connecting side.
    pub session: u64,
    /// Which connection of that session.
    pub epoch: LinkEpoch,
    /// Which of the parallel links between the two nodes.
    pub lane: Lane,
}

/// Who is at the other end of a link, and what both have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's node.
    pub node: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// The session that the link is for.
    pub session: u64,
    /// Which connection of that session.
    pub epoch: LinkEpoch,
    /// Which of the parallel links.
    pub lane: Lane,
    /// The agreed bounds.
    pub limits: Limits,
}

/// Why a link is closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// This side called `close`.
    #[error("closed by this side")]
    Local,
    /// The peer closed the connection, or its process is gone.
    #[error("the peer closed the connection")]
    PeerClosed,
    /// The peer could not be reached in time.
    #[error("no connection to {address} within {seconds} s: is the worker up, and is the address reachable from here?")]
    Deadline {
        /// Where.
        address: Address,
        /// How long was tried.
        seconds: u64,
    },
    /// There is nobody at the address; to wait would not help.
    #[error("nobody is at {address}: is the worker up, and is this its address?")]
    Unreachable {
        /// Where.
        address: Address,
    },
    /// The peer, or this side, refused during set-up.
    #[error("set-up of the link refused ({code}): {text}")]
    Refused {
        /// Why, as a number.
        code: ReasonCode,
        /// Why, for people.
        text: String,
    },
    /// The peer sent bytes that are no message.
    #[error("the peer sent what is no message: {0}")]
    Decode(#[from] DecodeError),
    /// The machine or the network failed.
    #[error("{operation} failed: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}
