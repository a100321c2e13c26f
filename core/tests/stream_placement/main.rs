//! The same rules as over the in-process transport, where payload is copied into memory that the consumer has posted.

use std::sync::Arc;

use sluice_plugin::{InProcess, TransportFactory};

include!("../in_process/rules.rs");

/// What the workers of a stage are linked by.
fn transport() -> Arc<dyn TransportFactory> {
    Arc::new(InProcess::copying())
}

/// The same where there is a disk.
fn transport_beside_a_disk() -> Arc<dyn TransportFactory> {
    transport()
}
