//! The disk of a run: here, and nowhere else, the disk's plug-in is named.

use sluice_core::DiskConfig;
use sluice_uring_disk::{LocalDiskConfig, LocalDisks};

/// What the table `[disk]` asks for.
pub(crate) fn local_disks(config: &DiskConfig) -> LocalDisks {
    LocalDisks::new(LocalDiskConfig {
        directories: config.directories.clone(),
        engine: config.engine,
        direct: config.direct,
        // The configuration allows no more than the plug-in does.
        depth: config.depth.try_into().unwrap_or(u32::MAX),
        threads: config.threads,
    })
}
