//! Partitions that are created, each with the writer that fills it.

use std::sync::Arc;

use sluice_memory::{BufferPool, PoolSpec, SizeClass};
use sluice_protocol::{PartitionId, SubpartitionIndex};

use super::ShuffleEnvironment;
use super::spilling::codec;
use crate::error::CreateError;
use crate::mailbox::Command;
use crate::memory_need::MemoryNeed;
use crate::partition::{
    BlockLog, PartitionKind, PartitionWriter, PipelinedWriter, SortedSettings, SortedWriter, Spill, SpillSettings,
    WriterSettings,
};
use crate::spill::{FileSet, Layout};

impl ShuffleEnvironment {
    /// Creates a pipelined partition and the writer that fills it. Consumers may read at once.
    pub fn create_writer(&self, partition: PartitionId, subpartitions: u32) -> Result<PartitionWriter, CreateError> {
        self.create_writer_of(PartitionKind::Pipelined, partition, subpartitions)
    }

    /// Creates a partition of any kind and the writer that fills it.
    ///
    /// # Errors
    /// Also if it would go to the disk and the worker has none, or if it would take more files than a process may open.
    pub fn create_writer_of(
        &self,
        kind: PartitionKind,
        partition: PartitionId,
        subpartitions: u32,
    ) -> Result<PartitionWriter, CreateError> {
        let mut writers = self.create_writers_of(kind, &[(partition, subpartitions)])?;
        Ok(writers.pop().expect("one was asked for"))
    }

    /// Creates pipelined partitions for several writers at once, so that each knows its final share of the memory.
    pub fn create_writers(&self, partitions: &[(PartitionId, u32)]) -> Result<Vec<PartitionWriter>, CreateError> {
        self.create_writers_of(PartitionKind::Pipelined, partitions)
    }

    /// As [`Self::create_writers`], of any kind.
    pub fn create_writers_of(
        &self,
        kind: PartitionKind,
        partitions: &[(PartitionId, u32)],
    ) -> Result<Vec<PartitionWriter>, CreateError> {
        let mut pools = Vec::with_capacity(partitions.len());
        for (partition, subpartitions) in partitions {
            if *subpartitions == 0 {
                return Err(CreateError::Empty { what: "a partition", of: "subpartition" });
            }
            pools.push(self.writer_pools(kind, *partition, *subpartitions)?);
        }
        let mut writers = Vec::with_capacity(partitions.len());
        for ((partition, subpartitions), pools) in partitions.iter().zip(pools) {
            match self.writer(kind, *partition, *subpartitions, pools) {
                Ok(writer) => writers.push(writer),
                Err(error) => {
                    // All or none.
                    for writer in writers {
                        self.release_partition(writer.partition());
                    }
                    return Err(error);
                }
            }
        }
        Ok(writers)
    }

    fn writer_pools(
        &self,
        kind: PartitionKind,
        partition: PartitionId,
        subpartitions: u32,
    ) -> Result<(BufferPool, Option<BufferPool>), CreateError> {
        let owner = format!("writer of {partition}");
        if !kind.is_retained() {
            return Ok((self.pool(owner, self.config.writer_bytes_max)?, None));
        }
        if self.spilling.is_none() {
            return Err(CreateError::NoDisk { kind: kind.name() });
        }
        if kind == PartitionKind::Hash {
            check_files(subpartitions)?;
        }
        let floor = self.pool(owner.clone(), 0)?;
        let bytes_max = self.config.disk.sort_bytes_max.saturating_sub(floor.floor_bytes());
        let spec = PoolSpec { owner, unit: SizeClass::MAX, floor_units: 0, bytes_max };
        Ok((floor, Some(self.memory.pool(spec)?)))
    }

    fn writer(
        &self,
        kind: PartitionKind,
        id: PartitionId,
        subpartitions: u32,
        (pool, elastic): (BufferPool, Option<BufferPool>),
    ) -> Result<PartitionWriter, CreateError> {
        let log = Arc::new(BlockLog::new(id, kind, subpartitions, self.mailbox.clone()));
        if !self.manager.register(Arc::clone(&log)) {
            return Err(CreateError::PartitionExists(id));
        }
        if self.mailbox.is_closed() {
            self.manager.remove(id);
            return Err(CreateError::Stopped);
        }
        if !kind.is_retained() {
            self.mailbox.send(Command::Registered(id));
        }
        let (record_bytes_max, clock) = (self.config.record_bytes_max, self.config.clock.clone());
        if let (Some(elastic), Some(spilling)) = (elastic, &self.spilling) {
            let settings = SpillSettings {
                sets: self.file_sets(kind, id, subpartitions),
                floor: pool.clone(),
                elastic: elastic.clone(),
                bench: spilling.bench.clone(),
                block_bytes_max: MemoryNeed::disk_block_bytes_max(self.config.buffer_bytes),
                codec: codec(self.config.disk.compression),
            };
            let spill = Arc::new(Spill::new(Arc::clone(&log), self.mailbox.clone(), settings));
            log.set_spill(&spill);
            let settings = SortedSettings { spill, floor: pool, elastic, record_bytes_max, clock };
            return Ok(PartitionWriter::sorted(SortedWriter::new(settings)));
        }
        let settings = WriterSettings {
            pool,
            buffer_bytes: self.config.buffer_bytes,
            hand_over_bytes: self.config.hand_over_bytes,
            flush: self.config.flush,
            record_bytes_max,
            clock,
            mailbox: self.mailbox.clone(),
        };
        Ok(PartitionWriter::pipelined(PipelinedWriter::new(log, settings)))
    }

    /// One for all subpartitions, or one for each.
    fn file_sets(&self, kind: PartitionKind, partition: PartitionId, subpartitions: u32) -> Vec<FileSet> {
        let (node, incarnation) = (self.config.node, self.config.incarnation);
        let set = |layout, first, count| {
            let first = SubpartitionIndex(first);
            FileSet { layout, partition, subpartitions, first, count, node, incarnation }
        };
        match kind {
            PartitionKind::Hash => (0..subpartitions).map(|first| set(Layout::Hash, first, 1)).collect(),
            _ => vec![set(Layout::SortMerge, 0, subpartitions)],
        }
    }
}

/// Whether so many files can be open beside all else that a process has open.
fn check_files(files: u32) -> Result<(), CreateError> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = limit / 4;
    if u64::from(files) <= most { Ok(()) } else { Err(CreateError::TooManyFiles { files, most, limit }) }
}
