//! The gates that a reactor serves: channels find their links, memory becomes credit.

use std::sync::Arc;

use sluice_plugin::{Connect, PayloadPlacement};
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::wire::Open;
use sluice_protocol::{ChannelId, Lane, Limits, LinkEpoch, ReasonCode, SubpartitionIndex, Time};

use super::Reactor;
use super::incoming::{Incoming, Subscription};
use super::sessions::Route;
use crate::block::Failure;
use crate::gate::{Arrived, ChannelLocation, Feed, GONE_HERE, GateCredit, GateId, GateMemory, Granted, Inbox};
use crate::job_token::Request;
use crate::mailbox::SessionId;
use crate::partition::Found;

/// A gate and its memory.
pub(super) struct ServedGate {
    pub(super) inbox: Arc<Inbox>,
    pub(super) credit: GateCredit,
    /// Where each channel comes from, once it is open.
    channels: Vec<Option<(SessionId, ChannelId)>>,
}

impl ServedGate {
    /// A producer without credit waits for whatever the task takes, be it little.
    pub(super) fn look_at_starving(&mut self, index: u32) {
        if self.credit.is_starving(index) {
            self.inbox.tell_at(index, self.credit.tell_at(index));
            let taken = self.inbox.consumed(index);
            self.credit.consumed(index, taken);
        }
    }
}

impl Reactor {
    pub(super) fn open_gate(&mut self, gate: GateId, inbox: Arc<Inbox>, memory: GateMemory, channels: u32) {
        if self.stopping {
            return inbox.stop();
        }
        let credit = GateCredit::new(gate, memory, channels, self.mailbox.clone());
        self.gates.insert(gate, ServedGate { inbox, credit, channels: vec![None; channels as usize] });
    }

    /// Writers and gates come and go. A gate that has nothing to do would not notice by itself that it has more memory set
    /// aside than is its share now, which may be what the others wait for.
    pub(super) fn look_at_shares(&mut self) {
        let divisions = self.settings.memory.divisions();
        if std::mem::replace(&mut self.divisions, divisions) != divisions {
            self.gates.keys().for_each(|gate| self.sessions.dirty_gate(*gate));
        }
    }

    pub(super) fn subscribe(&mut self, now: Time, subscription: Subscription) {
        if self.stopping {
            // Its gate has been told.
            return;
        }
        let Subscription { gate, channel, location, .. } = &subscription;
        if location.node == self.settings.node {
            return self.subscribe_here(now, *gate, *channel, location);
        }
        // Which lane does not matter, but it has to spread the channels of one partition.
        let lane = Lane((location.subpartition % u32::from(self.settings.lanes)) as u16);
        match self.sessions.route(lane, subscription) {
            Route::Open(session, subscription) => self.open_channel(session, subscription),
            Route::Waits => {}
            Route::Connect(subscription) => {
                let connect = Connect {
                    address: subscription.location.address.clone(),
                    node: subscription.location.node,
                    session: self.sessions.new_number(),
                    epoch: LinkEpoch(1),
                    lane,
                };
                let link = self.transport.connect(now, connect);
                self.sessions.connecting(lane, link, subscription);
            }
        }
    }

    /// A partition of this worker: the gate takes from its queue, and no link is involved.
    fn subscribe_here(&mut self, now: Time, gate: GateId, channel: u32, location: &ChannelLocation) {
        let Some(served) = self.gates.get(&gate) else { return };
        match self.manager.find(location.partition) {
            Found::Here(partition) if partition.is_open_to_readers() => {
                // Claimed first: a gate that is dropped in between lets go only of what it has claimed.
                match partition.attach_local(location.subpartition, &served.inbox, channel) {
                    Ok(reader) => {
                        served.inbox.set_local(channel, &partition, reader);
                        self.reader_attached(&partition, reader, location.subpartition, 0);
                    }
                    Err(Failure { code, text }) => served.inbox.deliver(channel, Arrived::Failed { code, text }),
                }
            }
            Found::Gone => {
                let text = format!("{} is released", location.partition);
                served.inbox.deliver(channel, Arrived::Failed { code: ReasonCode::PartitionGone, text: text.into() });
            }
            Found::Here(_) | Found::Unknown => {
                let deadline = now.after(self.settings.partition_deadline);
                self.timers.wait_here(deadline, gate, channel, location.clone());
            }
        }
    }

    /// Asks for a subpartition; without a link the request waits for one.
    pub(super) fn open_channel(&mut self, session: SessionId, subscription: Subscription) {
        let placement = self.placement;
        let Some(served) = self.gates.get_mut(&subscription.gate) else { return };
        let Some(entry) = self.sessions.touch(session) else { return };
        if !entry.session.can_open() {
            let limit = entry.session.limits().channels_max;
            let text = format!("the link to node {} carries {limit} channels, as many as agreed", entry.peer.node);
            let failed = Arrived::Failed { code: ReasonCode::TooManyChannels, text: text.into() };
            return served.inbox.deliver(subscription.channel, failed);
        }
        let request = Request {
            consumer: (self.settings.node, self.settings.incarnation),
            producer: (entry.peer.node, entry.peer.incarnation),
            session: entry.peer.session,
            lane: entry.peer.lane,
            partition: subscription.location.partition,
            subpartition: subscription.location.subpartition,
        };
        let deadline_ms = u32::try_from(self.settings.partition_deadline.as_millis()).unwrap_or(u32::MAX);
        let channel = entry.session.open(Open {
            partition: subscription.location.partition,
            subpartition: SubpartitionIndex(subscription.location.subpartition),
            first_sequence: 0,
            granted: 0,
            keep: if placement == PayloadPlacement::HandOver { u32::MAX } else { served.credit.keep() },
            deadline_ms,
            ticket: self.settings.tokens.ticket(&request),
        });
        let index = subscription.channel;
        served.channels[index as usize] = Some((session, channel));
        let inline_bytes_max = entry.session.limits().inline_bytes_max;
        served.credit.opened(index, Feed { session, channel, placement, inline_bytes_max });
        if entry.link().is_none() {
            served.credit.lost(index);
        }
        served.inbox.tell_at(index, served.credit.tell_at(index));
        let gate = subscription.gate;
        entry.incoming.insert(channel, Incoming::new(subscription));
        self.sessions.dirty_gate(gate);
    }

    pub(super) fn consumed(&mut self, gate: GateId, channel: u32) {
        let Some(served) = self.gates.get_mut(&gate) else { return };
        let bytes = served.inbox.consumed(channel);
        served.credit.consumed(channel, bytes);
        self.sessions.dirty_gate(gate);
    }

    pub(super) fn events_taken(&mut self, gate: GateId, channel: u32, events: u32) {
        let Some((session, id)) = self.gates.get(&gate).and_then(|served| served.channels[channel as usize]) else {
            return;
        };
        if let Some(entry) = self.sessions.touch(session) {
            for _ in 0..events {
                entry.session.take_event(id);
            }
        }
    }

    /// The task has no more use for the gate: what is not read is cancelled.
    pub(super) fn close_gate(&mut self, gate: GateId) {
        let Some(served) = self.gates.remove(&gate) else { return };
        self.timers.forget_gate(gate);
        // Channels whose partition was found after the task had dropped the gate.
        for (partition, reader) in served.inbox.close() {
            if partition.consumer_gone(reader, GONE_HERE) {
                self.manager.remove(partition.id());
            }
        }
        for (session, channel) in served.channels.into_iter().flatten() {
            let Some(entry) = self.sessions.touch(session) else { continue };
            // A channel that is over is no longer among the incoming ones.
            if entry.incoming.remove(&channel).is_none() {
                continue;
            }
            let unheard = entry.session.cancel(channel);
            // Late frames of a stream are skipped, so its memory is free at once. Slots may still be written to.
            if (unheard || self.placement != PayloadPlacement::Remote)
                && let Some(link) = entry.link()
            {
                drop(self.transport.forget_channel(link, channel));
            }
        }
    }

    /// A channel is over: its memory comes back.
    pub(super) fn channel_over(&mut self, session: SessionId, channel: ChannelId, last: Option<Arrived>) {
        let Some(entry) = self.sessions.get(session) else { return };
        if self.placement != PayloadPlacement::HandOver
            && let Some(link) = entry.link()
        {
            drop(self.transport.forget_channel(link, channel));
        }
        let Some(Incoming { subscription, .. }) = entry.incoming.remove(&channel) else { return };
        let Some(served) = self.gates.get_mut(&subscription.gate) else { return };
        served.credit.closed(subscription.channel);
        served.channels[subscription.channel as usize] = None;
        if let Some(last) = last {
            served.inbox.deliver(subscription.channel, last);
        }
        self.sessions.dirty_gate(subscription.gate);
    }

    /// Turns free memory into credit.
    pub(super) fn grant(&mut self) {
        while let Some(gate) = self.sessions.next_dirty_gate() {
            let Some(served) = self.gates.get_mut(&gate) else { continue };
            if let Some((is_less, feeds)) = served.credit.share_changed() {
                let keep = served.credit.keep();
                for Feed { session, channel, .. } in feeds {
                    if let Some(entry) = self.sessions.touch(session) {
                        if !is_less {
                            entry.session.keep(channel, keep);
                            continue;
                        }
                        entry.session.reclaim(channel, keep);
                        if defect::is(Defect::ReuseMemoryEarly)
                            && let Some(link) = entry.link()
                        {
                            drop(self.transport.withdraw_receives(link, channel, 0, Limits::SLOTS_MAX));
                        }
                    }
                }
                for (index, _) in served.channels.iter().enumerate().filter(|(_, open)| open.is_some()) {
                    let index = index as u32;
                    served.inbox.tell_at(index, served.credit.tell_at(index));
                    // What was taken while memory was granted on demand: nobody told, and a window counts it.
                    let bytes = served.inbox.consumed(index);
                    served.credit.consumed(index, bytes);
                }
            }
            while let Some(grant) = served.credit.next_grant() {
                let Some(entry) = self.sessions.touch(grant.session) else { continue };
                let Some(link) = entry.link() else { continue };
                let Some(incoming) = entry.incoming.get_mut(&grant.channel) else { continue };
                if grant.was_starving {
                    served.inbox.tell_at(grant.index, served.credit.tell_at(grant.index));
                }
                match grant.memory {
                    Granted::Bytes(bytes, buffers) => {
                        for buffer in buffers {
                            self.transport.post_receive(link, grant.channel, buffer);
                        }
                        entry.session.grant(grant.channel, bytes);
                    }
                    Granted::Reserve(buffer) => {
                        entry.session.grant(grant.channel, buffer.len() as u64);
                        incoming.reserve.push_back(buffer);
                    }
                    Granted::Slot(buffer) => {
                        // No slot on a link that has just closed: its end is on the way.
                        if let Some(slot) = self.transport.post_receive(link, grant.channel, buffer) {
                            incoming.slots.push_back(slot.bytes);
                            entry.session.grant_slots(grant.channel, &[slot]);
                        }
                    }
                }
            }
        }
    }
}
