//! Links come and go; sessions stay. A lost link is replaced by the side that began the session, and both go on from
//! what the other has received. A session that gets no other in time ends, and so do its channels.

use std::time::Duration;

use sluice_plugin::{CloseCause, Connect, LinkId, PayloadPlacement, Peer};
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::{Incarnation, LinkEpoch, NodeId, ReasonCode, Time, Violation};

use super::Reactor;
use super::incoming::Subscription;
use super::sessions::{Attempt, LinkState, Loss};
use crate::gate::Arrived;
use crate::mailbox::SessionId;

/// The first wait after an attempt that failed; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// The longest wait: a peer that is back is found within it.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How often a channel is opened anew because its session came to nothing: some ten seconds, in which an attempt of the
/// peer's that hangs comes to its end.
const OPENED_MAX: u8 = 16;

impl Reactor {
    pub(super) fn link_up(&mut self, now: Time, link: LinkId, peer: Peer, ours: bool) {
        let (node, lane, epoch) = (peer.node, peer.lane, peer.epoch);
        tracing::debug!(link = link.0, %node, lane = lane.0, epoch = epoch.0, ours, "link is up");
        if self.stopping {
            return self.transport.close(link);
        }
        let Some(earlier) = self.sessions.of_earlier_lives(&peer) else {
            // A connection of a process that has been replaced.
            return self.transport.close(link);
        };
        for session in earlier {
            let text = format!("node {node} has started anew and forgotten what it had");
            self.end_session(now, session, ReasonCode::WorkerLost, &text);
        }
        let known = if ours { self.sessions.restored_by(link) } else { self.sessions.of_peer(&peer) };
        match known {
            Some(session) => self.restore(now, session, link, epoch),
            // Its session has ended meanwhile.
            None if ours && epoch.0 > 1 => self.transport.close(link),
            None => self.begin_session(now, link, peer, ours),
        }
    }

    fn begin_session(&mut self, now: Time, link: LinkId, peer: Peer, ours: bool) {
        let (node, unknown) = (peer.node, peer.epoch.0 > 1);
        if !ours && !unknown {
            for session in self.sessions.given_up_by(&peer) {
                let text = format!("node {node} has given up the session whose link was lost");
                self.end_session(now, session, ReasonCode::WorkerLost, &text);
            }
        }
        let remote = self.placement == PayloadPlacement::Remote;
        let begun = self.sessions.begin(now, link, peer, ours, remote, self.settings.node);
        if let Some(superfluous) = begun.close {
            self.transport.close(superfluous);
        }
        if unknown {
            let text =
                format!("node {} does not know, or not any more, the session that is to go on", self.settings.node);
            self.sessions.refuse(begun.session, ReasonCode::UnknownSession, &text);
        }
        for subscription in begun.open {
            self.open_channel(begun.session, subscription);
        }
    }

    /// A session goes on with this link.
    fn restore(&mut self, now: Time, session: SessionId, link: LinkId, epoch: LinkEpoch) {
        let Some(entry) = self.sessions.get(session) else { return };
        if epoch <= entry.session.epoch() {
            // An old attempt of the peer's, which has made another since.
            return self.transport.close(link);
        }
        if let Some(old) = entry.link() {
            // The peer has noticed before this side that the old link is lost.
            self.transport.close(old);
            if defect::is(Defect::ReuseMemoryEarly) {
                entry.incoming.keys().for_each(|channel| drop(self.transport.forget_channel(old, *channel)));
            }
            self.suspend(session);
            self.sessions.take_off(old);
        }
        self.sessions.put_on(now, session, link);
        let Some(entry) = self.sessions.touch(session) else { return };
        tracing::info!(node = %entry.peer.node, lane = %entry.peer.lane, %epoch, "a session goes on with another link");
        entry.peer.epoch = epoch;
        entry.session.link_restored(epoch, now);
        self.counters.resumed();
        let channels: Vec<_> = entry.incoming.keys().copied().collect();
        for channel in channels {
            self.with_gate(session, channel, |served, index| served.credit.resumed(index));
        }
    }

    /// The link of a session is gone: what was granted on it is void, and what was not acknowledged is kept.
    fn suspend(&mut self, session: SessionId) {
        let Some(entry) = self.sessions.get(session) else { return };
        entry.session.link_lost();
        entry.source.link_lost();
        entry.refused = None;
        for incoming in entry.incoming.values_mut() {
            incoming.slots.clear();
            incoming.reserve.clear();
        }
        let old = entry.link();
        let channels: Vec<_> = entry.incoming.keys().copied().collect();
        for channel in channels {
            // A link that is lost but not closed yet still holds what was posted. Only slots may still be written to.
            if let Some(old) = old.filter(|_| self.placement == PayloadPlacement::Stream) {
                drop(self.transport.forget_channel(old, channel));
            }
            self.with_gate(session, channel, |served, index| served.credit.lost(index));
        }
    }

    pub(super) fn link_down(&mut self, now: Time, link: LinkId, cause: &CloseCause) {
        tracing::debug!(link = link.0, %cause, "link is down");
        if let Some(session) = self.sessions.on_link(link) {
            if let (CloseCause::Decode(_), Some(entry)) = (cause, self.sessions.get(session)) {
                entry.patience.spoilt();
            }
            return self.link_lost(now, session, ReasonCode::WorkerLost, cause.to_string());
        }
        if let Some(session) = self.sessions.restored_by(link) {
            self.sessions.take_off(link);
            return self.attempt_failed(now, session, cause);
        }
        let Some((waiting, address)) = self.sessions.unreachable(link) else { return };
        // Somebody is there who hung up before a word was said: too many may have come at once.
        let passes = matches!(cause, CloseCause::PeerClosed | CloseCause::Io { .. });
        let again = passes && !self.settings.resume_timeout.is_zero() && !self.stopping;
        for mut subscription in waiting {
            subscription.attempts += 1;
            if again && subscription.attempts < OPENED_MAX {
                let at = now.after(backoff(u32::from(subscription.attempts)));
                self.timers.subscribe_later(at, subscription);
                continue;
            }
            let text = format!("no link to node {} at {address}: {cause}", subscription.location.node);
            self.fail_subscription(&subscription, ReasonCode::WorkerLost, text);
        }
    }

    /// The link is over or as good as that.
    fn link_lost(&mut self, now: Time, session: SessionId, code: ReasonCode, cause: String) {
        let Some(entry) = self.sessions.get(session) else { return };
        let node = entry.peer.node;
        if let Some((code, said)) = entry.farewell.take() {
            return self.end_session(now, session, code, &format!("node {node} closed the link: {said}"));
        }
        if let Some((code, why)) = entry.verdict.take() {
            return self.end_session(now, session, code, &format!("the link to node {node} was closed: {why}"));
        }
        let patience = self.settings.resume_timeout;
        if self.stopping || patience.is_zero() {
            return self.end_session(now, session, code, &format!("the link to node {node} is lost: {cause}"));
        }
        tracing::info!(%node, lane = %entry.peer.lane, cause, "a link is lost; the session waits for another");
        if let Some(old) = entry.link() {
            self.sessions.take_off(old);
        }
        self.suspend(session);
        self.counters.link_lost();
        let Some(entry) = self.sessions.get(session) else { return };
        let at = now.after(backoff(entry.patience.attempts));
        let attempt = if entry.address.is_some() { Attempt::Due(at) } else { Attempt::Awaited };
        entry.lose(now, patience, cause, attempt);
        self.session_due(now, session);
    }

    fn attempt_failed(&mut self, now: Time, session: SessionId, failed: &CloseCause) {
        let Some(entry) = self.sessions.get(session) else { return };
        let at = now.after(backoff(entry.patience.attempts));
        if let LinkState::Lost(loss) = &mut entry.way {
            tracing::debug!(node = %entry.peer.node, cause = %failed, "no other link yet");
            loss.last = Some(failed.to_string());
            loss.attempt = Attempt::Due(at);
        }
    }

    fn reconnect_if_due(&mut self, now: Time, session: SessionId) {
        let Some(entry) = self.sessions.get(session) else { return };
        let LinkState::Lost(Loss { attempt: Attempt::Due(at), .. }) = &entry.way else { return };
        let Some(address) = entry.address.clone().filter(|_| *at <= now) else { return };
        entry.patience.attempts += 1;
        let peer = &mut entry.peer;
        // Every attempt has an epoch of its own: of two that arrive the later one counts.
        peer.epoch.0 += 1;
        let connect = Connect { address, node: peer.node, session: peer.session, epoch: peer.epoch, lane: peer.lane };
        let link = self.transport.connect(now, connect);
        self.sessions.attempt(session, link);
    }

    /// Heartbeats, silence, another attempt, the end of patience.
    pub(super) fn session_due(&mut self, now: Time, session: SessionId) {
        let Some(entry) = self.sessions.touch(session) else { return };
        if let LinkState::Lost(loss) = &entry.way {
            if loss.until > now {
                return self.reconnect_if_due(now, session);
            }
            let last = loss.last.as_ref().map_or_else(String::new, |last| format!("; last: {last}"));
            let text = format!(
                "the link to node {} was lost ({}{last}) and there was no other within {:?} (session.resume_timeout)",
                entry.peer.node, loss.cause, self.settings.resume_timeout
            );
            return self.end_session(now, session, ReasonCode::WorkerLost, &text);
        }
        match entry.session.handle_timeout(now) {
            Ok(()) => {}
            Err(violation @ Violation::Silent { .. }) => {
                // Perhaps only the connection is dead, and another one would do.
                if let Some(link) = entry.link() {
                    self.transport.close(link);
                }
                self.link_lost(now, session, ReasonCode::Silent, violation.to_string());
            }
            Err(violation) => self.sessions.violated(session, &violation),
        }
    }

    /// Nobody has to wait for a link to a worker that is known to be gone.
    pub(super) fn worker_lost(&mut self, now: Time, node: NodeId, incarnation: Incarnation) {
        for session in self.sessions.with_life(node, incarnation) {
            self.end_session(now, session, ReasonCode::WorkerLost, &format!("node {node} is reported lost"));
        }
    }

    /// The session is over: its channels fail, unless they can begin anew as if nothing had been.
    pub(super) fn end_session(&mut self, now: Time, session: SessionId, code: ReasonCode, text: &str) {
        let Some((mut entry, link)) = self.sessions.end(session) else { return };
        if let Some(link) = link {
            self.transport.close(link);
        }
        tracing::debug!(node = %entry.peer.node, %code, text, "a session is over");
        self.timers.forget(session, None);
        for partition in entry.source.detach_all(text).into_iter().chain(entry.source.drained()) {
            self.manager.remove(partition);
        }
        // A peer that has never been heard has perhaps never known the session. One that has given it up has also given up
        // the consumer: what that would read is gone.
        let unheard = code == ReasonCode::UnknownSession && !entry.was_heard;
        let anew = unheard || code == ReasonCode::DuplicateLink;
        for (channel, incoming) in std::mem::take(&mut entry.incoming) {
            let mut subscription = incoming.subscription;
            subscription.attempts += 1;
            // A peer that never keeps a session is not asked for ever.
            if anew
                && !self.stopping
                && entry.session.is_untouched(channel)
                && subscription.attempts < OPENED_MAX
                && let Some(served) = self.gates.get_mut(&subscription.gate)
            {
                served.credit.closed(subscription.channel);
                let at = now.after(backoff(u32::from(subscription.attempts) - 1));
                self.timers.subscribe_later(at, subscription);
                continue;
            }
            let text = format!("{text}; it was at {}", subscription.location.address);
            self.fail_subscription(&subscription, code, text);
        }
    }

    fn fail_subscription(&mut self, subscription: &Subscription, code: ReasonCode, text: String) {
        if let Some(served) = self.gates.get_mut(&subscription.gate) {
            served.credit.closed(subscription.channel);
            served.inbox.deliver(subscription.channel, Arrived::Failed { code, text: text.into() });
        }
    }
}

/// How long to wait after so many attempts in vain.
fn backoff(attempts: u32) -> Duration {
    match attempts.checked_sub(1) {
        None => Duration::ZERO,
        Some(before) => BACKOFF_MIN.saturating_mul(1 << before.min(16)).min(BACKOFF_MAX),
    }
}
