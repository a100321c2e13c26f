//! The log of one partition: for each subpartition a sequence of blocks, and the readers of it. One reader's side for all
//! kinds of partition; what differs is who fills a reader's queue: the writer, or what reads the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::Waker;

use sluice_protocol::wire::Backlog;
use sluice_protocol::{ChannelId, PartitionId, ReasonCode};

use super::kind::PartitionKind;
use super::sorted::Spill;
use super::statistics::PartitionStatistics;
use crate::block::{Failure, Item};
use crate::gate::Inbox;
use crate::mailbox::{Command, Mailbox, SessionId};
use crate::sync::lock;

/// A partition of this worker.
pub(crate) struct BlockLog {
    id: PartitionId,
    kind: PartitionKind,
    subpartitions: u32,
    mailbox: Mailbox,
    state: Mutex<State>,
    /// What its producer writes to on the way to the disk.
    spill: OnceLock<Weak<Spill>>,
    /// Exact figures, once it is finished.
    statistics: OnceLock<PartitionStatistics>,
}

struct State {
    /// Pipelined: one for each subpartition from the start, each with the tail of the log as its queue. Retained: as
    /// many as read now; their queues are what is read ahead.
    readers: Vec<Reader>,
    /// Places of readers that have gone, to be used again.
    free: Vec<u32>,
    stage: Stage,
    /// Pipelined: subpartitions whose consumer is gone.
    gone: usize,
    /// Of the writer, while it waits for memory.
    writer: Option<Waker>,
    /// Why the last of all went.
    last_gone: Box<str>,
    /// Pipelined: subpartitions whose last item has not been taken.
    open: usize,
    queued_bytes: u64,
}

/// How far a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Its producer writes; whether it can be read already depends on the kind.
    Writing,
    /// Its producer has finished.
    Finished,
    /// Its producer, or what it wrote to, failed before it had finished.
    Failed(Failure),
    Released,
}

/// One consumer's way through a subpartition.
struct Reader {
    /// Tells this use of the place from earlier ones.
    generation: u32,
    queue: VecDeque<Item>,
    queued_bytes: u32,
    queued_blocks: u32,
    consumer: Consumer,
    /// It knows that there is something; it is told again only after it has found nothing.
    notified: bool,
    ended: bool,
    /// Items up to the last one that was put into the queue. Retained only.
    filled: u64,
    /// What reads the disk knows that there is room in the queue. Retained only.
    asked: bool,
    /// From how few queued bytes on it asks.
    ask_below: u32,
    /// What comes next and is on the disk; `None` while it is on its way, or not known yet.
    upcoming: Option<Upcoming>,
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
enum Consumer {
    Unclaimed,
    Local(Arc<Inbox>, u32),
    Remote(SessionId, ChannelId),
    /// It is gone: what comes is dropped.
    Gone,
}

/// A reader of a log. Another one in the same place has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ReaderId {
    place: u32,
    generation: u32,
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
    /// This was the last item of the whole partition, which is not retained.
    pub(crate) drained: bool,
    /// There is none in memory, but on the disk: to be fetched.
    pub(crate) upcoming: Option<Upcoming>,
}

impl BlockLog {
    pub(crate) fn new(id: PartitionId, kind: PartitionKind, subpartitions: u32, mailbox: Mailbox) -> Self {
        let readers: Vec<_> = match kind.is_retained() {
            true => Vec::new(),
            false => (0..subpartitions).map(|_| Reader::new(Consumer::Unclaimed, 0)).collect(),
        };
        let state = State {
            readers,
            free: Vec::new(),
            stage: Stage::Writing,
            gone: 0,
            writer: None,
            last_gone: Box::default(),
            open: subpartitions as usize,
            queued_bytes: 0,
        };
        let (spill, statistics) = (OnceLock::new(), OnceLock::new());
        Self { id, kind, subpartitions, mailbox, state: Mutex::new(state), spill, statistics }
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.id
    }

    pub(crate) fn kind(&self) -> PartitionKind {
        self.kind
    }

    pub(crate) fn subpartitions(&self) -> u32 {
        self.subpartitions
    }

    /// Whether consumers may begin now, or hear why they never will.
    pub(crate) fn is_open_to_readers(&self) -> bool {
        !self.kind.is_retained() || lock(&self.state).stage != Stage::Writing
    }

    /// Whether the reader belongs to a session.
    pub(crate) fn is_remote(&self, reader: ReaderId) -> bool {
        let mut state = lock(&self.state);
        of(&mut state.readers, reader).is_some_and(|entry| matches!(entry.consumer, Consumer::Remote(..)))
    }

    /// Whether nobody wants it any more.
    pub(crate) fn is_released(&self) -> bool {
        lock(&self.state).stage == Stage::Released
    }

    /// Bytes that wait for their consumers to take them or to grant credit.
    pub(crate) fn queued_bytes(&self) -> u64 {
        lock(&self.state).queued_bytes
    }

    /// Takes over sealed items, in their order, and tells the readers that were waiting: one command for all remote
    /// ones, so a hand-over wakes the reactor at most once.
    pub(crate) fn hand_over(&self, items: &mut Vec<(u32, Item)>) -> Accepted {
        debug_assert!(!self.kind.is_retained(), "what is retained goes to the disk");
        let mut notices = Notices::default();
        let mut dropped = Vec::new();
        let accepted = {
            let mut state = lock(&self.state);
            for (index, item) in items.drain(..) {
                if let Err(item) = state.push(index, item, &mut notices) {
                    dropped.push(item);
                }
            }
            state.accepted()
        };
        // Buffers return to their pool, and may wake a task: not under the lock.
        drop(dropped);
        self.notify(notices);
        accepted
    }

    /// The next item of a reader. When there is none, it will be told of the next one.
    pub(crate) fn pop(&self, reader: ReaderId) -> Popped {
        let nothing = Popped { item: None, behind: Backlog::default(), drained: false, upcoming: None };
        let retained = self.kind.is_retained();
        let (popped, tells) = {
            let mut state = lock(&self.state);
            let State { readers, open, queued_bytes, free, .. } = &mut *state;
            let Some(entry) = of(readers, reader) else { return nothing };
            let (popped, freed, ended) = entry.pop();
            *queued_bytes -= freed;
            *open -= usize::from(ended && !retained);
            let drained = ended && !retained && *open == 0;
            let mut tells = None;
            if retained && ended {
                entry.retire();
                free.push(reader.place);
                tells = Some(Command::ReaderGone(self.id, reader));
            } else if retained && matches!(entry.consumer, Consumer::Local(..)) && entry.asks() {
                tells = Some(Command::ReadMore(self.id, reader));
            }
            (Popped { drained, ..popped }, tells)
        };
        if let Some(command) = tells {
            self.mailbox.send(command);
        }
        popped
    }

    /// Whether a priority event stands first: it goes before what a reader already holds.
    pub(crate) fn overtaking(&self, reader: ReaderId) -> bool {
        let mut state = lock(&self.state);
        let first = of(&mut state.readers, reader).and_then(|entry| entry.queue.front());
        matches!(first, Some(Item::PriorityEvent { .. }))
    }

    /// Puts back a block that a reader holds and that was overtaken, or whose memory is wanted.
    pub(crate) fn put_back(&self, reader: ReaderId, item: Item) {
        let mut state = lock(&self.state);
        let bytes = match &item {
            Item::Block(block) => block.bytes(),
            _ => 0,
        };
        let Some(entry) = of(&mut state.readers, reader) else { return };
        let events = entry.queue.iter().take_while(|item| matches!(item, Item::PriorityEvent { .. })).count();
        entry.queued_bytes += bytes;
        entry.queued_blocks += u32::from(bytes > 0);
        for item in entry.queue.iter_mut().take(events) {
            if let Item::PriorityEvent { overtook, .. } = item {
                *overtook += u32::from(bytes > 0);
            }
        }
        entry.queue.insert(events, item);
        state.queued_bytes += u64::from(bytes);
    }

    /// Claims a subpartition for a session. What is retained can be read from any item on.
    pub(crate) fn attach_remote(
        &self,
        index: u32,
        session: SessionId,
        channel: ChannelId,
        first: u64,
    ) -> Result<ReaderId, Failure> {
        self.attach(index, Consumer::Remote(session, channel), first)
    }

    /// Claims a subpartition for a gate of this worker.
    pub(crate) fn attach_local(&self, index: u32, inbox: &Arc<Inbox>, channel: u32) -> Result<ReaderId, Failure> {
        self.attach(index, Consumer::Local(Arc::clone(inbox), channel), 0)
    }

    fn attach(&self, index: u32, consumer: Consumer, first: u64) -> Result<ReaderId, Failure> {
        let mut state = lock(&self.state);
        match &state.stage {
            Stage::Released => {
                let text = format!("{} is released", self.id).into();
                return Err(Failure { code: ReasonCode::PartitionGone, text });
            }
            Stage::Failed(failure) if self.kind.is_retained() => return Err(failure.clone()),
            _ => {}
        }
        let count = self.subpartitions;
        if index >= count {
            let text = format!("{} has {count} subpartitions, {index} was asked for", self.id).into();
            return Err(Failure { code: ReasonCode::NoSuchSubpartition, text });
        }
        if self.kind.is_retained() {
            // As often as anybody likes: each reader has its own way through the same bytes.
            return Ok(state.add_reader(consumer, first));
        }
        debug_assert_eq!(first, 0, "what is read once is read from its beginning");
        let entry = &mut state.readers[index as usize];
        if !matches!(entry.consumer, Consumer::Unclaimed) {
            let text = format!("subpartition {index} of {} has, or had, another consumer", self.id).into();
            return Err(Failure { code: ReasonCode::AlreadyConsumed, text });
        }
        entry.consumer = consumer;
        // The reader looks by itself now; what comes later tells it only after it has found nothing.
        entry.notified = true;
        Ok(ReaderId { place: index, generation: entry.generation })
    }

    /// The writer waits; it is woken when nobody wants any more what it writes.
    pub(crate) fn wake_when_over(&self, waker: &Waker) {
        let mut state = lock(&self.state);
        if !state.writer.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.writer = Some(waker.clone());
        }
    }

    /// The consumer is gone: what its queue has is dropped. Says whether that was the end of a partition that is not
    /// retained.
    pub(crate) fn consumer_gone(&self, reader: ReaderId, why: &str) -> bool {
        let retained = self.kind.is_retained();
        let (dropped, drained, writer) = {
            let mut state = lock(&self.state);
            let state = &mut *state;
            let Some(entry) = of(&mut state.readers, reader) else { return false };
            if entry.ended || matches!(entry.consumer, Consumer::Gone) {
                return false;
            }
            let (dropped, bytes) = entry.clear();
            state.queued_bytes -= bytes;
            entry.ended = true;
            entry.consumer = Consumer::Gone;
            if retained {
                entry.retire();
                state.free.push(reader.place);
                (dropped, false, None)
            } else {
                state.gone += 1;
                let all_gone = state.gone == state.readers.len();
                if all_gone {
                    state.last_gone = why.into();
                }
                state.open -= 1;
                let writer = if all_gone { state.writer.take() } else { None };
                (dropped, state.open == 0, writer)
            }
        };
        drop(dropped);
        if retained {
            self.mailbox.send(Command::ReaderGone(self.id, reader));
        }
        if let Some(writer) = writer {
            writer.wake();
        }
        drained
    }

    /// From what reads the disk: the next items of a reader. They come back if the reader is gone.
    pub(crate) fn fill(&self, reader: ReaderId, items: Vec<Item>, ask_below: u32) -> Result<(), Vec<Item>> {
        let mut notices = Notices::default();
        {
            let mut state = lock(&self.state);
            let State { readers, queued_bytes, .. } = &mut *state;
            let Some(entry) = of(readers, reader).filter(|entry| !entry.ended) else { return Err(items) };
            entry.filled += items.len() as u64;
            entry.asked = false;
            entry.ask_below = ask_below;
            for item in items {
                *queued_bytes += entry.push_back(item);
            }
            entry.notify(&mut notices);
        }
        self.notify(notices);
        Ok(())
    }

    /// From a session: there is credit for what comes next, and for so many bytes in all.
    pub(crate) fn fetch(&self, reader: ReaderId, credit_bytes: u64) {
        {
            let mut state = lock(&self.state);
            let Some(entry) = of(&mut state.readers, reader) else { return };
            if std::mem::replace(&mut entry.asked, true) {
                return;
            }
        }
        self.mailbox.send(Command::Fetch(self.id, reader, credit_bytes));
    }

    /// From what reads the disk: what comes next for a reader of a session, unless it is on its way already.
    pub(crate) fn set_upcoming(&self, reader: ReaderId, upcoming: Option<Upcoming>) {
        let mut notices = Notices::default();
        {
            let mut state = lock(&self.state);
            let Some(entry) = of(&mut state.readers, reader).filter(|entry| !entry.ended) else { return };
            entry.upcoming = upcoming;
            if upcoming.is_some() {
                entry.asked = false;
                if entry.queue.is_empty() {
                    entry.notify(&mut notices);
                }
            }
        }
        self.notify(notices);
    }

    /// From what reads the disk: there is as much in the queue as the reader may have; it asks again when there is less
    /// than this. False if there is already.
    pub(crate) fn ask_later(&self, reader: ReaderId, ask_below: u32) -> bool {
        let mut state = lock(&self.state);
        let Some(entry) = of(&mut state.readers, reader) else { return true };
        entry.ask_below = ask_below;
        entry.asked = entry.queue.is_empty() || entry.queued_bytes < ask_below;
        !entry.asked
    }

    /// From what reads the disk: takes what waits in a reader's queue away from it, because the memory is wanted more
    /// by others and the bytes can be read again. Says which item is its next one; `None` if the reader is gone or
    /// its queue cannot be taken.
    pub(crate) fn take_back(&self, reader: ReaderId) -> Option<u64> {
        let (dropped, next) = {
            let mut state = lock(&self.state);
            let State { readers, queued_bytes, .. } = &mut *state;
            let entry = of(readers, reader)?;
            // An end alone takes no memory.
            if entry.queued_bytes == 0 || matches!(entry.queue.back(), Some(Item::Failed(_))) {
                return None;
            }
            entry.filled -= entry.queue.len() as u64;
            let (dropped, bytes) = entry.clear();
            *queued_bytes -= bytes;
            // It finds nothing now, and asks when it looks.
            entry.asked = false;
            (dropped, entry.filled)
        };
        drop(dropped);
        Some(next)
    }

    /// How many items a reader has taken, and the bytes that wait in its queue; `None` if it is gone.
    pub(crate) fn progress(&self, reader: ReaderId) -> Option<(u64, u32)> {
        let mut state = lock(&self.state);
        let entry = of(&mut state.readers, reader).filter(|entry| !entry.ended)?;
        // A release puts a failure into the queue that did not come from the disk.
        Some((entry.filled.saturating_sub(entry.queue.len() as u64), entry.queued_bytes))
    }

    /// Where its producer's figures are until it is finished.
    pub(crate) fn set_spill(&self, spill: &Arc<Spill>) {
        let _ = self.spill.set(Arc::downgrade(spill));
    }

    /// How much each subpartition has: exact once it is finished, else as far as is known.
    pub(crate) fn statistics(&self) -> Option<PartitionStatistics> {
        if let Some(exact) = self.statistics.get() {
            return Some(exact.clone());
        }
        let totals = self.spill.get()?.upgrade()?.totals();
        let (bytes, records) = totals.iter().map(|totals| (totals.raw_bytes, totals.records)).unzip();
        Some(PartitionStatistics { bytes, records })
    }

    /// A retained partition is complete, with these figures: consumers may begin.
    pub(crate) fn finish(&self, statistics: PartitionStatistics) {
        let _ = self.statistics.set(statistics);
        let mut state = lock(&self.state);
        if state.stage == Stage::Writing {
            state.stage = Stage::Finished;
        }
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

    /// What one reader wants cannot be had: it is told, and the others go on. What waits in its queue goes: nobody could
    /// take its memory back any more, and a consumer that fails does not need it.
    pub(crate) fn fail_reader(&self, reader: ReaderId, failure: Failure) {
        let dropped = {
            let mut state = lock(&self.state);
            let State { readers, queued_bytes, .. } = &mut *state;
            let Some(entry) = of(readers, reader).filter(|entry| !entry.ended) else { return };
            let (dropped, bytes) = entry.clear();
            *queued_bytes -= bytes;
            dropped
        };
        drop(dropped);
        let _ = self.fill(reader, vec![Item::Failed(failure)], 0);
    }

    fn end_all(&self, failure: Failure, release: bool) {
        let (mut notices, mut dropped) = (Notices::default(), Vec::new());
        let writer = {
            let mut state = lock(&self.state);
            for index in 0..state.readers.len() {
                if release {
                    let (queue, bytes) = state.readers[index].clear();
                    state.queued_bytes -= bytes;
                    dropped.extend(queue);
                }
                let last = state.readers[index].queue.back();
                if !matches!(last, Some(Item::End { .. } | Item::Failed(_))) {
                    let failed = Item::Failed(failure.clone());
                    dropped.extend(state.push(index as u32, failed, &mut notices).err());
                }
            }
            // With the same lock: nothing that a writer hands over comes behind the failure.
            match (release, &state.stage) {
                (true, _) => state.stage = Stage::Released,
                (false, Stage::Writing) => state.stage = Stage::Failed(failure),
                (false, _) => {}
            }
            if release { state.writer.take() } else { None }
        };
        drop(dropped);
        if let Some(writer) = writer {
            writer.wake();
        }
        self.notify(notices);
    }

    /// Tells readers that were waiting: one command for all remote ones, so the reactor is woken at most once.
    fn notify(&self, Notices { remote, local }: Notices) {
        if !remote.is_empty() {
            self.mailbox.send(Command::Ready(remote));
        }
        for (inbox, channel) in local {
            inbox.local_ready(channel);
        }
    }
}

/// Who is to be told, once the lock is free.
#[derive(Default)]
struct Notices {
    remote: Vec<(SessionId, ChannelId)>,
    local: Vec<(Arc<Inbox>, u32)>,
}

/// The reader of this name, if it is still the one in its place.
fn of(readers: &mut [Reader], reader: ReaderId) -> Option<&mut Reader> {
    readers.get_mut(reader.place as usize).filter(|entry| entry.generation == reader.generation)
}

impl State {
    /// From a writer.
    fn push(&mut self, index: u32, item: Item, notices: &mut Notices) -> Result<(), Item> {
        let entry = &mut self.readers[index as usize];
        if self.stage == Stage::Released || entry.ended {
            return Err(item);
        }
        match item {
            Item::PriorityEvent { event, .. } => {
                let ahead = entry.queue.iter().take_while(|item| matches!(item, Item::PriorityEvent { .. }));
                let place = ahead.count();
                let overtook = entry.queued_blocks;
                entry.queue.insert(place, Item::PriorityEvent { event, overtook });
                // Even a reader that waits for credit has to look: the event needs none.
                entry.notified = false;
            }
            item => self.queued_bytes += entry.push_back(item),
        }
        entry.notify(notices);
        Ok(())
    }

    fn add_reader(&mut self, consumer: Consumer, first: u64) -> ReaderId {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.readers.push(Reader::new(Consumer::Gone, 0));
                self.readers.len() as u32 - 1
            }
        };
        let entry = &mut self.readers[place as usize];
        let generation = entry.generation;
        *entry = Reader::new(consumer, generation);
        entry.filled = first;
        // It is asked for it by who adds it.
        entry.asked = true;
        ReaderId { place, generation }
    }

    fn accepted(&self) -> Accepted {
        match self {
            Self { stage: Stage::Released, .. } => Accepted::Released,
            _ if self.gone == self.readers.len() => Accepted::Abandoned(self.last_gone.to_string()),
            _ => Accepted::Yes,
        }
    }
}

impl Reader {
    fn new(consumer: Consumer, generation: u32) -> Self {
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
    fn pop(&mut self) -> (Popped, u64, bool) {
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
    fn push_back(&mut self, item: Item) -> u64 {
        let mut bytes = 0;
        if let Item::Block(block) = &item {
            bytes = u64::from(block.bytes());
            self.queued_bytes += block.bytes();
            self.queued_blocks += 1;
        }
        self.queue.push_back(item);
        bytes
    }

    fn notify(&mut self, notices: &mut Notices) {
        if !std::mem::replace(&mut self.notified, true) {
            match &self.consumer {
                Consumer::Remote(session, channel) => notices.remote.push((*session, *channel)),
                Consumer::Local(inbox, channel) => notices.local.push((Arc::clone(inbox), *channel)),
                Consumer::Unclaimed | Consumer::Gone => {}
            }
        }
    }

    /// Whether to ask for more now: once for each time that its queue runs low.
    fn asks(&mut self) -> bool {
        let last = matches!(self.queue.back(), Some(Item::End { .. } | Item::Failed(_)));
        let low = self.queue.is_empty() || self.queued_bytes < self.ask_below;
        low && !last && !std::mem::replace(&mut self.asked, true)
    }

    fn clear(&mut self) -> (VecDeque<Item>, u64) {
        self.queued_blocks = 0;
        (std::mem::take(&mut self.queue), u64::from(std::mem::take(&mut self.queued_bytes)))
    }

    /// Nobody has this reader any more: its name means nothing from now on.
    fn retire(&mut self) {
        let generation = self.generation.wrapping_add(1);
        *self = Self::new(Consumer::Gone, generation);
        self.ended = true;
    }

    fn backlog(&self) -> Backlog {
        let next = self.queue.iter().find_map(|item| match item {
            Item::Block(block) => Some(block.bytes()),
            _ => None,
        });
        Backlog { bytes: self.queued_bytes, blocks: self.queued_blocks, next: next.unwrap_or(0) }
    }
}
