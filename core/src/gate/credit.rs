//! Decides which channel of a gate gets how much memory. The reactor posts it and tells the producers.
//!
//! With enough memory every channel has a **window** of its own that is filled up as the task takes data out. With
//! less, memory is granted **on demand**: to channels whose producers announced a backlog, in the order in which they
//! did, and never less than the next block, so that no channel holds what is too little for it while another waits.
//!
//! With remote placement credit is of two kinds: slots, each with room for a whole block, and a reserve of bytes for the
//! small payloads that stand in heads.

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
    gathered: Vec<Piece>,
    gathered_bytes: u64,
    /// What each channel may have set aside; 0: on demand.
    window: u64,
    limit_bytes: usize,
    /// With remote placement: blocks are longer than a buffer, so slots are of several sizes. Those that idle channels have
    /// set aside could keep room for a larger one from being whole: nothing is set aside any more.
    has_long_blocks: bool,
    /// Channels come from links with remote placement.
    is_remote: bool,
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

/// Memory that is gathered for a grant.
struct Piece {
    buffer: BufferMut,
    /// A segment of its own.
    is_whole: bool,
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
    /// Its producer waits for credit: whatever the task takes may be what it waits for.
    starving: bool,
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
    pub(crate) index: u32,
    /// Its producer has waited for it: from how many taken bytes it is to be told is another now.
    pub(crate) was_starving: bool,
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
            has_long_blocks: false,
            is_remote: false,
        };
        credit.window = credit.window_for_limit();
        credit
    }

    /// What a channel's producer may keep while it has nothing to send.
    pub(crate) fn keep(&self) -> u32 {
        u32::try_from(self.window).unwrap_or(u32::MAX)
    }

    /// Whether a channel's producer lacks credit for its next block.
    pub(crate) fn is_starving(&self, channel: u32) -> bool {
        self.channels[channel as usize].starving
    }

    /// From how many taken bytes a channel is worth filling up.
    pub(crate) fn tell_at(&self, channel: u32) -> u64 {
        if self.channels[channel as usize].placement() == Some(PayloadPlacement::HandOver) {
            return self.memory.window_bytes_max / 4;
        }
        match self.window {
            0 => u64::MAX,
            _ if self.channels[channel as usize].starving => 1,
            window => window / 4,
        }
    }

    /// The share of a channel changes when other gates and writers come and go. `Some` if what a channel may have set aside
    /// is another now: whether it is less, and where all channels come from.
    pub(crate) fn share_changed(&mut self) -> Option<(bool, Vec<Feed>)> {
        let limit = self.memory.pool.limit_bytes();
        if limit == self.limit_bytes {
            return None;
        }
        let before = self.window;
        self.window = self.window_for_limit();
        if self.window == before {
            return None;
        }
        let feeds = self.channels.iter().filter_map(|channel| channel.feed);
        Some((self.window < before, feeds.filter(|feed| feed.placement != PayloadPlacement::HandOver).collect()))
    }

    fn window_for_limit(&mut self) -> u64 {
        self.limit_bytes = self.memory.pool.limit_bytes();
        let buffer = self.memory.buffer_bytes as u64;
        // What arrives is in whole buffers but for the first and the last, so it may keep one more than its bytes.
        let share = self.limit_bytes as u64 / self.channels.len() as u64;
        // Beside its slots a channel has up to two segments of reserve.
        let beside = if self.is_remote { 2 * RESERVE.bytes() as u64 } else { 0 };
        let each = share.saturating_sub(buffer + beside).min(self.memory.window_bytes_max);
        // Below three buffers a window would stop and go; what is granted on demand then reaches further.
        if each < 3 * buffer || self.has_long_blocks { 0 } else { each / buffer * buffer }
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
        if feed.placement == PayloadPlacement::Remote && !self.is_remote {
            self.is_remote = true;
            // The window is to be computed anew.
            self.limit_bytes = 0;
        }
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
        entry.starving = false;
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
        entry.announce(behind);
        if self.window == 0 || entry.starving || entry.placement() == Some(PayloadPlacement::Remote) {
            self.want(index);
        }
        self.note_length(index, behind.next);
    }

    /// A block has arrived in a slot of this size. What it did not fill is nobody's until the task drops the block.
    pub(crate) fn arrived_in_slot(&mut self, index: u32, bytes: u64, slot: u64, behind: Backlog) {
        let entry = &mut self.channels[index as usize];
        entry.take_back(slot);
        entry.slots -= entry.slots.min(1);
        entry.held -= slot.saturating_sub(bytes).min(entry.held);
        entry.announce(behind);
        self.want(index);
        self.note_length(index, behind.next);
    }

    /// The producer says what waits.
    pub(crate) fn backlog(&mut self, index: u32, backlog: Backlog) {
        let entry = &mut self.channels[index as usize];
        entry.announce(backlog);
        self.want(index);
        self.note_length(index, backlog.next);
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
        // A producer that gives back what it could use says in the same message what it has.
        entry.backlog = Backlog::default();
        self.want(index);
    }

    fn note_length(&mut self, index: u32, next: u32) {
        let is_remote = self.channels[index as usize].placement() == Some(PayloadPlacement::Remote);
        if is_remote && next as usize > self.memory.buffer_bytes && !self.has_long_blocks {
            self.has_long_blocks = true;
            // The window is to be computed anew.
            self.limit_bytes = 0;
        }
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
        // Behind the others it may get more: slots come one at a time, and of a window what there was memory for.
        self.want(index);
        let entry = &mut self.channels[index as usize];
        let was_starving = std::mem::replace(&mut entry.starving, u64::from(entry.backlog.next) > entry.outstanding);
        Some(GateGrant { index, was_starving, session, channel, memory })
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
                let (_, most) = window_need(entry, self.memory.window_bytes_max, 1);
                return if most == 0 { Need::Nothing } else { Need::Count(most) };
            }
            Some(PayloadPlacement::Stream) if self.window > 0 => {
                window_need(entry, self.window, self.memory.buffer_bytes as u64)
            }
            Some(PayloadPlacement::Stream) => self.demand(entry),
        };
        if most == 0 { Need::Nothing } else { Need::Bytes { least, most } }
    }

    /// The least that is of use to a channel that has announced something, and the most that it should get.
    fn demand(&self, entry: &Channel) -> (u64, u64) {
        let (next, waiting) = (u64::from(entry.backlog.next), u64::from(entry.backlog.bytes));
        // What is outstanding may be on its way back, because each grant that reached the producer was too little for its
        // next block. So every grant is enough for that alone: halves could follow each other for ever and never meet.
        let missing = if entry.outstanding < next { waiting } else { waiting.saturating_sub(entry.outstanding) };
        if missing < next {
            return (0, 0);
        }
        // One producer with a long backlog does not take it all.
        (next, missing.min((self.limit_bytes as u64 / 8).max(next)))
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
        let has_small = entry.feed.is_some_and(|feed| feed.inline_bytes_max > 0);
        if has_small && entry.reserve < RESERVE.bytes() as u64 / 2 {
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
        self.gather_pieces(most);
        if self.gathered_bytes < least {
            // A part of a segment keeps all of it from being free, also when nobody has the others any more.
            self.gathered.retain(|piece| piece.is_whole);
            self.gathered_bytes = self.gathered.iter().map(|piece| piece.buffer.len() as u64).sum();
            self.gather_pieces(most);
        }
        if self.gathered_bytes < least {
            return None;
        }
        let gathered = std::mem::take(&mut self.gathered).into_iter().map(|piece| piece.buffer).collect();
        Some(Granted::Bytes(std::mem::take(&mut self.gathered_bytes), gathered))
    }

    fn gather_pieces(&mut self, most: u64) {
        while self.gathered_bytes < most
            && let Some(piece) = self.piece(most - self.gathered_bytes)
        {
            self.gathered_bytes += piece.buffer.len() as u64;
            self.gathered.push(piece);
        }
    }

    /// Free memory in one piece.
    fn whole(&mut self, class: SizeClass) -> Option<BufferMut> {
        match self.memory.pool.poll_acquire(&mut Context::from_waker(&self.waker), class, class.bytes()) {
            Poll::Ready(buffer) => Some(buffer),
            Poll::Pending => None,
        }
    }

    /// At most `bytes` of free memory in one piece.
    fn piece(&mut self, bytes: u64) -> Option<Piece> {
        let (mut buffer, is_rest) = match self.spare.take() {
            Some(spare) => (spare, true),
            None => (self.whole(self.class())?, false),
        };
        if (buffer.len() as u64) <= bytes {
            return Some(Piece { buffer, is_whole: !is_rest });
        }
        let piece = buffer.split_to(bytes as usize);
        self.spare = Some(buffer);
        Some(Piece { buffer: piece, is_whole: false })
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

    fn announce(&mut self, backlog: Backlog) {
        self.backlog = backlog;
        self.starving = u64::from(backlog.next) > self.outstanding;
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

/// The least that is of use to a channel with a window, and the most that it should get, in whole buffers only: of one
/// that two channels share, the one's half would keep the other's from being free.
fn window_need(entry: &Channel, window: u64, buffer: u64) -> (u64, u64) {
    let most = window.saturating_sub(entry.held) / buffer * buffer;
    if most > 0 {
        return (buffer, most);
    }
    // A block that is larger than the window must get through, once the task has taken what was before it.
    let lacking = u64::from(entry.backlog.next).saturating_sub(entry.outstanding);
    let alone = if entry.held == entry.outstanding { lacking.div_ceil(buffer) * buffer } else { 0 };
    (alone, alone)
}
