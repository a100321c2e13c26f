//! The producing task's end of a pipelined partition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sluice_memory::{BufferPool, SizeClass};
use sluice_protocol::wire::EVENT_BYTES_MAX;
use sluice_protocol::{PartitionId, Time};

use super::log::{Accepted, BlockLog};
use super::open::{Kind, Open, Patience};
use super::writer::{FlushInterval, PendingRecord, WriterStatistics};
use crate::block::{Event, Item};
use crate::clock::Clock;
use crate::error::WriteError;
use crate::mailbox::{Command, Mailbox};
use crate::record::RecordBatch;
use crate::sync::{lock, try_lock};

/// What a writer is made of.
pub(crate) struct WriterSettings {
    pub(crate) pool: BufferPool,
    pub(crate) buffer_bytes: usize,
    pub(crate) hand_over_bytes: usize,
    pub(crate) flush: FlushInterval,
    pub(crate) record_bytes_max: usize,
    pub(crate) clock: Clock,
    pub(crate) mailbox: Mailbox,
}

/// Writes into open buffers and hands them over sealed.
pub(crate) struct PipelinedWriter {
    shared: Arc<Shared>,
    waiting: Option<(Time, Cause)>,
    /// How far a broadcast came that had to wait.
    broadcast_offset: usize,
}

/// The reactor's handle for the flush timer.
pub(crate) struct WriterEnd(Weak<Shared>);

/// What the flush timer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushOutcome {
    Done,
    /// The task is writing just now: try again soon.
    Again,
}

/// Called by the pool of a writer whose flush found no memory to sort into.
struct FlushWhenThereIsMemory {
    writer: Weak<Shared>,
    mailbox: Mailbox,
}

impl Wake for FlushWhenThereIsMemory {
    fn wake(self: Arc<Self>) {
        self.mailbox.send(Command::FlushLater(WriterEnd(Weak::clone(&self.writer))));
    }
}

struct Shared {
    partition: Arc<BlockLog>,
    settings: WriterSettings,
    subpartitions: u32,
    open: Mutex<Open>,
    credit_nanos: AtomicU64,
    buffer_nanos: AtomicU64,
    flush_waker: OnceLock<Waker>,
}

#[derive(Clone, Copy)]
enum Cause {
    Credit,
    Buffer,
}

impl PipelinedWriter {
    pub(crate) fn new(partition: Arc<BlockLog>, settings: WriterSettings) -> Self {
        let subpartitions = partition.subpartitions();
        let (kind, class) = kind_for(subpartitions, &settings);
        let open = Open::new(kind, class, subpartitions);
        let shared = Shared {
            partition,
            settings,
            subpartitions,
            open: Mutex::new(open),
            credit_nanos: AtomicU64::new(0),
            buffer_nanos: AtomicU64::new(0),
            flush_waker: OnceLock::new(),
        };
        Self { shared: Arc::new(shared), waiting: None, broadcast_offset: 0 }
    }

    /// Which partition it writes.
    pub(crate) fn partition(&self) -> PartitionId {
        self.shared.partition.id()
    }

    /// How many targets there are.
    pub(crate) fn subpartitions(&self) -> u32 {
        self.shared.subpartitions
    }

    /// What it has waited for so far.
    pub(crate) fn statistics(&self) -> WriterStatistics {
        let stall = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        WriterStatistics {
            credit_stall: stall(&self.shared.credit_nanos),
            buffer_stall: stall(&self.shared.buffer_nanos),
            disk_stall: Duration::ZERO,
        }
    }

    /// Writes a batch: no lock, atomic or virtual call for each record. A batch that had to wait goes on where it was
    /// when the same batch is given again.
    pub(crate) fn poll_write_batch(
        &mut self,
        context: &mut Context<'_>,
        batch: &mut RecordBatch<'_>,
    ) -> Poll<Result<(), WriteError>> {
        let shared = Arc::clone(&self.shared);
        let mut open = shared.open_for_writing()?;
        while let Some((target, record, offset)) = batch.next() {
            shared.check(target, record.len())?;
            match open.append(target, record, offset, &shared.settings.pool, &mut Patience::Wait(context)) {
                Ok(()) => batch.record_done(),
                Err(offset) => {
                    batch.advance(offset);
                    return self.wait(context, &shared, &mut open);
                }
            }
            shared.hand_over_if_due(&mut open)?;
        }
        Poll::Ready(self.written(&shared, &mut open))
    }

    /// Writes one record to one target.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        target: u32,
        record: &mut PendingRecord<'_>,
    ) -> Poll<Result<(), WriteError>> {
        let shared = Arc::clone(&self.shared);
        shared.check(target, record.bytes.len())?;
        let mut open = shared.open_for_writing()?;
        if let Err(offset) =
            open.append(target, record.bytes, record.offset, &shared.settings.pool, &mut Patience::Wait(context))
        {
            record.offset = offset;
            return self.wait(context, &shared, &mut open);
        }
        shared.hand_over_if_due(&mut open)?;
        Poll::Ready(self.written(&shared, &mut open))
    }

    /// Writes one record for all targets: stored once, sent to each. When it had to wait, the same record is to be given
    /// again before anything else.
    pub(crate) fn poll_broadcast(&mut self, context: &mut Context<'_>, record: &[u8]) -> Poll<Result<(), WriteError>> {
        let shared = Arc::clone(&self.shared);
        shared.check(0, record.len())?;
        let mut open = shared.open_for_writing()?;
        if let Err(offset) =
            open.append_broadcast(record, self.broadcast_offset, &shared.settings.pool, &mut Patience::Wait(context))
        {
            self.broadcast_offset = offset;
            return self.wait(context, &shared, &mut open);
        }
        self.broadcast_offset = 0;
        shared.hand_over_if_due(&mut open)?;
        Poll::Ready(self.written(&shared, &mut open))
    }

    /// Puts an event behind all that was written, for one target or for all, and hands it over. A priority event is not
    /// put behind but before what has not been sent.
    pub(crate) fn poll_event(
        &mut self,
        context: &mut Context<'_>,
        target: Option<u32>,
        event: &Event,
        priority: bool,
    ) -> Poll<Result<(), WriteError>> {
        let shared = Arc::clone(&self.shared);
        shared.check(target.unwrap_or(0), 0)?;
        if event.payload.len() > EVENT_BYTES_MAX {
            let (partition, bytes) = (shared.partition.id(), event.payload.len());
            return Poll::Ready(Err(WriteError::EventTooLong { partition, bytes, limit: EVENT_BYTES_MAX }));
        }
        let mut open = shared.open_for_writing()?;
        // What is written but not sealed counts as overtaken, so it has to stand in the queue before the event does.
        if !open.seal_all(&shared.settings.pool, &mut Patience::Wait(context)) {
            return self.wait(context, &shared, &mut open);
        }
        let targets = target.map_or(0..shared.subpartitions, |target| target..target + 1);
        for target in targets {
            let item = match priority {
                true => Item::PriorityEvent { event: event.clone(), overtook: 0 },
                false => Item::Event(event.clone()),
            };
            open.pending.push((target, item));
        }
        self.go_on(&shared);
        Poll::Ready(shared.hand_over(&mut open))
    }

    /// Makes all that was written visible to the consumers.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        let shared = Arc::clone(&self.shared);
        let mut open = lock(&shared.open);
        if !open.seal_all(&shared.settings.pool, &mut Patience::Wait(context)) {
            return self.wait(context, &shared, &mut open);
        }
        self.go_on(&shared);
        Poll::Ready(shared.hand_over(&mut open))
    }

    /// Completes the partition: its consumers get the end, with totals to compare.
    pub(crate) fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        std::task::ready!(self.poll_flush(context))?;
        let mut open = lock(&self.shared.open);
        if !open.ended {
            open.ended = true;
            let ends = open
                .totals
                .iter()
                .enumerate()
                .map(|(target, (blocks, bytes))| (target as u32, Item::End { blocks: *blocks, bytes: *bytes }));
            let mut ends: Vec<_> = ends.collect();
            open.pending.append(&mut ends);
        }
        Poll::Ready(self.shared.hand_over(&mut open))
    }

    pub(crate) fn fail(&self, cause: &str) {
        if !std::mem::replace(&mut lock(&self.shared.open).ended, true) {
            self.shared.partition.fail(cause);
        }
    }

    fn written(&mut self, shared: &Arc<Shared>, open: &mut Open) -> Result<(), WriteError> {
        self.go_on(shared);
        match shared.settings.flush {
            FlushInterval::Off => {}
            FlushInterval::Always => {
                let sealed = open.seal_all(&shared.settings.pool, &mut Patience::Try);
                shared.hand_over(open)?;
                if !sealed && !std::mem::replace(&mut open.flush_armed, true) {
                    // There was no memory to sort into: the reactor flushes as soon as there is.
                    shared.settings.mailbox.send(Command::FlushLater(WriterEnd(Arc::downgrade(shared))));
                }
            }
            FlushInterval::After(_) if !open.flush_armed && open.is_dirty() => {
                open.flush_armed = true;
                shared.settings.mailbox.send(Command::FlushLater(WriterEnd(Arc::downgrade(shared))));
            }
            FlushInterval::After(_) => {}
        }
        Ok(())
    }

    /// Before it waits, a writer gives away all that it can: what it holds open might be what it waits for.
    #[cold]
    #[inline(never)]
    fn wait(&mut self, context: &Context<'_>, shared: &Shared, open: &mut Open) -> Poll<Result<(), WriteError>> {
        open.give_up_room();
        // The memory may be with a peer for long after nobody wants what is written.
        shared.partition.wake_when_over(context.waker());
        if let Err(error) = shared.hand_over(open) {
            return Poll::Ready(Err(error));
        }
        if self.waiting.is_none() {
            let cause = if shared.partition.queued_bytes() > 0 { Cause::Credit } else { Cause::Buffer };
            self.waiting = Some((shared.settings.clock.now(), cause));
        }
        Poll::Pending
    }

    fn go_on(&mut self, shared: &Shared) {
        let Some((since, cause)) = self.waiting.take() else { return };
        let waited = shared.settings.clock.now().since(since).as_nanos() as u64;
        let counter = match cause {
            Cause::Credit => &shared.credit_nanos,
            Cause::Buffer => &shared.buffer_nanos,
        };
        counter.fetch_add(waited, Ordering::Relaxed);
    }
}

impl Drop for PipelinedWriter {
    fn drop(&mut self) {
        self.fail("the producing task ended without finishing the partition");
    }
}

impl Shared {
    /// Lays the buffers out when the first record comes: then the other writers and gates of the task are there, and
    /// the share of the memory is known. Again after memory was short, when the share has become smaller.
    ///
    /// # Errors
    /// If the partition is finished.
    fn open_for_writing(&self) -> Result<MutexGuard<'_, Open>, WriteError> {
        let mut open = lock(&self.open);
        if open.ended {
            return Err(WriteError::Finished { partition: self.partition.id() });
        }
        if std::mem::take(&mut open.lay_out_due) {
            if open.is_dirty() {
                // Data of the old layout; a writer that had to wait for its memory comes here again.
                open.lay_out_due = true;
            } else {
                let (kind, class) = kind_for(self.subpartitions, &self.settings);
                open.lay_out(kind, class);
                // Some of what there is may wait to be handed over; the rest is on its way.
                open.hand_over_bytes = self.settings.hand_over_bytes.min(self.settings.pool.limit_bytes() / 4);
            }
        }
        Ok(open)
    }

    fn hand_over(&self, open: &mut Open) -> Result<(), WriteError> {
        open.pending_bytes = 0;
        let partition = self.partition.id();
        match self.partition.hand_over(&mut open.pending) {
            Accepted::Yes => Ok(()),
            Accepted::Abandoned(last) => Err(WriteError::Abandoned { partition, last }),
            Accepted::Released => Err(WriteError::Released { partition }),
        }
    }

    /// Hands over once enough is collected.
    #[inline]
    fn hand_over_if_due(&self, open: &mut Open) -> Result<(), WriteError> {
        if open.pending_bytes >= open.hand_over_bytes { self.hand_over(open) } else { Ok(()) }
    }

    #[inline]
    fn check(&self, target: u32, bytes: usize) -> Result<(), WriteError> {
        if target < self.subpartitions && bytes <= self.settings.record_bytes_max {
            return Ok(());
        }
        Err(self.refuse(target, bytes))
    }

    #[cold]
    fn refuse(&self, target: u32, bytes: usize) -> WriteError {
        let partition = self.partition.id();
        if target >= self.subpartitions {
            return WriteError::NoSuchSubpartition { partition, target, subpartitions: self.subpartitions };
        }
        WriteError::RecordTooLong { partition, bytes, limit: self.settings.record_bytes_max }
    }
}

impl WriterEnd {
    /// How long after a write the flush is due; `None` if the writer is gone.
    pub(crate) fn interval(&self) -> Option<Duration> {
        match self.0.upgrade()?.settings.flush {
            FlushInterval::After(interval) => Some(interval),
            // Only what could not be sealed for want of memory.
            FlushInterval::Always => Some(Duration::ZERO),
            FlushInterval::Off => None,
        }
    }

    /// Seals and hands over on the reactor's thread.
    pub(crate) fn flush(&self) -> FlushOutcome {
        let Some(shared) = self.0.upgrade() else { return FlushOutcome::Done };
        let Some(mut open) = try_lock(&shared.open) else { return FlushOutcome::Again };
        let waker = shared.flush_waker.get_or_init(|| {
            let (writer, mailbox) = (Weak::clone(&self.0), shared.settings.mailbox.clone());
            Waker::from(Arc::new(FlushWhenThereIsMemory { writer, mailbox }))
        });
        let sealed = open.seal_all(&shared.settings.pool, &mut Patience::Wait(&mut Context::from_waker(waker)));
        // Whether anybody still reads is the task's concern.
        let _ = shared.hand_over(&mut open);
        // Otherwise the pool calls when there is memory to sort into.
        open.flush_armed = !sealed;
        FlushOutcome::Done
    }
}

/// Chooses between an open buffer for each subpartition and one for all, by how much memory there is.
fn kind_for(subpartitions: u32, settings: &WriterSettings) -> (Kind, SizeClass) {
    let each = settings.pool.limit_bytes() / (2 * subpartitions as usize);
    // Half the memory is open, the other half on its way.
    if let Some(class) = SizeClass::at_most(each.min(settings.buffer_bytes)) {
        return (Kind::Direct, class);
    }
    // One buffer collects and one is sorted into: half of the floor each, so that it works whatever becomes of the
    // rest. With more memory, more sorted ones are on their way.
    (Kind::Collected, SizeClass::at_most(settings.pool.unit().bytes() / 2).unwrap_or(SizeClass::MIN))
}
