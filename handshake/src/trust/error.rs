//! What can be wrong with the files of a [`Trust`](super::Trust). No text here has a byte of their content.

use std::io;
use std::path::PathBuf;

use super::secret::{SECRET_BYTES_MAX, SECRET_BYTES_MIN};

/// Why a secret or certificates cannot be used: which file, and what would work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The system does not give the file.
    #[error("{}: the {what} cannot be read ({source}): name a file that exists and that this worker may read",
        path.display())]
    Unreadable {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Too short to be safe, or longer than any secret.
    #[error(
        "a shared secret of {bytes} bytes: {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} are possible; \
        `openssl rand -hex 32` makes a good one"
    )]
    SecretLength {
        /// What it has, without the end of the line. More than the maximum are not counted to their end.
        bytes: usize,
    },
    /// The file has no PEM of the kind that is expected.
    #[error("{}: no {what} in PEM format: {problem}", path.display())]
    NotPem {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is missing, or what the parser says.
        problem: String,
    },
    /// PEM, and yet nothing that TLS can use.
    #[error("{}: the {what} cannot be used: {problem}", path.display())]
    Unusable {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        problem: String,
    },
    /// A key that belongs to another certificate.
    #[error("{} does not belong to {}: give the certificate and the key that were made together",
        key.display(), certificates.display())]
    OtherKey {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificates: PathBuf,
    },
    /// Not what a certificate can carry.
    #[error("trust.peer_name \"{name}\" is neither a DNS name nor an IP address")]
    PeerName {
        /// The name.
        name: String,
    },
}
