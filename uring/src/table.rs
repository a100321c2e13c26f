//! Owns every operation from push to final completion, in slots that the kernel's `user_data` names.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use io_uring::{cqueue, squeue};

use crate::message::Message;
use crate::operation::{Completion, Done, Operation};
use crate::probe::Features;
use crate::registered::Registered;

// IORING_NOTIF_USAGE_ZC_COPIED of linux/io_uring.h: in the result of a notification, "the kernel copied".
const USAGE_COPIED: u32 = 1 << 31;

/// Names one use of one slot: the index below, the generation above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    /// Of the completions nobody waits for. No slot has this index.
    pub(crate) const NOBODY: Key = Key(u64::MAX);

    fn new(index: u32, generation: u32) -> Key {
        Key(u64::from(generation) << 32 | u64::from(index))
    }

    fn index(self) -> usize {
        self.0 as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The operations in flight, at most as many as there are slots.
pub(crate) struct Table {
    // Never grows: the kernel holds pointers to what the slots own.
    slots: Box<[Slot]>,
    free: Vec<u32>,
    released: bool,
}

struct Slot {
    generation: u32,
    // In a box of its own: marking a slot must not touch what the kernel reads.
    message: Box<Message>,
    flight: Option<Flight>,
}

struct Flight {
    token: u64,
    operation: Operation,
    pushed_at: u64,
    cancelled: bool,
    progress: Progress,
}

/// How far the completions of one operation are. All but zero-copy sends have only one.
#[derive(Default)]
struct Progress {
    result: Option<i32>,
    notification: Notification,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Notification {
    #[default]
    None,
    Expected,
    Came {
        copied: bool,
    },
}

impl Table {
    pub(crate) fn new(operations_max: u32) -> Table {
        let slot = |_| Slot { generation: 0, message: Box::new(Message::new()), flight: None };
        let slots = (0..operations_max).map(slot).collect();
        Table { slots, free: (0..operations_max).rev().collect(), released: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Takes the operation in and gives its submission entry, which points into the table's own memory:
    /// that stays in place and unchanged until [`Table::complete`] saw the final completion.
    ///
    /// `pushed_at` is the entry's place in the order of all entries ever queued.
    pub(crate) fn insert(
        &mut self,
        token: u64,
        operation: Operation,
        pushed_at: u64,
        features: &Features,
        registered: Option<&Registered>,
    ) -> squeue::Entry {
        let index = self.free.pop().expect("the caller asked is_full()");
        let slot = &mut self.slots[index as usize];
        let flight = Flight { token, operation, pushed_at, cancelled: false, progress: Progress::default() };
        let flight = slot.flight.insert(flight);
        let entry = slot.message.prepare(&mut flight.operation, features, registered);
        entry.user_data(Key::new(index, slot.generation).0)
    }

    /// Notes one completion; gives the operation back if it was the final one.
    pub(crate) fn complete(&mut self, completion: &cqueue::Entry) -> Option<Completion> {
        let key = Key(completion.user_data());
        let slot = &mut self.slots[key.index()];
        assert_eq!(slot.generation, key.generation(), "a completion for an operation that is over");
        let flight = slot.flight.as_mut().expect("a slot's generation changes when its operation leaves");
        flight.progress.note(completion.result(), completion.flags());
        let result = flight.progress.outcome()?;
        let copied = flight.progress.copied();

        let flight = slot.flight.take().expect("looked at above");
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index() as u32);
        let result = done(&flight.operation, result, copied);
        Some(Completion { token: flight.token, result, operation: flight.operation })
    }

    /// The operations of this token that nobody has cancelled yet; from now on they count as cancelled.
    pub(crate) fn cancel(&mut self, token: u64) -> impl Iterator<Item = Key> {
        self.slots.iter_mut().enumerate().filter_map(move |(index, slot)| {
            let flight = slot.flight.as_mut().filter(|flight| flight.token == token && !flight.cancelled)?;
            flight.cancelled = true;
            Some(Key::new(index as u32, slot.generation))
        })
    }

    /// How many operations the kernel has: those among the first `submitted` entries ever queued.
    pub(crate) fn with_kernel(&self, submitted: u64) -> usize {
        self.flights().filter(|flight| flight.pushed_at < submitted).count()
    }

    /// The sockets whose sends are done but for the peer's acknowledgement.
    pub(crate) fn unacknowledged(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let waiting = self.flights().filter(|flight| flight.progress.result.is_some());
        waiting.filter_map(|flight| match &flight.operation {
            Operation::Send { socket, .. } => Some(socket.as_fd()),
            _ => None,
        })
    }

    /// The kernel has none of it any more: what the slots hold may be freed with the table.
    pub(crate) fn release(&mut self) {
        self.released = true;
    }

    fn flights(&self) -> impl Iterator<Item = &Flight> {
        self.slots.iter().filter_map(|slot| slot.flight.as_ref())
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !self.released {
            // The ring could not be emptied, or unwinds from a bug: lost memory is the price of memory that is
            // never written into after it was freed.
            mem::forget(mem::take(&mut self.slots));
        }
    }
}

impl Progress {
    fn note(&mut self, result: i32, flags: u32) {
        if cqueue::notif(flags) {
            self.notification = Notification::Came { copied: result as u32 & USAGE_COPIED != 0 };
            return;
        }
        self.result = Some(result);
        // io_uring_enter(2), IORING_OP_SEND_ZC: F_MORE on the first completion announces the notification;
        // a send that failed early has none.
        if cqueue::more(flags) && self.notification == Notification::None {
            self.notification = Notification::Expected;
        }
    }

    fn outcome(&self) -> Option<i32> {
        if self.notification == Notification::Expected { None } else { self.result }
    }

    fn copied(&self) -> bool {
        !matches!(self.notification, Notification::Came { copied: false })
    }
}

fn done(operation: &Operation, result: i32, copied: bool) -> io::Result<Done> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    Ok(match operation {
        Operation::Accept { .. } => {
            // SAFETY: the result of a successful accept is a new descriptor that nobody else has; each
            // completion is taken from the queue once (`Ring::harvest`), and its slot is emptied by then.
            Done::Accepted(unsafe { OwnedFd::from_raw_fd(result) })
        }
        Operation::Connect { .. } => Done::Connected,
        Operation::Send { .. } => Done::Sent { bytes: result as usize, copied },
        Operation::Receive { .. } => Done::Received(result as usize),
        Operation::Read { .. } => Done::Read(result as usize),
        Operation::Write { .. } => Done::Written(result as usize),
        Operation::Sync { .. } => Done::Synced,
        Operation::Watch { .. } => Done::Ready,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORE: u32 = 1 << 1;
    const NOTIF: u32 = 1 << 3;

    #[test]
    fn a_plain_completion_is_final() {
        let mut progress = Progress::default();
        progress.note(7, 0);
        assert_eq!((progress.outcome(), progress.copied()), (Some(7), true));
    }

    #[test]
    fn a_zero_copy_send_is_over_only_with_its_notification() {
        let mut progress = Progress::default();
        progress.note(7, MORE);
        assert_eq!(progress.outcome(), None);
        progress.note(0, NOTIF);
        assert_eq!((progress.outcome(), progress.copied()), (Some(7), false));
    }

    #[test]
    fn a_notification_says_when_the_kernel_copied() {
        let mut progress = Progress::default();
        progress.note(7, MORE);
        progress.note(i32::MIN, NOTIF);
        assert_eq!((progress.outcome(), progress.copied()), (Some(7), true));
    }

    #[test]
    fn a_notification_that_overtakes_the_result_ends_nothing() {
        let mut progress = Progress::default();
        progress.note(0, NOTIF);
        assert_eq!(progress.outcome(), None);
        progress.note(7, MORE);
        assert_eq!(progress.outcome(), Some(7));
    }

    #[test]
    fn a_key_keeps_its_index_and_generation() {
        let key = Key::new(5, u32::MAX);
        assert_eq!((key.index(), key.generation()), (5, u32::MAX));
        assert_ne!(key, Key::NOBODY);
    }
}
