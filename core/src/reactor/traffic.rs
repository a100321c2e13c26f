//! What comes from the links, and what goes out.

use std::collections::VecDeque;

use sluice_memory::Buffer;
use sluice_plugin::{CloseCause, Landed, LinkId, Message, PayloadPlacement, Peer, TransportEvent};
use sluice_protocol::wire::{Backlog, Head, Open, Placement};
use sluice_protocol::{ChannelId, ReasonCode, SessionEvent, Time};

use super::Reactor;
use crate::block::Event;
use crate::gate::Arrived;

/// Frames from which a message is answered at once.
const BUSY_FRAMES: u16 = 256;

/// How often a channel is opened anew because the peer keeps another connection.
const ATTEMPTS_MAX: u8 = 8;

/// What a message asks of the reactor, noted while the session reads it and done afterwards.
enum Note {
    Opened(ChannelId, Open),
    CancelRequested(ChannelId),
    Block { channel: ChannelId, pieces: Landing, bytes: u32, crc: u32, behind: Backlog },
    Backlog(ChannelId, Backlog),
    Returned { channel: ChannelId, bytes: u64, slots: u64 },
    Deliver(ChannelId, Arrived),
    Over(ChannelId, Option<Arrived>),
}

/// Where the bytes of a block are.
enum Landing {
    Pieces(Vec<Buffer>),
    /// Small ones stand in the head and are packed into the channel's memory.
    Inline(Vec<u8>),
    /// The transport had no memory for them, though the credit was there.
    Lost,
}

impl Reactor {
    /// True after a message with so much to do that its answer should not wait for the others.
    pub(super) fn handle_event(&mut self, now: Time, event: TransportEvent) -> bool {
        let busy = matches!(&event, TransportEvent::Received { head, .. } if head.prefix().frames >= BUSY_FRAMES);
        match event {
            TransportEvent::Accepted { link, peer } => self.link_up(now, link, peer, false),
            TransportEvent::Connected { link, peer } => self.link_up(now, link, peer, true),
            TransportEvent::Received { link, head, payloads } => self.received(now, link, head, payloads),
            TransportEvent::Writable { link } => {
                self.links.touch(link);
            }
            TransportEvent::Closed { link, cause } => self.link_down(now, link, &cause),
        }
        busy
    }

    fn link_up(&mut self, now: Time, link: LinkId, peer: Peer, ours: bool) {
        tracing::debug!(link = link.0, node = peer.node.0, lane = peer.lane.0, ours, "link is up");
        let remote = self.placement == PayloadPlacement::Remote;
        let up = self.links.up(now, link, peer, ours, remote, self.settings.node);
        if let Some(superfluous) = up.close {
            self.transport.close(superfluous);
        }
        for subscription in up.open {
            self.open_channel(link, subscription);
        }
        if self.stopping {
            self.transport.close(link);
        }
    }

    /// A link is gone: its channels fail with the cause. (They will resume once sessions outlive links.)
    fn link_down(&mut self, now: Time, link: LinkId, cause: &CloseCause) {
        let (entry, waiting, address) = self.links.down(link);
        self.timers.forget(link, None);
        for subscription in waiting {
            let at = address.as_ref().map_or_else(String::new, |address| format!(" at {address}"));
            let text = format!("no link to node {}{at}: {cause}", subscription.location.node);
            self.fail_subscription(subscription.gate, subscription.channel, ReasonCode::WorkerLost, text);
        }
        let Some(mut entry) = entry else { return };
        tracing::debug!(link = link.0, node = entry.peer.node.0, %cause, "link is down");
        for partition in entry.source.detach_all().into_iter().chain(entry.source.drained()) {
            self.manager.remove(partition);
        }
        let node = entry.peer.node;
        let said = entry.farewell.take().map(|(code, said)| (code, format!("node {node} closed the link: {said}")));
        let verdict =
            entry.verdict.take().map(|(code, why)| (code, format!("the link to node {node} was closed: {why}")));
        let ending = said.or(verdict);
        let duplicate = matches!(ending, Some((ReasonCode::DuplicateLink, _)));
        for (channel, mut subscription) in entry.incoming.drain() {
            subscription.attempts += 1;
            // Nothing was delivered on it: the channel opens anew on the connection that is kept. A peer that never keeps
            // one is not asked for ever.
            if duplicate && entry.session.is_untouched(channel) && subscription.attempts < ATTEMPTS_MAX {
                if let Some(served) = self.gates.get_mut(&subscription.gate) {
                    served.credit.closed(subscription.channel);
                }
                self.subscribe(now, subscription);
                continue;
            }
            let lost = || (ReasonCode::WorkerLost, format!("the link to node {node} is lost: {cause}"));
            let (code, text) = ending.clone().unwrap_or_else(lost);
            self.fail_subscription(subscription.gate, subscription.channel, code, text);
        }
    }

    fn fail_subscription(&mut self, gate: crate::gate::GateId, channel: u32, code: ReasonCode, text: String) {
        if let Some(served) = self.gates.get_mut(&gate) {
            served.credit.closed(channel);
            served.inbox.deliver(channel, Arrived::Failed { code, text: text.into() });
        }
    }

    fn received(&mut self, now: Time, link: LinkId, head: Head, mut payloads: VecDeque<Landed>) {
        let Some(entry) = self.links.touch(link) else { return };
        if entry.verdict.is_some() {
            return;
        }
        let mut notes = Vec::new();
        let (source, farewell) = (&mut entry.source, &mut entry.farewell);
        let result = entry.session.handle_head(now, &head, |event| match event {
            SessionEvent::Acknowledged { through } => source.acknowledged(through),
            SessionEvent::Closing { code, text } => *farewell = Some((code, text.into())),
            event => notes.extend(note(event, &mut payloads)),
        });
        entry.spare_head = head.into_bytes();
        for note in notes {
            self.act(now, link, note);
        }
        if let Err(violation) = result {
            tracing::warn!(link = link.0, %violation, "the peer broke the protocol");
            self.links.violated(link, &violation);
        }
    }

    fn act(&mut self, now: Time, link: LinkId, note: Note) {
        match note {
            Note::Opened(channel, open) => self.channel_opened(now, link, channel, open),
            Note::CancelRequested(channel) => {
                self.timers.forget(link, Some(channel));
                let drained = self.links.get(link).and_then(|entry| entry.source.detach(channel));
                if let Some(partition) = drained {
                    self.manager.remove(partition);
                }
            }
            Note::Block { channel, pieces, bytes, crc, behind } => {
                let pieces = match pieces {
                    Landing::Pieces(pieces) => pieces,
                    Landing::Inline(payload) => self.pack(link, channel, &payload),
                    Landing::Lost => Vec::new(),
                };
                if pieces.iter().map(|piece| piece.len()).sum::<usize>() != bytes as usize {
                    let text = "a block found no memory although its credit was granted".into();
                    let failed = Arrived::Failed { code: ReasonCode::Violation, text };
                    return self.with_gate(link, channel, |served, index| served.inbox.deliver(index, failed));
                }
                self.counters.received(bytes.into());
                self.block_arrived(link, channel, pieces, bytes, crc, behind);
            }
            Note::Backlog(channel, backlog) => {
                self.with_gate(link, channel, |served, index| served.credit.backlog(index, backlog));
            }
            Note::Returned { channel, bytes, slots } => {
                drop(self.transport.withdraw_receives(link, channel, bytes, slots));
                self.with_gate(link, channel, |served, index| served.credit.returned(index, bytes));
            }
            Note::Deliver(channel, arrived) => {
                self.with_gate(link, channel, |served, index| served.inbox.deliver(index, arrived));
            }
            Note::Over(channel, last) => self.channel_over(link, channel, last),
        }
    }

    fn block_arrived(
        &mut self,
        link: LinkId,
        channel: ChannelId,
        pieces: Vec<Buffer>,
        bytes: u32,
        crc: u32,
        behind: Backlog,
    ) {
        self.with_gate(link, channel, |served, index| {
            served.credit.arrived(index, bytes.into(), behind);
            served.inbox.deliver(index, Arrived::Block { pieces, crc });
        });
    }

    fn with_gate(&mut self, link: LinkId, channel: ChannelId, act: impl FnOnce(&mut super::gates::ServedGate, u32)) {
        let Some(subscription) = self.links.get(link).and_then(|entry| entry.incoming.get(&channel)) else { return };
        let (gate, index) = (subscription.gate, subscription.channel);
        if let Some(served) = self.gates.get_mut(&gate) {
            act(served, index);
            self.links.dirty_gate(gate);
        }
    }

    /// Copies a payload that stood in a head into memory that was posted for its channel: the one documented extra copy.
    fn pack(&mut self, link: LinkId, channel: ChannelId, payload: &[u8]) -> Vec<Buffer> {
        let mut rest = payload;
        let mut pieces = Vec::new();
        for mut buffer in self.transport.withdraw_receives(link, channel, payload.len() as u64, 0) {
            let (part, behind) = rest.split_at(buffer.len().min(rest.len()));
            buffer[..part.len()].copy_from_slice(part);
            pieces.push(buffer.freeze());
            rest = behind;
        }
        pieces
    }

    /// Sends what there is to send, as far as the transport takes it. True if anything went out.
    pub(super) fn transmit(&mut self, now: Time) -> bool {
        let mut busy = false;
        while let Some(link) = self.links.next_dirty() {
            busy |= self.transmit_on(now, link);
        }
        busy
    }

    fn transmit_on(&mut self, now: Time, link: LinkId) -> bool {
        let mut busy = false;
        let Some(entry) = self.links.get(link) else { return false };
        loop {
            let message = match entry.refused.take() {
                Some(message) => message,
                None => {
                    entry.source.begin(entry.session.last_message() + 1);
                    let memory = std::mem::take(&mut entry.spare_head);
                    let Some(head) = entry.session.transmit(now, &mut entry.source, memory) else { break };
                    self.counters.sent(entry.source.block_bytes());
                    // Before the end goes out: who has read it finds the partition released.
                    for partition in entry.source.drained() {
                        self.manager.remove(partition);
                    }
                    Message { head, payloads: entry.source.payloads() }
                }
            };
            if let Err(message) = self.transport.send(link, message) {
                entry.refused = Some(message);
                break;
            }
            busy = true;
        }
        // Not before the farewell is on its way; but a peer that takes nothing more is closed without it.
        let said = entry.session.is_quiet() || entry.session.is_full() || entry.refused.is_some();
        let closing = entry.verdict.is_some() && said;
        if closing {
            self.transport.close(link);
        }
        busy
    }
}

/// What is to be done for an event of a session.
fn note(event: SessionEvent<'_>, payloads: &mut VecDeque<Landed>) -> Option<Note> {
    Some(match event {
        SessionEvent::Opened(channel, open) => Note::Opened(channel, open),
        SessionEvent::CancelRequested(channel) => Note::CancelRequested(channel),
        SessionEvent::Data(channel, block, placement) => {
            let pieces = match placement {
                Placement::Inline(payload) => Landing::Inline(payload.to_vec()),
                Placement::Body | Placement::Slot(_) => match payloads.pop_front() {
                    Some(Landed::Whole(buffer)) => Landing::Pieces(vec![buffer]),
                    Some(Landed::Pieces(pieces)) => Landing::Pieces(pieces),
                    Some(Landed::Discarded) | None => Landing::Lost,
                },
            };
            Note::Block { channel, pieces, bytes: block.length, crc: block.crc, behind: block.backlog }
        }
        SessionEvent::Skipped(_, placement) => {
            if !matches!(placement, Placement::Inline(_)) {
                payloads.pop_front();
            }
            return None;
        }
        SessionEvent::Backlog(channel, backlog) => Note::Backlog(channel, backlog),
        SessionEvent::Event { channel, kind, overtook, payload } => {
            let event = Event { kind, payload: payload.into() };
            Note::Deliver(
                channel,
                match overtook {
                    None => Arrived::Event(event),
                    Some(overtook) => Arrived::PriorityEvent { event, overtook },
                },
            )
        }
        SessionEvent::End(channel) => Note::Over(channel, Some(Arrived::End)),
        SessionEvent::Failed { channel, code, text } => {
            Note::Over(channel, Some(Arrived::Failed { code, text: text.into() }))
        }
        SessionEvent::Cancelled(channel) => Note::Over(channel, None),
        SessionEvent::Returned { channel, bytes, slots } => Note::Returned { channel, bytes, slots },
        // What comes after a reconnect; links are not restored yet.
        SessionEvent::Rewind { .. } | SessionEvent::Acknowledged { .. } | SessionEvent::Closing { .. } => return None,
    })
}
