//! The clock of a device: the only one in the library.

use std::time::Instant;

use crate::time::Time;

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    pub(super) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(super) fn now(&self) -> Time {
        Time::ZERO.after(self.0.elapsed())
    }
}
