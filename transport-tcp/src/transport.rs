//! The links of one worker over TCP.

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
use sluice_protocol::{ChannelId, Limits, Time};

use crate::config::{Engine, TcpConfig};
use crate::engine::{self, Completion, Sockets};
use crate::link::{Link, Received};
use crate::listener::Listener;
use crate::socket;

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
    links: HashMap<LinkId, Link>,
    links_begun: u64,
    /// Links with something queued, each once.
    unsent: Vec<LinkId>,
    deadlines: BTreeSet<(Time, LinkId)>,
    /// Links that were closed since the last poll; only a poll knows what time it is.
    undated: Vec<LinkId>,
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
            .map_err(|error| format!("no hello can be said: {error}"))?;
        let (listener, bound) = socket::listen(config)?;
        let address = socket::advertised(config, bound)?;
        let sockets = engine::open(config, listener)?;
        tracing::info!(engine = ?sockets.engine(), %bound, %address, "TCP listens");
        let mut transport = Self {
            config: config.clone(),
            local,
            address: Address(address.to_string()),
            sockets,
            listener: Listener::new(config.links_unauthenticated_max, config.links_max),
            links: HashMap::new(),
            links_begun: 0,
            unsent: Vec::new(),
            deadlines: BTreeSet::new(),
            undated: Vec::new(),
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
        if self.links.len() >= self.config.links_max {
            let text = format!("there are {} links already: raise `links_max`", self.links.len());
            return Err(io_cause("connect")(io::Error::other(text)));
        }
        self.sockets.connect(link, there).map_err(|error| connect_cause(error, &address, &self.config))?;
        let hello = Handshake::connect(&self.local, Some(node), session, epoch, lane);
        self.links.insert(link, Link::connecting(address, hello, self.config.send_queue_bytes));
        self.set_deadline(link, Some(now.after(self.config.connect_timeout)));
        Ok(())
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
            let Some(plan) = state.queue.plan() else { break };
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
        if state.queue.bytes() >= EAGER_BYTES {
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
        if self.sockets.close(link) {
            self.forget(link);
        }
    }

    /// The kernel has let go of the link.
    fn forget(&mut self, link: LinkId) {
        let Some(state) = self.links.remove(&link) else { return };
        self.listener.is_no_stranger(link);
        self.events.push(TransportEvent::Closed { link, cause: state.into_cause() });
    }
}

impl Device for TcpTransport {
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        self.transmit_unsent();
        if !self.events.is_empty() || !self.undated.is_empty() {
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
            Some(state) => state.queue.push(message)?,
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
        self.links.get_mut(&link).map_or_else(Vec::new, |state| state.posted.withdraw(channel, bytes))
    }

    fn forget_channel(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut> {
        self.links.get_mut(&link).map_or_else(Vec::new, |state| state.posted.forget(channel))
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
