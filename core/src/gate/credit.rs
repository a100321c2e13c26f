//! Decides which channel of a gate gets how much memory. The reactor posts it and tells the producers.
//!
//! With enough memory every channel has a **window** of its own that is filled up as the task takes data out. With
//! less, memory is granted **on demand**: to channels whose producers announced a backlog, in the order in which they
//! did, and never less than the next block, so that no channel holds what is too little for it while another waits.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use sluice_memory::{BufferMut, SizeClass};
use sluice_plugin::LinkId;
use sluice_protocol::ChannelId;
use sluice_protocol::wire::Backlog;

use super::{GateId, GateMemory};
use crate::mailbox::{Command, Mailbox};

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

#[derive(Default)]
struct Channel {
    /// Where it comes from, once that is known and remote.
    link: Option<(LinkId, ChannelId)>,
    /// Credit only counts: the payload comes in the producer's own memory.
    hand_over: bool,
    outstanding: u64,
    /// Outstanding, and arrived but not taken by the task.
    held: u64,
    backlog: Backlog,
    wanting: bool,
}

/// Memory for one channel.
pub(crate) struct GateGrant {
    pub(crate) link: LinkId,
    pub(crate) channel: ChannelId,
    pub(crate) bytes: u64,
    /// Empty with hand-over.
    pub(crate) buffers: Vec<BufferMut>,
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
        if self.channels[channel as usize].hand_over {
            return self.memory.window_bytes_max / 4;
        }
        if self.window == 0 { u64::MAX } else { self.window / 4 }
    }

    /// The share of a channel changes when other gates and writers come and go. `Some` if what a channel may have set aside
    /// is another now: it holds the links of all channels if they may keep less.
    pub(crate) fn share_changed(&mut self) -> Option<Vec<(LinkId, ChannelId)>> {
        let limit = self.memory.pool.limit_bytes();
        if limit == self.limit_bytes {
            return None;
        }
        let before = self.window;
        self.window = self.window_for_limit();
        let links = || self.channels.iter().filter(|channel| !channel.hand_over).filter_map(|channel| channel.link);
        match self.window.cmp(&before) {
            Ordering::Less => Some(links().collect()),
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

    /// A channel is open on a link.
    pub(crate) fn opened(&mut self, index: u32, link: LinkId, channel: ChannelId, hand_over: bool) {
        let entry = &mut self.channels[index as usize];
        entry.link = Some((link, channel));
        entry.hand_over = hand_over;
        self.want(index);
    }

    /// A channel is over, or its link is gone.
    pub(crate) fn closed(&mut self, index: u32) {
        let entry = &mut self.channels[index as usize];
        entry.link = None;
        (entry.outstanding, entry.held, entry.backlog) = (0, 0, Backlog::default());
    }

    /// A block has arrived.
    pub(crate) fn arrived(&mut self, index: u32, bytes: u64, behind: Backlog) {
        let entry = &mut self.channels[index as usize];
        entry.outstanding -= bytes.min(entry.outstanding);
        entry.backlog = behind;
        if self.window == 0 {
            self.want(index);
        }
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

    /// Credit came back.
    pub(crate) fn returned(&mut self, index: u32, bytes: u64) {
        let entry = &mut self.channels[index as usize];
        entry.outstanding -= bytes.min(entry.outstanding);
        entry.held -= bytes.min(entry.held);
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
            let (least, most) = self.needs(index);
            if most == 0 {
                self.next_in_line();
                continue;
            }
            if self.channels[index as usize].hand_over {
                self.next_in_line();
                return self.grant(index, most, Vec::new());
            }
            while self.gathered_bytes < most
                && let Some(piece) = self.piece(most - self.gathered_bytes)
            {
                self.gathered_bytes += piece.len() as u64;
                self.gathered.push(piece);
            }
            if self.gathered_bytes < least {
                return None;
            }
            let (bytes, buffers) = (std::mem::take(&mut self.gathered_bytes), std::mem::take(&mut self.gathered));
            self.next_in_line();
            return self.grant(index, bytes, buffers);
        }
    }

    fn next_in_line(&mut self) {
        if let Some(index) = self.wanting.pop_front() {
            self.channels[index as usize].wanting = false;
        }
    }

    fn grant(&mut self, index: u32, bytes: u64, buffers: Vec<BufferMut>) -> Option<GateGrant> {
        let entry = &mut self.channels[index as usize];
        let (link, channel) = entry.link?;
        entry.outstanding += bytes;
        entry.held += bytes;
        Some(GateGrant { link, channel, bytes, buffers })
    }

    /// The least that is of use to a channel, and the most that it should get.
    fn needs(&self, index: u32) -> (u64, u64) {
        let entry = &self.channels[index as usize];
        if entry.link.is_none() {
            return (0, 0);
        }
        let window = if entry.hand_over { self.memory.window_bytes_max } else { self.window };
        let next = u64::from(entry.backlog.next);
        if window > 0 {
            let most = window.saturating_sub(entry.held);
            // A block that is larger than the window, or behind a rest that is too small for it, must get through.
            let lacking = next.saturating_sub(entry.outstanding);
            return if most >= lacking { (most.min(1).max(lacking), most) } else { (lacking, lacking) };
        }
        let missing = u64::from(entry.backlog.bytes).saturating_sub(entry.outstanding);
        let least = next.saturating_sub(entry.outstanding).max(missing.min(1));
        // One producer with a long backlog does not take it all.
        let share = (self.limit_bytes as u64 / 8).max(least);
        (least.min(missing), missing.min(share))
    }

    /// At most `bytes` of free memory in one piece.
    fn piece(&mut self, bytes: u64) -> Option<BufferMut> {
        let mut buffer = match self.spare.take() {
            Some(spare) => spare,
            None => {
                let class = self.class();
                match self.memory.pool.poll_acquire(&mut Context::from_waker(&self.waker), class, class.bytes()) {
                    Poll::Ready(buffer) => buffer,
                    Poll::Pending => return None,
                }
            }
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
