//! The producing task's end of a partition, whatever its kind.

use std::task::{Context, Poll};
use std::time::Duration;

use sluice_protocol::PartitionId;

use super::pipelined::PipelinedWriter;
use super::sorted::SortedWriter;
use crate::block::Event;
use crate::error::WriteError;
use crate::record::RecordBatch;
use crate::task::block_on;

/// When written records become visible to their consumers although their buffer is not full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushInterval {
    /// At the latest so long after they were written, also while the task does nothing.
    After(Duration),
    /// With every call that writes. Zero in the configuration.
    Always,
    /// Only when a buffer is full, and at the end.
    Off,
}

/// Writes records into the subpartitions of one result partition. One task owns it.
///
/// `finish` completes the partition. Dropping the writer without it fails the partition: consumers get an error, never
/// a short stream.
pub struct PartitionWriter {
    kind: Kind,
}

enum Kind {
    Pipelined(PipelinedWriter),
    Sorted(SortedWriter),
}

/// What a writer has waited for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStatistics {
    /// Waited for memory while blocks stood in the queues: consumers, or the way to them, were slower.
    pub credit_stall: Duration,
    /// Waited for memory while nothing stood in the queues: what was sent had not been acknowledged.
    pub buffer_stall: Duration,
    /// Waited for what was written before to be sorted and on the disk.
    pub disk_stall: Duration,
}

impl PartitionWriter {
    pub(crate) fn pipelined(writer: PipelinedWriter) -> Self {
        Self { kind: Kind::Pipelined(writer) }
    }

    pub(crate) fn sorted(writer: SortedWriter) -> Self {
        Self { kind: Kind::Sorted(writer) }
    }

    /// Which partition it writes.
    pub fn partition(&self) -> PartitionId {
        match &self.kind {
            Kind::Pipelined(writer) => writer.partition(),
            Kind::Sorted(writer) => writer.partition(),
        }
    }

    /// How many targets there are.
    pub fn subpartitions(&self) -> u32 {
        match &self.kind {
            Kind::Pipelined(writer) => writer.subpartitions(),
            Kind::Sorted(writer) => writer.subpartitions(),
        }
    }

    /// What it has waited for so far.
    pub fn statistics(&self) -> WriterStatistics {
        match &self.kind {
            Kind::Pipelined(writer) => writer.statistics(),
            Kind::Sorted(writer) => WriterStatistics { disk_stall: writer.stall(), ..WriterStatistics::default() },
        }
    }

    /// Writes a batch: no lock, atomic or virtual call for each record. A batch that had to wait goes on where it was
    /// when the same batch is given again.
    pub fn poll_write_batch(
        &mut self,
        context: &mut Context<'_>,
        batch: &mut RecordBatch<'_>,
    ) -> Poll<Result<(), WriteError>> {
        match &mut self.kind {
            Kind::Pipelined(writer) => writer.poll_write_batch(context, batch),
            Kind::Sorted(writer) => writer.poll_write_batch(context, batch),
        }
    }

    /// Writes one record to one target.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        target: u32,
        record: &mut PendingRecord<'_>,
    ) -> Poll<Result<(), WriteError>> {
        match &mut self.kind {
            Kind::Pipelined(writer) => writer.poll_write(context, target, record),
            Kind::Sorted(writer) => writer.poll_write(context, target, record),
        }
    }

    /// Writes one record for all targets: stored once, sent to each. When it had to wait, the same record is to be given
    /// again before anything else.
    pub fn poll_broadcast(&mut self, context: &mut Context<'_>, record: &[u8]) -> Poll<Result<(), WriteError>> {
        match &mut self.kind {
            Kind::Pipelined(writer) => writer.poll_broadcast(context, record),
            Kind::Sorted(writer) => writer.poll_broadcast(context, record),
        }
    }

    /// Puts an event behind all that was written, for one target or for all, and hands it over. A priority event is not
    /// put behind but before what has not been sent; where consumers only read what is complete there is nothing that it
    /// could overtake.
    pub fn poll_event(
        &mut self,
        context: &mut Context<'_>,
        target: Option<u32>,
        event: &Event,
        priority: bool,
    ) -> Poll<Result<(), WriteError>> {
        match &mut self.kind {
            Kind::Pipelined(writer) => writer.poll_event(context, target, event, priority),
            Kind::Sorted(writer) => writer.poll_event(context, target, event),
        }
    }

    /// Makes all that was written visible to the consumers, where they read before the end.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        match &mut self.kind {
            Kind::Pipelined(writer) => writer.poll_flush(context),
            Kind::Sorted(writer) => writer.poll_flush(),
        }
    }

    /// Completes the partition: its consumers get the end, with totals to compare. One that goes to the disk is complete
    /// when all of it is there.
    pub fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), WriteError>> {
        match &mut self.kind {
            Kind::Pipelined(writer) => writer.poll_finish(context),
            Kind::Sorted(writer) => writer.poll_finish(context),
        }
    }

    /// As [`Self::poll_write_batch`]; blocks the thread. Not on a thread that drives a reactor.
    pub fn write_batch(&mut self, batch: &mut RecordBatch<'_>) -> Result<(), WriteError> {
        block_on(|context| self.poll_write_batch(context, batch))
    }

    /// Writes one record; blocks the thread. Not on a thread that drives a reactor.
    pub fn write(&mut self, target: u32, record: &[u8]) -> Result<(), WriteError> {
        let mut record = PendingRecord::new(record);
        block_on(|context| self.poll_write(context, target, &mut record))
    }

    /// As [`Self::poll_broadcast`]; blocks the thread. Not on a thread that drives a reactor.
    pub fn broadcast(&mut self, record: &[u8]) -> Result<(), WriteError> {
        block_on(|context| self.poll_broadcast(context, record))
    }

    /// As [`Self::poll_event`]; blocks the thread. Not on a thread that drives a reactor.
    pub fn event(&mut self, target: Option<u32>, event: &Event, priority: bool) -> Result<(), WriteError> {
        block_on(|context| self.poll_event(context, target, event, priority))
    }

    /// As [`Self::poll_flush`]; blocks the thread. Not on a thread that drives a reactor.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        block_on(|context| self.poll_flush(context))
    }

    /// Completes the partition; blocks the thread. Not on a thread that drives a reactor.
    pub fn finish(mut self) -> Result<(), WriteError> {
        block_on(|context| self.poll_finish(context))
    }

    /// Ends the partition with an error at every consumer.
    pub fn fail(mut self, cause: &str) {
        match &mut self.kind {
            Kind::Pipelined(writer) => writer.fail(cause),
            Kind::Sorted(writer) => writer.fail(cause),
        }
    }
}

/// One record that is being written; remembers how far it came.
#[derive(Debug)]
pub struct PendingRecord<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: usize,
}

impl<'a> PendingRecord<'a> {
    /// A record of which nothing is written.
    pub fn new(record: &'a [u8]) -> Self {
        Self { bytes: record, offset: 0 }
    }
}
