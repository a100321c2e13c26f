//! The links of one worker over TCP.

mod entrance;
mod trust;
mod turn;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;

use sluice_handshake::{Handshake, LocalNode};
use sluice_memory::BufferMut;
use sluice_plugin::{
    Address, Capabilities, CloseCause, Connect, Device, LinkId, Message, PayloadPlacement, Setup, Transport,
    TransportEvent, Wait,
};
use sluice_protocol::wire::Slot;
use sluice_protocol::{ChannelId, Limits, ReasonCode, Time};

use crate::config::{Engine, TcpConfig};
use crate::engine::{self, Completion, Sockets};
use crate::link::{Link, Received};
use crate::listener::Listener;
use crate::posted::Posted;
use crate::refusals::Refusals;
use crate::socket;
use crate::strangers::Strangers;

/// Below it a copy into the head is cheaper than a place of its own in the scatter list.
const INLINE_BYTES_MAX: u32 = 1024;
/// From so many bytes on a link sends at once; fewer wait for more until the turn's end. Submissions of 256 KiB no
/// longer show what each of them costs.
const EAGER_BYTES: usize = 256 * 1024;

/// TCP links of one worker. See [`crate::Tcp`], which builds it.
pub struct TcpTransport {
    config: TcpConfig,
    local: LocalNode,
    address: Address,
    sockets: Box<dyn Sockets>,
    listener: Listener,
    strangers: Strangers,
    refusals: Refusals,
    /// When the files of certificates were last asked for.
    trust_looked_at: Option<Time>,
    links: HashMap<LinkId, Link>,
    links_begun: u64,
    /// Links with something queued, each once.
    unsent: Vec<LinkId>,
    deadlines: BTreeSet<(Time, LinkId)>,
    /// Links that were closed since the last poll; only a poll knows what time it is.
    undated: Vec<LinkId>,
    /// Links that have ended since the last poll began, and what is posted on those that are gone altogether.
    ended: Vec<LinkId>,
    departed: HashMap<LinkId, Posted>,
    /// What the next poll tells.
    events: Vec<TransportEvent>,
    /// Both kept for their capacity.
    completions: Vec<Completion>,
    received: Received,
}

impl TcpTransport {
    /// Binds and probes. The error says what is wrong, with what, and what to do about it.
    pub(crate) fn new(config: &TcpConfig, setup: Setup) -> Result<Self, String> {
        let inline_bytes_max = setup.limits.inline_bytes_max.min(INLINE_BYTES_MAX);
        let limits = Limits { inline_bytes_max, ..setup.limits };
        let local = LocalNode::new(setup.node, setup.incarnation, setup.cluster, limits)
            .map_err(|error| format!("no hello can be said: {error}"))?
            .with_trust(config.trust.clone());
        let (listener, bound) = socket::listen(config)?;
        let address = socket::advertised(config, bound)?;
        let sockets = engine::open(config, listener)?;
        tracing::info!(engine = ?sockets.engine(), trust = %config.trust.mode(), %bound, %address, "TCP listens");
        let mut transport = Self {
            config: config.clone(),
            local,
            address: Address(address.to_string()),
            sockets,
            listener: Listener::new(config.links_max),
            strangers: Strangers::new(config.links_unauthenticated_max, config.links_unauthenticated_per_address_max),
            refusals: Refusals::default(),
            trust_looked_at: None,
            links: HashMap::new(),
            links_begun: 0,
            unsent: Vec::new(),
            deadlines: BTreeSet::new(),
            undated: Vec::new(),
            ended: Vec::new(),
            departed: HashMap::new(),
            events: Vec::new(),
            completions: Vec::new(),
            received: Received::default(),
        };
        // A peer may be there before the first poll, and its coming is to wake.
        transport.accept(Time::default());
        Ok(transport)
    }

    /// Which of the kernel's interfaces moves the bytes: never [`Engine::Auto`].
    pub fn engine(&self) -> Engine {
        self.sockets.engine()
    }

    fn begin(&mut self, link: LinkId, now: Time, connect: Connect) -> Result<(), CloseCause> {
        let Connect { address, node, session, epoch, lane } = connect;
        // A name would have to be looked up, which blocks; `advertise` is looked up at start.
        let there: SocketAddr = address.0.parse().map_err(|error| {
            io_cause("parsing of the peer's address")(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{address}: {error}"),
            ))
        })?;
        if self.acquaintances() >= self.config.links_max {
            let text = format!("there are {} links already: raise `links_max`", self.acquaintances());
            return Err(io_cause("connect")(io::Error::other(text)));
        }
        let nonce = self.nonce()?;
        let tls = self
            .tls_to(there.ip(), now)
            .map_err(|error| CloseCause::Refused { code: ReasonCode::Violation, text: error.to_string() })?;
        self.sockets.connect(link, there).map_err(|error| connect_cause(error, &address, &self.config))?;
        let hello = Handshake::connect(&self.local, Some(node), session, epoch, lane, nonce);
        self.links.insert(link, Link::connecting(address, hello, tls, self.config.send_queue_bytes));
        self.set_deadline(link, Some(now.after(self.config.connect_timeout)));
        Ok(())
    }

    /// Links but for those of strangers: no number of these takes a place from the others.
    fn acquaintances(&self) -> usize {
        self.links.len() - self.strangers.held()
    }

    fn begin_link(&mut self) -> LinkId {
        self.links_begun += 1;
        LinkId(self.links_begun)
    }

    fn set_deadline(&mut self, link: LinkId, deadline: Option<Time>) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if let Some(old) = std::mem::replace(&mut state.deadline, deadline) {
            self.deadlines.remove(&(old, link));
        }
        self.deadlines.extend(deadline.map(|at| (at, link)));
    }

    /// Gives the kernel as much of a link's queue as it takes.
    fn transmit(&mut self, link: LinkId) {
        loop {
            let Some(state) = self.links.get_mut(&link) else { return };
            let Some(plan) = state.write_plan() else { break };
            let Some(sent) = self.sockets.send(link, plan) else { break };
            if !self.note_sent(link, sent) {
                return;
            }
        }
        if self.links.get_mut(&link).is_some_and(Link::take_shut) {
            self.sockets.shut(link);
        }
    }

    fn transmit_unsent(&mut self) {
        while let Some(link) = self.unsent.pop() {
            if let Some(state) = self.links.get_mut(&link).filter(|state| !state.is_ended()) {
                state.is_unsent = false;
                self.transmit(link);
            }
        }
    }

    /// Sends what is queued on the link at the end of the turn, or at once if it is much.
    fn transmit_soon(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if state.queued_bytes() >= EAGER_BYTES {
            self.transmit(link);
        } else if !std::mem::replace(&mut state.is_unsent, true) {
            self.unsent.push(link);
        }
    }

    /// Ends a link whatever is under way.
    fn release(&mut self, link: LinkId, cause: CloseCause) {
        self.set_deadline(link, None);
        let Some(state) = self.links.get_mut(&link).filter(|state| !state.is_ended()) else { return };
        state.end(cause);
        self.ended.push(link);
        self.strangers.give_up_place(link);
        if self.sockets.close(link) {
            self.forget(link);
        }
    }

    fn posted(&mut self, link: LinkId) -> Option<&mut Posted> {
        match self.links.get_mut(&link) {
            Some(state) => Some(&mut state.posted),
            None => self.departed.get_mut(&link),
        }
    }

    /// Who was told of messages that came just before the end has had its time.
    fn drop_posted_on_ended_links(&mut self) {
        self.departed.clear();
        for link in std::mem::take(&mut self.ended) {
            if let Some(state) = self.links.get_mut(&link) {
                state.posted = Posted::default();
            }
        }
    }

    /// The kernel has let go of the link.
    fn forget(&mut self, link: LinkId) {
        let Some(mut state) = self.links.remove(&link) else { return };
        self.strangers.forget(link);
        self.departed.insert(link, std::mem::take(&mut state.posted));
        self.events.push(TransportEvent::Closed { link, cause: state.into_cause() });
    }
}

impl Device for TcpTransport {
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        self.transmit_unsent();
        if !self.events.is_empty()
            || !self.undated.is_empty()
            || !self.ended.is_empty()
            || !self.departed.is_empty()
            || self.listener.has_had_its_share()
        {
            return Ok(Wait::Ready);
        }
        self.sockets.prepare_to_wait()
    }
}

impl Transport for TcpTransport {
    fn capabilities(&self) -> Capabilities {
        Capabilities { placement: PayloadPlacement::Stream, inline_bytes_max: INLINE_BYTES_MAX }
    }

    fn address(&self) -> &Address {
        &self.address
    }

    fn connect(&mut self, now: Time, connect: Connect) -> LinkId {
        let link = self.begin_link();
        if let Err(cause) = self.begin(link, now, connect) {
            self.events.push(TransportEvent::Closed { link, cause });
        }
        link
    }

    fn send(&mut self, link: LinkId, message: Message) -> Result<(), Message> {
        match self.links.get_mut(&link).filter(|state| state.is_up()) {
            Some(state) => state.push(message)?,
            None => return Err(message),
        }
        self.transmit_soon(link);
        Ok(())
    }

    fn post_receive(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Option<Slot> {
        if let Some(state) = self.links.get_mut(&link).filter(|state| state.is_up()) {
            state.posted.post(channel, buffer);
        }
        None
    }

    fn withdraw_receives(&mut self, link: LinkId, channel: ChannelId, bytes: u64, _slots: u64) -> Vec<BufferMut> {
        self.posted(link).map_or_else(Vec::new, |posted| posted.withdraw(channel, bytes))
    }

    fn forget_channel(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut> {
        self.posted(link).map_or_else(Vec::new, |posted| posted.forget(channel))
    }

    fn poll(&mut self, now: Time, events: &mut Vec<TransportEvent>) {
        self.turn(now);
        events.append(&mut self.events);
    }

    fn poll_timeout(&self) -> Option<Time> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        deadline.into_iter().chain(self.listener.timeout()).min()
    }

    fn close(&mut self, link: LinkId) {
        match self.links.get_mut(&link) {
            Some(state) if state.is_up() => {
                state.begin_closing(CloseCause::Local);
                self.undated.push(link);
                self.transmit(link);
            }
            // Before it is up there is nothing to send; after it the link closes already.
            Some(state) if !state.is_closing() => self.release(link, CloseCause::Local),
            _ => {}
        }
    }
}

fn io_cause(operation: &'static str) -> impl Fn(io::Error) -> CloseCause {
    move |source| CloseCause::Io { operation, source }
}

/// Why there is no connection.
fn connect_cause(error: io::Error, address: &Address, config: &TcpConfig) -> CloseCause {
    use io::ErrorKind as Kind;
    let address = address.clone();
    match error.kind() {
        Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::ConnectionReset => {
            CloseCause::Unreachable { address }
        }
        Kind::TimedOut => CloseCause::Deadline { address, seconds: config.connect_timeout.as_secs() },
        _ => CloseCause::Io { operation: "connect", source: error },
    }
}
