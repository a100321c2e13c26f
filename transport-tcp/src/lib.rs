//! The TCP plug-in: io_uring where the host allows it, epoll where it does not.
//!
//! A link is a byte stream in each direction. Inbound it is scattered: heads into places of the link,
//! payload straight into what the consumer has posted. Outbound, several messages go with one submission, and their
//! buffers are released when the kernel has taken their bytes.
//!
//! ```text
//! Tcp ─builds─▶ TcpTransport ──▶ Link (no IO): hello ▸ framing + posted │ send queue ▸ closing
//!                    │
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
mod send_queue;
mod socket;
#[cfg(test)]
mod testing;
mod transport;

pub use config::{Engine, TcpConfig};
pub use factory::Tcp;
pub use transport::TcpTransport;
