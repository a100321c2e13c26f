//! The disk of a run: here, and nowhere else, the disk's plug-in is named.

use sluice_core::{DirectIo, DiskConfig, DiskEngine};
use sluice_uring_disk::{DirectIo as LocalDirectIo, DiskEngine as LocalEngine, LocalDiskConfig, LocalDisks};

/// What the table `[disk]` asks for.
pub(crate) fn local_disks(config: &DiskConfig) -> LocalDisks {
    LocalDisks::new(LocalDiskConfig {
        directories: config.directories.clone(),
        engine: match config.engine {
            DiskEngine::Auto => LocalEngine::Auto,
            DiskEngine::IoUring => LocalEngine::IoUring,
            DiskEngine::Threads => LocalEngine::Threads,
        },
        direct: match config.direct {
            DirectIo::Auto => LocalDirectIo::Auto,
            DirectIo::Never => LocalDirectIo::Never,
        },
        // The configuration allows no more than the plug-in does.
        depth: config.depth.try_into().unwrap_or(u32::MAX),
        threads: config.threads,
    })
}
