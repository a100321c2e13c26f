//! A transport of a hub: links, and messages across them. How payload lands is left to its kind.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use sluice_memory::BufferMut;
use sluice_protocol::wire::{DecodeError, Head, Prefix, Slot};
use sluice_protocol::{ChannelId, Limits, Time};

use super::inbox::{Delivery, Inbox, Remote, Taken};
use super::{Hub, refused};
use crate::device::{Device, Wait};
use crate::link::{Address, CloseCause, Connect, LinkId};
use crate::transport::{Capabilities, Landed, Message, Payload, Setup, Transport, TransportEvent};

/// How payload gets from a message into the memory of the receiving side.
pub(crate) trait Landing {
    /// What a transport that lands like this can do.
    fn capabilities(&self) -> Capabilities;

    /// As [`Transport::post_receive`].
    fn post(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Option<Slot>;

    /// As [`Transport::withdraw_receives`].
    fn withdraw(&mut self, link: LinkId, channel: ChannelId, bytes: u64, slots: u64) -> Vec<BufferMut>;

    /// As [`Transport::forget_channel`].
    fn forget(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut>;

    /// The link is over: drops what is posted on it.
    fn close(&mut self, link: LinkId);

    /// A message has arrived.
    fn land(&mut self, link: LinkId, head: &Head, payloads: Vec<Payload>) -> Result<VecDeque<Landed>, CloseCause>;
}

/// A worker's transport in a hub.
pub(crate) struct Endpoint<L> {
    hub: Hub,
    inbox: Arc<Inbox>,
    landing: L,
    links: HashMap<LinkId, Link>,
    /// What this side has brought about itself; told by the next poll.
    events: Vec<TransportEvent>,
    /// Links that the last poll has told the end of.
    departed: Vec<LinkId>,
    /// Kept for its capacity.
    taken: Taken,
}

struct Link {
    remote: Remote,
    limits: Limits,
}

impl<L: Landing> Endpoint<L> {
    pub(crate) fn new(hub: Hub, setup: Setup, landing: L) -> Self {
        let inbox = hub.join(setup, landing.capabilities().inline_bytes_max);
        Self {
            hub,
            inbox,
            landing,
            links: HashMap::new(),
            events: Vec::new(),
            departed: Vec::new(),
            taken: Taken::default(),
        }
    }

    fn link_to(&mut self, link: LinkId, connect: &Connect) -> Result<TransportEvent, CloseCause> {
        let there = self.hub.find(&connect.address).ok_or_else(|| nobody_at(&connect.address))?;
        let facts = &self.inbox.facts;
        let remote_link = there.open_link();
        if let Some((here_says, there_says)) = facts.refusal(connect, &there.facts) {
            there.close_link(remote_link);
            there.put(Delivery::Closed { link: remote_link, cause: refused(there_says) });
            return Err(refused(here_says));
        }
        let limits = facts.limits.both(there.facts.limits);
        let peer = there.facts.as_peer(connect, limits);
        let accepted = Delivery::Accepted {
            link: remote_link,
            peer: facts.as_peer(connect, limits),
            remote: Remote { inbox: Arc::clone(&self.inbox), link },
        };
        if !there.put(accepted) {
            return Err(nobody_at(&connect.address));
        }
        self.links.insert(link, Link { remote: Remote { inbox: there, link: remote_link }, limits });
        Ok(TransportEvent::Connected { link, peer })
    }

    fn receive(&mut self, link: LinkId, message: Message, events: &mut Vec<TransportEvent>) {
        // Closed by this side while the message was under way.
        let Some(Link { limits, .. }) = self.links.get(&link) else { return };
        let received = decode(message.head, limits)
            .and_then(|head| self.landing.land(link, &head, message.payloads).map(|payloads| (head, payloads)));
        match received {
            Ok((head, payloads)) => events.push(TransportEvent::Received { link, head, payloads }),
            Err(cause) => {
                self.hang_up(link);
                self.landing.close(link);
                events.push(TransportEvent::Closed { link, cause });
            }
        }
    }

    /// Ends a link from this side. What the peer has not taken yet, it still takes.
    fn hang_up(&mut self, link: LinkId) -> bool {
        self.inbox.close_link(link);
        let Some(Link { remote, .. }) = self.links.remove(&link) else { return false };
        remote.inbox.put(Delivery::Closed { link: remote.link, cause: CloseCause::PeerClosed });
        true
    }

    fn apply(&mut self, delivery: Delivery, events: &mut Vec<TransportEvent>) {
        match delivery {
            Delivery::Accepted { link, peer, remote } => {
                self.links.insert(link, Link { remote, limits: peer.limits });
                events.push(TransportEvent::Accepted { link, peer });
            }
            Delivery::Message { link, message } => self.receive(link, message, events),
            Delivery::Writable { link } if self.links.contains_key(&link) => {
                events.push(TransportEvent::Writable { link });
            }
            Delivery::Writable { .. } => {}
            Delivery::Closed { link, cause: cause @ CloseCause::Refused { .. } } => {
                events.push(TransportEvent::Closed { link, cause });
            }
            Delivery::Closed { link, cause } => {
                // Both sides may have closed at once; then this one has been told already.
                if self.links.remove(&link).is_some() {
                    self.inbox.close_link(link);
                    self.departed.push(link);
                    events.push(TransportEvent::Closed { link, cause });
                }
            }
        }
    }
}

impl<L: Landing> Device for Endpoint<L> {
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        let ready = !self.events.is_empty() || !self.departed.is_empty() || self.inbox.has_any(self.hub.is_held());
        Ok(if ready { Wait::Ready } else { Wait::Waker })
    }
}

impl<L: Landing> Transport for Endpoint<L> {
    fn capabilities(&self) -> Capabilities {
        self.landing.capabilities()
    }

    fn address(&self) -> &Address {
        &self.inbox.facts.address
    }

    fn connect(&mut self, _now: Time, connect: Connect) -> LinkId {
        let link = self.inbox.open_link();
        let event = self.link_to(link, &connect).unwrap_or_else(|cause| {
            self.inbox.close_link(link);
            TransportEvent::Closed { link, cause }
        });
        self.events.push(event);
        link
    }

    fn send(&mut self, link: LinkId, message: Message) -> Result<(), Message> {
        match self.links.get(&link) {
            Some(Link { remote, .. }) => remote.inbox.put_message(remote.link, message),
            None => Err(message),
        }
    }

    fn post_receive(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Option<Slot> {
        self.links.get(&link)?;
        self.landing.post(link, channel, buffer)
    }

    fn withdraw_receives(&mut self, link: LinkId, channel: ChannelId, bytes: u64, slots: u64) -> Vec<BufferMut> {
        self.landing.withdraw(link, channel, bytes, slots)
    }

    fn forget_channel(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut> {
        self.landing.forget(link, channel)
    }

    fn poll(&mut self, _now: Time, events: &mut Vec<TransportEvent>) {
        for link in self.departed.drain(..) {
            self.landing.close(link);
        }
        // First: what comes from the peer of a new link comes behind `Connected`.
        events.append(&mut self.events);
        let mut taken = std::mem::take(&mut self.taken);
        self.inbox.take(self.hub.is_held(), &mut taken);
        for delivery in taken.deliveries.drain(..) {
            self.apply(delivery, events);
        }
        for link in taken.drained.drain(..) {
            if let Some(Link { remote, .. }) = self.links.get(&link) {
                remote.inbox.put(Delivery::Writable { link: remote.link });
            }
        }
        self.taken = taken;
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn close(&mut self, link: LinkId) {
        if self.hang_up(link) {
            self.landing.close(link);
            self.events.push(TransportEvent::Closed { link, cause: CloseCause::Local });
        }
    }
}

impl<L> Drop for Endpoint<L> {
    fn drop(&mut self) {
        for delivery in self.inbox.close() {
            // Nobody here has heard of the link, but at the other end it is up.
            if let Delivery::Accepted { remote, .. } = delivery {
                remote.inbox.put(Delivery::Closed { link: remote.link, cause: CloseCause::PeerClosed });
            }
        }
        for Link { remote, .. } in self.links.values() {
            remote.inbox.put(Delivery::Closed { link: remote.link, cause: CloseCause::PeerClosed });
        }
    }
}

fn decode(bytes: Vec<u8>, limits: &Limits) -> Result<Head, CloseCause> {
    let first = bytes.first_chunk().ok_or(DecodeError::Truncated { index: 0 })?;
    let prefix = Prefix::decode(first, limits)?;
    let (found, told) = (bytes.len(), prefix.head_bytes as usize);
    if found < told {
        return Err(DecodeError::Truncated { index: 0 }.into());
    }
    if found > told {
        return Err(DecodeError::Trailing { bytes: found - told }.into());
    }
    Ok(Head::decode(prefix, bytes, limits)?)
}

fn nobody_at(address: &Address) -> CloseCause {
    CloseCause::Unreachable { address: address.clone() }
}
