//! What a consumer does with its reader: it claims a subpartition, takes what comes, and goes.

use std::sync::Arc;

use sluice_protocol::wire::Backlog;
use sluice_protocol::{ChannelId, ReasonCode};

use super::reader::{Consumer, Popped, ReaderId, of};
use super::{BlockLog, Stage, State};
use crate::block::{Failure, Item};
use crate::gate::Inbox;
use crate::mailbox::{Command, SessionId};
use crate::sync::lock;

impl BlockLog {
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
        if let (Some(counters), Some(Item::Block(block))) = (self.counters.get(), &popped.item) {
            counters.disk.delivered(u64::from(block.bytes()));
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
        if let Some(counters) = self.counters.get() {
            counters.disk.given_back(u64::from(bytes));
        }
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
}
