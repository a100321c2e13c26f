//! What can be asked of a disk plug-in whose files are in local directories: words of the configuration.

use serde::{Deserialize, Serialize};

/// What moves the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskEngine {
    /// io_uring where the host allows it, else threads; one log line says which and why.
    #[default]
    Auto,
    /// io_uring, or the disk is not built.
    IoUring,
    /// Threads that read and write.
    Threads,
}

/// Whether reads and writes go past the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectIo {
    /// In each directory whose file system allows it; where one does not, a log line says why.
    #[default]
    Auto,
    /// Never.
    Never,
}
