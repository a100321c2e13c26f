//! The engine over the in-process transport: what a task may rely on, and what it is told when something goes wrong.

use std::sync::Arc;

use sluice_core::{Devices, ReactorDrive, ShuffleEnvironment, StartError};
use sluice_plugin::{InProcess, MemoryDisk, TransportFactory};

mod blocking;
mod cable;
mod events;
mod flushing;
mod locations;
mod losses;
mod memory;
mod merging;
mod partitions;
mod reading;
mod recovering;
mod resuming;
mod shapes;
mod stage;
mod stopping;
mod tokens;
mod writing;

/// What the workers of a stage are linked by.
fn transport() -> Arc<dyn TransportFactory> {
    Arc::new(InProcess::new())
}

/// The same where there is a disk.
fn transport_beside_a_disk() -> Arc<dyn TransportFactory> {
    Arc::new(InProcess::copying())
}

#[test]
fn buffers_are_not_handed_over_beside_a_disk() {
    let devices = Devices { transport: transport(), disk: Some(Arc::new(MemoryDisk::new())) };
    let started = ShuffleEnvironment::start(stage::config(), devices, ReactorDrive::Caller);
    let error = started.err().expect("it is refused");
    assert!(matches!(&error, StartError::HandOverWithDisk), "{error}");
    assert!(error.to_string().contains("InProcess::copying()"), "{error}");
}
