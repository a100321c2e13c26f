//! A transport whose links can be cut: what is under way on them is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sluice_memory::BufferMut;
use sluice_plugin::{
    Address, BuildError, Capabilities, CloseCause, Connect, Device, LinkId, Message, Setup, Transport, TransportEvent,
    TransportFactory, Wait,
};
use sluice_protocol::wire::Slot;
use sluice_protocol::{ChannelId, NodeId, Time};

/// Another transport, and somebody at its cables.
#[derive(Clone)]
pub(crate) struct Cable {
    inner: Arc<dyn TransportFactory>,
    hand: Arc<Hand>,
}

#[derive(Default)]
struct Hand {
    /// How many there were, and which of them was the last of all links, and of one node's.
    cuts: AtomicU64,
    last: AtomicU64,
    last_with: Mutex<BTreeMap<NodeId, u64>>,
    unplugged: AtomicBool,
}

impl Cable {
    pub(crate) fn new(inner: Arc<dyn TransportFactory>) -> Self {
        Self { inner, hand: Arc::default() }
    }

    /// Cuts all links, and loses what is under way on them.
    pub(crate) fn cut(&self) {
        let number = self.hand.cuts.fetch_add(1, Ordering::SeqCst) + 1;
        self.hand.last.store(number, Ordering::SeqCst);
    }

    /// Cuts the links of one node.
    pub(crate) fn cut_with(&self, node: NodeId) {
        let number = self.hand.cuts.fetch_add(1, Ordering::SeqCst) + 1;
        self.hand.last_with.lock().expect("nobody panics with it").insert(node, number);
    }

    /// Whether connects find nobody.
    pub(crate) fn unplug(&self, unplugged: bool) {
        self.hand.unplugged.store(unplugged, Ordering::SeqCst);
    }
}

impl TransportFactory for Cable {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn build(&self, setup: Setup) -> Result<Box<dyn Transport>, BuildError> {
        let node = setup.node;
        let inner = self.inner.build(setup)?;
        Ok(Box::new(Cut { inner, node, hand: Arc::clone(&self.hand), links: BTreeMap::new(), dead: BTreeSet::new() }))
    }
}

struct Cut {
    inner: Box<dyn Transport>,
    hand: Arc<Hand>,
    node: NodeId,
    /// Who is at the other end of each link, and when it came up, counted in cuts.
    links: BTreeMap<LinkId, (NodeId, u64)>,
    dead: BTreeSet<LinkId>,
}

impl Cut {
    fn lose_links(&mut self) {
        let last = self.hand.last.load(Ordering::SeqCst);
        let last_with = self.hand.last_with.lock().expect("nobody panics with it").clone();
        let cut = |node| last_with.get(&node).copied().unwrap_or_default().max(last);
        let is_lost = |(peer, born): &(NodeId, u64)| *born < cut(*peer).max(cut(self.node));
        let lost: Vec<_> = self.links.iter().filter(|(_, link)| is_lost(link)).map(|(link, _)| *link).collect();
        for link in lost {
            self.links.remove(&link);
            self.dead.insert(link);
            self.inner.close(link);
        }
    }

    fn is_dead(&self, link: LinkId) -> bool {
        self.dead.contains(&link)
    }
}

impl Device for Cut {
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        self.inner.prepare_to_wait()
    }
}

impl Transport for Cut {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> &Address {
        self.inner.address()
    }

    fn connect(&mut self, now: Time, mut connect: Connect) -> LinkId {
        if self.hand.unplugged.load(Ordering::SeqCst) {
            connect.address = Address("nowhere".into());
        }
        self.inner.connect(now, connect)
    }

    fn send(&mut self, link: LinkId, message: Message) -> Result<(), Message> {
        self.lose_links();
        if self.is_dead(link) { Err(message) } else { self.inner.send(link, message) }
    }

    fn post_receive(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Option<Slot> {
        self.inner.post_receive(link, channel, buffer)
    }

    fn withdraw_receives(&mut self, link: LinkId, channel: ChannelId, bytes: u64, slots: u64) -> Vec<BufferMut> {
        self.inner.withdraw_receives(link, channel, bytes, slots)
    }

    fn forget_channel(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut> {
        self.inner.forget_channel(link, channel)
    }

    fn poll(&mut self, now: Time, events: &mut Vec<TransportEvent>) {
        self.lose_links();
        let mut told = Vec::new();
        self.inner.poll(now, &mut told);
        for event in told {
            match &event {
                TransportEvent::Accepted { link, peer } | TransportEvent::Connected { link, peer } => {
                    self.links.insert(*link, (peer.node, self.hand.cuts.load(Ordering::SeqCst)));
                }
                TransportEvent::Received { link, .. } | TransportEvent::Writable { link } if self.is_dead(*link) => {
                    continue;
                }
                TransportEvent::Closed { link, .. } => {
                    self.links.remove(link);
                    if self.dead.remove(link) {
                        events.push(TransportEvent::Closed { link: *link, cause: CloseCause::PeerClosed });
                        continue;
                    }
                }
                _ => {}
            }
            events.push(event);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.inner.poll_timeout()
    }

    fn close(&mut self, link: LinkId) {
        self.inner.close(link);
    }
}
