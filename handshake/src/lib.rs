//! Set-up of a link, sans-IO: who speaks, which version, which limits.
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
//! There is no clock here: the transport closes a connection whose handshake takes too long. What a peer can make this
//! side hold until then is one piece, at most [`PIECE_BYTES_MAX`] bytes.

#![forbid(unsafe_code)]

mod error;
mod local;
mod piece;
mod state;
#[cfg(test)]
mod tests;

pub use error::{HandshakeError, RefusalCode};
pub use local::{CLUSTER_BYTES_MAX, Features, LocalNode, LocalNodeError};
pub use piece::{MAGIC, PIECE_BYTES_MAX, PREFIX_BYTES, Role};
pub use state::{Agreed, Handshake};
