//! The links of a reactor: one session each, and who is behind which channel.

use std::collections::{HashMap, VecDeque};

use sluice_plugin::{Address, LinkId, Message, Peer};
use sluice_protocol::{ChannelId, Lane, NodeId, ReasonCode, Session, Time, Violation};

use super::source::LinkSource;
use crate::gate::{ChannelLocation, GateId};

/// A channel of a gate that waits for a link.
pub(super) struct Subscription {
    pub(super) gate: GateId,
    pub(super) channel: u32,
    pub(super) location: ChannelLocation,
    /// How often it was opened in vain.
    pub(super) attempts: u8,
}

/// One connection that is up.
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) session: Session,
    pub(super) source: LinkSource,
    /// Channels that gates of this worker read here.
    pub(super) incoming: HashMap<ChannelId, Subscription>,
    /// A message that the transport did not take: it is full until it says `Writable`.
    pub(super) refused: Option<Message>,
    /// Memory of heads that were sent or read, used again.
    pub(super) spare_head: Vec<u8>,
    dirty: bool,
    /// Who began it.
    begun_by: NodeId,
    /// Why this side closes it, if it does.
    pub(super) verdict: Option<(ReasonCode, String)>,
    /// Why the peer closes it, if it said so.
    pub(super) farewell: Option<(ReasonCode, String)>,
}

/// How far the way to a peer is.
enum Way {
    Connecting { link: LinkId, address: Address, waiting: Vec<Subscription> },
    Up(LinkId),
}

/// All links of a reactor.
#[derive(Default)]
pub(super) struct Links {
    up: HashMap<LinkId, Link>,
    ways: HashMap<(NodeId, Lane), Way>,
    /// Links with something to send, once each.
    dirty: VecDeque<LinkId>,
    /// Gates that may have something to grant.
    dirty_gates: VecDeque<GateId>,
    sessions: u64,
}

/// What is to be done for a subscription.
pub(super) enum Route {
    /// Open the channel on this link.
    Open(LinkId, Subscription),
    /// Wait; the link is being set up.
    Waits,
    /// Begin a link, then `connecting`.
    Connect(Subscription),
}

impl Links {
    pub(super) fn get(&mut self, link: LinkId) -> Option<&mut Link> {
        self.up.get_mut(&link)
    }

    /// A link that something is going to be sent on.
    pub(super) fn touch(&mut self, link: LinkId) -> Option<&mut Link> {
        let entry = self.up.get_mut(&link)?;
        if !std::mem::replace(&mut entry.dirty, true) {
            self.dirty.push_back(link);
        }
        Some(entry)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.up.is_empty() && self.ways.is_empty()
    }

    /// All that are up or coming up.
    pub(super) fn all(&self) -> Vec<LinkId> {
        let connecting = self.ways.values().filter_map(|way| match way {
            Way::Connecting { link, .. } => Some(*link),
            Way::Up(_) => None,
        });
        self.up.keys().copied().chain(connecting).collect()
    }

    pub(super) fn next_dirty(&mut self) -> Option<LinkId> {
        let link = self.dirty.pop_front()?;
        if let Some(entry) = self.up.get_mut(&link) {
            entry.dirty = false;
        }
        Some(link)
    }

    pub(super) fn dirty_gate(&mut self, gate: GateId) {
        if self.dirty_gates.back() != Some(&gate) {
            self.dirty_gates.push_back(gate);
        }
    }

    pub(super) fn next_dirty_gate(&mut self) -> Option<GateId> {
        self.dirty_gates.pop_front()
    }

    pub(super) fn data_ready(&mut self, link: LinkId, channel: ChannelId) {
        if let Some(entry) = self.touch(link) {
            entry.session.data_ready(channel);
        }
    }

    pub(super) fn new_session(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }

    pub(super) fn route(&mut self, lane: Lane, subscription: Subscription) -> Route {
        match self.ways.get_mut(&(subscription.location.node, lane)) {
            None => Route::Connect(subscription),
            Some(Way::Up(link)) => Route::Open(*link, subscription),
            Some(Way::Connecting { waiting, .. }) => {
                waiting.push(subscription);
                Route::Waits
            }
        }
    }

    pub(super) fn connecting(&mut self, lane: Lane, link: LinkId, subscription: Subscription) {
        let key = (subscription.location.node, lane);
        let address = subscription.location.address.clone();
        self.ways.insert(key, Way::Connecting { link, address, waiting: vec![subscription] });
    }

    /// A link is up. Returns the subscriptions that waited for the way to this peer, and a connection attempt of ours
    /// that has become superfluous.
    pub(super) fn up(&mut self, now: Time, link: LinkId, peer: Peer, ours: bool, placement: bool, me: NodeId) -> Up {
        let key = (peer.node, peer.lane);
        let limits = peer.limits;
        let session = Session::new(limits, peer.epoch, placement, now);
        let entry = Link {
            peer,
            session,
            source: LinkSource::new(limits.block_bytes_max),
            incoming: HashMap::new(),
            refused: None,
            spare_head: Vec::new(),
            dirty: false,
            begun_by: if ours { me } else { key.0 },
            verdict: None,
            farewell: None,
        };
        self.up.insert(link, entry);
        match self.ways.remove(&key) {
            None => {
                self.ways.insert(key, Way::Up(link));
                Up { open: Vec::new(), close: None }
            }
            Some(Way::Connecting { link: attempt, waiting, .. }) if ours && attempt == link => {
                self.ways.insert(key, Way::Up(link));
                Up { open: waiting, close: None }
            }
            // Both have connected at once: the connection that the lower node began is kept.
            Some(Way::Connecting { link: attempt, waiting, .. }) if key.0 < me => {
                self.ways.insert(key, Way::Up(link));
                Up { open: waiting, close: Some(attempt) }
            }
            Some(way @ Way::Connecting { .. }) => {
                self.ways.insert(key, way);
                self.reject_duplicate(link);
                Up { open: Vec::new(), close: None }
            }
            // Both have connected at once, and one of the two may be closing: both sides keep to the connection that the
            // lower node began. Of two that one node began the newer one counts: it has lost the other.
            Some(Way::Up(current)) => {
                let begun_by = |link: &LinkId| self.up.get(link).map(|link| link.begun_by);
                let stays = begun_by(&current) < begun_by(&link);
                self.ways.insert(key, Way::Up(if stays { current } else { link }));
                Up { open: Vec::new(), close: None }
            }
        }
    }

    fn reject_duplicate(&mut self, link: LinkId) {
        if let Some(entry) = self.touch(link) {
            let text = "both nodes connected at once; the other connection is kept";
            entry.session.close(ReasonCode::DuplicateLink, text);
            entry.verdict = Some((ReasonCode::DuplicateLink, text.into()));
        }
    }

    /// A link, or an attempt at one, is over. Returns what it carried and who waited for it.
    pub(super) fn down(&mut self, link: LinkId) -> (Option<Link>, Vec<Subscription>, Option<Address>) {
        let entry = self.up.remove(&link);
        let key = self.ways.iter().find_map(|(key, way)| match way {
            Way::Up(up) if *up == link => Some(*key),
            Way::Connecting { link: attempt, .. } if *attempt == link => Some(*key),
            _ => None,
        });
        match key.and_then(|key| self.ways.remove(&key)) {
            Some(Way::Connecting { waiting, address, .. }) => (entry, waiting, Some(address)),
            Some(Way::Up(_)) | None => (entry, Vec::new(), None),
        }
    }

    /// The peer broke the protocol: it is told so, and the link closes once that is sent.
    pub(super) fn violated(&mut self, link: LinkId, violation: &Violation) {
        let Some(entry) = self.touch(link) else { return };
        let code = match violation {
            Violation::Silent { .. } => ReasonCode::Silent,
            _ => ReasonCode::Violation,
        };
        entry.session.close(code, violation.to_string());
        entry.verdict.get_or_insert((code, violation.to_string()));
    }

    pub(super) fn say_goodbye(&mut self) {
        let links: Vec<_> = self.up.keys().copied().collect();
        for link in links {
            if let Some(entry) = self.touch(link) {
                entry.session.close(ReasonCode::Shutdown, "the worker stops");
            }
        }
    }

    pub(super) fn handle_timeouts(&mut self, now: Time) -> Vec<(LinkId, Violation)> {
        let mut violations = Vec::new();
        let mut due = Vec::new();
        for (link, entry) in &mut self.up {
            if entry.verdict.is_none() && entry.session.poll_timeout() <= now {
                due.push(*link);
                if let Err(violation) = entry.session.handle_timeout(now) {
                    violations.push((*link, violation));
                }
            }
        }
        for link in due {
            self.touch(link);
        }
        violations
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        let live = self.up.values().filter(|entry| entry.verdict.is_none());
        live.map(|entry| entry.session.poll_timeout()).min()
    }
}

/// What follows from a link that is up.
pub(super) struct Up {
    pub(super) open: Vec<Subscription>,
    pub(super) close: Option<LinkId>,
}
