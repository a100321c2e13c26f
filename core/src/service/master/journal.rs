//! The events that nobody has stored yet, on their way into the log.

use super::bytes::PutFields;
use super::event::MasterEvent;
use super::frame::{self, Magic};

/// Collects events. All that are taken at once share a frame: a crash while it is appended loses all of them or none,
/// and nothing that is damaged can have whole events behind it.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    /// A frame without its header yet: the number of its first event, and the events. Empty if there are none.
    frame: Vec<u8>,
    /// What was noted since a snapshot was made.
    since_snapshot: u64,
}

impl Journal {
    /// What a restored master's log has already.
    pub(super) fn after(bytes: u64) -> Self {
        Self { frame: Vec::new(), since_snapshot: bytes }
    }

    /// Notes the event of this number; numbers come without gaps.
    pub(super) fn note(&mut self, number: u64, event: &MasterEvent) {
        let before = self.frame.len();
        if self.frame.is_empty() {
            self.frame = frame::open();
            self.frame.put_u64(number);
        }
        event.encode(&mut self.frame);
        self.since_snapshot += (self.frame.len() - before) as u64;
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut frame = std::mem::take(&mut self.frame);
        if !frame.is_empty() {
            frame::close(Magic::LOG, &mut frame);
        }
        frame
    }

    pub(super) fn snapshot_made(&mut self) {
        self.since_snapshot = 0;
    }

    pub(super) fn bytes_since_snapshot(&self) -> u64 {
        self.since_snapshot
    }
}
