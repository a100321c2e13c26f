//! What a worker shows to others and whom it believes, and how both change while it runs.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::{ClientConnection, Error, RootCertStore, ServerConnection};

use super::files::{AUTHORITIES, CERTIFICATE, Content, Stamp, TlsFiles};
use super::link::TlsLink;
use super::name::Named;
use super::reason;
use crate::error::HandshakeError;
use crate::trust::TrustError;

/// What both sides name in TLS, so that another program that trusts the same authorities is not taken for a worker.
pub(super) const ALPN: &[u8] = b"sluice/1";

/// A worker's certificate and the authorities that it believes. Cheap to clone; all clones change together.
#[derive(Clone)]
pub struct TlsTrust(Arc<Shared>);

struct Shared {
    files: TlsFiles,
    peer_name: Option<ServerName<'static>>,
    current: Mutex<Current>,
}

struct Current {
    /// The files as they were last looked at, be they good or bad.
    stamp: Stamp,
    identity: Identity,
}

#[derive(Clone)]
struct Identity {
    connecting: Arc<ClientConfig>,
    accepting: Arc<ServerConfig>,
}

impl TlsTrust {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Self, TrustError> {
        let name =
            |name: &String| ServerName::try_from(name.clone()).map_err(|_| TrustError::PeerName { name: name.clone() });
        let peer_name = files.peer_name.as_ref().map(name).transpose()?;
        // Before the content: what is written in between shows as a change later.
        let stamp = files.stamp()?;
        let identity = Identity::new(&files, peer_name.as_ref())?;
        Ok(Self(Arc::new(Shared { files, peer_name, current: Mutex::new(Current { stamp, identity }) })))
    }

    /// Reads the files again if they have changed; `true` if new links use what is new. Links that are set up stay.
    ///
    /// If the new files are no good the old ones stay in use. That is told once for each change of the files, except
    /// that a file that cannot be read is told each time. Call it every few seconds: it asks for the state of three
    /// files, and reads them only after a change.
    pub fn reload(&self) -> Result<bool, TrustError> {
        let Shared { files, peer_name, .. } = &*self.0;
        let stamp = files.stamp()?;
        if self.current().stamp == stamp {
            return Ok(false);
        }
        let identity = Identity::new(files, peer_name.as_ref());
        let mut current = self.current();
        // What could not be read may be readable the next time without having changed.
        if !matches!(identity, Err(TrustError::Unreadable { .. })) {
            current.stamp = stamp;
        }
        current.identity = identity?;
        Ok(true)
    }

    /// The files that it reads.
    pub fn files(&self) -> &TlsFiles {
        &self.0.files
    }

    /// A connection that this side has opened to that address.
    pub fn connect(&self, peer: IpAddr) -> Result<TlsLink, HandshakeError> {
        let name = self.0.peer_name.clone().unwrap_or_else(|| ServerName::from(peer.to_canonical()));
        let config = Arc::clone(&self.current().identity.connecting);
        let connection = ClientConnection::new(config, name).map_err(|error| reason::of(&error))?;
        Ok(TlsLink::connecting(connection))
    }

    /// A connection that was opened to this side.
    pub fn accept(&self) -> TlsLink {
        let config = Arc::clone(&self.current().identity.accepting);
        TlsLink::accepting(ServerConnection::new(config).expect("the configuration was built by this module"))
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        // Each change is one assignment: what a panicking thread leaves behind is whole.
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity {
    fn new(files: &TlsFiles, peer_name: Option<&ServerName<'static>>) -> Result<Self, TrustError> {
        let Content { certificates, key, authorities } = files.read()?;
        let (authorities, provider) = (Arc::new(authorities), Arc::new(ring::default_provider()));
        let chain = certificates.clone();
        let mut connecting = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has suites of TLS 1.3")
            .with_root_certificates(Arc::clone(&authorities))
            .with_client_auth_cert(chain, key.clone_key())
            .map_err(|error| unusable(files, &error))?;
        let verifier = client_verifier(files, peer_name, authorities, &provider)?;
        let mut accepting = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has suites of TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates, key)
            .map_err(|error| unusable(files, &error))?;
        for alpn in [&mut connecting.alpn_protocols, &mut accepting.alpn_protocols] {
            alpn.push(ALPN.to_vec());
        }
        // A resumed session would not look at the certificates again, and links are few and long-lived.
        connecting.resumption = Resumption::disabled();
        accepting.send_tls13_tickets = 0;
        accepting.session_storage = Arc::new(NoServerSessionStorage {});
        // Nobody chooses by the name.
        connecting.enable_sni = false;
        Ok(Self { connecting: Arc::new(connecting), accepting: Arc::new(accepting) })
    }
}

/// A client has to show a certificate of the authorities and, if there is a name for all workers, of that name.
fn client_verifier(
    files: &TlsFiles,
    peer_name: Option<&ServerName<'static>>,
    authorities: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TrustError> {
    let chain =
        WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider)).build().map_err(|error| {
            TrustError::Unusable { what: AUTHORITIES, path: files.authorities.clone(), problem: error.to_string() }
        })?;
    Ok(match peer_name {
        Some(name) => Arc::new(Named::new(chain, name.clone())),
        None => chain,
    })
}

fn unusable(files: &TlsFiles, error: &Error) -> TrustError {
    match error {
        Error::InconsistentKeys(_) => {
            TrustError::OtherKey { key: files.key.clone(), certificates: files.certificates.clone() }
        }
        error => TrustError::Unusable {
            what: CERTIFICATE,
            path: files.certificates.clone(),
            problem: format!("{error}, or {} does not suit it", files.key.display()),
        },
    }
}

impl fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsTrust").field(&self.0.files).finish()
    }
}
