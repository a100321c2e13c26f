//! Decides which channel of a gate gets how much memory. The reactor posts it and tells the producers.
//!
//! With enough memory every channel has a **window** of its own that is filled up as the task takes data out. With
//! less, memory is granted **on demand**: to channels whose producers announced a backlog, in the order in which they
//! did, and never less than the next block, so that no channel holds what is too little for it while another waits.
//!
//! With remote placement credit is of two kinds: slots, each with room for a whole block, and a reserve of bytes for the
//! small payloads that stand in heads.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use sluice_memory::{BufferMut, SizeClass};
use sluice_plugin::PayloadPlacement;
use sluice_protocol::wire::Backlog;
use sluice_protocol::{ChannelId, Limits};

use super::{GateId, GateMemory};
use crate::mailbox::{Command, Mailbox, SessionId};

/// What a channel with remote placement has for payloads that stand in heads.
const RESERVE: SizeClass = SizeClass::MIN;

/// The reactor's side of a gate's memory.
pub(crate) struct GateCredit {
    memory: GateMemory,
    waker: Waker,
    channels: Vec<Channel>,
    /// Channels that should get something, once each.
    wanting: VecDeque<u32>,
    /// The rest of a segment that was granted in part.
    spare: Option<BufferMut>,
    /// What the first of `wanting` has so far.
    gathered: Vec<BufferMut>,
    gathered_bytes: u64,
    /// What each channel may have set aside; 0: on demand.
    window: u64,
    limit_bytes: usize,
}

/// Where a channel comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feed {
    pub(crate) session: SessionId,
    pub(crate) channel: ChannelId,
    /// With hand-over credit only counts: the payload comes in the producer's own memory.
    pub(crate) placement: PayloadPlacement,
    /// Payloads up to this stand in heads.
    pub(crate) inline_bytes_max: u32,
}

#[derive(Default)]
struct Channel {
    /// Once that is known and remote.
    feed: Option<Feed>,
    /// Its link is lost: what was granted is void, and nothing is granted before there is another.
    lost: bool,
    outstanding: u64,
    /// Of that, with remote placement, what is for payloads in heads.
    reserve: u64,
    /// With remote placement: slots that are outstanding.
    slots: u64,
    /// Outstanding, and arrived but not taken by the task.
    held: u64,
    backlog: Backlog,
    wanting: bool,
}

/// What a channel should get next.
enum Need {
    Nothing,
    /// No memory, only the figure.
    Count(u64),
    /// Memory in any pieces.
    Bytes {
        least: u64,
        most: u64,
    },
    /// Memory in one piece for payloads in heads.
    Reserve,
    /// Memory in one piece for a block.
    Slot(SizeClass),
}

/// Memory for one channel.
pub(crate) struct GateGrant {
    pub(crate) session: SessionId,
    pub(crate) channel: ChannelId,
    pub(crate) memory: Granted,
}

/// What a channel is granted.
pub(crate) enum Granted {
    /// Credit in bytes, and the memory that is to be posted for it: none with hand-over.
    Bytes(u64, Vec<BufferMut>),
    /// Credit in bytes for payloads that stand in heads: this side keeps the memory.
    Reserve(BufferMut),
    /// Remote placement: this memory is a slot.
    Slot(BufferMut),
}

struct Notify {
    gate: GateId,
    mailbox: Mailbox,
}

impl Wake for Notify {
    fn wake(self: Arc<Self>) {
        self.mailbox.send(Command::GateMemory(self.gate));
    }
}

impl GateCredit {
    pub(crate) fn new(gate: GateId, memory: GateMemory, channels: u32, mailbox: Mailbox) -> Self {
        let channels = (0..channels).map(|_| Channel::default()).collect();
        let mut credit = Self {
            memory,
            waker: Waker::from(Arc::new(Notify { gate, mailbox })),
            channels,
            wanting: VecDeque::new(),
            spare: None,
            gathered: Vec::new(),
            gathered_bytes: 0,
            window: 0,
            limit_bytes: 0,
        };
        credit.window = credit.window_for_limit();
        credit
    }

    /// What a channel's producer may keep while it has nothing to send.
    pub(crate) fn keep(&self) -> u32 {
        u32::try_from(self.window).unwrap_or(u32::MAX)
    }

    /// From how many taken bytes a channel is worth filling up.
    pub(crate) fn tell_at(&self, channel: u32) -> u64 {
        if self.channels[channel as usize].placement() == Some(PayloadPlacement::HandOver) {
            return self.memory.window_bytes_max / 4;
        }
        if self.window == 0 { u64::MAX } else { self.window / 4 }
    }

    /// The share of a channel changes when other gates and writers come and go. `Some` if what a channel may have set aside
    /// is another now: it holds where all channels come from if they may keep less.
    pub(crate) fn share_changed(&mut self) -> Option<Vec<Feed>> {
        let limit = self.memory.pool.limit_bytes();
        if limit == self.limit_bytes {
            return None;
        }
        let before = self.window;
        self.window = self.window_for_limit();
        let feeds = || self.channels.iter().filter_map(|channel| channel.feed);
        match self.window.cmp(&before) {
            Ordering::Less => Some(feeds().filter(|feed| feed.placement != PayloadPlacement::HandOver).collect()),
            Ordering::Equal => None,
            Ordering::Greater => Some(Vec::new()),
        }
    }

    fn window_for_limit(&mut self) -> u64 {
        self.limit_bytes = self.memory.pool.limit_bytes();
        let buffer = self.memory.buffer_bytes as u64;
        let spendable = (self.limit_bytes as u64).saturating_sub(buffer);
        let each = (spendable / self.channels.len() as u64).min(self.memory.window_bytes_max);
        // Below two buffers a window would stop and go; what is granted on demand then reaches further.
        if each < 2 * buffer { 0 } else { each / buffer * buffer }
    }

    /// The longest block that finds room in a slot.
    pub(crate) fn slot_bytes_max(&self) -> u32 {
        self.memory.pool.unit().bytes() as u32
    }

    /// A channel is open in a session.
    pub(crate) fn opened(&mut self, index: u32, feed: Feed) {
        let entry = &mut self.channels[index as usize];
        entry.feed = Some(feed);
        entry.lost = false;
        self.want(index);
    }

    /// A channel is over.
    pub(crate) fn closed(&mut self, index: u32) {
        let wanting = self.channels[index as usize].wanting;
        self.channels[index as usize] = Channel { wanting, ..Channel::default() };
    }

    /// The channel's link is lost, and with it what was granted.
    pub(crate) fn lost(&mut self, index: u32) {
        let entry = &mut self.channels[index as usize];
        entry.lost = true;
        entry.held -= entry.outstanding.min(entry.held);
        (entry.outstanding, entry.reserve, entry.slots, entry.backlog) = (0, 0, 0, Backlog::default());
    }

    /// The channel has a link again.
    pub(crate) fn resumed(&mut self, index: u32) {
        self.channels[index as usize].lost = false;
        self.want(index);
    }

    /// A block has arrived, which took so much of what was outstanding.
    pub(crate) fn arrived(&mut self, index: u32, bytes: u64, behind: Backlog) {
        let entry = &mut self.channels[index as usize];
        entry.take_back(bytes);
        entry.reserve -= bytes.min(entry.reserve);
        entry.backlog = behind;
        if self.window == 0 || entry.placement() == Some(PayloadPlacement::Remote) {
            self.want(index);
        }
    }

    /// A block has arrived in a slot of this size. What it did not fill is nobody's until the task drops the block.
    pub(crate) fn arrived_in_slot(&mut self, index: u32, bytes: u64, slot: u64, behind: Backlog) {
        let entry = &mut self.channels[index as usize];
        entry.take_back(slot);
        entry.slots -= entry.slots.min(1);
        entry.held -= slot.saturating_sub(bytes).min(entry.held);
        entry.backlog = behind;
        self.want(index);
    }

    /// The producer says what waits.
    pub(crate) fn backlog(&mut self, index: u32, backlog: Backlog) {
        self.channels[index as usize].backlog = backlog;
        self.want(index);
    }

    /// The task has taken bytes out.
    pub(crate) fn consumed(&mut self, index: u32, bytes: u64) {
        let entry = &mut self.channels[index as usize];
        entry.held -= bytes.min(entry.held);
        self.want(index);
    }

    /// Credit came back: bytes, and slots that together had so many.
    pub(crate) fn returned(&mut self, index: u32, bytes: u64, slots: u64, slot_bytes: u64) {
        let entry = &mut self.channels[index as usize];
        entry.take_back(bytes + slot_bytes);
        entry.held -= (bytes + slot_bytes).min(entry.held);
        entry.reserve -= bytes.min(entry.reserve);
        entry.slots -= slots.min(entry.slots);
        self.want(index);
    }

    fn want(&mut self, index: u32) {
        let entry = &mut self.channels[index as usize];
        if !std::mem::replace(&mut entry.wanting, true) {
            self.wanting.push_back(index);
        }
    }

    /// The next grant, if memory and somebody who needs it are there. Registers with the pool if only memory is missing.
    pub(crate) fn next_grant(&mut self) -> Option<GateGrant> {
        loop {
            let index = *self.wanting.front()?;
            let memory = match self.need(index) {
                Need::Nothing => {
                    self.next_in_line();
                    continue;
                }
                Need::Count(bytes) => Granted::Bytes(bytes, Vec::new()),
                Need::Bytes { least, most } => self.gather(least, most)?,
                Need::Reserve => Granted::Reserve(self.whole(RESERVE)?),
                Need::Slot(class) => Granted::Slot(self.whole(class)?),
            };
            self.next_in_line();
            let grant = self.grant(index, memory);
            if grant.is_some() {
                return grant;
            }
        }
    }

    fn next_in_line(&mut self) {
        if let Some(index) = self.wanting.pop_front() {
            self.channels[index as usize].wanting = false;
        }
    }

    fn grant(&mut self, index: u32, memory: Granted) -> Option<GateGrant> {
        let entry = &mut self.channels[index as usize];
        let Feed { session, channel, .. } = entry.feed?;
        let bytes = memory.bytes();
        entry.outstanding += bytes;
        entry.held += bytes;
        match memory {
            Granted::Bytes(..) => {}
            Granted::Reserve(_) => entry.reserve += bytes,
            Granted::Slot(_) => entry.slots += 1,
        }
        if !matches!(memory, Granted::Bytes(..)) {
            // One piece at a time: behind the others it may get another.
            self.want(index);
        }
        Some(GateGrant { session, channel, memory })
    }

    fn need(&self, index: u32) -> Need {
        let entry = &self.channels[index as usize];
        if entry.lost {
            return Need::Nothing;
        }
        let (least, most) = match entry.placement() {
            None => return Need::Nothing,
            Some(PayloadPlacement::Remote) => return self.remote_need(entry),
            Some(PayloadPlacement::HandOver) => {
                let (_, most) = self.window_need(entry, self.memory.window_bytes_max);
                return if most == 0 { Need::Nothing } else { Need::Count(most) };
            }
            Some(PayloadPlacement::Stream) if self.window > 0 => self.window_need(entry, self.window),
            Some(PayloadPlacement::Stream) => self.demand(entry),
        };
        if most == 0 { Need::Nothing } else { Need::Bytes { least, most } }
    }

    /// The least that is of use to a channel with a window, and the most that it should get.
    fn window_need(&self, entry: &Channel, window: u64) -> (u64, u64) {
        let most = window.saturating_sub(entry.held);
        // A block that is larger than the window, or behind a rest that is too small for it, must get through.
        let lacking = u64::from(entry.backlog.next).saturating_sub(entry.outstanding);
        if most >= lacking { (most.min(1).max(lacking), most) } else { (lacking, lacking) }
    }

    /// The least that is of use to a channel that has announced something, and the most that it should get.
    fn demand(&self, entry: &Channel) -> (u64, u64) {
        let next = u64::from(entry.backlog.next);
        let missing = u64::from(entry.backlog.bytes).saturating_sub(entry.outstanding);
        let least = next.saturating_sub(entry.outstanding).max(missing.min(1));
        // One producer with a long backlog does not take it all.
        let share = (self.limit_bytes as u64 / 8).max(least);
        (least.min(missing), missing.min(share))
    }

    fn remote_need(&self, entry: &Channel) -> Need {
        let next = entry.backlog.next;
        let in_head = next <= entry.feed.map_or(0, |feed| feed.inline_bytes_max);
        let block = if in_head { 0 } else { next };
        let Some(least) = SizeClass::fitting(block.max(1) as usize).filter(|class| *class <= self.memory.pool.unit())
        else {
            // The reactor has failed the channel: no slot is so large.
            return Need::Nothing;
        };
        if self.window == 0 {
            return match (next, in_head) {
                (0, _) => Need::Nothing,
                (_, true) if entry.reserve < next.into() => Need::Reserve,
                (_, false) if entry.slots == 0 => Need::Slot(least),
                _ => Need::Nothing,
            };
        }
        if entry.reserve < RESERVE.bytes() as u64 / 2 {
            return Need::Reserve;
        }
        // The reserve counts as a whole buffer: its segment may be what keeps one from being whole.
        let buffer = SizeClass::fitting(self.memory.buffer_bytes).unwrap_or(SizeClass::MAX);
        let class = least.max(buffer);
        let held = entry.held - entry.reserve.min(entry.held);
        let fits = held + (class.bytes() + buffer.bytes()) as u64 <= self.window;
        let must = entry.slots == 0 && block > 0;
        if entry.slots < Limits::SLOTS_MAX && (fits || must) { Need::Slot(class) } else { Need::Nothing }
    }

    fn gather(&mut self, least: u64, most: u64) -> Option<Granted> {
        while self.gathered_bytes < most
            && let Some(piece) = self.piece(most - self.gathered_bytes)
        {
            self.gathered_bytes += piece.len() as u64;
            self.gathered.push(piece);
        }
        if self.gathered_bytes < least {
            return None;
        }
        Some(Granted::Bytes(std::mem::take(&mut self.gathered_bytes), std::mem::take(&mut self.gathered)))
    }

    /// Free memory in one piece.
    fn whole(&mut self, class: SizeClass) -> Option<BufferMut> {
        match self.memory.pool.poll_acquire(&mut Context::from_waker(&self.waker), class, class.bytes()) {
            Poll::Ready(buffer) => Some(buffer),
            Poll::Pending => None,
        }
    }

    /// At most `bytes` of free memory in one piece.
    fn piece(&mut self, bytes: u64) -> Option<BufferMut> {
        let mut buffer = match self.spare.take() {
            Some(spare) => spare,
            None => self.whole(self.class())?,
        };
        if (buffer.len() as u64) <= bytes {
            return Some(buffer);
        }
        let piece = buffer.split_to(bytes as usize);
        self.spare = Some(buffer);
        Some(piece)
    }

    /// Whole buffers while there is plenty; otherwise small segments, because a segment is free again only when all its
    /// parts are.
    fn class(&self) -> SizeClass {
        let bytes = match self.window {
            0 => self.memory.buffer_bytes.min(self.limit_bytes / 8),
            _ => self.memory.buffer_bytes,
        };
        SizeClass::at_most(bytes).unwrap_or(SizeClass::MIN).min(self.memory.pool.unit())
    }
}

impl Channel {
    fn placement(&self) -> Option<PayloadPlacement> {
        self.feed.map(|feed| feed.placement)
    }

    fn take_back(&mut self, bytes: u64) {
        self.outstanding -= bytes.min(self.outstanding);
    }
}

impl Granted {
    fn bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes, _) => *bytes,
            Self::Reserve(buffer) | Self::Slot(buffer) => buffer.len() as u64,
        }
    }
}
