//! Set-up of a link, sans-IO: who speaks and how they prove it, which version, which limits.
//!
//! ```text
//!   connecting                                    accepting
//!   connect(...)      ── Hello ────────────────▶  checks everything
//!   checks the answer ◀──────────────── Hello ──  what is agreed; or Refused, with code and text
//!   outcome()         ── Ready ────────────────▶  outcome()
//!                     ── first message ... ────▶
//! ```
//!
//! `Ready` costs no round trip: it goes out together with the first message. With it, a link that the connecting side
//! has refused is never taken for a good one by the accepting side.
//!
//! A transport runs it in one loop: send what [`Handshake::poll_transmit`] gives, read [`Handshake::bytes_wanted`]
//! bytes, pass them to [`Handshake::handle_bytes`], until there is an [`Handshake::outcome`] or an error. Drain
//! `poll_transmit` once more in both cases: the last piece is `Ready`, or the refusal that tells the peer why. Then
//! the first message follows, or the transport closes the connection.
//!
//! With a shared secret ([`Trust::Secret`]) the accepting side's hello and the connecting side's `Ready` each prove that
//! their sender knows it: no round trip more. With TLS ([`Trust::Tls`]) the same bytes go through a [`TlsLink`], which
//! is without IO as well. docs/security.md says what each protects.
//!
//! There is no clock here: the transport closes a connection whose handshake takes too long. What a peer can make this
//! side hold until then is one piece, at most [`PIECE_BYTES_MAX`] bytes; with TLS, [`HANDSHAKE_BYTES_MAX`].

#![forbid(unsafe_code)]

mod error;
mod local;
mod piece;
mod refusal;
mod state;
#[cfg(test)]
mod tests;
mod trust;

pub use error::HandshakeError;
pub use local::{CLUSTER_BYTES_MAX, Features, LocalNode, LocalNodeError};
pub use piece::{MAGIC, PIECE_BYTES_MAX, PREFIX_BYTES, Role};
pub use refusal::RefusalCode;
pub use state::{Agreed, Handshake};
pub use trust::{
    CertificateProblem, HANDSHAKE_BYTES_MAX, Nonce, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SharedSecret, TlsFiles,
    TlsLink, TlsTrust, Trust, TrustError, TrustMode,
};
