//! The clock of one worker: real, or moved by hand for the simulator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use sluice_protocol::{Incarnation, Time};

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

    /// A number for a life that begins now: greater than those of all that began before, on a machine whose time of day
    /// does not go back.
    pub(crate) fn life() -> Incarnation {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Incarnation(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        match self {
            Self::Real(origin) => Time(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            Self::Manual(nanos) => Time(nanos.load(Ordering::Acquire)),
        }
    }
}
