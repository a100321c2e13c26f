//! The clock of one worker: real, or moved by hand for the simulator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sluice_protocol::Time;

/// Where time comes from. The data path never asks; reactors do once a turn, and tasks when they have to wait.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's monotone clock, counted from an origin.
    Real(Instant),
    /// Nanoseconds that somebody sets.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's clock, from now on.
    pub fn real() -> Self {
        Self::Real(Instant::now())
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        match self {
            Self::Real(origin) => Time(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            Self::Manual(nanos) => Time(nanos.load(Ordering::Acquire)),
        }
    }
}
