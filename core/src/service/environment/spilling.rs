//! What partitions that go to the disk share: who sorts, the memory to read with, and what was found at the start.

use std::sync::Arc;

use sluice_memory::{Memory, PoolSpec, SizeClass};

use super::EnvironmentConfig;
use crate::disk_settings::Compression;
use crate::error::StartError;
use crate::mailbox::Mailbox;
use crate::memory_need::MemoryNeed;
use crate::partition::Bench;
use crate::reactor::{ReadPools, Recovered};
use crate::spill::Codec;

/// One part in so many of the memory is for reading ahead from the disk only, as far as it makes whole requests.
const READ_SHARE: usize = 8;
/// And of the rest at most as much again: it is worth more to writers, whose regions are the larger for it, at a time when
/// mostly nothing is read.
const READ_SHARE_MOST: usize = READ_SHARE / 2;
/// With fewer requests than these a disk and the readers' queues are not kept busy, so there is no such bound.
const REQUESTS_MIN: usize = 4;

/// What partitions that go to the disk share.
pub(super) struct Spilling {
    pub(super) bench: Bench,
    pub(super) pools: ReadPools,
    pub(super) recovered: Arc<Recovered>,
}

impl Spilling {
    pub(super) fn start(config: &EnvironmentConfig, memory: &Memory, mailbox: &Mailbox) -> Result<Self, StartError> {
        let unit = MemoryNeed::read_unit(config.buffer_bytes);
        let pool = |owner: &str, unit: SizeClass, floor_units: usize, bytes_max: usize| {
            memory.pool(PoolSpec { owner: owner.into(), unit, floor_units, bytes_max })
        };
        // Reading ahead serves all consumers of the worker's partitions, and shares what is left equally with each gate
        // and writer: so that it is not starved by many, a part of the memory is its own.
        let requests =
            |share: usize| (config.memory_bytes / share).min(config.disk.read_bytes_max) / SizeClass::MAX.bytes();
        let own = requests(READ_SHARE);
        let most = match own < REQUESTS_MIN {
            true => config.disk.read_bytes_max,
            false => requests(READ_SHARE_MOST) * SizeClass::MAX.bytes(),
        };
        let floor = pool("reading from the disk", unit, 1, unit.bytes())?;
        let raw = pool("decompressing what was read", unit, 1, unit.bytes())?;
        let elastic = pool("reading ahead from the disk", SizeClass::MAX, own, most)?;
        let bench = Bench::start(config.disk.sort_threads, &config.node.to_string(), mailbox)
            .map_err(|source| StartError::System { what: "starting a thread that sorts", source })?;
        Ok(Self { bench, pools: ReadPools { floor, raw, elastic }, recovered: Arc::default() })
    }
}

pub(super) fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}
