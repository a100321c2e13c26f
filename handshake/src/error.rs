//! Why there is no link, and what to do about it.

use std::ops::RangeInclusive;

use sluice_protocol::{Lane, LimitsError, LinkEpoch, NodeId};

use crate::piece::PIECE_BYTES_MAX;
use crate::refusal::RefusalCode;
use crate::trust::{CertificateProblem, HANDSHAKE_BYTES_MAX, TrustMode};

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
    #[error("the peer belongs to cluster {peer:?}, this node to {local:?}: check the address and `cluster`")]
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
    /// Two ways to prove who one is.
    #[error("the peer has trust.mode = {peer}, this node {local}: set trust.mode to the same on both")]
    Authentication {
        /// This side's.
        local: TrustMode,
        /// The peer's.
        peer: TrustMode,
    },
    /// The peer does not know the secret, or the hello is not what it said.
    #[error(
        "the peer does not prove that it knows the shared secret: compare trust.secret_file on both; if they are \
        the same, somebody alters or repeats what others say"
    )]
    Secret,
    /// The peer speaks plainly, this node TLS.
    #[error("this node speaks TLS and the peer does not: set trust.mode = \"tls\" at the peer")]
    WantsTls,
    /// The peer speaks TLS, this node does not.
    #[error("the peer speaks TLS and this node does not: set trust.mode to the same on both")]
    NoTls,
    /// The peer's certificate is no good.
    #[error("the peer's certificate {0}")]
    Certificate(CertificateProblem),
    /// The peer does not accept this side's certificate.
    #[error("the peer refuses this node's certificate: it {0}")]
    CertificateRefused(CertificateProblem),
    /// TLS, and something else in it.
    #[error(
        "the peer speaks TLS and is no Sluice worker: check the address, and who else has certificates of the \
        workers' authority"
    )]
    NotWorker,
    /// More than certificates need.
    #[error(
        "more than {HANDSHAKE_BYTES_MAX} bytes of TLS handshake: the peer is broken, or sends too many certificates"
    )]
    TlsTooLong,
    /// TLS fails for another reason.
    #[error("TLS fails: {what}")]
    Tls {
        /// In the words of the TLS library.
        what: String,
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

impl HandshakeError {
    /// A short name for the label of a metric. It is the same on both sides of a refusal, and from version to version.
    pub fn metric(&self) -> &'static str {
        match self {
            HandshakeError::Refused { code, .. } => code.metric(),
            HandshakeError::NotSluice { .. } | HandshakeError::NotWorker => "not_sluice",
            HandshakeError::Certificate(_) | HandshakeError::CertificateRefused(_) => "certificate",
            HandshakeError::TlsTooLong | HandshakeError::Tls { .. } => "tls",
            error => error.refusal().map_or("other", RefusalCode::metric),
        }
    }

    /// What to tell the peer. Nothing to one that does not speak Sluice, nor to one that has refused itself.
    pub(crate) fn refusal(&self) -> Option<RefusalCode> {
        Some(match self {
            HandshakeError::NotSluice { .. } | HandshakeError::Refused { .. } => return None,
            // TLS tells the peer itself, by an alert.
            HandshakeError::Certificate(_)
            | HandshakeError::CertificateRefused(_)
            | HandshakeError::NotWorker
            | HandshakeError::TlsTooLong
            | HandshakeError::Tls { .. } => return None,
            HandshakeError::Secret => RefusalCode::Secret,
            HandshakeError::WantsTls => RefusalCode::WantsTls,
            HandshakeError::NoTls => RefusalCode::NoTls,
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
