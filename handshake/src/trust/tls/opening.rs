//! The first bytes of a connection that should be TLS, and whether they are.

use crate::error::HandshakeError;
use crate::local::VERSIONS;
use crate::piece::{self, Content, MAGIC, PIECE_BYTES_MAX, Role};
use crate::refusal::RefusalCode;

/// A record of TLS 1.3 begins with its kind: 20 change of cipher, 21 alert, 22 handshake, 23 data.
const RECORD_KINDS: std::ops::RangeInclusive<u8> = 20..=23;

/// What the peer has begun to say.
#[derive(Debug)]
pub(super) enum Opening {
    /// Not enough to tell, or not all of a plain answer.
    Unclear(Vec<u8>),
    /// It speaks TLS.
    Tls,
}

impl Opening {
    /// Takes the first bytes, and all further ones while it is unclear. `Some`: these belong to TLS.
    pub(super) fn take(&mut self, role: Role, bytes: &[u8]) -> Result<Option<Vec<u8>>, HandshakeError> {
        let Opening::Unclear(known) = self else { return Ok(Some(bytes.to_vec())) };
        known.extend_from_slice(&bytes[..bytes.len().min(PIECE_BYTES_MAX)]);
        let Some(first) = known.first() else { return Ok(None) };
        if RECORD_KINDS.contains(first) {
            let mut opening = std::mem::take(known);
            opening.extend_from_slice(&bytes[bytes.len().min(PIECE_BYTES_MAX)..]);
            *self = Opening::Tls;
            return Ok(Some(opening));
        }
        plain(role, known)?;
        Ok(None)
    }
}

/// Nothing yet if it is the beginning of Sluice's own plain handshake; what else it may be is an error.
fn plain(role: Role, bytes: &[u8]) -> Result<(), HandshakeError> {
    let length = piece::length(bytes)?;
    if bytes.len() < MAGIC.len() {
        return Ok(());
    }
    if role == Role::Accepting {
        return Err(HandshakeError::WantsTls);
    }
    // A plain node refuses TLS with a piece, whose text is worth waiting for.
    let Some(bytes) = bytes.get(..length).filter(|_| bytes.len() >= piece::PREFIX_BYTES) else { return Ok(()) };
    match piece::decode(bytes)?.content {
        Content::Refused(code, text) => Err(HandshakeError::Refused { code, text }),
        Content::Hello(_) | Content::Ready(_) => Err(HandshakeError::WantsTls),
    }
}

/// What a plain client is told.
pub(super) fn refusal(error: &HandshakeError) -> Vec<u8> {
    piece::encode_refused(Role::Accepting, &VERSIONS, RefusalCode::WantsTls, &error.to_string())
}
