//! A secret that all workers share, and the proof of knowing it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::TrustError;
use crate::piece::Role;

/// Shorter ones can be found by trying: whoever asks a worker for its proof can try at home.
pub const SECRET_BYTES_MIN: usize = 16;
/// More is no secret but the wrong file.
pub const SECRET_BYTES_MAX: usize = 4096;

/// An HMAC-SHA-256.
pub(crate) type Proof = [u8; 32];

/// What all workers of a cluster know and nobody else. Cheap to clone; the memory is cleared with the last clone.
#[derive(Clone)]
pub struct SharedSecret(Arc<Zeroizing<Vec<u8>>>);

impl SharedSecret {
    /// A secret as it is. It should be random: a phrase that somebody thought of can be guessed, offline.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrustError> {
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(TrustError::SecretLength { bytes: bytes.len() });
        }
        Ok(Self(Arc::new(Zeroizing::new(bytes.to_vec()))))
    }

    /// The content of a file, without one end of line at its end: an editor may add it on one machine and not on
    /// another.
    pub fn from_file(path: &Path) -> Result<Self, TrustError> {
        let unreadable = |source| TrustError::Unreadable { what: "shared secret", path: path.to_owned(), source };
        // All the room at once: a vector that grows leaves copies behind, which nobody clears.
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 64));
        let file = File::open(path).map_err(unreadable)?;
        file.take(SECRET_BYTES_MAX as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        Self::from_bytes(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// What the side of this role shows for what both have said.
    pub(crate) fn prove(&self, role: Role, transcript: &[u8]) -> Proof {
        self.mac(role, transcript).finalize().into_bytes().into()
    }

    /// Whether the side of this role has shown that it knows the secret. Takes the same time wherever the difference is.
    pub(crate) fn is_proved(&self, role: Role, transcript: &[u8], proof: &Proof) -> bool {
        self.mac(role, transcript).verify_slice(proof).is_ok()
    }

    fn mac(&self, role: Role, transcript: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        // Two labels, of which none begins the other: no side's proof can be sent back to it as the other's.
        mac.update(match role {
            Role::Accepting => b"sluice accepting".as_slice(),
            Role::Connecting => b"sluice connecting".as_slice(),
        });
        mac.update(transcript);
        mac
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}
