//! What moves the bytes of open files: one interface over a ring and over threads.

mod threads;
mod uring;

use std::io;

use sluice_plugin::{DiskEngine, DiskSetup, Wait};

use crate::config::LocalDiskConfig;
use crate::transfer::{Moved, Pieces, Transfer};

/// Moves the bytes of open files. Belongs to one reactor. Dropping it gives all memory back.
pub(crate) trait Engine {
    /// What it is, for [`sluice_plugin::DiskCapabilities::engine`].
    fn name(&self) -> String;

    /// Owns the transfer until it is over, or hands it back: then there is room after the next one that is over. Takes
    /// as many at a time as the configured depth says, at least.
    fn submit(&mut self, transfer: Transfer) -> Result<(), Transfer>;

    /// Starts what was submitted, and adds what is over since the last call. An error is the engine's own and not of a
    /// transfer: nothing more is submitted to it then, and it keeps what the kernel may still use.
    fn poll(&mut self, over: &mut Vec<Moved>) -> io::Result<()>;

    /// As [`sluice_plugin::Device::prepare_to_wait`].
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>>;

    /// Gives back what was submitted and not begun, as far as it can tell: of an engine that has broken.
    fn unbegun(&mut self) -> Vec<Transfer>;
}

/// The engine of the configuration, or why there is none.
pub(crate) fn open(config: &LocalDiskConfig, setup: &DiskSetup) -> Result<Box<dyn Engine>, String> {
    if config.engine != DiskEngine::Threads {
        match uring::Uring::new(config.depth, &setup.arena) {
            Ok(uring) => return Ok(Box::new(uring)),
            Err(refusal) if config.engine == DiskEngine::IoUring => {
                return Err(format!("engine io_uring is asked for: {refusal}; or choose the engine auto or threads"));
            }
            Err(refusal) => tracing::info!(%refusal, "no io_uring here, the disk goes by threads"),
        }
    }
    match threads::Threads::start(config, setup.waker.clone()) {
        Ok(threads) => Ok(Box::new(threads)),
        Err(error) => {
            Err(format!("{} threads cannot be started: {error}; raise the limit (ulimit -u)", config.threads))
        }
    }
}
