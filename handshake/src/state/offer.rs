//! What a side says of itself, and whether it can do with what the other says.

use sluice_protocol::{Limits, NodeId};

use super::{Agreed, Asked, Handshake};
use crate::error::HandshakeError;
use crate::local::{Features, LocalNode};
use crate::piece::{Challenge, Hello};
use crate::trust::Nonce;

/// What a side says of itself.
pub(super) fn hello(local: &LocalNode, asked: Asked, limits: Limits, features: Features, nonce: Nonce) -> Hello {
    Hello {
        features,
        node: local.node,
        incarnation: local.incarnation,
        session: asked.session,
        expected: asked.expected,
        epoch: asked.epoch,
        lane: asked.lane,
        trust: local.trust.mode(),
        limits,
        cluster: local.cluster.clone(),
        challenge: Challenge { nonce, ..Challenge::NONE },
    }
}

impl Handshake {
    /// Whether this is a peer to talk to. `nodes`: the one that was asked for, and the one that is there.
    pub(super) fn check_peer(&self, hello: &Hello, nodes: Option<(NodeId, NodeId)>) -> Result<(), HandshakeError> {
        if hello.cluster != self.local.cluster {
            let (local, peer) = (self.local.cluster.clone(), hello.cluster.clone());
            return Err(HandshakeError::Cluster { local, peer });
        }
        if let Some((expected, found)) = nodes.filter(|(expected, found)| expected != found) {
            return Err(HandshakeError::UnexpectedNode { expected, found });
        }
        let (local, peer) = (self.local.trust.mode(), hello.trust);
        if local != peer {
            return Err(HandshakeError::Authentication { local, peer });
        }
        Ok(())
    }

    /// Whether a link can run with what the peer has.
    pub(super) fn check_offer(&self, hello: &Hello) -> Result<(), HandshakeError> {
        let local = self.local.features;
        let missing = (local.required & !hello.features.offered) | (hello.features.required & !local.offered);
        if missing != 0 {
            return Err(HandshakeError::Features { missing });
        }
        if hello.epoch.0 == 0 {
            return Err(HandshakeError::Epoch { epoch: hello.epoch, lane: hello.lane });
        }
        hello.limits.check().map_err(HandshakeError::Limits)
    }

    /// What a link runs with, if both sides agree.
    pub(super) fn agreed(&self, hello: &Hello, limits: Limits, version: u16) -> Agreed {
        Agreed {
            peer: hello.node,
            peer_incarnation: hello.incarnation,
            session: hello.session,
            epoch: hello.epoch,
            lane: hello.lane,
            limits,
            version,
            features: hello.features.offered & self.local.features.offered,
        }
    }
}
