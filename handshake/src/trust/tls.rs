//! Mutual TLS: certificates from files, and a connection without IO.

mod files;
mod identity;
mod link;
mod name;
mod opening;
mod reason;

pub use files::TlsFiles;
pub use identity::TlsTrust;
pub use link::{HANDSHAKE_BYTES_MAX, TlsLink};
pub use reason::CertificateProblem;
