//! The threads that run seeds. A run is on one of them from its beginning to its end.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::options::{Options, Seeds};
use crate::run::{Report, run};
use crate::seed::Seed;

/// Threads at work; they end when nobody takes their reports.
pub(super) struct Crew {
    reports: Receiver<Report>,
    /// The seed that is reported next: reports come in the order of seeds, whoever is faster.
    range: Range<u64>,
}

/// What all threads share.
struct Work {
    next: AtomicU64,
    range: Range<u64>,
    until: Option<Instant>,
}

impl Crew {
    pub(super) fn begin(options: &Options, seeds: &Seeds) -> Self {
        let (range, until) = match seeds {
            Seeds::Range(range) => (range.clone(), None),
            Seeds::Fresh { from, minutes } => {
                (*from..u64::MAX, Some(Instant::now() + Duration::from_secs(60 * u64::from(*minutes))))
            }
        };
        let work = Arc::new(Work { next: AtomicU64::new(range.start), range: range.clone(), until });
        let (tell, reports) = sync_channel(64);
        for _ in 0..options.jobs() {
            let (work, tell, options) = (Arc::clone(&work), tell.clone(), options.clone());
            std::thread::spawn(move || work.run(&options, &tell));
        }
        Self { reports, range }
    }

    /// The reports, in the order of their seeds.
    pub(super) fn reports(self) -> impl Iterator<Item = Report> {
        let Self { reports, range } = self;
        let mut early = std::collections::BTreeMap::new();
        let mut due = range.start;
        std::iter::from_fn(move || {
            loop {
                if let Some(report) = early.remove(&due) {
                    due += 1;
                    return Some(report);
                }
                let report: Report = reports.recv().ok()?;
                early.insert(report.seed.0, report);
            }
        })
    }
}

impl Work {
    fn run(&self, options: &Options, tell: &SyncSender<Report>) {
        options.mistake();
        loop {
            if self.until.is_some_and(|until| Instant::now() >= until) {
                return;
            }
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if !self.range.contains(&seed) || tell.send(run(Seed(seed), false)).is_err() {
                return;
            }
        }
    }
}
