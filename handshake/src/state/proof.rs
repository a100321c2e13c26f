//! Who has shown that it knows the shared secret. Without one there is nothing to show, and nothing is asked for.

use super::Handshake;
use crate::error::HandshakeError;
use crate::piece::{self, Role};
use crate::trust::{Proof, Trust};

impl Handshake {
    /// Adds a whole hello of either side to what proofs cover.
    pub(super) fn note(&mut self, role: Role, hello: &[u8]) {
        if let Trust::Secret(_) = self.local.trust {
            self.transcript.extend_from_slice(&piece::covered(role, hello));
        }
    }

    /// This side's proof, if there is a secret to prove.
    pub(super) fn proof(&self) -> Option<Proof> {
        let Trust::Secret(secret) = &self.local.trust else { return None };
        Some(secret.prove(self.role, &self.transcript))
    }

    pub(super) fn check_proof(&self, peer: Role, proof: Option<&Proof>) -> Result<(), HandshakeError> {
        let Trust::Secret(secret) = &self.local.trust else { return Ok(()) };
        let proved = proof.is_some_and(|proof| secret.is_proved(peer, &self.transcript, proof));
        if proved { Ok(()) } else { Err(HandshakeError::Secret) }
    }
}
