//! Composes the next message: what has to be said first, then data, round robin in turns of bounded bytes.

use super::event::{Next, Place, Source};
use super::sending::{Last, Sending, State};
use super::{Session, Speaker};
use crate::defect::{self, Defect};
use crate::ids::{ChannelId, Time};
use crate::wire::{Backlog, Block, Frame, HeadBuilder, Placement, SLOTS_MAX};

/// Control buffers that only window updates may use: with them an update always gets through.
pub(super) const UPDATES_RESERVED: u64 = 2;
/// What one channel may send before the next one has its turn, in bytes.
const TURN_BYTES: u32 = 128 * 1024;
/// Bodies in one message: with the head they must fit a scatter list of 1024.
const BODIES_MAX: usize = 512;
/// Room that all a channel has to say at once, but data and events, finds in a head: a request, a resume, a reclaim, a
/// grant and 64 slots.
const CONTROL_ROOM: usize = 1200;
/// The bytes of a data frame without its payload, rounded up.
const DATA_ROOM: usize = 64;
/// Bytes after which a receiver acknowledges without being asked: blocks up to here may wait at the sender.
const ACKNOWLEDGE_BYTES: u64 = 256 * 1024;

/// What the window of control buffers allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    Open,
    UpdatesOnly,
    Closed,
}

/// Why a channel's turn is over.
enum Turn {
    /// Nothing left, or nothing that may go.
    Done,
    /// There is more, and others wait.
    Over,
    /// The message is full.
    Full,
}

impl Session {
    /// The head of the next message, if there is something to say and the window allows. `source` is told which blocks
    /// go with it. `memory` is used for the head.
    pub fn transmit(&mut self, now: Time, source: &mut dyn Source, memory: Vec<u8>) -> Option<Vec<u8>> {
        let window = self.window();
        if window == Window::Closed {
            return None;
        }
        let mut head = HeadBuilder::new(memory);
        if window == Window::Open {
            self.speak(&mut head);
            self.send_data(source, &mut head);
            // Channels that ran dry or ran out of credit say so in the same message.
            self.speak(&mut head);
            self.say_goodbye(&mut head);
        }
        if head.frames() == 0 && !self.update_due(window) {
            return None;
        }
        // Nothing more to send: the blocks of this message, and of those before it that did not ask, would wait at the
        // sender for an acknowledgement that only more data would bring.
        let acknowledge = self.ready.is_empty() && (head.frames() > 0 || self.unasked > self.acknowledged);
        self.sent += 1;
        if acknowledge {
            self.unasked = 0;
        } else if head.frames() > 0 {
            self.unasked = self.sent;
        }
        self.received_told = self.received;
        self.bytes_untold = 0;
        self.acknowledge_now = false;
        self.last_sent = now;
        Some(head.finish(self.epoch, self.sent, self.received, acknowledge))
    }

    /// Whether the window of control buffers is used up: the peer has to acknowledge before anything more goes out.
    pub fn is_full(&self) -> bool {
        self.sent - self.acknowledged >= u64::from(self.limits.control_window)
    }

    /// Whether `transmit` has nothing to do until something happens.
    pub fn is_quiet(&self) -> bool {
        let window = self.window();
        let nothing_to_say =
            self.speakers.is_empty() && self.rejects.is_empty() && self.ready.is_empty() && self.closing.is_none();
        (window != Window::Open || nothing_to_say) && !self.update_due(window)
    }

    fn window(&self) -> Window {
        let under_way = self.sent - self.acknowledged;
        let window = u64::from(self.limits.control_window);
        if !self.linked || self.goodbye_said || under_way >= window {
            Window::Closed
        } else if under_way >= window - UPDATES_RESERVED {
            Window::UpdatesOnly
        } else {
            Window::Open
        }
    }

    /// Whether a message without frames has to go out.
    fn update_due(&self, window: Window) -> bool {
        let untold = self.received - self.received_told;
        let due = self.acknowledge_now
            || untold >= u64::from(self.limits.control_window) / 2
            || self.bytes_untold >= ACKNOWLEDGE_BYTES;
        match window {
            // A message whose frames left others waiting did not ask for an acknowledgement; then the others came to
            // nothing, and no later message asks in its place.
            Window::Open => due || (self.ready.is_empty() && self.unasked > self.acknowledged),
            // A heartbeat that tells nothing new may not take a reserved place: were they full on both sides, neither
            // could tell the other that they are free again.
            Window::UpdatesOnly => due && untold > 0,
            Window::Closed => false,
        }
    }

    fn room(&self, head: &HeadBuilder, bytes: usize) -> bool {
        head.bytes() + bytes <= self.limits.head_bytes_max as usize && head.frames() < u16::MAX - 8
    }

    fn say_goodbye(&mut self, head: &mut HeadBuilder) {
        if self.room(head, CONTROL_ROOM)
            && let Some((code, text)) = self.closing.take()
        {
            head.push(&Frame::Close { code, text: &text });
            self.goodbye_said = true;
        }
    }

    // ── Control ─────────────────────────────────────────────────────────────────────────────────────────────────

    fn speak(&mut self, head: &mut HeadBuilder) {
        while self.room(head, CONTROL_ROOM)
            && let Some(channel) = self.rejects.pop_front()
        {
            head.push(&Frame::Reject { channel });
        }
        while self.room(head, CONTROL_ROOM) {
            match self.speakers.pop_front() {
                None => return,
                Some(Speaker::Resumed) => head.push(&Frame::Resumed),
                Some(Speaker::Receiver(channel)) => self.speak_as_receiver(channel, head),
                Some(Speaker::Sender(channel)) => self.speak_as_sender(channel, head),
            }
        }
    }

    fn speak_as_receiver(&mut self, channel: ChannelId, head: &mut HeadBuilder) {
        let Some(receiving) = self.receiving.get_mut(&channel) else { return };
        receiving.noted = false;
        if std::mem::take(&mut receiving.say_open) {
            receiving.asked = true;
            head.push(&Frame::Open(channel, receiving.open));
            // The request carries the first credit; what was granted since has to be said.
            receiving.say_grant |= receiving.credit.granted() > receiving.open.granted;
        }
        // A cancelled channel skips what arrives, so it could not say from where to go on.
        if std::mem::take(&mut receiving.say_resume) && !receiving.cancelling {
            head.push(&Frame::Resume(channel, receiving.resume()));
            receiving.say_grant = receiving.keep_has_changed();
        }
        if std::mem::take(&mut receiving.say_cancel) {
            head.push(&Frame::Cancel { channel });
            if defect::is(Defect::SkipCancelHandshake) {
                self.receiving.remove(&channel);
            }
            return;
        }
        if receiving.cancelling {
            return;
        }
        if std::mem::take(&mut receiving.say_reclaim) {
            head.push(&Frame::Reclaim { channel, keep: receiving.keep() });
        }
        if std::mem::take(&mut receiving.say_grant) {
            let (granted, events) = receiving.told();
            if !defect::drops_grant(channel, granted, events) {
                head.push(&Frame::Grant { channel, granted, events, keep: receiving.keep() });
            }
        }
        if !receiving.say_slots.is_empty() {
            let first = receiving.slot_first_untold();
            let mut slots = Vec::with_capacity(16 * receiving.say_slots.len().min(SLOTS_MAX));
            while slots.len() < 16 * SLOTS_MAX
                && let Some(slot) = receiving.say_slots.pop_front()
            {
                slots.extend_from_slice(&slot.address.to_le_bytes());
                slots.extend_from_slice(&slot.key.to_le_bytes());
                slots.extend_from_slice(&slot.bytes.to_le_bytes());
            }
            head.push(&Frame::GrantSlots { channel, first, epoch: self.epoch, slots: &slots });
        }
        self.note_receiver(channel);
    }

    fn speak_as_sender(&mut self, channel: ChannelId, head: &mut HeadBuilder) {
        let message = self.sent + 1;
        let Some(sending) = self.sending.get_mut(&channel) else { return };
        sending.noted = false;
        if sending.resuming {
            return;
        }
        match &mut sending.state {
            State::Failing(code, text) => {
                head.push(&Frame::Failed { channel, code: *code, text });
                let last = Last::Failed(*code, std::mem::take(text));
                sending.state = State::Ended(message, last);
                self.ended.push_back((message, channel));
            }
            State::Cancelling => {
                head.push(&Frame::Cancelled { channel });
                sending.state = State::Ended(message, Last::Cancelled);
                self.ended.push_back((message, channel));
            }
            State::Serving | State::Waiting => {
                if std::mem::take(&mut sending.say_return) {
                    let (returned, slots_through) = (sending.credit.returned(), sending.slots_through());
                    head.push(&Frame::Return { channel, returned, slots_through });
                }
                if let Some(backlog) = sending.say_backlog.take() {
                    head.push(&Frame::Backlog(channel, backlog));
                }
            }
            State::Ended(..) => {}
        }
    }

    // ── Data ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn send_data(&mut self, source: &mut dyn Source, head: &mut HeadBuilder) {
        let mut bodies = 0;
        while let Some(channel) = self.ready.pop_front() {
            match self.take_turn(channel, source, head, &mut bodies) {
                Turn::Done => {
                    if let Some(sending) = self.sending.get_mut(&channel) {
                        sending.ready = false;
                    }
                }
                Turn::Over => self.ready.push_back(channel),
                Turn::Full => return self.ready.push_front(channel),
            }
        }
    }

    fn take_turn(
        &mut self,
        channel: ChannelId,
        source: &mut dyn Source,
        head: &mut HeadBuilder,
        bodies: &mut usize,
    ) -> Turn {
        let mut turn_bytes = 0;
        loop {
            let Some(sending) = self.sending.get_mut(&channel).filter(|sending| sending.is_served()) else {
                return Turn::Done;
            };
            if defect::is(Defect::StarveChannel) && channel.0 % 4 == 3 {
                return Turn::Done;
            }
            let sequence = sending.sequence;
            // First what comes, then whether it fits: a channel that has nothing must not count as one that waits.
            let Some(next) = source.peek(channel) else {
                // What was announced may have been taken back to where it is read from: it is announced again.
                sending.forget_announced();
                sending.return_credit(sending.keep);
                if sending.say_return {
                    self.note_sender(channel);
                }
                return Turn::Done;
            };
            if !self.room(head, CONTROL_ROOM) {
                return Turn::Full;
            }
            match next {
                Next::Block { payload, crc, behind } => {
                    let length = payload.len() as u32;
                    if turn_bytes > 0 && turn_bytes + length > TURN_BYTES {
                        return Turn::Over;
                    }
                    match self.send_block(channel, (payload, crc, behind), head, bodies) {
                        Ok(place) => source.take(channel, sequence, place),
                        Err(over) => return over,
                    }
                    turn_bytes += length;
                }
                Next::Absent { bytes, behind } => {
                    let in_slot = bytes > self.limits.inline_bytes_max && self.remote_placement;
                    let sending = self.sending.get_mut(&channel).expect("the channel whose turn it is");
                    match sending.credit_for(bytes.into(), in_slot) {
                        Some(credit) => {
                            source.fetch(channel, credit);
                            return Turn::Done;
                        }
                        None => return self.wait_for_credit(channel, bytes, behind),
                    }
                }
                Next::Event { kind, overtook, payload } => {
                    if !self.room(head, DATA_ROOM + payload.len() + CONTROL_ROOM) {
                        return Turn::Full;
                    }
                    let sending = self.sending.get_mut(&channel).expect("the channel whose turn it is");
                    if sending.spend_event(overtook.is_some()).is_err() {
                        return Turn::Done;
                    }
                    head.push(&Frame::Event { channel, sequence, kind, overtook, payload });
                    sending.sequence += 1;
                    source.take(channel, sequence, Place::Head);
                }
                Next::End { blocks, bytes } => {
                    head.push(&Frame::End { channel, sequence, blocks, bytes });
                    return self.ended(channel, source);
                }
                Next::Failed { code, text } => {
                    head.push(&Frame::Failed { channel, code, text });
                    return self.ended(channel, source);
                }
            }
        }
    }

    fn send_block(
        &mut self,
        channel: ChannelId,
        (payload, crc, behind): (&[u8], u32, Backlog),
        head: &mut HeadBuilder,
        bodies: &mut usize,
    ) -> Result<Place, Turn> {
        let limit = self.limits.block_bytes_max;
        assert!((1..=limit as usize).contains(&payload.len()), "a block of {} bytes, agreed {limit}", payload.len());
        let length = payload.len() as u32;
        let inline = length <= self.limits.inline_bytes_max;
        let in_slot = !inline && self.remote_placement;
        let in_head = if inline { payload.len() } else { 0 };
        let fits = self.room(head, DATA_ROOM + in_head + CONTROL_ROOM)
            && (inline || in_slot || fits_body(head, *bodies, length, self.limits.body_bytes_max));
        if !fits {
            return Err(Turn::Full);
        }
        let sending = self.sending.get_mut(&channel).expect("the channel whose turn it is");
        let paid = if in_slot {
            sending.spend_slot(length.into()).map(|(number, slot)| (Placement::Slot(number), Place::Slot(slot)))
        } else {
            sending.spend_bytes(length.into()).map(|()| match inline {
                true => (Placement::Inline(payload), Place::Head),
                false => (Placement::Body, Place::Body),
            })
        };
        let Ok((placement, place)) = paid else { return Err(self.wait_for_credit(channel, length, behind)) };
        if let Placement::Slot(number) = placement {
            return_skipped_slots(channel, sending, number, head);
        }
        let block = Block { sequence: sending.sequence, length, crc, codec: 0, backlog: behind };
        head.push(&Frame::Data(channel, block, placement));
        *bodies += usize::from(placement == Placement::Body);
        sending.sequence += 1;
        sending.announced_with_data(behind);
        Ok(place)
    }

    /// The producer tells what it has, and gives back what is too little for it: held, it might be what another
    /// channel of the same gate needs.
    fn wait_for_credit(&mut self, channel: ChannelId, next: u32, behind: Backlog) -> Turn {
        let sending = self.sending.get_mut(&channel).expect("the channel whose turn it is");
        let backlog =
            Backlog { bytes: behind.bytes.saturating_add(next), blocks: behind.blocks.saturating_add(1), next };
        sending.return_credit(sending.keep);
        if sending.say_return {
            // The consumer takes what is returned for the end of what it knew.
            sending.forget_announced();
        }
        if sending.announce(backlog) || sending.say_return {
            self.note_sender(channel);
        }
        Turn::Done
    }

    fn ended(&mut self, channel: ChannelId, source: &mut dyn Source) -> Turn {
        let message = self.sent + 1;
        let sending = self.sending.get_mut(&channel).expect("the channel whose turn it is");
        source.take(channel, sending.sequence, Place::Head);
        sending.state = State::Ended(message, Last::OfSource);
        self.ended.push_back((message, channel));
        Turn::Done
    }
}

/// The consumer expects slots in order: those that were too small for the block come back before it.
fn return_skipped_slots(channel: ChannelId, sending: &mut Sending, number: u64, head: &mut HeadBuilder) {
    if std::mem::take(&mut sending.say_return) {
        head.push(&Frame::Return { channel, returned: sending.credit.returned(), slots_through: number });
    }
}

fn fits_body(head: &HeadBuilder, bodies: usize, length: u32, limit: u32) -> bool {
    bodies < BODIES_MAX && length <= limit - head.body_bytes()
}
