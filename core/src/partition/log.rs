//! The log of one partition: for each subpartition a sequence of blocks, and the readers of it. One reader's side for all
//! kinds of partition; what differs is who fills a reader's queue: the writer, or what reads the disk.

mod consumers;
mod read_ahead;
mod reader;

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::Waker;

use sluice_protocol::{PartitionId, ReasonCode};

use super::kind::PartitionKind;
use super::sorted::Spill;
use super::statistics::PartitionStatistics;
use crate::block::{Failure, Item};
use crate::mailbox::{Command, Mailbox};
use crate::stats::Counters;
use crate::sync::lock;
use reader::{Consumer, Notices, Reader, of};
pub(crate) use reader::{ReaderId, Upcoming};

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
    /// Where it is counted what consumers take, if it is on the disk.
    counters: OnceLock<Arc<Counters>>,
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

/// What a writer learns when it hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    Yes,
    /// Everybody is gone; this is why the last one went.
    Abandoned(String),
    Released,
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
        let (spill, statistics, counters) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { id, kind, subpartitions, mailbox, state: Mutex::new(state), spill, statistics, counters }
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

    /// The writer waits; it is woken when nobody wants any more what it writes.
    pub(crate) fn wake_when_over(&self, waker: &Waker) {
        let mut state = lock(&self.state);
        if !state.writer.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.writer = Some(waker.clone());
        }
    }

    /// From now on it is counted there what consumers take.
    pub(crate) fn count_in(&self, counters: &Arc<Counters>) {
        let _ = self.counters.set(Arc::clone(counters));
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
