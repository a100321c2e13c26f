//! A hello, field by field.

use std::ops::RangeInclusive;
use std::time::Duration;

use sluice_protocol::{Incarnation, Lane, Limits, LinkEpoch, NodeId};

use super::fields::Fields;
use super::{HELLO, LENGTH_OFFSET, Role, begin, seal};
use crate::error::HandshakeError;
use crate::local::{CLUSTER_BYTES_MAX, Features};
use crate::trust::{Nonce, Proof, TrustMode};

/// Where the bytes of the cluster's name are; the name follows.
const CLUSTER_OFFSET: usize = 104;

/// A hello behind its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) features: Features,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) session: u64,
    /// The node that this is meant for.
    pub(crate) expected: Option<NodeId>,
    pub(crate) epoch: LinkEpoch,
    pub(crate) lane: Lane,
    pub(crate) trust: TrustMode,
    pub(crate) limits: Limits,
    pub(crate) cluster: String,
    /// With a shared secret only.
    pub(crate) challenge: Challenge,
}

/// What a hello adds when there is a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) nonce: Nonce,
    /// Of the accepting side, over both hellos; the connecting side cannot have one yet, and has zeros.
    pub(crate) proof: Proof,
}

impl Challenge {
    /// Where no secret is asked for.
    pub(crate) const NONE: Self = Self { nonce: Nonce([0; 32]), proof: [0; 32] };
}

impl Hello {
    /// Reads what follows the prefix. Bytes behind the last field belong to later versions and are ignored.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let mut fields = Fields(bytes);
        let features = Features { required: fields.u64()?, offered: fields.u64()? };
        let (node, incarnation) = (NodeId(fields.u64()?), Incarnation(fields.u64()?));
        let (session, expected) = (fields.u64()?, NodeId(fields.u64()?));
        let (epoch, lane) = (LinkEpoch(fields.u32()?), Lane(fields.u16()?));
        let (trust, flags) = (TrustMode::of(fields.u8()?), fields.u8()?);
        let limits = Limits {
            head_bytes_max: fields.u32()?,
            body_bytes_max: fields.u32()?,
            block_bytes_max: fields.u32()?,
            inline_bytes_max: fields.u32()?,
            control_window: fields.u32()?,
            channels_max: fields.u32()?,
            heartbeat: Duration::from_millis(fields.u32()?.into()),
            silence_max: Duration::from_millis(fields.u32()?.into()),
        };
        let cluster_bytes = usize::from(fields.u8()?);
        if cluster_bytes > CLUSTER_BYTES_MAX {
            return Err(HandshakeError::Corrupt { what: "the cluster's name is too long" });
        }
        let cluster = std::str::from_utf8(fields.bytes(cluster_bytes)?)
            .map_err(|_| HandshakeError::Corrupt { what: "the cluster's name is not UTF-8" })?
            .to_owned();
        let expected = (flags & EXPECTED != 0).then_some(expected);
        let challenge = match trust {
            TrustMode::Secret => Challenge { nonce: Nonce(fields.array()?), proof: fields.array()? },
            _ => Challenge::NONE,
        };
        Ok(Self { features, node, incarnation, session, expected, epoch, lane, trust, limits, cluster, challenge })
    }

    pub(crate) fn encode(&self, role: Role, versions: &RangeInclusive<u16>) -> Vec<u8> {
        let mut out = begin(HELLO, role, versions);
        for number in [
            self.features.required,
            self.features.offered,
            self.node.0,
            self.incarnation.0,
            self.session,
            self.expected.unwrap_or_default().0,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.lane.0.to_le_bytes());
        out.push(self.trust.number());
        out.push(if self.expected.is_some() { EXPECTED } else { 0 });
        for number in [
            self.limits.head_bytes_max,
            self.limits.body_bytes_max,
            self.limits.block_bytes_max,
            self.limits.inline_bytes_max,
            self.limits.control_window,
            self.limits.channels_max,
            milliseconds(self.limits.heartbeat),
            milliseconds(self.limits.silence_max),
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(self.cluster.len() as u8);
        out.extend_from_slice(self.cluster.as_bytes());
        if self.trust == TrustMode::Secret {
            out.extend_from_slice(&self.challenge.nonce.0);
            out.extend_from_slice(&self.challenge.proof);
        }
        seal(out)
    }
}

/// `expected` is set.
const EXPECTED: u8 = 1;

/// What proofs cover of a hello with a challenge: all behind the checksum, later versions' fields as well. Of the
/// accepting side's, the proof that stands in it counts as zeros.
pub(crate) fn covered(role: Role, hello: &[u8]) -> Vec<u8> {
    let mut covered = hello.to_vec();
    if role == Role::Accepting {
        let proof = CLUSTER_OFFSET + 1 + usize::from(covered[CLUSTER_OFFSET]) + size_of::<Nonce>();
        covered[proof..proof + size_of::<Proof>()].fill(0);
    }
    covered.split_off(LENGTH_OFFSET)
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
