//! How far a worker is, told while it shuffles.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::super::control::Answer;
use super::Answers;

/// How often a worker says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Payload so far, in bytes.
#[derive(Default)]
pub(in crate::shuffle) struct Progress {
    pub(in crate::shuffle) written: AtomicU64,
    read: AtomicU64,
    /// Zero: never.
    halt_at: AtomicU64,
    is_halted: AtomicBool,
}

impl Progress {
    /// From now on [`Self::has_read`] says so when so much was read.
    pub(super) fn halt_at(&self, bytes: u64) {
        self.halt_at.store(bytes, Ordering::Relaxed);
    }

    /// Counts; whether who has read is to stand still from now on.
    pub(in crate::shuffle) fn has_read(&self, bytes: u64) -> bool {
        let all = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let halt_at = self.halt_at.load(Ordering::Relaxed);
        let halts = halt_at > 0 && all >= halt_at;
        if halts {
            self.is_halted.store(true, Ordering::Release);
        }
        halts
    }

    fn answer(&self) -> Answer {
        Answer::Progress { written: self.written.load(Ordering::Relaxed), read: self.read.load(Ordering::Relaxed) }
    }
}

/// Says how far it is until there is no more to say, or nobody to say it to.
pub(super) fn tell<W: Write>(progress: &Progress, answers: &Answers<W>, through: &AtomicBool) {
    let mut told = false;
    while !through.load(Ordering::Acquire) {
        if answers.say(&progress.answer()).is_err() {
            return;
        }
        if progress.is_halted.load(Ordering::Acquire) && !std::mem::replace(&mut told, true) {
            let _ = answers.say(&Answer::Halted);
        }
        std::thread::park_timeout(PROGRESS_EVERY);
    }
}

/// Set when it goes: no more progress is told.
pub(super) struct Through<'a>(pub(super) &'a AtomicBool);

impl Drop for Through<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_halts_once_it_has_read_as_much_as_it_was_told_and_never_if_it_was_not() {
        let progress = Progress::default();
        assert!(!progress.has_read(1000));
        progress.halt_at(1500);
        assert!(!progress.has_read(499));
        assert!(progress.has_read(1));
        assert!(progress.is_halted.load(Ordering::Acquire));
    }
}
