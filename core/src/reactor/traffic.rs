//! What comes over the links, and what goes out.

use std::collections::VecDeque;

use sluice_memory::Buffer;
use sluice_plugin::{Landed, LinkId, Message, PayloadPlacement, TransportEvent};
use sluice_protocol::wire::{Backlog, Head, Open, Placement};
use sluice_protocol::{ChannelId, ReasonCode, SessionEvent, Time};

use super::Reactor;
use super::source::Rewound;
use crate::block::Event;
use crate::gate::Arrived;
use crate::mailbox::SessionId;

/// Frames from which a message is answered at once.
const BUSY_FRAMES: u16 = 256;

/// What a message asks of the reactor, noted while the session reads it and done afterwards.
enum Note {
    Opened(ChannelId, Open),
    CancelRequested(ChannelId),
    /// It wants again, from this item on, what has to be read again.
    ReadAgain(ChannelId, u64),
    Unrewindable(ChannelId),
    Block {
        channel: ChannelId,
        pieces: Landing,
        in_slot: bool,
        bytes: u32,
        crc: u32,
        behind: Backlog,
    },
    Backlog(ChannelId, Backlog),
    Returned {
        channel: ChannelId,
        bytes: u64,
        slots: u64,
    },
    Deliver(ChannelId, Arrived),
    Over(ChannelId, Option<Arrived>),
}

impl Note {
    /// Whether it brings a channel on. Some others are said anew on every link.
    fn gets_on(&self) -> bool {
        matches!(self, Note::Opened(..) | Note::Block { .. } | Note::Deliver(..) | Note::Over(..))
    }
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
                if let Some(session) = self.sessions.on_link(link) {
                    self.sessions.touch(session);
                }
            }
            TransportEvent::Closed { link, cause } => self.link_down(now, link, &cause),
        }
        busy
    }

    fn received(&mut self, now: Time, link: LinkId, head: Head, mut payloads: VecDeque<Landed>) {
        // What a link still brings after its session has gone over to another is not for anybody.
        let Some(session) = self.sessions.on_link(link) else { return };
        let Some(entry) = self.sessions.touch(session) else { return };
        if entry.verdict.is_some() {
            return;
        }
        let (mut notes, mut acknowledged) = (Vec::new(), false);
        let (source, farewell) = (&mut entry.source, &mut entry.farewell);
        let result = entry.session.handle_head(now, &head, |event| match event {
            SessionEvent::Acknowledged { through } => acknowledged |= source.acknowledged(through),
            SessionEvent::Rewind { channel, sequence } => match source.rewind(channel, sequence) {
                Rewound::GoesOn => {}
                Rewound::ReadsAgain => notes.push(Note::ReadAgain(channel, sequence)),
                Rewound::Impossible => notes.push(Note::Unrewindable(channel)),
            },
            SessionEvent::Closing { code, text } => *farewell = Some((code, text.into())),
            event => notes.extend(note(event, &mut payloads)),
        });
        entry.spare_head = head.into_bytes();
        entry.heard(acknowledged || notes.iter().any(Note::gets_on));
        for note in notes {
            self.act(now, session, note);
        }
        if let Err(violation) = result {
            tracing::warn!(link = link.0, %violation, "the peer broke the protocol");
            self.sessions.violated(session, &violation);
        }
    }

    fn act(&mut self, now: Time, session: SessionId, note: Note) {
        match note {
            Note::Opened(channel, open) => self.channel_opened(now, session, channel, open),
            Note::CancelRequested(channel) => {
                self.timers.forget(session, Some(channel));
                let Some(entry) = self.sessions.get(session) else { return };
                let why = format!("its task on node {} has dropped its gate", entry.peer.node);
                if let Some(partition) = entry.source.detach(channel, &why) {
                    self.manager.remove(partition);
                }
            }
            Note::ReadAgain(channel, sequence) => self.serve_again(session, channel, sequence),
            Note::Unrewindable(channel) => {
                let text = "the consumer wants again what it had acknowledged";
                self.refuse(session, channel, ReasonCode::Violation, text);
            }
            Note::Block { channel, pieces, in_slot, bytes, crc, behind } => {
                let pieces = match pieces {
                    Landing::Pieces(pieces) => pieces,
                    Landing::Inline(payload) => self.pack(session, channel, &payload),
                    Landing::Lost => Vec::new(),
                };
                if pieces.iter().map(|piece| piece.len()).sum::<usize>() != bytes as usize {
                    let text = "a block found no memory although its credit was granted".into();
                    let failed = Arrived::Failed { code: ReasonCode::Violation, text };
                    return self.with_gate(session, channel, |served, index| served.inbox.deliver(index, failed));
                }
                self.counters.received(bytes.into());
                self.block_arrived(session, channel, (pieces, crc), in_slot, behind);
            }
            Note::Backlog(channel, backlog) => {
                let remote = self.placement == PayloadPlacement::Remote;
                self.with_gate(session, channel, |served, index| {
                    let limit = served.credit.slot_bytes_max();
                    if remote && backlog.next > limit {
                        let bytes = backlog.next;
                        let text = format!(
                            "a block of {bytes} bytes, but a slot here has at most {limit}: let all workers have the \
                             same memory.buffer_bytes"
                        );
                        let failed = Arrived::Failed { code: ReasonCode::BlockTooLong, text: text.into() };
                        return served.inbox.deliver(index, failed);
                    }
                    served.credit.backlog(index, backlog);
                    served.look_at_starving(index);
                });
            }
            Note::Returned { channel, bytes, slots } => self.credit_returned(session, channel, bytes, slots),
            Note::Deliver(channel, arrived) => {
                self.with_gate(session, channel, |served, index| served.inbox.deliver(index, arrived));
            }
            Note::Over(channel, last) => self.channel_over(session, channel, last),
        }
    }

    fn block_arrived(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        (pieces, crc): (Vec<Buffer>, u32),
        in_slot: bool,
        behind: Backlog,
    ) {
        let incoming = self.sessions.get(session).and_then(|entry| entry.incoming.get_mut(&channel));
        let slot = if in_slot { incoming.and_then(|incoming| incoming.slots.pop_front()) } else { None };
        self.with_gate(session, channel, |served, index| {
            let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
            match slot {
                Some(slot) => served.credit.arrived_in_slot(index, bytes, slot.into(), behind),
                None => served.credit.arrived(index, bytes, behind),
            }
            served.look_at_starving(index);
            served.inbox.deliver(index, Arrived::Block { pieces, crc });
        });
    }

    /// The producer has given credit back, and with it the memory that was set aside for it.
    fn credit_returned(&mut self, session: SessionId, channel: ChannelId, bytes: u64, slots: u64) {
        let Some(entry) = self.sessions.get(session) else { return };
        if let Some(link) = entry.link() {
            drop(self.transport.withdraw_receives(link, channel, bytes, slots));
        }
        let mut slot_bytes = 0;
        if let Some(incoming) = entry.incoming.get_mut(&channel) {
            drop(incoming.take_reserve(bytes as usize, false));
            let count = (slots as usize).min(incoming.slots.len());
            slot_bytes = incoming.slots.drain(..count).map(u64::from).sum();
        }
        self.with_gate(session, channel, |served, index| served.credit.returned(index, bytes, slots, slot_bytes));
    }

    pub(super) fn with_gate(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        act: impl FnOnce(&mut super::gates::ServedGate, u32),
    ) {
        let Some(incoming) = self.sessions.get(session).and_then(|entry| entry.incoming.get(&channel)) else { return };
        let (gate, index) = (incoming.subscription.gate, incoming.subscription.channel);
        if let Some(served) = self.gates.get_mut(&gate) {
            act(served, index);
            self.sessions.dirty_gate(gate);
        }
    }

    /// Copies a payload that stood in a head into memory that was set aside for its channel: the one documented extra
    /// copy.
    fn pack(&mut self, session: SessionId, channel: ChannelId, payload: &[u8]) -> Vec<Buffer> {
        let Some(entry) = self.sessions.get(session) else { return Vec::new() };
        let memory = match (self.placement, entry.link()) {
            (PayloadPlacement::Remote, _) => match entry.incoming.get_mut(&channel) {
                Some(incoming) => incoming.take_reserve(payload.len(), true),
                None => Vec::new(),
            },
            (_, Some(link)) => self.transport.withdraw_receives(link, channel, payload.len() as u64, 0),
            (_, None) => Vec::new(),
        };
        let mut rest = payload;
        let mut pieces = Vec::new();
        for mut buffer in memory {
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
        while let Some(session) = self.sessions.next_dirty() {
            busy |= self.transmit_in(now, session);
        }
        busy
    }

    fn transmit_in(&mut self, now: Time, session: SessionId) -> bool {
        let mut busy = false;
        let Some(entry) = self.sessions.get(session) else { return false };
        let Some(link) = entry.link() else { return false };
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
            let in_slot = matches!(placement, Placement::Slot(_));
            Note::Block { channel, pieces, in_slot, bytes: block.length, crc: block.crc, behind: block.backlog }
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
        SessionEvent::Acknowledged { .. } | SessionEvent::Rewind { .. } | SessionEvent::Closing { .. } => return None,
    })
}
