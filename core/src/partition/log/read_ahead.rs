//! What reads the disk for the readers of a retained partition: it fills their queues, shows what comes, and takes back what
//! waits when the memory is wanted more by others.

use super::reader::{Notices, ReaderId, Upcoming, of};
use super::{BlockLog, State};
use crate::block::{Failure, Item};
use crate::mailbox::Command;
use crate::sync::lock;

impl BlockLog {
    /// From what reads the disk: the next items of a reader. They come back if the reader is gone.
    pub(crate) fn fill(&self, reader: ReaderId, items: Vec<Item>, ask_below: u32) -> Result<(), Vec<Item>> {
        let mut notices = Notices::default();
        {
            let mut state = lock(&self.state);
            let State { readers, queued_bytes, .. } = &mut *state;
            let Some(entry) = of(readers, reader).filter(|entry| !entry.ended) else { return Err(items) };
            entry.filled += items.len() as u64;
            entry.asked = false;
            entry.ask_below = ask_below;
            for item in items {
                *queued_bytes += entry.push_back(item);
            }
            entry.notify(&mut notices);
        }
        self.notify(notices);
        Ok(())
    }

    /// From a session: there is credit for what comes next, and for so many bytes in all.
    pub(crate) fn fetch(&self, reader: ReaderId, credit_bytes: u64) {
        {
            let mut state = lock(&self.state);
            let Some(entry) = of(&mut state.readers, reader) else { return };
            if std::mem::replace(&mut entry.asked, true) {
                return;
            }
        }
        self.mailbox.send(Command::Fetch(self.id, reader, credit_bytes));
    }

    /// From what reads the disk: what comes next for a reader of a session, unless it is on its way already.
    pub(crate) fn set_upcoming(&self, reader: ReaderId, upcoming: Option<Upcoming>) {
        let mut notices = Notices::default();
        {
            let mut state = lock(&self.state);
            let Some(entry) = of(&mut state.readers, reader).filter(|entry| !entry.ended) else { return };
            entry.upcoming = upcoming;
            if upcoming.is_some() {
                entry.asked = false;
                if entry.queue.is_empty() {
                    entry.notify(&mut notices);
                }
            }
        }
        self.notify(notices);
    }

    /// From what reads the disk: there is as much in the queue as the reader may have; it asks again when there is less
    /// than this. False if there is already.
    pub(crate) fn ask_later(&self, reader: ReaderId, ask_below: u32) -> bool {
        let mut state = lock(&self.state);
        let Some(entry) = of(&mut state.readers, reader) else { return true };
        entry.ask_below = ask_below;
        entry.asked = entry.queue.is_empty() || entry.queued_bytes < ask_below;
        !entry.asked
    }

    /// From what reads the disk: takes what waits in a reader's queue away from it, because the memory is wanted more
    /// by others and the bytes can be read again. Says which item is its next one; `None` if the reader is gone or
    /// its queue cannot be taken.
    pub(crate) fn take_back(&self, reader: ReaderId) -> Option<u64> {
        let (dropped, next) = {
            let mut state = lock(&self.state);
            let State { readers, queued_bytes, .. } = &mut *state;
            let entry = of(readers, reader)?;
            // An end alone takes no memory.
            if entry.queued_bytes == 0 || matches!(entry.queue.back(), Some(Item::Failed(_))) {
                return None;
            }
            entry.filled -= entry.queue.len() as u64;
            let (dropped, bytes) = entry.clear();
            *queued_bytes -= bytes;
            // It finds nothing now, and asks when it looks.
            entry.asked = false;
            (dropped, entry.filled)
        };
        drop(dropped);
        Some(next)
    }

    /// How many items a reader has taken, and the bytes that wait in its queue; `None` if it is gone.
    pub(crate) fn progress(&self, reader: ReaderId) -> Option<(u64, u32)> {
        let mut state = lock(&self.state);
        let entry = of(&mut state.readers, reader).filter(|entry| !entry.ended)?;
        // A release puts a failure into the queue that did not come from the disk.
        Some((entry.filled.saturating_sub(entry.queue.len() as u64), entry.queued_bytes))
    }

    /// What one reader wants cannot be had: it is told, and the others go on. What waits in its queue goes: nobody could
    /// take its memory back any more, and a consumer that fails does not need it.
    pub(crate) fn fail_reader(&self, reader: ReaderId, failure: Failure) {
        let dropped = {
            let mut state = lock(&self.state);
            let State { readers, queued_bytes, .. } = &mut *state;
            let Some(entry) = of(readers, reader).filter(|entry| !entry.ended) else { return };
            let (dropped, bytes) = entry.clear();
            *queued_bytes -= bytes;
            dropped
        };
        drop(dropped);
        let _ = self.fill(reader, vec![Item::Failed(failure)], 0);
    }
}
