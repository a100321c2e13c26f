//! The configuration of the disk plug-in: plain data, and a reason for each default.

use std::path::PathBuf;

use sluice_plugin::{DirectIo, DiskEngine};

/// Beyond it requests only wait longer.
const DEPTH_MAX: u32 = 128;
/// More threads than a machine has cores to spare for its disks.
const THREADS_MAX: usize = 64;

/// Where a worker's files are, and how they are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalDiskConfig {
    /// Directories that exist and can be written to, of local file systems. Other processes may use them, too.
    pub directories: Vec<PathBuf>,
    /// What moves the bytes.
    pub engine: DiskEngine,
    /// Whether reads and writes go past the page cache.
    pub direct: DirectIo,
    /// Reads and writes under way at a time, 1 to 128.
    pub depth: u32,
    /// Threads that read and write where there is no ring, 1 to 64.
    pub threads: usize,
}

impl Default for LocalDiskConfig {
    fn default() -> Self {
        Self {
            directories: Vec::new(),
            engine: DiskEngine::Auto,
            // What is spilled is read once, long after: in the cache it displaces what others read soon.
            direct: DirectIo::Auto,
            // With requests of 512 KiB 32 MiB are under way: enough for a stripe of drives, bearable for a single one.
            depth: 64,
            // Each copies from or to the cache, or waits for a device; a few do for the bandwidth of one drive.
            threads: 4,
        }
    }
}

impl LocalDiskConfig {
    /// What is wrong with it, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self { depth, threads, .. } = self;
        if !(1..=DEPTH_MAX).contains(depth) {
            return Err(format!("a depth of {depth} is not possible: choose 1 to {DEPTH_MAX}"));
        }
        if !(1..=THREADS_MAX).contains(threads) {
            return Err(format!("{threads} threads are not possible: choose 1 to {THREADS_MAX}"));
        }
        if self.directories.is_empty() {
            return Err("there is no directory: name one at least".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_out_of_bounds_are_refused_with_the_bounds() {
        let good = LocalDiskConfig { directories: vec!["/".into()], ..LocalDiskConfig::default() };
        assert_eq!(good.check(), Ok(()));
        let problem = |config: LocalDiskConfig| config.check().expect_err("out of bounds");
        for depth in [0, 129] {
            let problem = problem(LocalDiskConfig { depth, ..good.clone() });
            assert!(problem.contains(&format!("{depth}")) && problem.contains("1 to 128"), "{problem}");
        }
        for threads in [0, 65] {
            let problem = problem(LocalDiskConfig { threads, ..good.clone() });
            assert!(problem.contains(&format!("{threads}")) && problem.contains("1 to 64"), "{problem}");
        }
        assert!(problem(LocalDiskConfig { directories: Vec::new(), ..good }).contains("no directory"));
    }
}
