//! The same rules as over the in-process transport, where payload is written into slots that the consumer has granted.

use std::sync::Arc;

use sluice_plugin::{RemoteLoopback, TransportFactory};

include!("../in_process/rules.rs");

/// What the workers of a stage are linked by.
fn transport() -> Arc<dyn TransportFactory> {
    Arc::new(RemoteLoopback::new())
}

/// The same where there is a disk.
fn transport_beside_a_disk() -> Arc<dyn TransportFactory> {
    transport()
}
