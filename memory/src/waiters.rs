//! Tasks that wait for memory of one pool, and why they had to.

use std::task::Waker;

use crate::class::SizeClass;

/// How often a pool's users had to wait, by cause. Tells whether memory, or only the pool's share
/// of it, is too small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The pool was at its limit: its own buffers had to come back first.
    pub share_used_up: u64,
    /// The limit allowed more, but no block was free: others hold more than their present shares,
    /// or the free memory is in too small pieces.
    pub arena_exhausted: u64,
}

/// Why a buffer cannot be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    ShareUsedUp,
    ArenaExhausted,
}

/// What a task waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) class: SizeClass,
    /// It is worth waking once this much could be acquired; no less than the class.
    pub(crate) wake_at_bytes: usize,
}

struct Waiter {
    want: Want,
    waker: Waker,
}

/// The waiting tasks of one pool, the longest waiting first.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Vec<Waiter>,
    waits: Waits,
}

/// Wakers taken out under the lock, to be woken, or only dropped, after it: both are foreign code.
#[derive(Default)]
pub(crate) struct Wakers {
    due: Vec<Waker>,
    obsolete: Vec<Waker>,
}

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn waits(&self) -> Waits {
        self.waits
    }

    /// A task is known by its waker and class: who asks again changes what it waits for, and is
    /// not counted twice.
    pub(crate) fn register(&mut self, want: Want, waker: Waker, cause: Shortage, out: &mut Wakers) {
        if let Some(index) = self.position(want.class, &waker) {
            self.waiting[index].want = want;
            out.obsolete.push(waker);
            return;
        }
        match cause {
            Shortage::ShareUsedUp => self.waits.share_used_up += 1,
            Shortage::ArenaExhausted => self.waits.arena_exhausted += 1,
        }
        self.waiting.push(Waiter { want, waker });
    }

    /// The task has what it wanted.
    pub(crate) fn withdraw(&mut self, class: SizeClass, waker: &Waker, out: &mut Wakers) {
        if let Some(index) = self.position(class, waker) {
            out.obsolete.push(self.waiting.remove(index).waker);
        }
    }

    /// Takes out those for whom `is_due` says so.
    pub(crate) fn take_due(&mut self, mut is_due: impl FnMut(Want) -> bool, out: &mut Wakers) {
        let due = self.waiting.extract_if(.., |waiter| is_due(waiter.want));
        out.due.extend(due.map(|waiter| waiter.waker));
    }

    /// Nobody is left to poll: the pool is gone.
    pub(crate) fn abandon(&mut self, out: &mut Wakers) {
        out.obsolete.extend(self.waiting.drain(..).map(|waiter| waiter.waker));
    }

    fn position(&self, class: SizeClass, waker: &Waker) -> Option<usize> {
        let same = |waiter: &Waiter| waiter.want.class == class && waiter.waker.will_wake(waker);
        self.waiting.iter().position(same)
    }
}

impl Wakers {
    /// Not needed after all.
    pub(crate) fn discard(&mut self, waker: Waker) {
        self.obsolete.push(waker);
    }

    /// Only after unlocking: a waker may run its task at once, which may ask for memory.
    pub(crate) fn wake(self) {
        self.due.into_iter().for_each(Waker::wake);
    }
}
