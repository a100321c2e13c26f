//! A channel at its producing end: what it may send, and what it has to say.

use std::collections::VecDeque;

use super::violation::Violation;
use crate::credit::Credit;
use crate::ids::ChannelId;
use crate::limits::Limits;
use crate::reason::ReasonCode;
use crate::wire::{Backlog, Open, Resume, Slot};

/// Where the channel stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// Asked for; the engine has not found the partition yet.
    Waiting,
    /// The engine has a reader for it.
    Serving,
    /// `Failed` has to go out.
    Failing(ReasonCode, Box<str>),
    /// `Cancelled` has to go out.
    Cancelling,
    /// The last frame has gone out in this message; kept until that is acknowledged, for a resume.
    Ended(u64, Last),
}

/// What a channel's last frame was: it may have to be said again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Last {
    /// An item of its source, which shows it again after a `Rewind`.
    OfSource,
    Failed(ReasonCode, Box<str>),
    Cancelled,
}

/// What blocks the next item of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    Credit,
    Events,
}

#[derive(Clone, Debug, Hash)]
pub(super) struct Sending {
    pub(super) state: State,
    /// After a reconnect: nothing goes out before the peer has said where it stands. What this side said on the old
    /// link may have closed the channel there.
    pub(super) resuming: bool,
    /// The sequence number of the next block or event.
    pub(super) sequence: u64,
    pub(super) credit: Credit,
    /// Unspent credit that may stay while the queue is empty.
    pub(super) keep: u64,
    slots: VecDeque<Slot>,
    /// The number of the first of `slots`, counted from 0 on each link.
    slot_first: u64,
    events_sent: u64,
    events_window: u64,
    /// What the peer was last told.
    announced: Backlog,
    /// Stands in the session's ready queue.
    pub(super) ready: bool,
    /// Stands in the session's control queue.
    pub(super) noted: bool,
    pub(super) say_backlog: Option<Backlog>,
    pub(super) say_return: bool,
}

impl Sending {
    pub(super) fn opened(open: &Open) -> Self {
        let mut credit = Credit::default();
        credit.grant(open.granted);
        Self {
            state: State::Waiting,
            resuming: false,
            sequence: open.first_sequence,
            credit,
            keep: open.keep.into(),
            slots: VecDeque::new(),
            slot_first: 0,
            events_sent: 0,
            events_window: Limits::EVENTS_MAX,
            announced: Backlog::default(),
            ready: false,
            noted: false,
            say_backlog: None,
            say_return: false,
        }
    }

    /// The same with a message number as its distance from `sent`; for models.
    pub(super) fn without_message_number(&self, sent: u64) -> Self {
        let mut same = self.clone();
        if let State::Ended(message, _) = &mut same.state {
            *message = sent + 1 - *message;
        }
        same
    }

    /// Whether blocks and events may go out.
    pub(super) fn is_served(&self) -> bool {
        self.state == State::Serving && !self.resuming
    }

    pub(super) fn grant(&mut self, granted: u64, events: u64, keep: u32) {
        self.credit.granted_through(granted);
        self.events_window = self.events_window.max(events);
        self.keep = keep.into();
    }

    /// Takes the slots that are not known yet: a repeated grant adds nothing.
    pub(super) fn grant_slots(
        &mut self,
        channel: ChannelId,
        first: u64,
        slots: impl Iterator<Item = Slot>,
    ) -> Result<(), Violation> {
        let known = self.slot_first + self.slots.len() as u64;
        if first > known {
            return Err(Violation::SlotsGranted { channel, found: first, expected: known });
        }
        let repeated = usize::try_from(known - first).unwrap_or(usize::MAX);
        self.slots.extend(slots.skip(repeated));
        if self.slots.len() as u64 > Limits::SLOTS_MAX {
            return Err(Violation::TooManySlots {
                channel,
                granted: self.slots.len() as u64,
                limit: Limits::SLOTS_MAX,
            });
        }
        Ok(())
    }

    /// Slots below this number are spent or returned.
    pub(super) fn slots_through(&self) -> u64 {
        self.slot_first
    }

    /// Spends credit for a block that goes in the stream.
    pub(super) fn spend_bytes(&mut self, length: u64) -> Result<(), Blocked> {
        if self.credit.spend(length) { Ok(()) } else { Err(Blocked::Credit) }
    }

    /// Spends a slot for a block of `length` bytes. One that is too small is no use: it goes back.
    pub(super) fn spend_slot(&mut self, length: u64) -> Result<(u64, Slot), Blocked> {
        while let Some(slot) = self.slots.pop_front() {
            let number = self.slot_first;
            self.slot_first += 1;
            if u64::from(slot.bytes) >= length {
                return Ok((number, slot));
            }
            self.say_return = true;
        }
        Err(Blocked::Credit)
    }

    /// All credit of the kind that a block of `length` bytes takes, if it is enough for that block.
    pub(super) fn credit_for(&self, length: u64, in_slot: bool) -> Option<u64> {
        if in_slot {
            let slots = self.slots.iter().map(|slot| u64::from(slot.bytes));
            return slots.clone().any(|bytes| bytes >= length).then(|| slots.sum());
        }
        Some(self.credit.outstanding()).filter(|credit| *credit >= length)
    }

    /// Events need no credit but room; a priority event has one place of its own.
    pub(super) fn spend_event(&mut self, priority: bool) -> Result<(), Blocked> {
        if self.events_sent >= self.events_window.saturating_add(priority.into()) {
            return Err(Blocked::Events);
        }
        self.events_sent += 1;
        Ok(())
    }

    /// Gives back what an idle channel need not hold, or what is too little for the block that waits: of the bytes all
    /// but `keep`, and the oldest slots until what is left has at most `keep` bytes.
    pub(super) fn return_credit(&mut self, keep: u64) {
        if self.credit.return_above(keep) > 0 {
            self.say_return = true;
        }
        let mut bytes: u64 = self.slots.iter().map(|slot| u64::from(slot.bytes)).sum();
        while bytes > keep
            && let Some(slot) = self.slots.pop_front()
        {
            bytes -= u64::from(slot.bytes);
            self.slot_first += 1;
            self.say_return = true;
        }
    }

    /// What the peer was told counts no more.
    pub(super) fn forget_announced(&mut self) {
        self.announced = Backlog::default();
    }

    /// Notes what to announce; false if the peer knows it already.
    pub(super) fn announce(&mut self, backlog: Backlog) -> bool {
        if self.announced == backlog {
            return false;
        }
        self.announced = backlog;
        self.say_backlog = Some(backlog);
        true
    }

    /// A data frame carries the backlog: nothing is left to announce.
    pub(super) fn announced_with_data(&mut self, backlog: Backlog) {
        self.announced = backlog;
        self.say_backlog = None;
    }

    /// The link is gone, and with it the slots that were granted on it. A last frame may have to be said again.
    pub(super) fn link_lost(&mut self) {
        self.ready = false;
        self.noted = false;
        self.resuming = true;
        self.slots.clear();
        self.slot_first = 0;
        if let State::Ended(_, last) = &mut self.state {
            self.state = match std::mem::replace(last, Last::OfSource) {
                Last::OfSource => State::Serving,
                Last::Failed(code, text) => State::Failing(code, text),
                Last::Cancelled => State::Cancelling,
            };
        }
    }

    /// Takes over what the consumer says after a reconnect; false if it contradicts what was sent.
    pub(super) fn resume(&mut self, resume: &Resume) -> bool {
        let Some(credit) = Credit::restored(resume.granted, resume.spent, resume.returned) else { return false };
        // A channel that is new here has no past: its request was lost with the old link.
        let known = self.resuming || self.state == State::Waiting;
        let through = resume.received_through;
        let possible = if self.state == State::Waiting { through == self.sequence } else { through <= self.sequence };
        if !known || !possible || resume.events_received > self.events_sent {
            return false;
        }
        self.resuming = false;
        self.credit = credit;
        self.sequence = through;
        self.events_sent = resume.events_received;
        self.events_window = self.events_window.max(resume.events);
        self.announced = Backlog::default();
        self.say_backlog = None;
        self.say_return = false;
        true
    }
}
