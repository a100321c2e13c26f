//! One ring and the thread it belongs to: push, submit, reap; and an end that waits for the kernel.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{self, Ordering};
use std::time::Duration;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode};
use rustix::event::{EventfdFlags, eventfd};
use sluice_memory::Arena;

use crate::operation::{Completion, Operation};
use crate::probe::{Features, Kind, Refusal, Setup};
use crate::registered::{RegisterError, Registered};
use crate::socket;
use crate::table::{Key, Table};

/// The most operations a ring takes: their completions then fit the kernel's largest completion queue.
pub const OPERATIONS_MAX: u32 = 16 * 1024;

// IORING_MAX_ENTRIES in the kernel's io_uring/io_uring.h.
const ENTRIES_MAX: u32 = 32 * 1024;

// An operation makes at most three: its result, its notification, the answer to its cancel.
const COMPLETIONS_PER_OPERATION: u32 = 3;

// A timeout the kernel's time type surely holds: 30 years.
const TIMEOUT_MAX: Duration = Duration::from_secs(1_000_000_000);

// When a ring ends it cancels again after each of these, should the kernel have missed an operation between
// two states, …
const QUIESCE_ROUND: Duration = Duration::from_millis(20);

// … and after so many in which nothing came it breaks the connections of zero-copy sends that the peer does
// not acknowledge: 1 s is some round trips, and a retransmission.
const ROUNDS_BEFORE_ABORT: u32 = 50;

/// How large a ring is.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Operations that can be queued between two submits; the kernel rounds up to a power of two.
    pub entries: u32,
    /// Operations that can be in flight; at most [`OPERATIONS_MAX`].
    pub operations_max: u32,
}

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The options make no ring.
    #[error("a ring of {entries} entries and {operations_max} operations: 1 to 32768 and 1 to 16384 are possible")]
    Size {
        /// As asked.
        entries: u32,
        /// As asked.
        operations_max: u32,
    },
    /// The host does not let us.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// An io_uring, the operations in it, and all that they hold. It stays on the thread that made it.
///
/// Dropping it cancels what is in flight and waits until the kernel has let go of everything: usually
/// at once; up to a second for zero-copy sends whose peer does not acknowledge, which are then
/// [aborted](crate::abort). Reads and writes of files that the device has are waited for, however long it takes: they
/// cannot be cancelled. What was pushed and not yet submitted is never begun.
///
/// # Sleeping
///
/// A thread with nothing else to wait for sleeps in [`Ring::wait`]; it can [watch](Operation::Watch) an
/// eventfd that others wake it by. To sleep in `poll(2)` on this ring and other files:
/// [`Ring::prepare_to_sleep`], poll, [`Ring::reap`].
///
/// ```compile_fail
/// fn assert_send<T: Send>() {}
/// assert_send::<sluice_uring::Ring>();
/// ```
pub struct Ring {
    // Fields drop in this order: the ring is closed before anything it held goes.
    io: IoUring,
    registered: Option<Registered>,
    table: Table,
    last: Vec<Completion>,
    // Cancels that found the submission queue full; each operation is at most once in here.
    cancels: VecDeque<Key>,
    // The kernel signals it while `armed`. The ring's own descriptor would not do: with DEFER_TASKRUN it does
    // become readable, but wakes nobody who already sleeps in poll(2) (seen on 6.18).
    wake: OwnedFd,
    armed: bool,
    // Entries ever queued, and those of them that the kernel has taken.
    pushed: u64,
    submitted: u64,
    features: Features,
    kind: Kind,
    // SINGLE_ISSUER and DEFER_TASKRUN bind the ring to its thread; `IoUring` by itself is Send and Sync.
    on_this_thread: PhantomData<*mut ()>,
}

impl Ring {
    /// A ring for this thread.
    pub fn new(options: RingOptions) -> Result<Ring, RingError> {
        Ring::of_kind(Kind::Interrupted, options)
    }

    /// For [`PolledRing`](crate::PolledRing), which allows only what such a ring can do.
    pub(crate) fn polled(options: RingOptions) -> Result<Ring, RingError> {
        Ring::of_kind(Kind::Polled, options)
    }

    fn of_kind(kind: Kind, options: RingOptions) -> Result<Ring, RingError> {
        let RingOptions { entries, operations_max } = options;
        if !(1..=ENTRIES_MAX).contains(&entries) || !(1..=OPERATIONS_MAX).contains(&operations_max) {
            return Err(RingError::Size { entries, operations_max });
        }
        // Every completion there can be has its place, so that the queue does not overflow.
        let completions = (operations_max * COMPLETIONS_PER_OPERATION).max(entries.next_power_of_two());
        let ring = Setup::negotiate(|setup| setup.build(entries, completions, kind));
        let (mut io, setup) = ring.map_err(Refusal::from_setup_error)?;
        let features = Features::of(&mut io, setup)?;
        let wake = wake_by_eventfd(&mut io).map_err(Refusal::from_setup_error)?;
        Ok(Ring {
            io,
            registered: None,
            table: Table::new(operations_max),
            last: Vec::new(),
            cancels: VecDeque::with_capacity(operations_max as usize),
            wake,
            armed: false,
            pushed: 0,
            submitted: 0,
            features,
            kind,
            on_this_thread: PhantomData,
        })
    }

    /// What the kernel gave us.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Has the kernel keep the arena's pages at hand: reads and writes of files in memory of this arena, and of no
    /// other, then go without looking them up. All of it becomes resident, and counts as locked memory of the user
    /// unless the process has `CAP_IPC_LOCK`. It stays mapped and registered as long as this ring lives.
    ///
    /// If the kernel refuses, the ring goes on without.
    ///
    /// # Panics
    ///
    /// If an arena is registered already.
    pub fn register(&mut self, arena: &Arena) -> Result<(), RegisterError> {
        assert!(self.registered.is_none(), "a ring registers one arena, once");
        self.registered = Some(Registered::with(&self.io.submitter(), arena)?);
        Ok(())
    }

    /// Whether an arena is registered.
    pub fn is_registered(&self) -> bool {
        self.registered.is_some()
    }

    /// Operations pushed whose completion has not been reaped.
    pub fn in_flight(&self) -> usize {
        self.table.len()
    }

    /// Entries that wait for the next submit, reap or wait.
    pub fn queued(&self) -> usize {
        self.entries_queued() as usize + self.cancels.len()
    }

    /// Queues an operation, or hands it back when there are as many as there may be: reap, then push again.
    ///
    /// A full submission queue is submitted first. Tokens are the caller's, and need not differ.
    ///
    /// # Panics
    ///
    /// If a transfer has no byte left to move, or reaches beyond `i64::MAX` in a file.
    pub fn push(&mut self, token: u64, operation: Operation) -> Result<(), Operation> {
        operation.assert_moves_bytes();
        if self.table.is_full() {
            return Err(operation);
        }
        if self.queue_is_full() && (self.submit().is_err() || self.queue_is_full()) {
            return Err(operation);
        }
        let registered = self.registered.as_ref();
        let entry = self.table.insert(token, operation, self.pushed, &self.features, registered);
        // SAFETY: all that the entry points to is owned by the table's slot and stays in place until the
        // final completion (`Table::complete`) or until no kernel operation is left (`Ring::drop`).
        let queued = unsafe { self.io.submission().push(&entry) };
        queued.expect("looked for room above");
        self.pushed += 1;
        Ok(())
    }

    /// Asks the kernel to end every operation of this token early. Their completions still come, and may
    /// still be successes.
    pub fn cancel(&mut self, token: u64) {
        self.cancels.extend(self.table.cancel(token));
        self.queue_cancels();
    }

    /// Gives the kernel what is queued.
    ///
    /// `EAGAIN` and `EBUSY` mean that it takes no more now: what is left stays queued; reap, then submit again.
    pub fn submit(&mut self) -> io::Result<()> {
        self.queue_cancels();
        while self.entries_queued() > 0 {
            match self.enter(Submit::Queued, 0, EnterFlags::empty(), None) {
                Ok(0) => return Err(io::Error::from_raw_os_error(libc::EAGAIN)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.queue_cancels();
        }
        Ok(())
    }

    /// Submits what is queued and takes what has completed, without blocking: one system call, or none if
    /// nothing is queued and the kernel has nothing for us.
    ///
    /// What the kernel cannot take yet stays [queued](Ring::queued); that is not an error.
    pub fn reap(&mut self, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.disarm();
        self.queue_cancels();
        let mut entered = Ok(());
        if self.entries_queued() > 0 || self.work_is_pending() {
            // DEFER_TASKRUN: only an enter with GETEVENTS runs what makes completions.
            entered = unless_temporary(self.enter(Submit::Queued, 0, EnterFlags::GETEVENTS, None));
        }
        self.harvest(completions);
        entered
    }

    /// Like [`Ring::reap`], but sleeps until there is a completion, the timeout is over or a signal comes;
    /// the answer to a cancel, which the caller does not see, also wakes it.
    ///
    /// Without a timeout and without anything in flight there is nothing to wait for, and it returns.
    pub fn wait(&mut self, timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.disarm();
        self.queue_cancels();
        if !self.cancels.is_empty() {
            // What this sleep waits for may be their doing.
            unless_temporary(self.submit())?;
        }
        let nothing_comes = self.table.len() == 0 && timeout.is_none();
        if nothing_comes || !self.cancels.is_empty() || !self.io.completion().is_empty() {
            return self.reap(completions);
        }
        let entered = unless_temporary(self.enter_and_sleep(Submit::Queued, timeout));
        self.harvest(completions);
        entered
    }

    /// Submits what is queued, and either there is something to reap or the file it gives will become
    /// readable when there is: sleep in `poll(2)` on it, then reap.
    pub fn prepare_to_sleep(&mut self) -> io::Result<Sleep<'_>> {
        self.armed = true;
        self.io.completion().enable_eventfd();
        // Arm, then look: with the barriers of the kernel, which queues its work before it looks whether the
        // eventfd is enabled, one of the two sees the other. The look is an enter as it reads that queue itself.
        atomic::fence(Ordering::SeqCst);
        self.queue_cancels();
        unless_temporary(self.enter(Submit::Queued, 0, EnterFlags::GETEVENTS, None))?;
        let ready = !self.io.completion().is_empty() || self.queued() > 0;
        Ok(if ready { Sleep::Ready } else { Sleep::On(self.wake.as_fd()) })
    }

    fn disarm(&mut self) {
        if mem::take(&mut self.armed) {
            self.io.completion().disable_eventfd();
            // EAGAIN: it was not signalled. A signal that comes yet wakes the next sleep for nothing, once.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
    }

    fn enter_and_sleep(&mut self, submit: Submit, timeout: Option<Duration>) -> io::Result<usize> {
        let timespec = timeout.map(|timeout| Timespec::from(timeout.min(TIMEOUT_MAX)));
        let args = SubmitArgs::new();
        let args = timespec.as_ref().map_or(args, |timespec| args.timespec(timespec));
        let mut flags = EnterFlags::GETEVENTS;
        if self.features.no_iowait {
            flags |= EnterFlags::NO_IOWAIT;
        }
        self.enter(submit, 1, flags, Some(&args))
    }

    fn enter(
        &mut self,
        submit: Submit,
        completions_min: u32,
        flags: EnterFlags,
        args: Option<&SubmitArgs<'_, '_>>,
    ) -> io::Result<usize> {
        let to_submit = match submit {
            Submit::Queued => self.entries_queued(),
            Submit::Nothing => 0,
        };
        let flags = if args.is_some() { flags | EnterFlags::EXT_ARG } else { flags };
        // A temporary submitter is fine as long as nothing is registered through one: the crate remembers a
        // registered ring descriptor only in the submitter that registered it.
        let submitter = self.io.submitter();
        // SAFETY: EXT_ARG goes with an argument of that layout, whose timespec outlives the call, and
        // without it the argument is null; the entries themselves are good since `Ring::push`.
        let entered = unsafe { submitter.enter(to_submit, completions_min, flags.bits(), args) };
        // The queue itself says what was taken, also after an error.
        self.submitted = self.pushed - self.io.submission().len() as u64;
        entered
    }

    /// Takes the completions that are in the queue.
    fn harvest(&mut self, completions: &mut Vec<Completion>) {
        for completion in self.io.completion() {
            if completion.user_data() != Key::NOBODY.0 {
                completions.extend(self.table.complete(&completion));
            }
        }
    }

    fn queue_cancels(&mut self) {
        while !self.cancels.is_empty() && !self.queue_is_full() {
            let key = self.cancels.pop_front().expect("not empty");
            let entry = opcode::AsyncCancel::new(key.0).build().user_data(Key::NOBODY.0);
            // SAFETY: a cancel names its target by number and points to nothing.
            let queued = unsafe { self.io.submission().push(&entry) };
            queued.expect("looked for room above");
            self.pushed += 1;
        }
    }

    fn entries_queued(&self) -> u32 {
        (self.pushed - self.submitted) as u32
    }

    fn queue_is_full(&mut self) -> bool {
        self.io.submission().is_full()
    }

    /// Whether an enter would bring completions that are not in the queue yet.
    fn work_is_pending(&mut self) -> bool {
        let submission = self.io.submission();
        if submission.cq_overflow() {
            return true;
        }
        // A device that is polled raises no flag.
        let told = self.features.setup.taskrun_flag && self.kind == Kind::Interrupted;
        if told { submission.taskrun() } else { self.table.len() > 0 }
    }

    /// Cancels everything and waits until the kernel has no operation of ours.
    fn quiesce(&mut self) -> io::Result<()> {
        let mut idle_rounds = 0;
        while self.table.with_kernel(self.submitted) > 0 {
            self.cancel_everything()?;
            if idle_rounds >= ROUNDS_BEFORE_ABORT {
                self.abort_unacknowledged();
            }
            // Nothing more is submitted: what is only queued has not begun, and will not.
            unless_temporary(self.enter_and_sleep(Submit::Nothing, Some(QUIESCE_ROUND)))?;
            let mut last = mem::take(&mut self.last);
            let before = last.len();
            self.harvest(&mut last);
            idle_rounds += u32::from(last.len() == before);
            self.last = last;
        }
        Ok(())
    }

    fn cancel_everything(&self) -> io::Result<()> {
        let at_once = Some(Timespec::new());
        match self.io.submitter().register_sync_cancel(at_once, CancelBuilder::any()) {
            Ok(()) => Ok(()),
            // ENOENT: none can be cancelled, they are complete or await their notification. EALREADY, ETIME:
            // some are being executed.
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOENT | libc::EALREADY | libc::ETIME | libc::EINTR) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn abort_unacknowledged(&self) {
        for socket in self.table.unacknowledged() {
            if let Err(error) = socket::abort(socket) {
                tracing::warn!(%error, "a socket with zero-copy data nobody acknowledges cannot be aborted");
            }
        }
    }
}

/// What [`Ring::prepare_to_sleep`] found.
#[derive(Debug)]
pub enum Sleep<'r> {
    /// Do not: reap.
    Ready,
    /// Sleep until this file is readable. It may be so for nothing, now and then.
    On(BorrowedFd<'r>),
}

/// Has the ring signal an eventfd, once it is enabled.
fn wake_by_eventfd(io: &mut IoUring) -> io::Result<OwnedFd> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    io.completion().disable_eventfd();
    io.submitter().register_eventfd(wake.as_raw_fd())?;
    Ok(wake)
}

/// What an enter hands to the kernel.
enum Submit {
    Queued,
    Nothing,
}

/// Passes by what the next turn sorts out by itself: a signal, a timeout, no room for more now.
fn unless_temporary<T>(entered: io::Result<T>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error),
        },
    }
}

/// The file of [`Sleep::On`], always the same, to enter into an epoll set once. Not the ring's own descriptor.
impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        match self.quiesce() {
            Ok(()) => self.table.release(),
            Err(error) => {
                let operations = self.in_flight();
                tracing::error!(%error, operations, "a ring cannot be emptied: what its operations hold is lost");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_a_timeout_and_a_busy_kernel_are_not_errors() {
        for errno in [libc::EINTR, libc::ETIME, libc::EAGAIN, libc::EBUSY] {
            assert!(unless_temporary::<()>(Err(io::Error::from_raw_os_error(errno))).is_ok());
        }
        assert!(unless_temporary::<()>(Err(io::Error::from_raw_os_error(libc::EEXIST))).is_err());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (entries, operations_max) in [(0, 1), (1, 0), (ENTRIES_MAX + 1, 1), (1, OPERATIONS_MAX + 1)] {
            assert!(matches!(Ring::new(RingOptions { entries, operations_max }), Err(RingError::Size { .. })));
        }
    }
}
