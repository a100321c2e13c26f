//! What a node says of itself on every link.

use std::ops::RangeInclusive;
use std::time::Duration;

use sluice_protocol::{Incarnation, Limits, LimitsError, NodeId};

use crate::trust::Trust;

/// The longest name of a cluster.
pub const CLUSTER_BYTES_MAX: usize = 64;
/// The versions of the wire that this build speaks.
pub(crate) const VERSIONS: RangeInclusive<u16> = 1..=1;

/// Abilities as bits. Version 1 defines none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The peer must have these.
    pub required: u64,
    /// This side has these; what it requires is among them.
    pub offered: u64,
}

/// What a node says of itself on every link; checked, so that a handshake fails only for what the peer says.
#[derive(Clone, Debug)]
pub struct LocalNode {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) cluster: String,
    pub(crate) limits: Limits,
    pub(crate) features: Features,
    pub(crate) trust: Trust,
    pub(crate) versions: RangeInclusive<u16>,
}

/// Why a node cannot introduce itself like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalNodeError {
    /// It has to fit the hello.
    #[error("the cluster's name has {bytes} bytes, at most {CLUSTER_BYTES_MAX} are possible: choose a shorter one")]
    ClusterName {
        /// Of the name.
        bytes: usize,
    },
    /// No link could run with them.
    #[error("impossible limits: {0}")]
    Limits(#[from] LimitsError),
}

impl LocalNode {
    /// A node of a cluster. Only nodes that name the same cluster talk to each other.
    pub fn new(
        node: NodeId,
        incarnation: Incarnation,
        cluster: impl Into<String>,
        limits: Limits,
    ) -> Result<Self, LocalNodeError> {
        let cluster = cluster.into();
        if cluster.len() > CLUSTER_BYTES_MAX {
            return Err(LocalNodeError::ClusterName { bytes: cluster.len() });
        }
        limits.check()?;
        // The wire has milliseconds; both sides have to reckon with the same figures.
        let limits = Limits {
            heartbeat: whole_milliseconds(limits.heartbeat),
            silence_max: whole_milliseconds(limits.silence_max),
            ..limits
        };
        let (features, trust) = (Features::default(), Trust::default());
        Ok(Self { node, incarnation, cluster, limits, features, trust, versions: VERSIONS })
    }

    /// The same node with these abilities.
    #[must_use]
    pub fn with_features(mut self, features: Features) -> Self {
        self.features = Features { offered: features.offered | features.required, ..features };
        self
    }

    /// The same node, which proves who it is like that and asks the same of every peer.
    #[must_use]
    pub fn with_trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// How it proves who it is.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The node's id.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The node's limits, as it offers them.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

fn whole_milliseconds(duration: Duration) -> Duration {
    Duration::from_millis(u64::from(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)))
}
