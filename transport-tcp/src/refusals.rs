//! Links that were refused in their set-up: each is counted, and logged unless there are many.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use sluice_protocol::Time;

/// A flood must not become one of log lines: each reason has one in so much time, with the number of those left out.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Which part this side has in a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Connecting,
    Accepting,
}

impl Side {
    fn label(self) -> &'static str {
        match self {
            Side::Connecting => "connecting",
            Side::Accepting => "accepting",
        }
    }
}

#[derive(Default)]
pub(crate) struct Refusals {
    logged: HashMap<(Side, &'static str), Logged>,
}

struct Logged {
    at: Time,
    /// Since then.
    left_out: u64,
}

impl Refusals {
    /// Counts a refusal, and logs it if its reason has not just been logged.
    pub(crate) fn note(&mut self, now: Time, side: Side, peer: &dyn Display, reason: &'static str, text: &str) {
        metrics::counter!("sluice_links_refused_total", "reason" => reason, "side" => side.label()).increment(1);
        if let Some(left_out) = self.take_turn(now, side, reason) {
            tracing::warn!(%peer, side = side.label(), reason, left_out, "a link is refused: {text}");
        }
    }

    /// Whether it is to be logged, and how many were not since the last.
    fn take_turn(&mut self, now: Time, side: Side, reason: &'static str) -> Option<u64> {
        match self.logged.get_mut(&(side, reason)) {
            Some(logged) if now.since(logged.at) < LOG_EVERY => {
                logged.left_out += 1;
                None
            }
            logged => {
                let left_out = logged.map_or(0, |logged| logged.left_out);
                self.logged.insert((side, reason), Logged { at: now, left_out: 0 });
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_for_one_reason_are_one_line_and_a_number() {
        let mut refusals = Refusals::default();
        let mut logged = |seconds, reason| {
            refusals.take_turn(Time::default().after(Duration::from_secs(seconds)), Side::Accepting, reason)
        };
        assert_eq!(logged(1, "silent"), Some(0));
        assert_eq!((logged(1, "silent"), logged(1, "silent")), (None, None));
        assert_eq!(logged(1, "cluster"), Some(0));
        assert_eq!(logged(2, "silent"), Some(2));
        assert_eq!(logged(3, "silent"), Some(0));
    }
}
