//! How each link's peers prove who they are: a nonce, and TLS with the certificates of the day.

use std::net::IpAddr;

use sluice_handshake::{HandshakeError, Nonce, TlsTrust, Trust};
use sluice_plugin::CloseCause;
use sluice_protocol::Time;

use super::{TcpTransport, io_cause};
use crate::tls::Tls;

impl TcpTransport {
    /// For one handshake.
    pub(super) fn nonce(&self) -> Result<Nonce, CloseCause> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| io_cause("drawing a random number")(error.into()))?;
        Ok(Nonce(nonce))
    }

    /// The TLS of a link that this side begins, if there is any.
    pub(super) fn tls_to(&mut self, peer: IpAddr, now: Time) -> Result<Option<Tls>, HandshakeError> {
        let Some(trust) = self.fresh_trust(now) else { return Ok(None) };
        Ok(Some(Tls::new(trust.connect(peer)?)))
    }

    /// The TLS of a link that a peer has begun, if there is any.
    pub(super) fn tls_from_peer(&mut self, now: Time) -> Option<Tls> {
        let trust = self.fresh_trust(now)?;
        Some(Tls::new(trust.accept()))
    }

    /// With the certificates that are in the files now, or were a moment ago.
    fn fresh_trust(&mut self, now: Time) -> Option<&TlsTrust> {
        let Trust::Tls(trust) = &self.config.trust else { return None };
        if self.trust_looked_at.is_none_or(|at| now.since(at) >= self.config.trust_reload_interval) {
            self.trust_looked_at = Some(now);
            match trust.reload() {
                Ok(false) => {}
                Ok(true) => tracing::info!("new certificates are in use for links to come; running links stay"),
                Err(error) => {
                    tracing::warn!(%error, "the certificates on disk cannot be used, those of before stay in use");
                }
            }
        }
        Some(trust)
    }
}
