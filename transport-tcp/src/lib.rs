//! The TCP plug-in: io_uring where the host allows it, epoll where it does not.
//!
//! A link is a byte stream in each direction. Inbound it is scattered: heads into places of the link,
//! payload straight into what the consumer has posted. Outbound, several messages go with one submission, and their
//! buffers are released when the kernel has taken their bytes.
//!
//! Who a peer is comes out in the hello: by nothing, by a secret that all workers share, or by certificates, and then
//! everything, the hello too, is said in TLS ([`TcpConfig::trust`]). Until it has come out a peer has little time, few
//! bytes, and a place that it loses to others of its address. Every refusal is told to the peer, logged (each reason once
//! a second), and counted: `sluice_links_refused_total`, by `reason` and `side`.
//!
//! ```text
//! Tcp ─builds─▶ TcpTransport ──▶ Link (no IO): hello ▸ framing + posted │ send queue ▸ closing
//!                    │             └─ Tls: in front of both, where there is TLS
//!                    ├─▶ Listener, Strangers: who may come in
//!                    └─▶ Sockets: operations that own their pieces
//!                          ├─ Uring: one ring, one receive and one send of each link in flight
//!                          └─ Epoll: the same operations, tried when epoll says so
//! ```

#![forbid(unsafe_code)]

mod config;
mod engine;
mod factory;
mod framing;
mod link;
mod listener;
mod posted;
mod refusals;
mod send_queue;
mod socket;
mod strangers;
#[cfg(test)]
mod testing;
mod tls;
mod transport;

pub use config::{Engine, TcpConfig};
pub use factory::Tcp;
/// How peers prove who they are: what a [`TcpConfig`] needs of the handshake.
pub use sluice_handshake::{SharedSecret, TlsFiles, TlsTrust, Trust, TrustError, TrustMode};
pub use transport::TcpTransport;
