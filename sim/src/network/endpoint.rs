//! A worker's transport on the network.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use sluice_core::{Address, Time};
use sluice_memory::BufferMut;
use sluice_plugin::{
    Capabilities, CloseCause, Connect, Device, LinkId, Message, PayloadPlacement, Setup, Transport, TransportEvent,
    Wait,
};
use sluice_protocol::ChannelId;
use sluice_protocol::wire::Slot;

use super::landing::{Landing, Written};
use super::lock;
use super::pipe::Flight;
use super::state::{Happening, INLINE_BYTES_MAX, State};
use crate::coverage::Sight;
use crate::journal::Rule;

/// One place of the network, and the memory that its worker has posted there.
pub(super) struct Endpoint {
    state: Arc<Mutex<State>>,
    place: usize,
    address: Address,
    placement: PayloadPlacement,
    landing: Landing,
    /// Links with a stream that are over: what is posted stays until the next poll, for payload that stands in heads.
    over: Vec<LinkId>,
    /// Channels whose payload may come late.
    forgotten: BTreeSet<(LinkId, ChannelId)>,
}

impl Endpoint {
    pub(super) fn new(
        state: Arc<Mutex<State>>,
        placement: PayloadPlacement,
        transport: &'static str,
        setup: Setup,
    ) -> Self {
        let (place, address) = lock(&state).join(transport, setup);
        let landing = Landing::new(placement);
        Self { state, place, address, placement, landing, over: Vec::new(), forgotten: BTreeSet::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Lets the hardware write what has reached this place. Returns links on which it must not have.
    fn write(&mut self) -> Vec<(LinkId, CloseCause)> {
        let mut broken = Vec::new();
        let writes = self.state().writes(self.place);
        for (link, load) in writes {
            match self.landing.write(&load) {
                Written::Landed => {}
                Written::MemoryReused(slot) => {
                    let text = format!("{link:?} of {}: {slot:?} was taken back before it was written", self.address);
                    self.state().journal.fail(Rule::ReusedMemory, text);
                }
                Written::BeyondItsSlot(cause) => broken.push((link, cause)),
            }
        }
        broken
    }

    fn land(&mut self, link: LinkId, flight: Flight) -> TransportEvent {
        let head = match flight.head {
            Ok(head) => head,
            Err(error) => return self.hang_up(link, CloseCause::Decode(error)),
        };
        let Self { state, landing, forgotten, place, .. } = self;
        let payloads = landing.land(link, &head, flight.loads, |channel, bytes| {
            lock(state).discarded(*place, link, channel, bytes, forgotten.contains(&(link, channel)));
        });
        if payloads.iter().any(|landed| matches!(landed, sluice_plugin::Landed::Pieces(_))) {
            self.state().journal.saw(Sight::Pieces);
        }
        TransportEvent::Received { link, head, payloads }
    }

    fn hang_up(&mut self, link: LinkId, cause: CloseCause) -> TransportEvent {
        let cause = self.state().hang_up(self.place, link, cause);
        self.is_over(link);
        TransportEvent::Closed { link, cause }
    }

    fn is_over(&mut self, link: LinkId) {
        match self.landing {
            Landing::Stream(_) => self.over.push(link),
            Landing::Remote(_) => self.landing.close(link),
        }
    }
}

impl Device for Endpoint {
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        let state = self.state();
        let ready = state.next_due_at(self.place).is_some_and(|due| due <= state.now);
        drop(state);
        Ok(if ready || !self.over.is_empty() { Wait::Ready } else { Wait::Waker })
    }
}

impl Transport for Endpoint {
    fn capabilities(&self) -> Capabilities {
        Capabilities { placement: self.placement, inline_bytes_max: INLINE_BYTES_MAX }
    }

    fn address(&self) -> &Address {
        &self.address
    }

    fn connect(&mut self, now: Time, connect: Connect) -> LinkId {
        let mut state = self.state();
        state.advance(now);
        state.connect(self.place, connect)
    }

    fn send(&mut self, link: LinkId, message: Message) -> Result<(), Message> {
        self.state().send(self.place, link, message)
    }

    fn post_receive(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Option<Slot> {
        if !self.state().is_open(self.place, link) {
            return None;
        }
        self.forgotten.remove(&(link, channel));
        self.landing.post(link, channel, buffer)
    }

    fn withdraw_receives(&mut self, link: LinkId, channel: ChannelId, bytes: u64, slots: u64) -> Vec<BufferMut> {
        self.write();
        self.landing.withdraw(link, channel, bytes, slots)
    }

    fn forget_channel(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut> {
        self.write();
        self.forgotten.insert((link, channel));
        self.landing.forget(link, channel)
    }

    fn poll(&mut self, now: Time, events: &mut Vec<TransportEvent>) {
        self.state().advance(now);
        for link in std::mem::take(&mut self.over) {
            self.landing.close(link);
        }
        let mut broken: BTreeSet<LinkId> = BTreeSet::new();
        for (link, cause) in self.write() {
            if broken.insert(link) {
                events.push(self.hang_up(link, cause));
            }
        }
        let happened = self.state().poll(self.place);
        for happening in happened {
            let event = match happening {
                Happening::Accepted { link, peer } => TransportEvent::Accepted { link, peer },
                Happening::Connected { link, peer } => TransportEvent::Connected { link, peer },
                Happening::Arrived { link, .. } | Happening::Writable { link } if broken.contains(&link) => continue,
                Happening::Arrived { link, flight } => self.land(link, flight),
                Happening::Writable { link } => TransportEvent::Writable { link },
                Happening::Closed { link, .. } if broken.contains(&link) => continue,
                Happening::Closed { link, cause } => {
                    self.is_over(link);
                    TransportEvent::Closed { link, cause }
                }
            };
            if let TransportEvent::Closed { link, .. } = &event {
                broken.insert(*link);
            }
            events.push(event);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.state().next_due_at(self.place)
    }

    fn close(&mut self, link: LinkId) {
        self.state().close(self.place, link);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.state().leave(self.place);
    }
}
