//! How peers prove who they are.

mod error;
mod secret;
mod tls;

use std::fmt;

pub use error::TrustError;
pub(crate) use secret::Proof;
pub use secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, SharedSecret};
pub use tls::{CertificateProblem, HANDSHAKE_BYTES_MAX, TlsFiles, TlsLink, TlsTrust};

/// How peers prove who they are: `trust.mode` of the configuration, with what it needs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// They do not: whoever reaches the port and names the cluster is taken for a worker.
    #[default]
    Off,
    /// By knowing a secret. It is never on the wire; what follows the handshake is neither encrypted nor signed.
    Secret(SharedSecret),
    /// By certificates, in both directions, and all that is said is encrypted. The transport runs each connection in a
    /// [`TlsLink`], and the handshake inside it.
    Tls(TlsTrust),
}

impl Trust {
    /// Which of the three it is.
    pub fn mode(&self) -> TrustMode {
        match self {
            Trust::Off => TrustMode::Off,
            Trust::Secret(_) => TrustMode::Secret,
            Trust::Tls(_) => TrustMode::Tls,
        }
    }
}

/// The kind of [`Trust`], as a hello names it and as `trust.mode` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustMode {
    /// `off`.
    Off,
    /// `secret`.
    Secret,
    /// `tls`.
    Tls,
    /// One of a later version.
    Other(u8),
}

impl TrustMode {
    /// The number on the wire.
    pub(crate) fn number(self) -> u8 {
        match self {
            TrustMode::Off => 0,
            TrustMode::Secret => 1,
            TrustMode::Tls => 2,
            TrustMode::Other(number) => number,
        }
    }

    pub(crate) fn of(number: u8) -> Self {
        match number {
            0 => TrustMode::Off,
            1 => TrustMode::Secret,
            2 => TrustMode::Tls,
            _ => TrustMode::Other(number),
        }
    }
}

impl fmt::Display for TrustMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrustMode::Off => f.write_str("\"off\""),
            TrustMode::Secret => f.write_str("\"secret\""),
            TrustMode::Tls => f.write_str("\"tls\""),
            TrustMode::Other(number) => write!(f, "number {number}, which this version does not know"),
        }
    }
}

/// 32 random bytes, fresh for each handshake: they make a recorded handshake worthless. The caller draws them from the
/// system's source of random numbers; this crate draws none. They are no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub [u8; 32]);
