//! What happened in a run: a hash of all of it, its text if asked for, and what broke a rule.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use sluice_core::Time;

use crate::coverage::{Coverage, Sight};
use crate::seed::mix;

/// Lines that are kept of the beginning of a trace, and of its end.
const LINES_MAX: [usize; 2] = [4_000, 16_000];

/// Clones are the same journal.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    now: Time,
    hash: u64,
    /// `None` unless somebody is going to read them: to write them takes longer than to run.
    lines: Option<VecDeque<String>>,
    failures: Vec<Failure>,
    coverage: Coverage,
}

/// What must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Each byte exactly once, in its channel's order, or an error; never a short success.
    Delivery,
    /// An error has a cause among what was done to the cluster.
    Justified,
    /// What is sent was granted; what arrives finds the memory that was granted for it.
    Credit,
    /// All memory is back when nobody needs it any more.
    BuffersBack,
    /// No more memory is used than there is.
    MemoryBound,
    /// No remote write comes after its memory was taken back.
    ReusedMemory,
    /// Files are read where something was written and is complete, nothing is under way for ever, and no file is left over.
    Disk,
    /// After a restart, what was finished is there and is offered, and nothing else.
    Recovery,
    /// Whoever has work left gets on with it.
    Progress,
    /// Nothing panics.
    Sound,
    /// What a call promises: partitions of finished jobs are gone, workers that are told to stop do.
    Contract,
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub rule: Rule,
    /// When.
    pub at: Time,
    /// What was found, and what should have been.
    pub text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {}", self.rule, Moment(self.at), self.text)
    }
}

/// A time as people read it: seconds and microseconds.
pub struct Moment(pub Time);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.0 / 1000;
        write!(f, "{:>3}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

impl Journal {
    /// An empty one; with its text if `traced`.
    pub fn new(traced: bool) -> Self {
        let journal = Self::default();
        journal.pages().lines = traced.then(VecDeque::new);
        journal
    }

    /// It is later now.
    pub fn set_now(&self, now: Time) {
        self.pages().now = now;
    }

    /// Something happened. The numbers tell it from all else; the text is for people.
    pub fn note(&self, numbers: &[u64], text: impl FnOnce() -> String) {
        let mut pages = self.pages();
        let mut hash = mix(pages.hash ^ pages.now.0);
        for number in numbers {
            hash = mix(hash ^ *number);
        }
        pages.hash = hash;
        let now = pages.now;
        if let Some(lines) = &mut pages.lines {
            let [first, last] = LINES_MAX;
            if lines.len() == first + last {
                // Here something is missing, and the time in front of the lines shows it.
                lines.remove(first);
            }
            lines.push_back(format!("{} {}", Moment(now), text()));
        }
    }

    /// A rule did not hold.
    pub fn fail(&self, rule: Rule, text: impl Into<String>) {
        let failure = Failure { rule, at: self.pages().now, text: text.into() };
        self.note(&[0xfa11, rule as u64], || format!("FAILURE {:?}: {}", failure.rule, failure.text));
        self.pages().failures.push(failure);
    }

    /// Something that a run should have seen now and then.
    pub fn saw(&self, sight: Sight) {
        self.pages().coverage.add(sight);
    }

    /// Whether a rule did not hold.
    pub fn has_failed(&self) -> bool {
        !self.pages().failures.is_empty()
    }

    /// The hash of everything noted so far.
    pub fn hash(&self) -> u64 {
        self.pages().hash
    }

    /// Takes out the failures, what was seen, and the lines.
    pub fn close(&self) -> (Vec<Failure>, Coverage, Vec<String>) {
        let mut pages = self.pages();
        let lines = pages.lines.take().unwrap_or_default().into();
        (std::mem::take(&mut pages.failures), pages.coverage.clone(), lines)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().expect("no foreign code runs under the journal's lock but the text of a note")
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Journal")
    }
}
