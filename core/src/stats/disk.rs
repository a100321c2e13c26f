//! What a worker's disks have done for it: counted by the reactor as it goes, a few additions for each request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that goes up and down, and the most that it ever was.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicU64,
    most: AtomicU64,
}

impl Gauge {
    fn up(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    fn down(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counted by the reactor, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct DiskCounters {
    written_bytes: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    reads: AtomicU64,
    failures: AtomicU64,
    under_way: Gauge,
    open_files: Gauge,
    delivered_bytes: AtomicU64,
    memory_waits: AtomicU64,
    memory_wait_nanos: AtomicU64,
    take_backs: AtomicU64,
    finished_raw_bytes: AtomicU64,
    finished_stored_bytes: AtomicU64,
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

impl DiskCounters {
    pub(crate) fn write_begins(&self, bytes: u64) {
        add(&self.writes, 1);
        add(&self.written_bytes, bytes);
        self.under_way.up();
    }

    pub(crate) fn read_begins(&self, bytes: u64) {
        add(&self.reads, 1);
        add(&self.read_bytes, bytes);
        self.under_way.up();
    }

    /// A read or write is over.
    pub(crate) fn move_ends(&self) {
        self.under_way.down();
    }

    pub(crate) fn request_failed(&self) {
        add(&self.failures, 1);
    }

    pub(crate) fn file_opened(&self) {
        self.open_files.up();
    }

    pub(crate) fn file_closed(&self) {
        self.open_files.down();
    }

    /// A consumer has taken so many bytes.
    pub(crate) fn delivered(&self, bytes: u64) {
        add(&self.delivered_bytes, bytes);
    }

    /// It has given them back.
    pub(crate) fn given_back(&self, bytes: u64) {
        self.delivered_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn memory_wait_begins(&self) {
        add(&self.memory_waits, 1);
    }

    pub(crate) fn memory_wait_ends(&self, after: Duration) {
        add(&self.memory_wait_nanos, u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn took_back(&self) {
        add(&self.take_backs, 1);
    }

    pub(crate) fn finished(&self, raw_bytes: u64, stored_bytes: u64) {
        add(&self.finished_raw_bytes, raw_bytes);
        add(&self.finished_stored_bytes, stored_bytes);
    }

    pub(crate) fn read(&self) -> DiskStatistics {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DiskStatistics {
            written_bytes: of(&self.written_bytes),
            read_bytes: of(&self.read_bytes),
            writes: of(&self.writes),
            reads: of(&self.reads),
            failures: of(&self.failures),
            under_way: of(&self.under_way.now),
            under_way_max: of(&self.under_way.most),
            open_files: of(&self.open_files.now),
            open_files_max: of(&self.open_files.most),
            delivered_bytes: of(&self.delivered_bytes),
            memory_waits: of(&self.memory_waits),
            memory_wait: Duration::from_nanos(of(&self.memory_wait_nanos)),
            take_backs: of(&self.take_backs),
            finished_raw_bytes: of(&self.finished_raw_bytes),
            finished_stored_bytes: of(&self.finished_stored_bytes),
        }
    }
}

/// What a worker has moved to and from its disks, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStatistics {
    /// Bytes that were written: blocks as they are stored, directories, padding, the ends of files.
    pub written_bytes: u64,
    /// Bytes that were read, those read along between two requests and those that recovery reads included.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Reads.
    pub reads: u64,
    /// Requests of any kind that failed.
    pub failures: u64,
    /// Reads and writes that are under way now: how deep the queue is.
    pub under_way: u64,
    /// The most that ever were.
    pub under_way_max: u64,
    /// Files that are open now.
    pub open_files: u64,
    /// The most that ever were.
    pub open_files_max: u64,
    /// Bytes of blocks, before compression, that consumers of partitions on disk have taken.
    pub delivered_bytes: u64,
    /// How often reading was short of memory.
    pub memory_waits: u64,
    /// For how long in all, up to the last time that it ended.
    pub memory_wait: Duration,
    /// How often what was read ahead was taken back.
    pub take_backs: u64,
    /// Bytes of the partitions that were finished, before compression, as consumers read them: what is for all of them counts
    /// for each.
    pub finished_raw_bytes: u64,
    /// Bytes that their blocks take in the files, where what is for all stands once.
    pub finished_stored_bytes: u64,
}

impl DiskStatistics {
    /// Bytes read from the disk for each that a consumer has taken; `None` if none has.
    pub fn read_amplification(&self) -> Option<f64> {
        (self.delivered_bytes > 0).then(|| self.read_bytes as f64 / self.delivered_bytes as f64)
    }
}
