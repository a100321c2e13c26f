//! What TLS says, as a reason that names the fix.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error};

use crate::error::HandshakeError;

/// What is wrong with a certificate. The texts go on after "certificate".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// None of the authorities has signed it.
    UnknownAuthority,
    /// It, or what its owner says with it, is signed with another key than it should be.
    BadSignature,
    /// It is somebody else's.
    WrongName {
        /// Who was expected.
        expected: String,
    },
    /// There is none.
    Missing,
    /// Anything else, in the words of the TLS library.
    Other(String),
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("has expired: renew it"),
            Self::NotYetValid => f.write_str("is not valid yet: compare the clocks of both machines"),
            Self::UnknownAuthority => f.write_str(
                "is signed by nobody in trust.authorities_file of the side that refuses it: both sides have to believe \
                 the authority that signs the workers' certificates",
            ),
            Self::BadSignature => f.write_str(
                "has a wrong signature: another authority of the same name has signed it, or it belongs to somebody else",
            ),
            Self::WrongName { expected } if expected.is_empty() => f.write_str("carries another name than expected"),
            Self::WrongName { expected } => write!(
                f,
                "does not carry the name {expected}: issue it for that name, or set trust.peer_name to one that all \
                 workers' certificates carry"
            ),
            Self::Missing => f.write_str("is missing: set trust.certificate_file and trust.key_file"),
            Self::Other(what) => write!(f, "is not accepted: {what}"),
        }
    }
}

/// The reason for an error of TLS at this side.
pub(super) fn of(error: &Error) -> HandshakeError {
    match error {
        Error::InvalidCertificate(error) => HandshakeError::Certificate(problem(error)),
        Error::NoCertificatesPresented => HandshakeError::Certificate(CertificateProblem::Missing),
        Error::AlertReceived(alert) => told(*alert),
        Error::NoApplicationProtocol => HandshakeError::NotWorker,
        error => HandshakeError::Tls { what: error.to_string() },
    }
}

fn problem(error: &CertificateError) -> CertificateProblem {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertificateProblem::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => CertificateProblem::NotYetValid,
        CertificateError::UnknownIssuer => CertificateProblem::UnknownAuthority,
        CertificateError::BadSignature => CertificateProblem::BadSignature,
        CertificateError::NotValidForName => CertificateProblem::WrongName { expected: String::new() },
        CertificateError::NotValidForNameContext { expected, .. } => {
            CertificateProblem::WrongName { expected: expected.to_str().into_owned() }
        }
        error => CertificateProblem::Other(error.to_string()),
    }
}

/// What the peer's alert means for this side.
fn told(alert: AlertDescription) -> HandshakeError {
    HandshakeError::CertificateRefused(match alert {
        AlertDescription::CertificateExpired => CertificateProblem::Expired,
        AlertDescription::UnknownCA => CertificateProblem::UnknownAuthority,
        AlertDescription::DecryptError => CertificateProblem::BadSignature,
        AlertDescription::CertificateRequired => CertificateProblem::Missing,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => {
            CertificateProblem::Other(format!("the peer says {alert:?}; its log has the reason"))
        }
        AlertDescription::NoApplicationProtocol => return HandshakeError::NotWorker,
        alert => return HandshakeError::Tls { what: format!("the peer says {alert:?}; its log has the reason") },
    })
}
