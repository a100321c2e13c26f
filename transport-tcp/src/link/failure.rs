//! Why a link ends before its time.

use std::io;

use sluice_handshake::HandshakeError;
use sluice_plugin::CloseCause;
use sluice_protocol::wire::DecodeError;

/// Why a link cannot go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One of the sides refuses its set-up.
    Refused {
        /// For the metric.
        reason: &'static str,
        text: String,
    },
    /// It ends for this cause, set up or not.
    Broken(CloseCause),
}

impl From<HandshakeError> for Failure {
    fn from(error: HandshakeError) -> Self {
        Failure::Refused { reason: error.metric(), text: error.to_string() }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Failure::Broken(error.into())
    }
}

impl Failure {
    /// A link that was set up and whose bytes are no TLS any more.
    pub(crate) fn of_running_tls(error: HandshakeError) -> Self {
        let source = io::Error::new(io::ErrorKind::InvalidData, error);
        Failure::Broken(CloseCause::Io { operation: "decryption", source })
    }
}
