//! The same rules as over the in-process transport, where payload is written into slots that the consumer has granted.

use std::sync::Arc;

use sluice_plugin::{RemoteLoopback, TransportFactory};

#[path = "../in_process/cable.rs"]
mod cable;
#[path = "../in_process/events.rs"]
mod events;
#[path = "../in_process/flushing.rs"]
mod flushing;
#[path = "../in_process/locations.rs"]
mod locations;
#[path = "../in_process/losses.rs"]
mod losses;
#[path = "../in_process/memory.rs"]
mod memory;
#[path = "../in_process/partitions.rs"]
mod partitions;
#[path = "../in_process/reading.rs"]
mod reading;
#[path = "../in_process/resuming.rs"]
mod resuming;
#[path = "../in_process/shapes.rs"]
mod shapes;
#[path = "../in_process/stage.rs"]
mod stage;
#[path = "../in_process/stopping.rs"]
mod stopping;
#[path = "../in_process/tokens.rs"]
mod tokens;
#[path = "../in_process/writing.rs"]
mod writing;

/// What the workers of a stage are linked by.
fn transport() -> Arc<dyn TransportFactory> {
    Arc::new(RemoteLoopback::new())
}
