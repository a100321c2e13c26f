//! The queues of one pipelined partition, one for each subpartition. Memory only; each is read once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use sluice_protocol::wire::Backlog;
use sluice_protocol::{ChannelId, PartitionId, ReasonCode};

use crate::block::{Failure, Item};
use crate::gate::Inbox;
use crate::mailbox::{Command, Mailbox, SessionId};
use crate::sync::lock;

/// A partition of this worker.
pub(crate) struct Partition {
    id: PartitionId,
    mailbox: Mailbox,
    state: Mutex<State>,
}

struct State {
    subpartitions: Vec<Subpartition>,
    /// Subpartitions whose consumer is gone.
    gone: usize,
    /// Of the writer, while it waits for memory.
    writer: Option<Waker>,
    /// Why the last of all went.
    last_gone: Box<str>,
    /// Subpartitions whose last item has not been taken.
    open: usize,
    released: bool,
    queued_bytes: u64,
}

struct Subpartition {
    queue: VecDeque<Item>,
    queued_bytes: u32,
    queued_blocks: u32,
    reader: Reader,
    /// The reader knows that there is something; it is told again only after it has found nothing.
    notified: bool,
    ended: bool,
}

#[derive(Clone)]
enum Reader {
    Unclaimed,
    Local(Arc<Inbox>, u32),
    Remote(SessionId, ChannelId),
    /// The consumer is gone: what comes is dropped.
    Gone,
}

/// What a writer learns when it hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    Yes,
    /// Everybody is gone; this is why the last one went.
    Abandoned(String),
    Released,
}

/// What a reader finds.
pub(crate) struct Popped {
    pub(crate) item: Option<Item>,
    /// What waits behind it.
    pub(crate) behind: Backlog,
    /// This was the last item of the whole partition.
    pub(crate) drained: bool,
}

impl Partition {
    pub(crate) fn new(id: PartitionId, subpartitions: u32, mailbox: Mailbox) -> Self {
        let subpartitions: Vec<_> = (0..subpartitions).map(|_| Subpartition::new()).collect();
        let open = subpartitions.len();
        let state = State {
            subpartitions,
            gone: 0,
            writer: None,
            last_gone: Box::default(),
            open,
            released: false,
            queued_bytes: 0,
        };
        Self { id, mailbox, state: Mutex::new(state) }
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.id
    }

    pub(crate) fn subpartitions(&self) -> u32 {
        lock(&self.state).subpartitions.len() as u32
    }

    /// Bytes that wait for their consumers to take them or to grant credit.
    pub(crate) fn queued_bytes(&self) -> u64 {
        lock(&self.state).queued_bytes
    }

    /// Takes over sealed items, in their order, and tells the readers that were waiting: one command for all remote
    /// ones, so a hand-over wakes the reactor at most once.
    pub(crate) fn hand_over(&self, items: &mut Vec<(u32, Item)>) -> Accepted {
        let mut remote = Vec::new();
        let mut local = Vec::new();
        let mut dropped = Vec::new();
        let accepted = {
            let mut state = lock(&self.state);
            for (index, item) in items.drain(..) {
                if let Err(item) = state.push(index, item, &mut remote, &mut local) {
                    dropped.push(item);
                }
            }
            state.accepted()
        };
        // Buffers return to their pool, and may wake a task: not under the lock.
        drop(dropped);
        self.notify(remote, local);
        accepted
    }

    /// The next item of a subpartition. When there is none, the reader will be told of the next one.
    pub(crate) fn pop(&self, index: u32) -> Popped {
        let mut state = lock(&self.state);
        let subpartition = &mut state.subpartitions[index as usize];
        let Some(item) = subpartition.queue.pop_front() else {
            subpartition.notified = false;
            // A thousand subpartitions do not keep the room of their fullest moment.
            subpartition.queue = VecDeque::new();
            return Popped { item: None, behind: Backlog::default(), drained: false };
        };
        let mut freed = 0;
        let mut ended = false;
        match &item {
            Item::Block(block) => {
                freed = u64::from(block.bytes());
                subpartition.queued_bytes -= block.bytes();
                subpartition.queued_blocks -= 1;
            }
            Item::End { .. } | Item::Failed(_) => ended = true,
            Item::Event(_) | Item::PriorityEvent { .. } => {}
        }
        subpartition.ended |= ended;
        let behind = subpartition.backlog();
        state.queued_bytes -= freed;
        state.open -= usize::from(ended);
        Popped { item: Some(item), behind, drained: ended && state.open == 0 }
    }

    /// Whether a priority event stands first: it goes before what a reader already holds.
    pub(crate) fn overtaking(&self, index: u32) -> bool {
        let state = lock(&self.state);
        matches!(state.subpartitions[index as usize].queue.front(), Some(Item::PriorityEvent { .. }))
    }

    /// Puts back a block that a reader holds and that was overtaken.
    pub(crate) fn put_back(&self, index: u32, item: Item) {
        let mut state = lock(&self.state);
        let subpartition = &mut state.subpartitions[index as usize];
        let events = subpartition.queue.iter().take_while(|item| matches!(item, Item::PriorityEvent { .. })).count();
        let bytes = match &item {
            Item::Block(block) => block.bytes(),
            _ => 0,
        };
        subpartition.queued_bytes += bytes;
        subpartition.queued_blocks += u32::from(bytes > 0);
        for item in subpartition.queue.iter_mut().take(events) {
            if let Item::PriorityEvent { overtook, .. } = item {
                *overtook += u32::from(bytes > 0);
            }
        }
        subpartition.queue.insert(events, item);
        state.queued_bytes += u64::from(bytes);
    }

    /// Claims a subpartition for a session.
    pub(crate) fn attach_remote(&self, index: u32, session: SessionId, channel: ChannelId) -> Result<(), Failure> {
        self.attach(index, Reader::Remote(session, channel))
    }

    /// Claims a subpartition for a gate of this worker.
    pub(crate) fn attach_local(&self, index: u32, inbox: &Arc<Inbox>, channel: u32) -> Result<(), Failure> {
        self.attach(index, Reader::Local(Arc::clone(inbox), channel))
    }

    fn attach(&self, index: u32, reader: Reader) -> Result<(), Failure> {
        let mut state = lock(&self.state);
        if state.released {
            return Err(Failure { code: ReasonCode::PartitionGone, text: format!("{} is released", self.id).into() });
        }
        let count = state.subpartitions.len();
        let Some(subpartition) = state.subpartitions.get_mut(index as usize) else {
            let text = format!("{} has {count} subpartitions, {index} was asked for", self.id).into();
            return Err(Failure { code: ReasonCode::NoSuchSubpartition, text });
        };
        if !matches!(subpartition.reader, Reader::Unclaimed) {
            let text = format!("subpartition {index} of {} has, or had, another consumer", self.id).into();
            return Err(Failure { code: ReasonCode::AlreadyConsumed, text });
        }
        subpartition.reader = reader;
        // The reader looks by itself now; what comes later tells it only after it has found nothing.
        subpartition.notified = true;
        Ok(())
    }

    /// The writer waits; it is woken when nobody wants any more what it writes.
    pub(crate) fn wake_when_over(&self, waker: &Waker) {
        let mut state = lock(&self.state);
        if !state.writer.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.writer = Some(waker.clone());
        }
    }

    /// The consumer of a subpartition is gone: what it has is dropped. Says whether that was the partition's end.
    pub(crate) fn consumer_gone(&self, index: u32, why: &str) -> bool {
        let (dropped, drained, writer) = {
            let mut state = lock(&self.state);
            let subpartition = &mut state.subpartitions[index as usize];
            if subpartition.ended || matches!(subpartition.reader, Reader::Gone) {
                return false;
            }
            subpartition.reader = Reader::Gone;
            subpartition.ended = true;
            let bytes = u64::from(std::mem::take(&mut subpartition.queued_bytes));
            subpartition.queued_blocks = 0;
            let dropped = std::mem::take(&mut subpartition.queue);
            state.queued_bytes -= bytes;
            state.gone += 1;
            let all_gone = state.gone == state.subpartitions.len();
            if all_gone {
                state.last_gone = why.into();
            }
            state.open -= 1;
            let writer = if all_gone { state.writer.take() } else { None };
            (dropped, state.open == 0, writer)
        };
        drop(dropped);
        if let Some(writer) = writer {
            writer.wake();
        }
        drained
    }

    /// Drops everything and fails who still reads.
    pub(crate) fn release(&self) {
        let failure = Failure { code: ReasonCode::PartitionGone, text: format!("{} was released", self.id).into() };
        self.end_all(failure, true);
    }

    /// The producer failed: every consumer is told once it has read what was handed over before.
    pub(crate) fn fail(&self, text: &str) {
        self.end_all(Failure { code: ReasonCode::ProducerFailed, text: text.into() }, false);
    }

    fn end_all(&self, failure: Failure, release: bool) {
        let (mut remote, mut local, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        let writer = {
            let mut state = lock(&self.state);
            for index in 0..state.subpartitions.len() {
                if release {
                    dropped.append(&mut state.clear(index));
                }
                let last = state.subpartitions[index].queue.back();
                if !matches!(last, Some(Item::End { .. } | Item::Failed(_))) {
                    let failed = Item::Failed(failure.clone());
                    dropped.extend(state.push(index as u32, failed, &mut remote, &mut local).err());
                }
            }
            // With the same lock: nothing that a writer hands over comes behind the failure.
            state.released |= release;
            if release { state.writer.take() } else { None }
        };
        drop(dropped);
        if let Some(writer) = writer {
            writer.wake();
        }
        self.notify(remote, local);
    }

    /// Tells readers that were waiting: one command for all remote ones, so the reactor is woken at most once.
    fn notify(&self, remote: Vec<(SessionId, ChannelId)>, local: Vec<(Arc<Inbox>, u32)>) {
        if !remote.is_empty() {
            self.mailbox.send(Command::Ready(remote));
        }
        for (inbox, channel) in local {
            inbox.local_ready(channel);
        }
    }
}

impl State {
    fn push(
        &mut self,
        index: u32,
        item: Item,
        remote: &mut Vec<(SessionId, ChannelId)>,
        local: &mut Vec<(Arc<Inbox>, u32)>,
    ) -> Result<(), Item> {
        let subpartition = &mut self.subpartitions[index as usize];
        if self.released || subpartition.ended {
            return Err(item);
        }
        match item {
            Item::PriorityEvent { event, .. } => {
                let ahead = subpartition.queue.iter().take_while(|item| matches!(item, Item::PriorityEvent { .. }));
                let place = ahead.count();
                let overtook = subpartition.queued_blocks;
                subpartition.queue.insert(place, Item::PriorityEvent { event, overtook });
                // Even a reader that waits for credit has to look: the event needs none.
                subpartition.notified = false;
            }
            item => {
                if let Item::Block(block) = &item {
                    subpartition.queued_bytes += block.bytes();
                    subpartition.queued_blocks += 1;
                    self.queued_bytes += u64::from(block.bytes());
                }
                subpartition.queue.push_back(item);
            }
        }
        if !std::mem::replace(&mut subpartition.notified, true) {
            match &subpartition.reader {
                Reader::Remote(session, channel) => remote.push((*session, *channel)),
                Reader::Local(inbox, channel) => local.push((Arc::clone(inbox), *channel)),
                Reader::Unclaimed | Reader::Gone => {}
            }
        }
        Ok(())
    }

    fn clear(&mut self, index: usize) -> Vec<Item> {
        let subpartition = &mut self.subpartitions[index];
        self.queued_bytes -= u64::from(std::mem::take(&mut subpartition.queued_bytes));
        subpartition.queued_blocks = 0;
        subpartition.queue.drain(..).collect()
    }

    fn accepted(&self) -> Accepted {
        match self {
            Self { released: true, .. } => Accepted::Released,
            _ if self.gone == self.subpartitions.len() => Accepted::Abandoned(self.last_gone.to_string()),
            _ => Accepted::Yes,
        }
    }
}

impl Subpartition {
    fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            queued_blocks: 0,
            reader: Reader::Unclaimed,
            notified: false,
            ended: false,
        }
    }

    fn backlog(&self) -> Backlog {
        let next = self.queue.iter().find_map(|item| match item {
            Item::Block(block) => Some(block.bytes()),
            _ => None,
        });
        Backlog { bytes: self.queued_bytes, blocks: self.queued_blocks, next: next.unwrap_or(0) }
    }
}
