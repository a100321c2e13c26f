//! What a worker has done so far, in plain numbers.

mod disk;

use std::sync::atomic::{AtomicU64, Ordering};

use disk::DiskCounters;
pub use disk::DiskStatistics;

/// Counted by the reactor, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    messages_sent: AtomicU64,
    links_lost: AtomicU64,
    links_resumed: AtomicU64,
    pub(crate) disk: DiskCounters,
}

impl Counters {
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages_sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn link_lost(&self) {
        self.links_lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn resumed(&self) {
        self.links_resumed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Traffic {
        Traffic {
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            messages_sent: self.messages_sent.load(Ordering::Relaxed),
            links_lost: self.links_lost.load(Ordering::Relaxed),
            links_resumed: self.links_resumed.load(Ordering::Relaxed),
        }
    }
}

/// What went over the links of a worker. Local channels are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of blocks sent.
    pub sent_bytes: u64,
    /// Bytes of blocks received.
    pub received_bytes: u64,
    /// Messages sent, acknowledgements included.
    pub messages_sent: u64,
    /// Links that were lost while their sessions went on.
    pub links_lost: u64,
    /// Links that took the place of lost ones.
    pub links_resumed: u64,
}
