//! Who comes in: connections are taken, strangers make room for each other, refusals are told.

use std::io;
use std::os::fd::OwnedFd;

use sluice_handshake::Handshake;
use sluice_plugin::{CloseCause, LinkId};
use sluice_protocol::{ReasonCode, Time};

use super::TcpTransport;
use crate::link::Link;
use crate::socket;
use crate::strangers::{Bound, Displaced};

impl TcpTransport {
    pub(super) fn accept(&mut self, now: Time) {
        if self.listener.ask(now, self.acquaintances()) {
            self.sockets.accept();
        }
    }

    pub(super) fn handle_accepted(&mut self, socket: OwnedFd, now: Time) {
        self.listener.accepted();
        let link = self.begin_link();
        if let Err(error) = self.let_in(link, socket, now) {
            // The connection ended before it was looked at, as far as anybody can tell.
            tracing::debug!(%error, "an accepted connection cannot be used");
        }
    }

    pub(super) fn handle_not_accepted(&mut self, error: &io::Error, now: Time) {
        // A flood must not use up the descriptors that others need: strangers go first.
        let is_short = socket::is_out_of_descriptors(error);
        match is_short.then(|| self.strangers.displace()).flatten() {
            Some(displaced) => {
                self.listener.failed_once();
                self.displace(displaced, now);
            }
            None => self.listener.failed(now, error),
        }
    }

    fn let_in(&mut self, link: LinkId, socket: OwnedFd, now: Time) -> io::Result<()> {
        let from = socket::peer((&socket).into())?;
        let hello = Handshake::accept(&self.local, self.nonce().map_err(io::Error::other)?);
        let tls = self.tls_from_peer(now);
        self.sockets.adopt(link, socket)?;
        self.links.insert(link, Link::accepted(from, hello, tls, self.config.send_queue_bytes));
        self.set_deadline(link, Some(now.after(self.config.handshake_timeout)));
        if let Some(displaced) = self.strangers.admit(link, from.ip()) {
            self.displace(displaced, now);
        }
        self.receive(link);
        Ok(())
    }

    /// Ends a stranger in favour of a newcomer.
    fn displace(&mut self, Displaced { link, bound }: Displaced, now: Time) {
        let (reason, whose, key) = match bound {
            Bound::All => ("crowded", "", "links_unauthenticated_max"),
            Bound::Address => ("crowded_address", " from its address", "links_unauthenticated_per_address_max"),
        };
        let text = format!(
            "it has not introduced itself, and there are too many like it{whose}: if they are workers, raise `{key}`"
        );
        self.refuse(link, reason, text, ReasonCode::Silent, now);
    }

    /// Ends a link in its set-up.
    pub(super) fn refuse(&mut self, link: LinkId, reason: &'static str, text: String, code: ReasonCode, now: Time) {
        self.note_refusal(link, reason, &text, now);
        self.release(link, CloseCause::Refused { code, text });
    }

    pub(super) fn note_refusal(&mut self, link: LinkId, reason: &'static str, text: &str, now: Time) {
        if let Some(state) = self.links.get(&link).filter(|state| !state.is_closing() && !state.is_ended()) {
            self.refusals.note(now, state.origin().side(), state.origin(), reason, text);
        }
    }
}
