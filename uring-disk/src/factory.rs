//! Builds the disk on its reactor's thread.

use std::sync::{Arc, OnceLock};

use sluice_plugin::{Disk, DiskBuildError, DiskFactory, DiskSetup};

use crate::config::LocalDiskConfig;
use crate::disk::{LocalDisk, NAME};

/// The disk plug-in. Clones are the same.
#[derive(Clone, Debug)]
pub struct LocalDisks {
    config: LocalDiskConfig,
    in_use: Arc<OnceLock<String>>,
}

impl LocalDisks {
    /// The plug-in with this configuration.
    pub fn new(config: LocalDiskConfig) -> Self {
        Self { config, in_use: Arc::default() }
    }

    /// What moves the bytes, once a disk is built: what to report beside a figure.
    pub fn engine_in_use(&self) -> Option<&str> {
        self.in_use.get().map(String::as_str)
    }
}

impl DiskFactory for LocalDisks {
    fn name(&self) -> &'static str {
        NAME
    }

    fn build(&self, setup: DiskSetup) -> Result<Box<dyn Disk>, DiskBuildError> {
        let disk = LocalDisk::new(&self.config, &setup)?;
        // The host does not change its mind: the first answer is that of all.
        let _ = self.in_use.set(disk.capabilities().engine.clone());
        Ok(Box::new(disk))
    }
}
