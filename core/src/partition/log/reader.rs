//! One consumer's way through a subpartition: its queue, and what it knows of what comes.

use std::collections::VecDeque;
use std::sync::Arc;

use sluice_protocol::ChannelId;
use sluice_protocol::wire::Backlog;

use crate::block::Item;
use crate::gate::Inbox;
use crate::mailbox::SessionId;

/// One consumer's way through a subpartition.
pub(super) struct Reader {
    /// Tells this use of the place from earlier ones.
    pub(super) generation: u32,
    pub(super) queue: VecDeque<Item>,
    pub(super) queued_bytes: u32,
    pub(super) queued_blocks: u32,
    pub(super) consumer: Consumer,
    /// It knows that there is something; it is told again only after it has found nothing.
    pub(super) notified: bool,
    pub(super) ended: bool,
    /// Items up to the last one that was put into the queue. Retained only.
    pub(super) filled: u64,
    /// What reads the disk knows that there is room in the queue. Retained only.
    pub(super) asked: bool,
    /// From how few queued bytes on it asks.
    pub(super) ask_below: u32,
    /// What comes next and is on the disk; `None` while it is on its way, or not known yet.
    pub(super) upcoming: Option<Upcoming>,
}

/// What a reader of a session will find once it is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upcoming {
    /// The bytes of the next block; 0 if it needs no credit.
    pub(crate) bytes: u32,
    /// What is behind it.
    pub(crate) behind: Backlog,
}

#[derive(Clone)]
pub(super) enum Consumer {
    Unclaimed,
    Local(Arc<Inbox>, u32),
    Remote(SessionId, ChannelId),
    /// It is gone: what comes is dropped.
    Gone,
}

/// A reader of a log. Another one in the same place has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReaderId {
    pub(super) place: u32,
    pub(super) generation: u32,
}

/// What a reader finds.
pub(crate) struct Popped {
    pub(crate) item: Option<Item>,
    /// What waits behind it.
    pub(crate) behind: Backlog,
    /// This was the last item of the whole partition, which is not retained.
    pub(crate) drained: bool,
    /// There is none in memory, but on the disk: to be fetched.
    pub(crate) upcoming: Option<Upcoming>,
}

/// Who is to be told, once the lock is free.
#[derive(Default)]
pub(super) struct Notices {
    pub(super) remote: Vec<(SessionId, ChannelId)>,
    pub(super) local: Vec<(Arc<Inbox>, u32)>,
}

/// The reader of this name, if it is still the one in its place.
pub(super) fn of(readers: &mut [Reader], reader: ReaderId) -> Option<&mut Reader> {
    readers.get_mut(reader.place as usize).filter(|entry| entry.generation == reader.generation)
}

impl Reader {
    pub(super) fn new(consumer: Consumer, generation: u32) -> Self {
        Self {
            generation,
            queue: VecDeque::new(),
            queued_bytes: 0,
            queued_blocks: 0,
            consumer,
            notified: false,
            ended: false,
            filled: 0,
            asked: false,
            ask_below: 0,
            upcoming: None,
        }
    }

    /// The next item, the bytes that it frees, and whether it was the last one.
    pub(super) fn pop(&mut self) -> (Popped, u64, bool) {
        let Some(item) = self.queue.pop_front() else {
            self.notified = false;
            // A thousand subpartitions do not keep the room of their fullest moment.
            self.queue = VecDeque::new();
            let upcoming = self.upcoming.filter(|_| !self.asked);
            return (Popped { item: None, behind: Backlog::default(), drained: false, upcoming }, 0, false);
        };
        let mut freed = 0;
        let mut ended = false;
        match &item {
            Item::Block(block) => {
                freed = u64::from(block.bytes());
                self.queued_bytes -= block.bytes();
                self.queued_blocks -= 1;
            }
            Item::End { .. } | Item::Failed(_) => ended = true,
            Item::Event(_) | Item::PriorityEvent { .. } => {}
        }
        self.ended |= ended;
        (Popped { item: Some(item), behind: self.backlog(), drained: false, upcoming: None }, freed, ended)
    }

    /// Says how many bytes wait more.
    pub(super) fn push_back(&mut self, item: Item) -> u64 {
        let mut bytes = 0;
        if let Item::Block(block) = &item {
            bytes = u64::from(block.bytes());
            self.queued_bytes += block.bytes();
            self.queued_blocks += 1;
        }
        self.queue.push_back(item);
        bytes
    }

    pub(super) fn notify(&mut self, notices: &mut Notices) {
        if !std::mem::replace(&mut self.notified, true) {
            match &self.consumer {
                Consumer::Remote(session, channel) => notices.remote.push((*session, *channel)),
                Consumer::Local(inbox, channel) => notices.local.push((Arc::clone(inbox), *channel)),
                Consumer::Unclaimed | Consumer::Gone => {}
            }
        }
    }

    /// Whether to ask for more now: once for each time that its queue runs low.
    pub(super) fn asks(&mut self) -> bool {
        let last = matches!(self.queue.back(), Some(Item::End { .. } | Item::Failed(_)));
        let low = self.queue.is_empty() || self.queued_bytes < self.ask_below;
        low && !last && !std::mem::replace(&mut self.asked, true)
    }

    pub(super) fn clear(&mut self) -> (VecDeque<Item>, u64) {
        self.queued_blocks = 0;
        (std::mem::take(&mut self.queue), u64::from(std::mem::take(&mut self.queued_bytes)))
    }

    /// Nobody has this reader any more: its name means nothing from now on.
    pub(super) fn retire(&mut self) {
        let generation = self.generation.wrapping_add(1);
        *self = Self::new(Consumer::Gone, generation);
        self.ended = true;
    }

    pub(super) fn backlog(&self) -> Backlog {
        let next = self.queue.iter().find_map(|item| match item {
            Item::Block(block) => Some(block.bytes()),
            _ => None,
        });
        Backlog { bytes: self.queued_bytes, blocks: self.queued_blocks, next: next.unwrap_or(0) }
    }
}
