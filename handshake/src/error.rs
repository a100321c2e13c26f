//! Why there is no link, and what to do about it.

use std::ops::RangeInclusive;

use sluice_protocol::{Lane, LimitsError, LinkEpoch, NodeId};

use crate::piece::PIECE_BYTES_MAX;

/// Why a handshake failed. Each side gets one: the side that refuses its own, the other [`HandshakeError::Refused`]
/// (or [`HandshakeError::Version`], which reads the same from both sides).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Something else speaks there.
    #[error("not a Sluice port: it begins with \"{found}\"; check the peer's address and port")]
    NotSluice {
        /// The first bytes, escaped.
        found: String,
    },
    /// A length that no hello has.
    #[error("a hello of {bytes} bytes, at most {PIECE_BYTES_MAX} are allowed: the peer is broken or not Sluice")]
    TooLong {
        /// What the peer announces.
        bytes: u16,
    },
    /// The bytes were altered on the way, or the peer wrote nonsense.
    #[error("corrupt hello: {what}; the network or the peer is broken, connect again")]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
    /// No version in common.
    #[error("the peer speaks versions {} to {}, this node {} to {}: upgrade the older one",
        peer.start(), peer.end(), local.start(), local.end())]
    Version {
        /// What this side speaks.
        local: RangeInclusive<u16>,
        /// What the peer speaks.
        peer: RangeInclusive<u16>,
    },
    /// Both connect, or both accept.
    #[error("the peer has this side's part of the handshake: is this node connected to itself?")]
    Role,
    /// Two clusters.
    #[error("the peer belongs to cluster \"{peer}\", this node to \"{local}\": check the address and `cluster`")]
    Cluster {
        /// This side's.
        local: String,
        /// The peer's.
        peer: String,
    },
    /// Another node than the one that was asked for.
    #[error("node {expected} was asked for and node {found} answers: the address is out of date")]
    UnexpectedNode {
        /// Who should be there.
        expected: NodeId,
        /// Who is.
        found: NodeId,
    },
    /// A kind of authentication that is not built yet.
    #[error("the peer wants authentication of kind {kind}, this node has none (0): switch it off at the peer")]
    Authentication {
        /// The kind's number.
        kind: u8,
    },
    /// A side requires what the other does not have.
    #[error("features {missing:#x} are required and not offered: upgrade the older node, or switch them off")]
    Features {
        /// The missing bits.
        missing: u64,
    },
    /// The peer offers what no link can run with.
    #[error("the peer's limits are impossible: {0}; correct the peer's configuration")]
    Limits(LimitsError),
    /// Link epochs count from 1.
    #[error("link epoch {epoch} of lane {lane} is not possible")]
    Epoch {
        /// What the peer says.
        epoch: LinkEpoch,
        /// Of which lane.
        lane: Lane,
    },
    /// The accepting side answers something else than it was asked.
    #[error("the peer's answer has another {what} than was asked for: the peer is broken")]
    Answer {
        /// The field.
        what: &'static str,
    },
    /// This side's engine did not want the link.
    #[error("declined: {text}")]
    Declined {
        /// Its reason.
        text: String,
    },
    /// The peer does not want this link.
    #[error("the peer refuses the link ({code:?}): {text}")]
    Refused {
        /// Why, as a number.
        code: RefusalCode,
        /// Why, in the peer's words and from its side.
        text: String,
    },
}

/// Why a peer refuses a link, as a number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalCode {
    /// No version in common.
    Version,
    /// Another cluster.
    Cluster,
    /// Another node than expected.
    UnexpectedNode,
    /// Kind of authentication.
    Authentication,
    /// Required features.
    Features,
    /// Impossible limits.
    Limits,
    /// Checksum or fields.
    Corrupt,
    /// Longer than any hello.
    TooLong,
    /// Both connect or both accept.
    Role,
    /// The answer is not to the question.
    Answer,
    /// Link epoch 0.
    Epoch,
    /// The engine does not want it.
    Declined,
    /// A code of a later version.
    Other(u16),
}

impl RefusalCode {
    const NUMBERED: [(RefusalCode, u16); 12] = [
        (RefusalCode::Version, 1),
        (RefusalCode::Cluster, 2),
        (RefusalCode::UnexpectedNode, 3),
        (RefusalCode::Authentication, 4),
        (RefusalCode::Features, 5),
        (RefusalCode::Limits, 6),
        (RefusalCode::Corrupt, 7),
        (RefusalCode::TooLong, 8),
        (RefusalCode::Role, 9),
        (RefusalCode::Answer, 10),
        (RefusalCode::Epoch, 11),
        (RefusalCode::Declined, 12),
    ];

    /// The number on the wire.
    pub fn number(self) -> u16 {
        if let RefusalCode::Other(number) = self {
            return number;
        }
        Self::NUMBERED.iter().find(|(code, _)| *code == self).map_or(0, |(_, number)| *number)
    }

    /// The code of a number; unknown ones are kept as they are.
    pub fn of(number: u16) -> Self {
        Self::NUMBERED.iter().find(|(_, known)| *known == number).map_or(RefusalCode::Other(number), |(code, _)| *code)
    }
}

impl HandshakeError {
    /// What to tell the peer. Nothing to one that does not speak Sluice, nor to one that has refused itself.
    pub(crate) fn refusal(&self) -> Option<RefusalCode> {
        Some(match self {
            HandshakeError::NotSluice { .. } | HandshakeError::Refused { .. } => return None,
            HandshakeError::TooLong { .. } => RefusalCode::TooLong,
            HandshakeError::Corrupt { .. } => RefusalCode::Corrupt,
            HandshakeError::Version { .. } => RefusalCode::Version,
            HandshakeError::Role => RefusalCode::Role,
            HandshakeError::Cluster { .. } => RefusalCode::Cluster,
            HandshakeError::UnexpectedNode { .. } => RefusalCode::UnexpectedNode,
            HandshakeError::Authentication { .. } => RefusalCode::Authentication,
            HandshakeError::Features { .. } => RefusalCode::Features,
            HandshakeError::Limits(_) => RefusalCode::Limits,
            HandshakeError::Epoch { .. } => RefusalCode::Epoch,
            HandshakeError::Answer { .. } => RefusalCode::Answer,
            HandshakeError::Declined { .. } => RefusalCode::Declined,
        })
    }
}
