//! The sessions of a reactor: who is at the other end, on which link, and who is behind which channel.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use sluice_plugin::{Address, LinkId, Message, Peer};
use sluice_protocol::{ChannelId, Incarnation, Lane, NodeId, ReasonCode, Session, Time, Violation};

use super::incoming::{Incoming, Subscription};
use super::patience::Patience;
use super::source::SessionSource;
use crate::gate::GateId;
use crate::mailbox::SessionId;

/// What this worker has with one peer on one lane. It outlives its links.
pub(super) struct PeerSession {
    pub(super) peer: Peer,
    /// Where this side gets another link; the side that was connected to waits for the other.
    pub(super) address: Option<Address>,
    pub(super) session: Session,
    pub(super) source: SessionSource,
    /// Channels that gates of this worker read here.
    pub(super) incoming: BTreeMap<ChannelId, Incoming>,
    /// A message that the transport did not take: it is full until it says `Writable`.
    pub(super) refused: Option<Message>,
    /// Memory of heads that were sent or read, used again.
    pub(super) spare_head: Vec<u8>,
    dirty: bool,
    /// Who began it.
    begun_by: NodeId,
    /// Why this side ends it, if it does.
    pub(super) verdict: Option<(ReasonCode, String)>,
    /// Why the peer ends it, if it said so.
    pub(super) farewell: Option<(ReasonCode, String)>,
    pub(super) way: LinkState,
    pub(super) patience: Patience,
    /// A message of the peer's has come on a link before the present one.
    pub(super) was_heard: bool,
    is_heard: bool,
}

/// Whether a session has a link.
pub(super) enum LinkState {
    Up(LinkId),
    Lost(Loss),
}

/// A link that is lost, and what is done about it.
pub(super) struct Loss {
    /// Why it is lost.
    pub(super) cause: String,
    /// Why the last attempt to replace it failed.
    pub(super) last: Option<String>,
    /// When the session gives up.
    pub(super) until: Time,
    pub(super) attempt: Attempt,
}

/// How far another link is.
pub(super) enum Attempt {
    /// The peer has to connect.
    Awaited,
    /// This side connects then.
    Due(Time),
    UnderWay(LinkId),
}

impl PeerSession {
    /// There is no link from now on.
    pub(super) fn lose(&mut self, now: Time, patience: Duration, cause: String, attempt: Attempt) {
        if self.source.waits() {
            self.patience.spoilt();
        }
        self.was_heard |= self.is_heard;
        let until = self.patience.link_lost(now, patience);
        self.way = LinkState::Lost(Loss { cause, last: None, until, attempt });
    }

    /// A message of the peer's has come; `gets_on`: with something new.
    pub(super) fn heard(&mut self, gets_on: bool) {
        self.is_heard = true;
        self.patience.heard(gets_on);
    }

    /// The link, if it is up.
    pub(super) fn link(&self) -> Option<LinkId> {
        match self.way {
            LinkState::Up(link) => Some(link),
            LinkState::Lost(_) => None,
        }
    }

    /// The link that is up or coming up.
    fn any_link(&self) -> Option<LinkId> {
        match &self.way {
            LinkState::Up(link) | LinkState::Lost(Loss { attempt: Attempt::UnderWay(link), .. }) => Some(*link),
            LinkState::Lost(_) => None,
        }
    }

    fn is_ending(&self) -> bool {
        self.verdict.is_some() || self.farewell.is_some()
    }

    fn next_timeout(&self) -> Option<Time> {
        match &self.way {
            LinkState::Up(_) if self.verdict.is_some() => None,
            LinkState::Up(_) => Some(self.session.poll_timeout()),
            LinkState::Lost(Loss { until, attempt: Attempt::Due(at), .. }) => Some(*at.min(until)),
            LinkState::Lost(Loss { until, .. }) => Some(*until),
        }
    }
}

/// How far the way to a peer is.
enum Way {
    Connecting { link: LinkId, address: Address, waiting: Vec<Subscription> },
    Open(SessionId),
}

/// All sessions of a reactor.
#[derive(Default)]
pub(super) struct Sessions {
    // In order, wherever order could show: a simulation is to repeat itself.
    open: BTreeMap<SessionId, PeerSession>,
    /// The sessions of links that are up, or on their way to replace one.
    links: HashMap<LinkId, SessionId>,
    ways: BTreeMap<(NodeId, Lane), Way>,
    /// Sessions with something to send, once each.
    dirty: VecDeque<SessionId>,
    /// Gates that may have something to grant.
    dirty_gates: VecDeque<GateId>,
    begun: u64,
    /// As told to peers.
    numbers: u64,
}

/// What is to be done for a subscription.
pub(super) enum Route {
    /// Open the channel in this session.
    Open(SessionId, Subscription),
    /// Wait; the link is being set up.
    Waits,
    /// Begin a link, then `connecting`.
    Connect(Subscription),
}

/// What follows from a session that has begun.
pub(super) struct Begun {
    pub(super) session: SessionId,
    /// What waited for the way to this peer.
    pub(super) open: Vec<Subscription>,
    /// A connection attempt of this side's that has become superfluous.
    pub(super) close: Option<LinkId>,
}

impl Sessions {
    pub(super) fn get(&mut self, session: SessionId) -> Option<&mut PeerSession> {
        self.open.get_mut(&session)
    }

    /// A session that something is going to be sent in.
    pub(super) fn touch(&mut self, session: SessionId) -> Option<&mut PeerSession> {
        let entry = self.open.get_mut(&session)?;
        if !std::mem::replace(&mut entry.dirty, true) {
            self.dirty.push_back(session);
        }
        Some(entry)
    }

    /// The session of a link that is up.
    pub(super) fn on_link(&self, link: LinkId) -> Option<SessionId> {
        let session = *self.links.get(&link)?;
        (self.open.get(&session)?.link() == Some(link)).then_some(session)
    }

    /// The session that this link is to go on with.
    pub(super) fn restored_by(&self, link: LinkId) -> Option<SessionId> {
        let session = *self.links.get(&link)?;
        (self.open.get(&session)?.link() != Some(link)).then_some(session)
    }

    /// The session that a peer which connects again means.
    pub(super) fn of_peer(&self, peer: &Peer) -> Option<SessionId> {
        let same = |entry: &PeerSession| {
            let (known, found) = (&entry.peer, peer);
            entry.begun_by == found.node
                && (known.node, known.incarnation, known.lane, known.session)
                    == (found.node, found.incarnation, found.lane, found.session)
        };
        self.open.iter().find(|(_, entry)| same(entry)).map(|(session, _)| *session)
    }

    /// The sessions with another life of a node, if this one is later; `None` if a later one is known.
    pub(super) fn of_earlier_lives(&self, peer: &Peer) -> Option<Vec<SessionId>> {
        let with_node = || self.open.iter().filter(|(_, entry)| entry.peer.node == peer.node);
        if with_node().any(|(_, entry)| entry.peer.incarnation > peer.incarnation) {
            return None;
        }
        let earlier = with_node().filter(|(_, entry)| entry.peer.incarnation < peer.incarnation);
        Some(earlier.map(|(session, _)| *session).collect())
    }

    /// The sessions with one life of a node.
    pub(super) fn with_life(&self, node: NodeId, incarnation: Incarnation) -> Vec<SessionId> {
        let theirs = |entry: &PeerSession| entry.peer.node == node && entry.peer.incarnation == incarnation;
        self.open.iter().filter(|(_, entry)| theirs(entry)).map(|(session, _)| *session).collect()
    }

    /// Sessions that this peer has begun on this lane and that have no link: a new one says that it has given them up.
    pub(super) fn given_up_by(&self, peer: &Peer) -> Vec<SessionId> {
        let theirs = self
            .open
            .iter()
            .filter(|(_, entry)| entry.begun_by == peer.node && entry.peer.lane == peer.lane && entry.link().is_none());
        theirs.map(|(session, _)| *session).collect()
    }

    /// The peer is at the end of this link from now on.
    pub(super) fn put_on(&mut self, now: Time, session: SessionId, link: LinkId) {
        if let Some(entry) = self.open.get_mut(&session) {
            entry.way = LinkState::Up(link);
            entry.patience.link_up(now);
            self.links.insert(link, session);
        }
    }

    /// This side tries to replace a lost link by this one.
    pub(super) fn attempt(&mut self, session: SessionId, link: LinkId) {
        if let Some(PeerSession { way: LinkState::Lost(loss), .. }) = self.open.get_mut(&session) {
            loss.attempt = Attempt::UnderWay(link);
            self.links.insert(link, session);
        }
    }

    /// The link is no longer a session's.
    pub(super) fn take_off(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.ways.is_empty()
    }

    pub(super) fn all(&self) -> Vec<SessionId> {
        self.open.keys().copied().collect()
    }

    /// All links that are up or coming up.
    pub(super) fn all_links(&self) -> Vec<LinkId> {
        let connecting = self.ways.values().filter_map(|way| match way {
            Way::Connecting { link, .. } => Some(*link),
            Way::Open(_) => None,
        });
        self.open.values().filter_map(PeerSession::any_link).chain(connecting).collect()
    }

    pub(super) fn next_dirty(&mut self) -> Option<SessionId> {
        let session = self.dirty.pop_front()?;
        if let Some(entry) = self.open.get_mut(&session) {
            entry.dirty = false;
        }
        Some(session)
    }

    pub(super) fn dirty_gate(&mut self, gate: GateId) {
        if self.dirty_gates.back() != Some(&gate) {
            self.dirty_gates.push_back(gate);
        }
    }

    pub(super) fn next_dirty_gate(&mut self) -> Option<GateId> {
        self.dirty_gates.pop_front()
    }

    pub(super) fn data_ready(&mut self, session: SessionId, channel: ChannelId) {
        if let Some(entry) = self.touch(session) {
            entry.session.data_ready(channel);
        }
    }

    /// The number by which peers are told of the next session.
    pub(super) fn new_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn route(&mut self, lane: Lane, subscription: Subscription) -> Route {
        match self.ways.get_mut(&(subscription.location.node, lane)) {
            None => Route::Connect(subscription),
            Some(Way::Open(session)) => Route::Open(*session, subscription),
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

    /// The link of a session that is new to this side is up.
    pub(super) fn begin(
        &mut self,
        now: Time,
        link: LinkId,
        peer: Peer,
        ours: bool,
        placement: bool,
        me: NodeId,
    ) -> Begun {
        let key = (peer.node, peer.lane);
        let limits = peer.limits;
        let address = match self.ways.get(&key) {
            Some(Way::Connecting { link: attempt, address, .. }) if ours && *attempt == link => Some(address.clone()),
            _ => None,
        };
        self.begun += 1;
        let session = SessionId(self.begun);
        let entry = PeerSession {
            session: Session::new(limits, peer.epoch, placement, now),
            peer,
            address,
            source: SessionSource::new(limits.block_bytes_max),
            incoming: BTreeMap::new(),
            refused: None,
            spare_head: Vec::new(),
            dirty: false,
            begun_by: if ours { me } else { key.0 },
            verdict: None,
            farewell: None,
            way: LinkState::Up(link),
            patience: Patience::with_link(now),
            was_heard: false,
            is_heard: false,
        };
        self.open.insert(session, entry);
        self.links.insert(link, session);
        let (way, open, close) = match self.ways.remove(&key) {
            None => (Way::Open(session), Vec::new(), None),
            Some(Way::Connecting { link: attempt, waiting, .. }) if ours && attempt == link => {
                (Way::Open(session), waiting, None)
            }
            // Both have connected at once: the connection that the lower node began is kept.
            Some(Way::Connecting { link: attempt, waiting, .. }) if key.0 < me => {
                (Way::Open(session), waiting, Some(attempt))
            }
            Some(way @ Way::Connecting { .. }) => {
                let text = "both nodes connected at once; the other connection is kept";
                self.refuse(session, ReasonCode::DuplicateLink, text);
                (way, Vec::new(), None)
            }
            // Both have connected at once, and one of the two may be closing: both sides keep to the connection that the
            // lower node began. Of two that one node began the newer one counts: it has lost the other. So it has if the
            // other has no link here.
            Some(Way::Open(current)) => {
                let facts = |session: &SessionId| self.open.get(session).map(|it| (it.link().is_none(), it.begun_by));
                let stays = facts(&current) < facts(&session);
                (Way::Open(if stays { current } else { session }), Vec::new(), None)
            }
        };
        self.ways.insert(key, way);
        Begun { session, open, close }
    }

    /// The peer is told why this session is no good, and then it ends.
    pub(super) fn refuse(&mut self, session: SessionId, code: ReasonCode, text: &str) {
        if let Some(entry) = self.touch(session) {
            entry.session.close(code, text);
            entry.verdict.get_or_insert((code, text.into()));
        }
    }

    /// The peer broke the protocol: it is told so, and the session ends once that is sent.
    pub(super) fn violated(&mut self, session: SessionId, violation: &Violation) {
        self.refuse(session, ReasonCode::Violation, &violation.to_string());
    }

    /// A session is over. Its link, or the attempt at one, is for the caller to close.
    pub(super) fn end(&mut self, session: SessionId) -> Option<(PeerSession, Option<LinkId>)> {
        let entry = self.open.remove(&session)?;
        let link = entry.any_link();
        if let Some(link) = link {
            self.links.remove(&link);
        }
        let key = (entry.peer.node, entry.peer.lane);
        if matches!(self.ways.get(&key), Some(Way::Open(current)) if *current == session) {
            self.ways.remove(&key);
            // Of two sessions with the same peer the other one may be all right.
            let other = self.open.iter().find(|(_, other)| {
                (other.peer.node, other.peer.lane) == key && other.link().is_some() && !other.is_ending()
            });
            if let Some((other, _)) = other {
                self.ways.insert(key, Way::Open(*other));
            }
        }
        Some((entry, link))
    }

    /// An attempt at the first link to a peer has failed. Returns who waited for it, and where it was tried.
    pub(super) fn unreachable(&mut self, link: LinkId) -> Option<(Vec<Subscription>, Address)> {
        let tried = |way: &Way| matches!(way, Way::Connecting { link: attempt, .. } if *attempt == link);
        let key = *self.ways.iter().find(|(_, way)| tried(way))?.0;
        match self.ways.remove(&key) {
            Some(Way::Connecting { waiting, address, .. }) => Some((waiting, address)),
            _ => None,
        }
    }

    pub(super) fn say_goodbye(&mut self) {
        for session in self.all() {
            if let Some(entry) = self.touch(session) {
                entry.session.close(ReasonCode::Shutdown, "the worker stops");
            }
        }
    }

    /// Sessions for which something is due.
    pub(super) fn due(&self, now: Time) -> Vec<SessionId> {
        let due = self.open.iter().filter(|(_, entry)| entry.next_timeout().is_some_and(|at| at <= now));
        due.map(|(session, _)| *session).collect()
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.open.values().filter_map(PeerSession::next_timeout).min()
    }
}
