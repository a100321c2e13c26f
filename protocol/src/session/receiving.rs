//! A channel at its consuming end: what was granted, what arrived, what has to be said.

use std::collections::VecDeque;

use super::violation::Violation;
use crate::credit::Credit;
use crate::defect::{self, Defect};
use crate::ids::ChannelId;
use crate::limits::Limits;
use crate::wire::{Block, Open, Placement, Resume, Slot};

#[derive(Clone, Debug, Hash)]
pub(super) struct Receiving {
    pub(super) open: Open,
    pub(super) cancelling: bool,
    /// The sequence number that is due.
    sequence: u64,
    /// Granted here is what the engine has set aside; the peer may know less of it.
    pub(super) credit: Credit,
    /// What the peer was told.
    announced: u64,
    /// The bytes of the next block, as far as the producer has said.
    next: u32,
    keep: u32,
    /// Slots are counted from 0 on each link.
    slots_granted: u64,
    slots_through: u64,
    events_received: u64,
    events_taken: u64,
    events_announced: u64,
    blocks: u64,
    bytes: u64,
    /// Stands in the session's control queue.
    pub(super) noted: bool,
    /// The request has gone out at least once: the peer may know the channel.
    pub(super) asked: bool,
    /// A wish to have credit back has been uttered; it has to be repeated after a reconnect.
    reclaimed: bool,
    pub(super) say_open: bool,
    pub(super) say_resume: bool,
    pub(super) say_grant: bool,
    pub(super) say_reclaim: bool,
    pub(super) say_cancel: bool,
    pub(super) say_slots: VecDeque<Slot>,
}

impl Receiving {
    pub(super) fn new(open: Open) -> Self {
        let mut credit = Credit::default();
        credit.grant(open.granted);
        Self {
            open,
            cancelling: false,
            sequence: open.first_sequence,
            credit,
            announced: open.granted,
            next: 0,
            keep: open.keep,
            slots_granted: 0,
            slots_through: 0,
            events_received: 0,
            events_taken: 0,
            events_announced: 0,
            blocks: 0,
            bytes: 0,
            noted: false,
            asked: false,
            reclaimed: false,
            say_open: true,
            say_resume: false,
            say_grant: false,
            say_reclaim: false,
            say_cancel: false,
            say_slots: VecDeque::new(),
        }
    }

    /// Adds credit. It is told at once when the producer has run dry, and otherwise at a quarter of the window.
    pub(super) fn grant(&mut self, bytes: u64) {
        self.credit.grant(bytes);
        self.say_grant |= self.grant_is_due();
    }

    /// What is outstanding may be under way as payload: when that arrives, a grant that could wait no longer can. Nor can
    /// one without which the next block cannot go, however much else there is.
    fn grant_is_due(&self) -> bool {
        let untold = self.credit.granted() - self.announced;
        let outstanding = self.credit.outstanding();
        let told = outstanding.saturating_sub(untold);
        untold > 0 && (untold.saturating_mul(4) >= outstanding || told < self.next.into())
    }

    /// The producer says how long its next block is.
    pub(super) fn announced(&mut self, next: u32) {
        self.next = next;
        self.say_grant |= self.grant_is_due();
    }

    pub(super) fn grant_slots(&mut self, slots: &[Slot]) {
        self.slots_granted += slots.len() as u64;
        let outstanding = self.slots_granted - self.slots_through;
        assert!(outstanding <= Limits::SLOTS_MAX, "{outstanding} slots of at most {}", Limits::SLOTS_MAX);
        self.say_slots.extend(slots);
    }

    /// What the producer may keep while idle; a smaller figure is told at once, with the wish to have the rest back.
    pub(super) fn reclaim(&mut self, keep: u32) {
        self.keep = keep;
        self.reclaimed = true;
        self.say_reclaim = true;
    }

    pub(super) fn may_keep(&mut self, keep: u32) {
        self.keep = keep;
        // Slots do not say it.
        self.say_grant = true;
    }

    /// Whether it is another than that of the request, so that it has to be said again on another link.
    pub(super) fn keep_has_changed(&self) -> bool {
        self.keep != self.open.keep
    }

    pub(super) fn keep(&self) -> u32 {
        self.keep
    }

    pub(super) fn take_event(&mut self) {
        self.events_taken += 1;
        assert!(self.events_taken <= self.events_received, "an event is taken once");
        if self.events_taken - self.events_announced >= Limits::EVENTS_MAX / 2 {
            self.say_grant = true;
        }
    }

    /// What a grant says: credit, and the room for events.
    pub(super) fn told(&mut self) -> (u64, u64) {
        self.announced = self.credit.granted();
        self.events_announced = self.events_taken;
        (self.announced, self.events_taken + Limits::EVENTS_MAX)
    }

    /// The number of the first slot in `say_slots`.
    pub(super) fn slot_first_untold(&self) -> u64 {
        self.slots_granted - self.say_slots.len() as u64
    }

    fn due(&mut self, channel: ChannelId, found: u64) -> Result<(), Violation> {
        let expected = self.sequence;
        if found != expected {
            return Err(Violation::Sequence { channel, found, expected });
        }
        self.sequence += 1;
        Ok(())
    }

    pub(super) fn data(&mut self, channel: ChannelId, block: &Block, at: Placement<'_>) -> Result<(), Violation> {
        self.due(channel, block.sequence)?;
        if let Placement::Slot(slot) = at {
            if slot != self.slots_through || slot >= self.slots_granted {
                let (expected, granted) = (self.slots_through, self.slots_granted);
                return Err(Violation::Slot { channel, found: slot, expected, granted });
            }
            self.slots_through += 1;
        } else if !self.credit.spend(block.length.into()) {
            return Err(Violation::Overdraft { channel, length: block.length, credit: self.credit.outstanding() });
        }
        self.blocks += 1;
        self.bytes += u64::from(block.length);
        self.announced(block.backlog.next);
        Ok(())
    }

    pub(super) fn event(&mut self, channel: ChannelId, sequence: u64, priority: bool) -> Result<(), Violation> {
        self.due(channel, sequence)?;
        self.events_received += 1;
        let window = self.events_taken + Limits::EVENTS_MAX + u64::from(priority);
        if self.events_received > window {
            return Err(Violation::EventWindow { channel, sent: self.events_received, window });
        }
        Ok(())
    }

    /// Whether the totals of the end are those of what arrived.
    pub(super) fn end(&mut self, channel: ChannelId, sequence: u64, totals: (u64, u64)) -> Result<bool, Violation> {
        self.due(channel, sequence)?;
        Ok(totals == (self.blocks, self.bytes))
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        (self.blocks, self.bytes)
    }

    /// Neither a block nor an event has come.
    pub(super) fn is_untouched(&self) -> bool {
        self.sequence == self.open.first_sequence
    }

    pub(super) fn has_something_to_say(&self) -> bool {
        let of_credit = self.say_grant || self.say_reclaim || !self.say_slots.is_empty();
        self.say_open || self.say_resume || self.say_cancel || (of_credit && !self.cancelling)
    }

    /// Bytes and slots that came back.
    pub(super) fn returned(&mut self, channel: ChannelId, bytes: u64, through: u64) -> Result<(u64, u64), Violation> {
        let bytes = self.credit.returned_through(bytes).ok_or(Violation::Returned { channel })?;
        if through > self.slots_granted {
            return Err(Violation::Returned { channel });
        }
        let slots = through.saturating_sub(self.slots_through);
        self.slots_through = self.slots_through.max(through);
        self.say_grant |= self.grant_is_due();
        Ok((bytes, slots))
    }

    /// The link is gone, and with it all credit: it was memory posted there.
    pub(super) fn link_lost(&mut self) {
        self.credit.return_above(0);
        // Or a request that is said again would grant what is void.
        self.open.granted = 0;
        self.next = 0;
        self.say_slots.clear();
        (self.slots_granted, self.slots_through) = (0, 0);
    }

    /// A new link: the channel is asked for again, should the request be lost, and says how far it came. So does one
    /// that the peer has never heard of: it too may have had credit that is void.
    pub(super) fn link_restored(&mut self) {
        self.say_open = true;
        self.say_resume = true;
        self.sequence -= u64::from(defect::is(Defect::DeliverTwiceAfterResume) && !self.is_untouched());
        self.say_reclaim = self.reclaimed;
        self.say_cancel = self.cancelling;
    }

    /// How far this side came.
    pub(super) fn resume(&mut self) -> Resume {
        let (granted, events) = self.told();
        Resume {
            received_through: self.sequence,
            granted,
            spent: self.credit.spent(),
            returned: self.credit.returned(),
            events,
            events_received: self.events_received,
        }
    }
}
