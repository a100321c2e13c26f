//! One session: all channels between this node and a peer on one lane, in both directions.

mod event;
mod model;
mod receiving;
mod sending;
mod transmit;
mod violation;

use std::collections::{HashMap, VecDeque};

pub use event::{Next, Place, SessionEvent, Source};
pub use violation::Violation;

use crate::credit::Credit;
use crate::defect::{self, Defect};
use crate::ids::{ChannelId, LinkEpoch, Time};
use crate::limits::Limits;
use crate::reason::ReasonCode;
use crate::wire::{Block, Frame, Head, Open, Placement, Resume, Slot};
use receiving::Receiving;
use sending::{Last, Sending, State};

/// Channels nobody gave out that are named to the peer in one go; it hears of the others when it goes on with them.
const REJECTS_MAX: usize = 64;

/// Who has something to say outside the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Speaker {
    Receiver(ChannelId),
    Sender(ChannelId),
    /// After a reconnect, behind all channels that go on.
    Resumed,
}

/// The state of all channels between two nodes on one lane.
#[derive(Clone, Debug)]
pub struct Session {
    limits: Limits,
    epoch: LinkEpoch,
    /// Whether payloads above the inline size go into granted slots.
    remote_placement: bool,
    linked: bool,
    next_channel: u32,
    receiving: HashMap<ChannelId, Receiving>,
    sending: HashMap<ChannelId, Sending>,
    /// Channels with something to say, once each.
    speakers: VecDeque<Speaker>,
    /// Channels of the peer's that this side does not know; few, once each.
    rejects: VecDeque<ChannelId>,
    /// Channels that may have data and credit, once each, in the order in which they are served.
    ready: VecDeque<ChannelId>,
    /// Channels whose last frame is under way, with its message: forgotten when that is acknowledged.
    ended: VecDeque<(u64, ChannelId)>,
    /// Messages sent in this link epoch.
    sent: u64,
    /// Of those, what the peer has received.
    acknowledged: u64,
    /// Messages received in this link epoch.
    received: u64,
    /// Of those, what the peer has been told.
    received_told: u64,
    /// Bytes received since the peer was told.
    bytes_untold: u64,
    acknowledge_now: bool,
    /// The last message with frames that did not ask for an acknowledgement; 0 if a later one did.
    unasked: u64,
    last_sent: Time,
    last_heard: Time,
    closing: Option<(ReasonCode, String)>,
    goodbye_said: bool,
    /// After a reconnect the peer names its channels, and says once that these were all.
    awaits_resumed: bool,
}

impl Session {
    /// A session on a link that is up. `remote_placement`: payloads above the inline size are written into slots.
    pub fn new(limits: Limits, epoch: LinkEpoch, remote_placement: bool, now: Time) -> Self {
        assert_eq!(limits.check(), Ok(()), "the handshake has checked what both sides agreed on");
        Self {
            limits,
            epoch,
            remote_placement,
            linked: true,
            next_channel: 0,
            receiving: HashMap::new(),
            sending: HashMap::new(),
            speakers: VecDeque::new(),
            rejects: VecDeque::new(),
            ready: VecDeque::new(),
            ended: VecDeque::new(),
            sent: 0,
            acknowledged: 0,
            received: 0,
            received_told: 0,
            bytes_untold: 0,
            acknowledge_now: false,
            unasked: 0,
            last_sent: now,
            last_heard: now,
            closing: None,
            goodbye_said: false,
            awaits_resumed: false,
        }
    }

    // ── Commands of the consuming side ──────────────────────────────────────────────────────────────────────────

    /// Whether one more channel may be opened: the agreed limit counts those that this side receives.
    pub fn can_open(&self) -> bool {
        self.receiving.len() < self.limits.channels_max as usize
    }

    /// Asks the peer for a subpartition and gives the channel its id. Only while `can_open`.
    pub fn open(&mut self, open: Open) -> ChannelId {
        assert!(self.can_open(), "{} channels are open, agreed {}", self.receiving.len(), self.limits.channels_max);
        let channel = loop {
            let channel = ChannelId(self.next_channel);
            self.next_channel = self.next_channel.wrapping_add(1);
            if !self.receiving.contains_key(&channel) {
                break channel;
            }
        };
        self.receiving.insert(channel, Receiving::new(open));
        self.note_receiver(channel);
        channel
    }

    /// Adds byte credit: memory that is set aside already.
    pub fn grant(&mut self, channel: ChannelId, bytes: u64) {
        self.change_receiver(channel, |receiving| receiving.grant(bytes));
    }

    /// Adds slots: remote memory that is set aside already. At most [`Limits::SLOTS_MAX`] of a channel are outstanding.
    pub fn grant_slots(&mut self, channel: ChannelId, slots: &[Slot]) {
        self.change_receiver(channel, |receiving| receiving.grant_slots(slots));
    }

    /// Asks for unspent credit back, all but `keep` bytes; `Returned` follows if there is any.
    pub fn reclaim(&mut self, channel: ChannelId, keep: u32) {
        self.change_receiver(channel, |receiving| receiving.reclaim(keep));
    }

    /// What the producer may keep while it has nothing to send is another now, and not less.
    pub fn keep(&mut self, channel: ChannelId, keep: u32) {
        self.change_receiver(channel, |receiving| receiving.may_keep(keep));
    }

    /// The consuming task has taken an event out of its gate.
    pub fn take_event(&mut self, channel: ChannelId) {
        self.change_receiver(channel, Receiving::take_event);
    }

    /// Takes nothing more. True if the peer never heard of the channel, which is then closed at once; else `Cancelled`,
    /// `End` or `Failed` follows.
    pub fn cancel(&mut self, channel: ChannelId) -> bool {
        let Some(receiving) = self.receiving.get_mut(&channel) else { return true };
        if !receiving.asked {
            self.receiving.remove(&channel);
            return true;
        }
        if !receiving.cancelling {
            receiving.cancelling = true;
            receiving.say_cancel = true;
            self.note_receiver(channel);
        }
        defect::is(Defect::SkipCancelHandshake)
    }

    // ── Commands of the producing side ──────────────────────────────────────────────────────────────────────────

    /// The engine has a reader for what the peer opened.
    pub fn serve(&mut self, channel: ChannelId) {
        if let Some(sending) = self.sending.get_mut(&channel).filter(|sending| sending.state == State::Waiting) {
            sending.state = State::Serving;
            self.data_ready(channel);
        }
    }

    /// The channel's reader has, or may have, something new.
    pub fn data_ready(&mut self, channel: ChannelId) {
        if let Some(sending) = self.sending.get_mut(&channel).filter(|sending| sending.is_served())
            && !sending.ready
        {
            sending.ready = true;
            self.ready.push_back(channel);
        }
    }

    /// The channel cannot be served, or not any more.
    pub fn fail(&mut self, channel: ChannelId, code: ReasonCode, text: &str) {
        let Some(sending) = self.sending.get_mut(&channel) else { return };
        match &mut sending.state {
            // Its end is under way. Should that be lost with the link, there is no source any more to show it again.
            State::Ended(_, last @ Last::OfSource) => *last = Last::Failed(code, text.into()),
            State::Ended(..) | State::Cancelling => {}
            _ => {
                sending.state = State::Failing(code, text.into());
                self.note_sender(channel);
            }
        }
    }

    /// Says goodbye in the next message; nothing goes out behind it.
    pub fn close(&mut self, code: ReasonCode, text: impl Into<String>) {
        self.closing.get_or_insert((code, text.into()));
    }

    // ── What happened ───────────────────────────────────────────────────────────────────────────────────────────

    /// A message has arrived whole, its bodies included.
    pub fn handle_head<F>(&mut self, now: Time, head: &Head, mut engine: F) -> Result<(), Violation>
    where
        F: FnMut(SessionEvent<'_>),
    {
        let prefix = head.prefix();
        if !self.linked {
            return Err(Violation::NotLinked);
        }
        if prefix.epoch != self.epoch {
            return Err(Violation::Epoch { found: prefix.epoch, expected: self.epoch });
        }
        if prefix.message != self.received + 1 {
            return Err(Violation::MessageOrder { found: prefix.message, expected: self.received + 1 });
        }
        self.received += 1;
        self.last_heard = now;
        self.check_control_window(prefix.update_only)?;
        self.bytes_untold += u64::from(prefix.head_bytes) + u64::from(prefix.body_bytes);
        self.acknowledge_now |= prefix.acknowledge;
        self.handle_acknowledged(prefix.received, &mut engine)?;
        for frame in head.frames() {
            self.handle_frame(frame, &mut engine)?;
        }
        Ok(())
    }

    fn check_control_window(&self, update_only: bool) -> Result<(), Violation> {
        let outstanding = self.received - self.received_told;
        let window = self.limits.control_window;
        let allowed = if update_only { u64::from(window) } else { u64::from(window) - transmit::UPDATES_RESERVED };
        if outstanding <= allowed { Ok(()) } else { Err(Violation::ControlWindow { outstanding, window }) }
    }

    fn handle_acknowledged<F: FnMut(SessionEvent<'_>)>(
        &mut self,
        through: u64,
        engine: &mut F,
    ) -> Result<(), Violation> {
        if through > self.sent {
            return Err(Violation::Acknowledged { found: through, sent: self.sent });
        }
        if through > self.acknowledged {
            self.acknowledged = through;
            while let Some((_, channel)) = self.ended.pop_front_if(|(message, _)| *message <= through) {
                if self.sending.get(&channel).is_some_and(|sending| matches!(sending.state, State::Ended(..))) {
                    self.sending.remove(&channel);
                }
            }
            engine(SessionEvent::Acknowledged { through });
        }
        Ok(())
    }

    fn handle_frame<F: FnMut(SessionEvent<'_>)>(&mut self, frame: Frame<'_>, engine: &mut F) -> Result<(), Violation> {
        match frame {
            Frame::Open(channel, open) => self.handle_open(channel, open, engine)?,
            Frame::Grant { channel, granted, events, keep } => {
                if let Some(sending) = self.sending.get_mut(&channel) {
                    sending.grant(granted, events, keep);
                    self.data_ready(channel);
                }
            }
            Frame::GrantSlots { channel, first, epoch, slots } => {
                // Slots of another link are void: they may have been given to somebody else since.
                if let Some(sending) = self.sending.get_mut(&channel).filter(|_| epoch == self.epoch) {
                    sending.grant_slots(channel, first, Frame::slots(slots))?;
                    self.data_ready(channel);
                }
            }
            Frame::Reclaim { channel, keep } => {
                if let Some(sending) = self.sending.get_mut(&channel) {
                    sending.keep = keep.into();
                    sending.return_credit(keep.into());
                    if sending.say_return {
                        sending.forget_announced();
                        self.note_sender(channel);
                        self.data_ready(channel);
                    }
                }
            }
            Frame::Cancel { channel } => self.handle_cancel(channel, engine),
            Frame::Reject { channel } => self.handle_reject(channel, engine),
            Frame::Resume(channel, resume) => self.handle_resume(channel, resume, engine)?,
            Frame::Resumed => self.handle_resumed(engine),
            Frame::Data(channel, block, placement) => self.handle_data(channel, block, placement, engine)?,
            Frame::Backlog(channel, backlog) => {
                if let Some(receiving) = self.receiving.get_mut(&channel).filter(|receiving| !receiving.cancelling) {
                    receiving.announced(backlog.next);
                    engine(SessionEvent::Backlog(channel, backlog));
                    self.note_receiver(channel);
                }
            }
            Frame::Event { channel, sequence, kind, overtook, payload } => match self.receiving.get_mut(&channel) {
                Some(receiving) if receiving.cancelling => {}
                Some(receiving) => {
                    receiving.event(channel, sequence, overtook.is_some())?;
                    engine(SessionEvent::Event { channel, kind, overtook, payload });
                }
                None => self.reject(channel),
            },
            Frame::End { channel, sequence, blocks, bytes } => {
                self.handle_end(channel, sequence, (blocks, bytes), engine)?;
            }
            Frame::Failed { channel, code, text } => {
                if let Some(receiving) = self.receiving.remove(&channel) {
                    engine(match receiving.cancelling {
                        true => SessionEvent::Cancelled(channel),
                        false => SessionEvent::Failed { channel, code, text },
                    });
                }
            }
            Frame::Cancelled { channel } => {
                if let Some(receiving) = self.receiving.remove(&channel) {
                    let (code, text) = (ReasonCode::Violation, "the producer stopped although nobody had cancelled");
                    engine(match receiving.cancelling {
                        true => SessionEvent::Cancelled(channel),
                        false => SessionEvent::Failed { channel, code, text },
                    });
                }
            }
            Frame::Return { channel, returned, slots_through } => {
                if let Some(receiving) = self.receiving.get_mut(&channel).filter(|receiving| !receiving.cancelling) {
                    let (bytes, slots) = receiving.returned(channel, returned, slots_through)?;
                    engine(SessionEvent::Returned { channel, bytes, slots });
                    self.note_receiver(channel);
                }
            }
            Frame::Close { code, text } => engine(SessionEvent::Closing { code, text }),
        }
        Ok(())
    }

    fn handle_open<F>(&mut self, channel: ChannelId, open: Open, engine: &mut F) -> Result<(), Violation>
    where
        F: FnMut(SessionEvent<'_>),
    {
        match self.sending.get(&channel) {
            // The consumer cannot know whether its first request came through before the link broke. A resume follows.
            Some(sending) if sending.resuming => return Ok(()),
            // Not even behind the channel's last frame: who has that acknowledges it before using the id again.
            Some(_) => return Err(Violation::OpenedTwice { channel }),
            None => {}
        }
        let limit = self.limits.channels_max;
        if self.sending.len() >= limit as usize {
            return Err(Violation::Channels { channel, limit });
        }
        self.sending.insert(channel, Sending::opened(&open));
        engine(SessionEvent::Opened(channel, open));
        Ok(())
    }

    fn handle_cancel<F: FnMut(SessionEvent<'_>)>(&mut self, channel: ChannelId, engine: &mut F) {
        let Some(sending) = self.sending.get_mut(&channel) else { return };
        // A cancelled channel is named by its cancel, not by a resume: it does not go on anywhere.
        let asked_again = std::mem::take(&mut sending.resuming);
        match sending.state {
            State::Ended(..) => return,
            State::Cancelling if asked_again => {}
            State::Cancelling => return,
            _ => {
                sending.state = State::Cancelling;
                engine(SessionEvent::CancelRequested(channel));
            }
        }
        self.note_sender(channel);
    }

    /// The peer does not know the channel: nothing more goes out on it, not even a last frame.
    fn handle_reject<F: FnMut(SessionEvent<'_>)>(&mut self, channel: ChannelId, engine: &mut F) {
        let Some(sending) = self.sending.get_mut(&channel) else { return };
        if !matches!(sending.state, State::Ended(..)) {
            // As if it had ended, so that it stays in the queues that name it no longer than any other.
            sending.state = State::Ended(self.sent, Last::Cancelled);
            self.ended.push_back((self.sent, channel));
            engine(SessionEvent::CancelRequested(channel));
        }
    }

    fn handle_resume<F>(&mut self, channel: ChannelId, resume: Resume, engine: &mut F) -> Result<(), Violation>
    where
        F: FnMut(SessionEvent<'_>),
    {
        let sequence = resume.received_through;
        let known = self.sending.get_mut(&channel);
        let Some(sending) = known.and_then(|sending| sending.resume(&resume).then_some(sending)) else {
            return Err(Violation::Resume { channel, sequence });
        };
        if sending.state == State::Serving {
            engine(SessionEvent::Rewind { channel, sequence });
            self.data_ready(channel);
        } else {
            self.note_sender(channel);
        }
        Ok(())
    }

    fn handle_resumed<F: FnMut(SessionEvent<'_>)>(&mut self, engine: &mut F) {
        // It looks at every channel: a peer that repeats it must not make this side do so each time.
        if !std::mem::take(&mut self.awaits_resumed) {
            return;
        }
        let unnamed = self.sending.iter().filter(|(_, sending)| sending.resuming);
        let mut finished: Vec<_> = unnamed.map(|(channel, _)| *channel).collect();
        finished.sort_unstable();
        for channel in finished {
            self.sending.remove(&channel);
            engine(SessionEvent::CancelRequested(channel));
        }
    }

    fn handle_data<F>(
        &mut self,
        channel: ChannelId,
        block: Block,
        placement: Placement<'_>,
        engine: &mut F,
    ) -> Result<(), Violation>
    where
        F: FnMut(SessionEvent<'_>),
    {
        let impossible = match placement {
            Placement::Inline(_) => false,
            Placement::Body => self.remote_placement,
            Placement::Slot(_) => !self.remote_placement,
        };
        if impossible {
            return Err(Violation::Placement { channel });
        }
        let Some(receiving) = self.receiving.get_mut(&channel) else {
            engine(SessionEvent::Skipped(channel, placement));
            self.reject(channel);
            return Ok(());
        };
        if receiving.cancelling {
            engine(SessionEvent::Skipped(channel, placement));
            return Ok(());
        }
        receiving.data(channel, &block, placement)?;
        if receiving.say_grant && !receiving.noted {
            receiving.noted = true;
            self.speakers.push_back(Speaker::Receiver(channel));
        }
        engine(SessionEvent::Data(channel, block, placement));
        Ok(())
    }

    fn handle_end<F>(
        &mut self,
        channel: ChannelId,
        sequence: u64,
        totals: (u64, u64),
        engine: &mut F,
    ) -> Result<(), Violation>
    where
        F: FnMut(SessionEvent<'_>),
    {
        let Some(receiving) = self.receiving.get_mut(&channel) else {
            return Ok(());
        };
        if receiving.cancelling {
            self.receiving.remove(&channel);
            engine(SessionEvent::Cancelled(channel));
            return Ok(());
        }
        let complete = receiving.end(channel, sequence, totals)?;
        let arrived = receiving.totals();
        self.receiving.remove(&channel);
        if complete {
            engine(SessionEvent::End(channel));
        } else {
            let text = format!(
                "the producer wrote {} blocks with {} bytes, {} with {} arrived",
                totals.0, totals.1, arrived.0, arrived.1
            );
            engine(SessionEvent::Failed { channel, code: ReasonCode::Violation, text: &text });
        }
        Ok(())
    }

    /// Tells the peer that its channel was never given out. A peer that uses many such cannot make the queue grow.
    fn reject(&mut self, channel: ChannelId) {
        if self.rejects.len() < REJECTS_MAX && !self.rejects.contains(&channel) {
            self.rejects.push_back(channel);
        }
    }

    // ── The link ────────────────────────────────────────────────────────────────────────────────────────────────

    /// The link is gone, and with it all credit, bytes and slots, of channels that this side has cancelled too: what was
    /// posted for the old link is void. The engine drops it (slots once the link is drained) and gets no `Returned` for
    /// it; after `link_restored` it grants again. The counters go on as if the producer had returned the bytes; slots
    /// are counted from 0 on the next link. Nothing goes out until then.
    pub fn link_lost(&mut self) {
        self.linked = false;
        self.ready.clear();
        self.ended.clear();
        self.forget_speakers();
        self.sending.values_mut().for_each(Sending::link_lost);
        self.receiving.values_mut().for_each(Receiving::link_lost);
    }

    /// A new link of the same session is up: every open channel says first where it stands.
    pub fn link_restored(&mut self, epoch: LinkEpoch, now: Time) {
        assert!(!self.linked && epoch > self.epoch, "{epoch:?} follows {:?} on a lost link", self.epoch);
        self.linked = true;
        self.epoch = epoch;
        (self.sent, self.acknowledged, self.received, self.received_told, self.bytes_untold) = (0, 0, 0, 0, 0);
        (self.unasked, self.acknowledge_now, self.goodbye_said) = (0, false, false);
        (self.last_sent, self.last_heard) = (now, now);
        self.awaits_resumed = true;
        self.forget_speakers();
        let (asked, new): (Vec<_>, Vec<_>) = self.sorted_receiving().partition(|(_, asked)| *asked);
        for (channel, _) in asked {
            self.change_receiver(channel, Receiving::link_restored);
        }
        // In front of new channels: they may be given the id of one that the peer still keeps.
        self.speakers.push_back(Speaker::Resumed);
        for (channel, _) in new {
            self.change_receiver(channel, Receiving::link_restored);
        }
    }

    /// The channels that this side receives, and whether the peer may know them.
    fn sorted_receiving(&self) -> impl Iterator<Item = (ChannelId, bool)> + use<> {
        let mut channels: Vec<_> =
            self.receiving.iter().map(|(channel, receiving)| (*channel, receiving.asked)).collect();
        channels.sort_unstable();
        channels.into_iter()
    }

    fn forget_speakers(&mut self) {
        self.speakers.clear();
        self.rejects.clear();
        self.receiving.values_mut().for_each(|receiving| receiving.noted = false);
        self.sending.values_mut().for_each(|sending| sending.noted = false);
    }

    /// Time has passed: a heartbeat may be due, or the peer overdue.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), Violation> {
        if !self.linked {
            return Ok(());
        }
        let silence = now.since(self.last_heard);
        if silence >= self.limits.silence_max {
            return Err(Violation::Silent { silence });
        }
        if now.since(self.last_sent) >= self.limits.heartbeat {
            self.acknowledge_now = true;
        }
        Ok(())
    }

    /// When `handle_timeout` wants to be called next.
    pub fn poll_timeout(&self) -> Time {
        let silence = self.last_heard.after(self.limits.silence_max);
        match (self.linked, self.acknowledge_now) {
            (false, _) => Time(u64::MAX),
            // The heartbeat is noted and goes out as soon as the window allows.
            (true, true) => silence,
            (true, false) => silence.min(self.last_sent.after(self.limits.heartbeat)),
        }
    }

    // ── Getters ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// What both sides agreed on.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The connection it runs on.
    pub fn epoch(&self) -> LinkEpoch {
        self.epoch
    }

    /// The number of the last message sent in this link epoch.
    pub fn last_message(&self) -> u64 {
        self.sent
    }

    /// Bytes granted to the peer for a channel and neither spent nor returned; `None` for a closed channel.
    pub fn outstanding(&self, channel: ChannelId) -> Option<u64> {
        self.receiving.get(&channel).map(|receiving| receiving.credit.outstanding())
    }

    /// The credit of a channel that this side receives, as it counts it; `None` for a closed channel.
    pub fn receiver_credit(&self, channel: ChannelId) -> Option<Credit> {
        self.receiving.get(&channel).map(|receiving| receiving.credit)
    }

    /// The credit of a channel that this side sends, as far as it knows; `None` for a channel that is over.
    pub fn sender_credit(&self, channel: ChannelId) -> Option<Credit> {
        self.sending.get(&channel).map(|sending| sending.credit)
    }

    /// Whether nothing has arrived on a channel yet: then it may be opened anew elsewhere.
    pub fn is_untouched(&self, channel: ChannelId) -> bool {
        self.receiving.get(&channel).is_some_and(Receiving::is_untouched)
    }

    /// The channels that this side receives.
    pub fn receiving(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.receiving.keys().copied()
    }

    /// The channels that the peer has asked for and that are not over.
    pub fn sending(&self) -> impl Iterator<Item = ChannelId> + '_ {
        let live = self.sending.iter().filter(|(_, sending)| !matches!(sending.state, State::Ended(..)));
        live.map(|(channel, _)| *channel)
    }

    fn change_receiver(&mut self, channel: ChannelId, change: impl FnOnce(&mut Receiving)) {
        if let Some(receiving) = self.receiving.get_mut(&channel) {
            change(receiving);
            self.note_receiver(channel);
        }
    }

    fn note_receiver(&mut self, channel: ChannelId) {
        let Some(receiving) = self.receiving.get_mut(&channel) else { return };
        if !receiving.noted && receiving.has_something_to_say() {
            receiving.noted = true;
            self.speakers.push_back(Speaker::Receiver(channel));
        }
    }

    fn note_sender(&mut self, channel: ChannelId) {
        let Some(sending) = self.sending.get_mut(&channel) else { return };
        if !sending.noted {
            sending.noted = true;
            self.speakers.push_back(Speaker::Sender(channel));
        }
    }
}
