//! When to give up a session that loses its links.

use std::time::Duration;

use sluice_protocol::Time;

/// How long a session that loses its links goes on trying.
#[derive(Default)]
pub(super) struct Patience {
    /// Attempts to get a link since the last one was good for something.
    pub(super) attempts: u32,
    /// When it ends, if no link is good for anything before.
    ends: Option<Time>,
    /// What came made no sense, or what went was not acknowledged. It may be the same on the next link, and would be for
    /// ever: to hear the peer is not enough any more.
    spoilt: bool,
    /// When the present link came up.
    up_since: Time,
}

impl Patience {
    pub(super) fn with_link(now: Time) -> Self {
        Self { up_since: now, ..Self::default() }
    }

    /// The peer was heard; `gets_on`: with something new.
    pub(super) fn heard(&mut self, gets_on: bool) {
        if gets_on || !self.spoilt {
            *self = Self { up_since: self.up_since, ..Self::default() };
        }
    }

    pub(super) fn link_up(&mut self, now: Time) {
        self.up_since = now;
    }

    pub(super) fn spoilt(&mut self) {
        self.spoilt = true;
    }

    /// When to give up. Links that come and go, and are good for nothing, count as one long loss; not one that was there for
    /// as long as all the patience.
    pub(super) fn link_lost(&mut self, now: Time, patience: Duration) -> Time {
        if now.since(self.up_since) >= patience {
            self.ends = None;
        }
        *self.ends.get_or_insert(now.after(patience))
    }
}
