//! Where regions are sorted: on threads of their own, or on the reactor's between its turns.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender};

use super::spill::Spill;
use crate::mailbox::{Command, Mailbox};

/// Takes spills that have something to sort. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Bench {
    /// The reactor sorts.
    Reactor(Mailbox),
    /// The threads of [`Bench::start`] do.
    Threads(Sender<Arc<Spill>>),
}

impl Bench {
    /// With threads of its own, which end with the last of its handles, or on the reactor's if `threads` is none.
    pub(crate) fn start(threads: usize, worker: &str, mailbox: &Mailbox) -> std::io::Result<Self> {
        if threads == 0 {
            return Ok(Self::Reactor(mailbox.clone()));
        }
        // Each spill is in it at most once.
        let (sender, receiver) = crossbeam_channel::unbounded();
        for number in 0..threads {
            let receiver: Receiver<Arc<Spill>> = receiver.clone();
            thread::Builder::new().name(format!("sluice-sort-{worker}-{number}")).spawn(move || sort(&receiver))?;
        }
        Ok(Self::Threads(sender))
    }

    pub(super) fn send(&self, spill: Arc<Spill>) {
        match self {
            Self::Reactor(mailbox) => mailbox.send(Command::Sort(spill)),
            // Without threads nobody listens: the worker is gone.
            Self::Threads(sender) => drop(sender.send(spill)),
        }
    }
}

fn sort(spills: &Receiver<Arc<Spill>>) {
    for spill in spills {
        // A mistake of ours fails one partition, and no task waits for a sorter that is not there.
        let worked = catch_unwind(AssertUnwindSafe(|| while spill.work() {}));
        if worked.is_err() {
            spill.conclude(Err("sorting it panicked".into()));
        }
    }
}
