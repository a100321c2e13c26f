//! `[disk]`: where blocking partitions are kept, and how they are written and read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sluice_plugin::{DirectIo, DiskEngine};

use super::Config;
use super::error::ConfigError;
use super::units::{Period, Size};
use crate::disk_settings::{Compression, DiskSettings, Durability, Merge};

/// As deep as any drive has use for: more requests only wait longer.
const DEPTH_MAX: usize = 128;
/// More threads than any machine has cores to spare for a disk.
const THREADS_MAX: usize = 64;

/// `[disk]`: where blocking partitions are kept, and how they are written and read. What the engine does not do itself
/// (`directories` to `threads`) the composing program gives to the disk's plug-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskConfig {
    /// Where the files lie. None: blocking shuffles are refused.
    #[serde(deserialize_with = "paths::deserialize")]
    pub directories: Vec<PathBuf>,
    /// What does the IO.
    pub engine: DiskEngine,
    /// Whether the page cache is gone round.
    pub direct: DirectIo,
    /// Requests under way on each disk.
    pub depth: usize,
    /// Threads of the fallback.
    pub threads: usize,
    /// What a finished partition has survived.
    pub durability: Durability,
    /// How blocks are compressed.
    pub compression: Compression,
    /// Whether small slices are merged when all is written.
    pub merge: Merge,
    /// The most that one writer takes to sort in.
    pub sort_bytes_max: Size,
    /// The most that reading ahead takes.
    pub read_bytes_max: Size,
    /// Threads that sort.
    pub sort_threads: usize,
    /// How long what a dead process left waits to be claimed.
    pub recover_timeout: Period,
}

impl Default for DiskConfig {
    fn default() -> Self {
        let own = DiskSettings::default();
        Self {
            directories: Vec::new(),
            engine: DiskEngine::Auto,
            direct: DirectIo::Auto,
            depth: 64,
            threads: 4,
            durability: own.durability,
            compression: own.compression,
            merge: own.merge,
            sort_bytes_max: Size(own.sort_bytes_max),
            read_bytes_max: Size(own.read_bytes_max),
            sort_threads: own.sort_threads,
            recover_timeout: Period(own.recover_timeout),
        }
    }
}

impl DiskConfig {
    /// What the engine itself needs of it.
    pub(super) fn settings(&self) -> DiskSettings {
        DiskSettings {
            durability: self.durability,
            compression: self.compression,
            merge: self.merge,
            sort_bytes_max: self.sort_bytes_max.bytes(),
            read_bytes_max: self.read_bytes_max.bytes(),
            sort_threads: self.sort_threads,
            recover_timeout: self.recover_timeout.duration(),
            ..DiskSettings::default()
        }
    }
}

impl Config {
    pub(super) fn check_disk(&self) -> Result<(), ConfigError> {
        let disk = &self.disk;
        self.check_directories()?;
        self.within("disk.depth", disk.depth, 1, DEPTH_MAX)?;
        self.within("disk.threads", disk.threads, 1, THREADS_MAX)?;
        self.within("disk.sort_threads", disk.sort_threads, 0, THREADS_MAX)?;
        let least = Size(DiskSettings::SORT_BYTES_MIN);
        self.require("disk.sort_bytes_max", disk.sort_bytes_max, disk.sort_bytes_max >= least, || {
            format!("is too little to sort in: at least {least}")
        })?;
        let buffer = self.memory.buffer_bytes;
        let bounds = [("disk.sort_bytes_max", disk.sort_bytes_max), ("disk.read_bytes_max", disk.read_bytes_max)];
        for (key, bound) in bounds {
            self.require(key, bound, bound >= buffer, || {
                format!("holds no buffer: at least {}", self.told("memory.buffer_bytes", buffer))
            })?;
        }
        Ok(())
    }

    /// Each directory has a name and stands there once: two disks in one would take each other's files for left-overs.
    fn check_directories(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for directory in &self.disk.directories {
            let shown = format!("`{}`", directory.display());
            self.require("disk.directories", &shown, !directory.as_os_str().is_empty(), || {
                "names no directory: leave the empty path out".into()
            })?;
            self.require("disk.directories", &shown, seen.insert(directory), || {
                "is there twice: name each directory once".into()
            })?;
        }
        Ok(())
    }
}

/// Paths as a list, or as one text with colons between them, as in `PATH`: variables and flags have nothing else. An
/// empty text is no path.
mod paths {
    use std::fmt;
    use std::path::PathBuf;

    use serde::Deserializer;
    use serde::de::{Error, SeqAccess, Visitor};

    const SEPARATOR: char = ':';

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
        deserializer.deserialize_any(PathsVisitor)
    }

    struct PathsVisitor;

    impl<'de> Visitor<'de> for PathsVisitor {
        type Value = Vec<PathBuf>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of paths, or a text with `:` between them")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<PathBuf>, E> {
            let parts = text.split(SEPARATOR).map(PathBuf::from);
            Ok(if text.is_empty() { Vec::new() } else { parts.collect() })
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<PathBuf>, A::Error> {
            let mut paths = Vec::new();
            while let Some(path) = list.next_element::<String>()? {
                paths.push(PathBuf::from(path));
            }
            Ok(paths)
        }
    }
}
