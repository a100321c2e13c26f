//! The engine over the in-process transport: what a task may rely on, and what it is told when something goes wrong.

use std::sync::Arc;

use sluice_plugin::{InProcess, TransportFactory};

mod blocking;
mod cable;
mod events;
mod flushing;
mod locations;
mod losses;
mod memory;
mod partitions;
mod reading;
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
