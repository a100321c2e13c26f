//! The signals that ask this process to end: a run stops where it is, clears up, and only then ends.

use std::fmt;
use std::io::{self, Write};
use std::process::exit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long a run that was asked to end may take to clear up; then the process ends as it is. Workers have the longest
/// way: those that are threads are waited for, for ten seconds.
const CLEARING_UP_MAX: Duration = Duration::from_secs(20);

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by {signal}")]
pub struct Interrupted {
    signal: Signal,
}

impl Interrupted {
    /// The status to exit with, as a shell has it for a process that a signal has ended: 130 for Ctrl-C.
    pub fn status(self) -> u8 {
        128 + self.signal.0 as u8
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signal(i32);

impl fmt::Display for Signal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SIGHUP => out.write_str("SIGHUP"),
            SIGINT => out.write_str("SIGINT"),
            SIGTERM => out.write_str("SIGTERM"),
            other => write!(out, "signal {other}"),
        }
    }
}

/// Whether this process was asked to end. From its first one on signals no longer end the process by themselves; a second
/// signal does, and so does a run that takes too long to clear up.
#[derive(Clone)]
pub(crate) struct Interrupts(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    came: Option<Interrupted>,
    /// Who wants to be told.
    listener: Option<Box<dyn Fn(Interrupted) + Send>>,
}

impl Interrupts {
    /// Listens from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let interrupts = Self(Arc::default());
        let ours = interrupts.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                let interrupted = Interrupted { signal: Signal(signal) };
                if ours.has_come(interrupted) {
                    exit(interrupted.status().into());
                }
                thread::spawn(move || end_late(interrupted));
            }
        })?;
        Ok(interrupts)
    }

    /// # Errors
    /// If this process was asked to end.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        self.state().came.map_or(Ok(()), Err)
    }

    /// Tells this one, at once if it has happened already, and nobody else any more.
    pub(crate) fn tell(&self, listener: impl Fn(Interrupted) + Send + 'static) {
        let mut state = self.state();
        if let Some(interrupted) = state.came {
            listener(interrupted);
        }
        state.listener = Some(Box::new(listener));
    }

    /// Notes it; whether it is not the first.
    fn has_come(&self, interrupted: Interrupted) -> bool {
        let mut state = self.state();
        if state.came.is_some() {
            return true;
        }
        state.came = Some(interrupted);
        if let Some(listener) = &state.listener {
            listener(interrupted);
        }
        false
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end_late(interrupted: Interrupted) {
    thread::sleep(CLEARING_UP_MAX);
    let _ =
        writeln!(io::stderr(), "sluice-perf: {interrupted}, and still not through with clearing up: files may be left");
    exit(interrupted.status().into());
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_listens_hears_of_a_signal_that_came_before_and_of_one_that_comes_after() {
        let interrupted = Interrupted { signal: Signal(SIGTERM) };
        let (tell, heard) = channel();
        let before = Interrupts(Arc::default());
        assert_eq!(before.check(), Ok(()));
        assert!(!before.has_come(interrupted));
        let ours = tell.clone();
        before.tell(move |signal| ours.send(signal).unwrap());
        assert_eq!(heard.try_recv(), Ok(interrupted));
        let after = Interrupts(Arc::default());
        after.tell(move |signal| tell.send(signal).unwrap());
        assert!(!after.has_come(interrupted));
        assert_eq!(heard.try_recv(), Ok(interrupted));
        assert_eq!(after.check(), Err(interrupted));
        assert!(after.has_come(interrupted), "the second ends the process");
    }

    #[test]
    fn the_status_is_the_one_of_a_shell() {
        let interrupted = |signal| Interrupted { signal: Signal(signal) };
        assert_eq!((interrupted(SIGINT).status(), interrupted(SIGTERM).status()), (130, 143));
        assert_eq!(interrupted(SIGINT).to_string(), "interrupted by SIGINT");
    }
}
