//! A producing task: reads a source, writes a partition, keeps a digest for each consumer.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_core::{PartitionWriter, RecordBatch, WriterStatistics};

use super::executor::yield_now;
use crate::causes::with_causes;
use crate::digest::Digest;
use crate::input::{Batch, Source};

/// After so much, the reactor has its turn: what was written is still in the cache when it goes out.
pub(super) const TURN_BYTES: u64 = 256 * 1024;

/// What a producer did.
pub(super) struct Produced {
    /// Of the records for each consumer.
    pub(super) digests: Vec<Digest>,
    pub(super) statistics: WriterStatistics,
}

/// Writes all records of `source` and finishes the partition.
pub(super) async fn produce(
    mut source: Box<dyn Source + Send>,
    mut writer: PartitionWriter,
    written: &AtomicU64,
) -> Result<Produced, String> {
    let mut digests = vec![Digest::default(); writer.subpartitions() as usize];
    let mut batch = Batch::default();
    let mut turn = 0;
    while source.fill(&mut batch).map_err(|error| with_causes(&error))? {
        let mut records = Vec::with_capacity(batch.len());
        for (record, target) in batch.records() {
            digests[target as usize].add(record);
            records.push(record);
        }
        let mut pending = RecordBatch::new(&records, &batch.targets);
        poll_fn(|context| writer.poll_write_batch(context, &mut pending)).await.map_err(|error| with_causes(&error))?;
        let bytes = batch.payload_bytes();
        written.fetch_add(bytes, Ordering::Relaxed);
        turn += bytes;
        if turn >= TURN_BYTES {
            turn = 0;
            yield_now().await;
        }
    }
    poll_fn(|context| writer.poll_finish(context)).await.map_err(|error| with_causes(&error))?;
    Ok(Produced { digests, statistics: writer.statistics() })
}
