//! The producing task's end of a partition that goes to the disk.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sluice_memory::{BufferMut, BufferPool, SizeClass};
use sluice_protocol::wire::EVENT_BYTES_MAX;
use sluice_protocol::{PartitionId, Time};

use super::log::{Full, SortLog, Writing};
use super::spill::Spill;
use crate::block::Event;
use crate::clock::Clock;
use crate::error::WriteError;
use crate::partition::writer::PendingRecord;
use crate::record::RecordBatch;

/// What a writer is made of.
pub(crate) struct SortedSettings {
    pub(crate) spill: Arc<Spill>,
    /// What is always its own.
    pub(crate) floor: BufferPool,
    /// What it takes beyond that while there is some.
    pub(crate) elastic: BufferPool,
    pub(crate) record_bytes_max: usize,
    pub(crate) clock: Clock,
}

/// Writes into the log, offers regions, waits for the disk.
pub(crate) struct SortedWriter {
    settings: SortedSettings,
    log: SortLog,
    /// The spill has the chunk without which it can write nothing.
    has_lent: bool,
    /// How far a broadcast or an event came that had to wait.
    offset: usize,
    ending: bool,
    ended: bool,
    waiting: Option<Time>,
    stall: Duration,
}

impl SortedWriter {
    pub(crate) fn new(settings: SortedSettings) -> Self {
        Self {
            settings,
            log: SortLog::default(),
            has_lent: false,
            offset: 0,
            ending: false,
            ended: false,
            waiting: None,
            stall: Duration::ZERO,
        }
    }

    pub(crate) fn partition(&self) -> PartitionId {
        self.settings.spill.id()
    }

    pub(crate) fn subpartitions(&self) -> u32 {
        self.settings.spill.log().subpartitions()
    }

    /// How long it has waited for what was written before to be sorted and on the disk.
    pub(crate) fn stall(&self) -> Duration {
        self.stall
    }

    pub(crate) fn poll_write_batch(
        &mut self,
        context: &mut Context<'_>,
        batch: &mut RecordBatch<'_>,
    ) -> Poll<Result<(), WriteError>> {
        self.go_on()?;
        let (subpartitions, longest) = (self.subpartitions(), self.settings.record_bytes_max);
        while let Some((target, record, offset)) = batch.next() {
            if target >= subpartitions || record.len() > longest {
                return Poll::Ready(Err(self.refuse(target, record.len())));
            }
            if offset == 0 && self.log.append_whole(target, record) {
                batch.record_done();
                continue;
            }
            match self.append(context, Some(target), Writing::Record(record), offset) {
                Ok(()) => batch.record_done(),
                Err(offset) => {
                    batch.advance(offset);
                    return self.wait(context);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        target: u32,
        record: &mut PendingRecord<'_>,
    ) -> Poll<Result<(), WriteError>> {
        self.go_on()?;
        if target >= self.subpartitions() || record.bytes.len() > self.settings.record_bytes_max {
            return Poll::Ready(Err(self.refuse(target, record.bytes.len())));
        }
        match self.append(context, Some(target), Writing::Record(record.bytes), record.offset) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(offset) => {
                record.offset = offset;
                self.wait(context)
            }
        }
    }

    pub(crate) fn poll_broadcast(&mut self, context: &mut Context<'_>, record: &[u8]) -> Poll<Result<(), WriteError>> {
        self.go_on()?;
        if record.len() > self.settings.record_bytes_max {
            return Poll::Ready(Err(self.refuse(0, record.len())));
        }
        self.poll_writing(context, None, Writing::Record(record))
    }

    /// Nobody reads yet, so nothing can be overtaken: a priority event stands where it was written.
    pub(crate) fn poll_event(
        &mut self,
        context: &mut Context<'_>,
        target: Option<u32>,
        event: &Event,
    ) -> Poll<Result<(), WriteError>> {
        self.go_on()?;
        if target.is_some_and(|target| target >= self.subpartitions()) {
            return Poll::Ready(Err(self.refuse(target.unwrap_or(0), 0)));
        }
        if event.payload.len() > EVENT_BYTES_MAX {
            let (partition, bytes) = (self.partition(), event.payload.len());
            return Poll::Ready(Err(WriteError::EventTooLong { partition, bytes, limit: EVENT_BYTES_MAX }));
        }
        self.poll_writing(context, target, Writing::Event(&event.encode()))
    }

    fn poll_writing(
        &mut self,
        context: &mut Context<'_>,
        target: Option<u32>,
        writing: Writing<'_>,
    ) -> Poll<Result<(), WriteError>> {
        match self.append(context, target, writing, self.offset) {
            Ok(()) => {
                self.offset = 0;
                Poll::Ready(Ok(()))
            }
            Err(offset) => {
                self.offset = offset;
                self.wait(context)
            }
        }
    }

    /// Nobody reads before the end: there is nobody to flush for.
    pub(crate) fn poll_flush(&mut self) -> Poll<Result<(), WriteError>> {
        Poll::Ready(self.go_on())
    }

    /// Completes the partition: ready when all of it is on the disk and can be read.
    pub(crate) fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        let spill = Arc::clone(&self.settings.spill);
        if !self.ending {
            if !self.log.is_empty() {
                self.go_on()?;
                if !spill.takes_region(context.waker()) {
                    return self.wait(context);
                }
                spill.offer(self.log.take());
            }
            if !self.has_lent && !self.lend(context) {
                return self.wait(context);
            }
            self.log.give_up_room();
            self.ending = true;
            spill.end();
        }
        match spill.outcome(Some(context.waker())) {
            None => self.wait(context),
            Some(outcome) => {
                self.ended = true;
                self.stop_waiting();
                Poll::Ready(outcome.map_err(|cause| self.disk_error(&cause)))
            }
        }
    }

    pub(crate) fn fail(&mut self, cause: &str) {
        if !std::mem::replace(&mut self.ended, true) {
            self.log = SortLog::default();
            self.settings.spill.conclude(Err(cause.into()));
            self.settings.spill.log().fail(cause);
        }
    }

    /// Writes until all is written; how far it came if it has to wait.
    fn append(
        &mut self,
        context: &mut Context<'_>,
        target: Option<u32>,
        writing: Writing<'_>,
        mut offset: usize,
    ) -> Result<(), usize> {
        loop {
            let full = match self.log.append(target, writing, offset) {
                Ok(()) => return Ok(()),
                Err((reached, full)) => {
                    offset = reached;
                    full
                }
            };
            let goes_on = match full {
                Full::Segment => self.more_room(context),
                Full::Region => self.close_region(context),
            };
            if !goes_on {
                return Err(offset);
            }
        }
    }

    /// Half of the floor is the chunk that is always there; the other half is the least to sort in.
    fn half(&self) -> SizeClass {
        SizeClass::at_most(self.settings.floor.unit().bytes() / 2).unwrap_or(SizeClass::MIN)
    }

    fn lend(&mut self, context: &mut Context<'_>) -> bool {
        let half = self.half();
        match self.settings.floor.poll_acquire(context, half, half.bytes()) {
            Poll::Ready(reserve) => {
                self.settings.spill.lend(reserve);
                self.has_lent = true;
                true
            }
            Poll::Pending => false,
        }
    }

    /// Another segment, or else the end of this region.
    fn more_room(&mut self, context: &mut Context<'_>) -> bool {
        if !self.has_lent && !self.lend(context) {
            return false;
        }
        if let Some(segment) = self.elastic_segment() {
            self.log.put(segment);
            return true;
        }
        if let Some(segment) = self.settings.floor.try_acquire(self.half()) {
            self.log.put(segment);
            return true;
        }
        if !self.log.is_empty() {
            return self.close_region(context);
        }
        // The region before has it all, and gives it back when it is sorted.
        let half = self.half();
        match self.settings.floor.poll_acquire(context, half, half.bytes()) {
            Poll::Ready(segment) => {
                self.log.put(segment);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Beyond the floor it takes half of what there is, so that this region is filled while the one before is sorted.
    fn elastic_segment(&self) -> Option<BufferMut> {
        let elastic = &self.settings.elastic;
        let share = elastic.limit_bytes().saturating_sub(self.settings.spill.chunk_bytes()) / 2;
        let most = SizeClass::at_most(share.saturating_sub(self.log.held_bytes()))?;
        let fitting = SizeClass::all().rev().filter(|class| (SizeClass::UNIT..=most).contains(class));
        fitting.into_iter().find_map(|class| elastic.try_acquire(class))
    }

    fn close_region(&mut self, context: &Context<'_>) -> bool {
        if !self.settings.spill.takes_region(context.waker()) {
            return false;
        }
        self.settings.spill.offer(self.log.take());
        true
    }

    #[cold]
    fn wait(&mut self, context: &Context<'_>) -> Poll<Result<(), WriteError>> {
        // Whatever it waits for, it is woken if the partition fails; and that may have been before.
        if let Some(Err(cause)) = self.settings.spill.outcome(Some(context.waker())) {
            return Poll::Ready(Err(self.disk_error(&cause)));
        }
        if self.waiting.is_none() {
            self.waiting = Some(self.settings.clock.now());
        }
        Poll::Pending
    }

    fn stop_waiting(&mut self) {
        if let Some(since) = self.waiting.take() {
            self.stall += self.settings.clock.now().since(since);
        }
    }

    fn go_on(&mut self) -> Result<(), WriteError> {
        self.stop_waiting();
        let partition = self.partition();
        if self.ended || self.ending {
            return Err(WriteError::Finished { partition });
        }
        match self.settings.spill.outcome(None) {
            Some(Err(cause)) => Err(self.disk_error(&cause)),
            _ => Ok(()),
        }
    }

    fn disk_error(&self, cause: &str) -> WriteError {
        let partition = self.partition();
        if self.settings.spill.log().is_released() {
            return WriteError::Released { partition };
        }
        WriteError::Disk { partition, cause: cause.into() }
    }

    #[cold]
    fn refuse(&self, target: u32, bytes: usize) -> WriteError {
        let (partition, subpartitions) = (self.partition(), self.subpartitions());
        if target >= subpartitions {
            return WriteError::NoSuchSubpartition { partition, target, subpartitions };
        }
        WriteError::RecordTooLong { partition, bytes, limit: self.settings.record_bytes_max }
    }
}

impl Drop for SortedWriter {
    fn drop(&mut self) {
        self.fail("the producing task ended without finishing the partition");
    }
}
