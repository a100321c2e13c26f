//! One turn of a transport: deadlines, and what the kernel has done.

use std::io;

use sluice_plugin::{CloseCause, LinkId, TransportEvent};
use sluice_protocol::{ReasonCode, Time};

use super::{TcpTransport, connect_cause, io_cause};
use crate::engine::{Completion, Sent};
use crate::framing::ReadPlan;
use crate::link::{Failure, Link};

impl TcpTransport {
    /// Everything that a poll does but tell.
    pub(super) fn turn(&mut self, now: Time) {
        self.drop_posted_on_ended_links();
        for link in std::mem::take(&mut self.undated) {
            self.set_deadline(link, Some(now.after(self.config.close_timeout)));
        }
        self.listener.begin_turn();
        self.end_late_links(now);
        self.transmit_unsent();
        self.accept(now);
        if let Err(error) = self.advance(now) {
            tracing::error!(%error, engine = ?self.engine(), "the kernel does not say what has happened");
        }
        self.transmit_unsent();
    }

    fn advance(&mut self, now: Time) -> io::Result<()> {
        self.sockets.begin_turn()?;
        loop {
            let mut completions = std::mem::take(&mut self.completions);
            let polled = self.sockets.poll(&mut completions);
            let idle = completions.is_empty();
            for completion in completions.drain(..) {
                self.handle(completion, now);
            }
            self.completions = completions;
            self.accept(now);
            if idle || polled.is_err() {
                return polled;
            }
        }
    }

    fn handle(&mut self, completion: Completion, now: Time) {
        match completion {
            Completion::Accepted(Ok(socket)) => self.handle_accepted(socket, now),
            Completion::Accepted(Err(error)) => self.handle_not_accepted(&error, now),
            Completion::Connected { link, result } => self.handle_connected(link, result, now),
            Completion::Received { link, plan, result } => self.handle_received(link, plan, result, now),
            Completion::Sent { link, sent } => {
                if self.note_sent(link, sent) {
                    self.transmit(link);
                }
            }
            Completion::Released { link } => self.forget(link),
        }
    }

    fn handle_connected(&mut self, link: LinkId, result: io::Result<()>, now: Time) {
        let Some(state) = self.links.get_mut(&link).filter(|state| !state.is_ended()) else { return };
        if let Err(error) = result {
            let address = state.address().expect("this side connects").clone();
            let cause = connect_cause(error, &address, &self.config);
            return self.release(link, cause);
        }
        state.connected();
        self.set_deadline(link, Some(now.after(self.config.handshake_timeout)));
        self.transmit(link);
        self.receive(link);
    }

    pub(super) fn receive(&mut self, link: LinkId) {
        // A failed send may have ended it.
        if let Some(state) = self.links.get_mut(&link).filter(|state| !state.is_ended()) {
            self.sockets.receive(link, state.plan());
        }
    }

    fn handle_received(&mut self, link: LinkId, plan: ReadPlan, result: io::Result<usize>, now: Time) {
        let Some(state) = self.links.get_mut(&link).filter(|state| !state.is_ended()) else { return };
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) if is_gone(&error) => return self.release(link, CloseCause::PeerClosed),
            Err(error) => return self.release(link, io_cause("receive")(error)),
        };
        let outcome = state.received(plan, bytes, &mut self.received);
        let is_over = std::mem::take(&mut self.received.is_over);
        self.tell_received(link);
        match outcome {
            Ok(()) if is_over => self.release(link, CloseCause::Local),
            Ok(()) => {
                self.transmit_soon_if_any(link);
                self.receive(link);
            }
            Err(Failure::Broken(cause)) => self.fail(link, cause, now),
            Err(Failure::Refused { reason, text }) => {
                self.note_refusal(link, reason, &text, now);
                self.fail(link, CloseCause::Refused { code: ReasonCode::Violation, text }, now);
            }
        }
    }

    fn tell_received(&mut self, link: LinkId) {
        if let Some(peer) = self.received.peer.take() {
            self.set_deadline(link, None);
            self.strangers.forget(link);
            let begun_here = self.links.get(&link).is_some_and(|state| state.address().is_some());
            self.events.push(if begun_here {
                TransportEvent::Connected { link, peer }
            } else {
                TransportEvent::Accepted { link, peer }
            });
        }
        let messages = self.received.messages.drain(..);
        self.events.extend(messages.map(|message| {
            let (head, payloads) = (message.head, message.payloads);
            TransportEvent::Received { link, head, payloads }
        }));
    }

    fn transmit_soon_if_any(&mut self, link: LinkId) {
        if self.links.get(&link).is_some_and(Link::has_unsent) {
            self.transmit_soon(link);
        }
    }

    /// The peer has made a mistake. A refusal that is queued for it is still sent.
    fn fail(&mut self, link: LinkId, cause: CloseCause, now: Time) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if !matches!(cause, CloseCause::Refused { .. }) || !state.has_unsent() {
            return self.release(link, cause);
        }
        state.begin_closing(cause);
        self.set_deadline(link, Some(now.after(self.config.close_timeout)));
        self.transmit(link);
        self.receive(link);
    }

    /// Takes a submission back; says whether the link goes on.
    pub(super) fn note_sent(&mut self, link: LinkId, sent: Sent) -> bool {
        let Some(state) = self.links.get_mut(&link).filter(|state| !state.is_ended()) else { return false };
        match sent.result {
            Ok(bytes) => {
                state.sent(sent.plan, bytes);
                if state.take_writable() {
                    self.events.push(TransportEvent::Writable { link });
                }
                return true;
            }
            // What the peer had sent before it went is still to be read, and tells the end of the link.
            Err(error) if is_gone(&error) => state.end_sending(),
            Err(error) => self.release(link, io_cause("send")(error)),
        }
        false
    }

    fn end_late_links(&mut self, now: Time) {
        while let Some((at, link)) = self.deadlines.first().copied()
            && at <= now
        {
            let Some(state) = self.links.get(&link) else { unreachable!("a deadline goes with its link") };
            let seconds = self.config.handshake_timeout.as_secs();
            match state.address() {
                Some(address) if state.is_connecting() => {
                    let seconds = self.config.connect_timeout.as_secs();
                    let cause = CloseCause::Deadline { address: address.clone(), seconds };
                    self.release(link, cause);
                }
                _ => {
                    let text = format!("the peer has not finished its hello within {seconds} s");
                    self.refuse(link, "silent", text, ReasonCode::Silent, now);
                }
            }
        }
    }
}

/// The connection is gone, and with it perhaps the peer's process.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected)
}
