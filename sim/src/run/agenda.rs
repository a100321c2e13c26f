//! What the simulator itself does, and when.

use std::collections::BTreeMap;

use sluice_core::Time;

/// Something that is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A task starts.
    Start(usize),
    /// Something goes wrong.
    Incident(usize),
    /// A killed worker is there again.
    Restart(usize),
    /// The master gives up a job of which a task has failed.
    ReleaseJob(usize),
    /// The master tells everybody that a life of a worker is over.
    Report(usize, u64),
    /// Nothing, but somebody may run again.
    Look,
}

#[derive(Default)]
pub(super) struct Agenda {
    acts: BTreeMap<(Time, u64), Act>,
    count: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Time, act: Act) {
        self.count += 1;
        self.acts.insert((at, self.count), act);
    }

    pub(super) fn take(&mut self, now: Time) -> Option<Act> {
        let entry = self.acts.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// Nothing more is done; who stands still goes on when it is time.
    pub(super) fn clear(&mut self) {
        self.acts.retain(|_, act| *act == Act::Look);
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.acts.first_key_value().map(|((at, _), _)| *at)
    }
}
