//! The disk of a worker: partitions that are written, those that are read, and what earlier lives have left. All of it in
//! requests that complete when they do; nothing here waits.

mod files;
mod memory;
mod merging;
mod reading;
mod recovery;
mod stored;
mod tail;
mod writing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sluice_plugin::{Disk, DiskCompletion, DiskDone, DiskError, DiskRequest, FileOwner, Wait};
use sluice_protocol::{PartitionId, ReasonCode, Time};

use crate::block::Failure;
use crate::disk_settings::DiskSettings;
use crate::mailbox::Mailbox;
use crate::partition::{PartitionManager, Spill};
use crate::stats::Counters;
use files::Directories;
use memory::ReadMemory;
pub(crate) use memory::ReadPools;
use reading::Reads;
pub(crate) use recovery::Recovered;
use recovery::Recovery;
pub use recovery::UnreadPartition;
use stored::Stored;
use writing::Writing;

/// Chunks sorted in one turn where the reactor sorts: a bounded part of the links' time.
const SORTED_A_TURN: usize = 8;

/// What a storage has to know of its worker.
pub(crate) struct StorageSettings {
    /// This life, in the names of files.
    pub(crate) owner: FileOwner,
    pub(crate) disk: DiskSettings,
    pub(crate) pools: ReadPools,
    pub(crate) mailbox: Mailbox,
    pub(crate) manager: Arc<PartitionManager>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) recovered: Arc<Recovered>,
}

/// Owns the disk and all that is under way on it.
pub(super) struct Storage {
    settings: StorageSettings,
    disk: Box<dyn Disk>,
    queue: Queue,
    completions: Vec<DiskCompletion>,
    directories: Directories,
    writing: BTreeMap<PartitionId, Writing>,
    stored: BTreeMap<PartitionId, Stored>,
    reads: Reads,
    memory: ReadMemory,
    recovery: Recovery,
    /// Where this thread sorts: those that have something.
    to_sort: VecDeque<Arc<Spill>>,
    /// Since when reading is short of memory, for who counts.
    short_since: Option<Time>,
    now: Time,
}

/// What a request is for.
enum Purpose {
    /// A step of a partition that is written: which, and of which part of which file set.
    Write(PartitionId, writing::Step),
    /// A part of a stored partition is opened.
    Open(PartitionId, stored::PartName),
    Read(reading::UnderWay),
    Recover(recovery::Step),
    /// How much room a directory has.
    Space,
    /// Nobody waits for it.
    Tidy,
}

/// Requests on their way to the disk, and what they are for.
#[derive(Default)]
struct Queue {
    purposes: BTreeMap<u64, Purpose>,
    last: u64,
    /// Refused by a disk that had as many as it takes; each is bounded by what wants it.
    waiting: VecDeque<(u64, DiskRequest)>,
}

impl Queue {
    fn submit(&mut self, disk: &mut dyn Disk, purpose: Purpose, request: DiskRequest) {
        self.last += 1;
        self.purposes.insert(self.last, purpose);
        if !self.waiting.is_empty() {
            return self.waiting.push_back((self.last, request));
        }
        if let Err(request) = disk.submit(self.last, request) {
            self.waiting.push_back((self.last, request));
        }
    }

    fn submit_waiting(&mut self, disk: &mut dyn Disk) {
        while let Some((token, request)) = self.waiting.pop_front() {
            if let Err(request) = disk.submit(token, request) {
                self.waiting.push_front((token, request));
                return;
            }
        }
    }
}

impl Storage {
    pub(super) fn new(settings: StorageSettings, disk: Box<dyn Disk>, now: Time) -> Self {
        let capabilities = disk.capabilities();
        let directories = Directories::new(capabilities);
        let reads = Reads::new(capabilities);
        let memory = ReadMemory::new(&settings.pools, &settings.mailbox);
        let recovery = Recovery::new(capabilities.directories.len(), settings.disk.recover_timeout, now);
        let mut storage = Self {
            settings,
            disk,
            queue: Queue::default(),
            completions: Vec::new(),
            directories,
            writing: BTreeMap::new(),
            stored: BTreeMap::new(),
            reads,
            memory,
            recovery,
            to_sort: VecDeque::new(),
            short_since: None,
            now,
        };
        storage.look_for_space();
        storage.begin_recovery();
        storage
    }

    fn submit(&mut self, purpose: Purpose, request: DiskRequest) {
        let bytes = request.bytes() as u64;
        match &request {
            DiskRequest::Read { .. } => self.settings.counters.disk.read_begins(bytes),
            DiskRequest::Write { .. } => self.settings.counters.disk.write_begins(bytes),
            _ => {}
        }
        self.queue.submit(&mut *self.disk, purpose, request);
    }

    /// One pass. True if something was done.
    pub(super) fn turn(&mut self, now: Time) -> bool {
        self.now = now;
        let mut busy = false;
        for _ in 0..SORTED_A_TURN {
            let Some(spill) = self.to_sort.pop_front() else { break };
            busy = true;
            if spill.work() {
                self.to_sort.push_back(spill);
            }
        }
        let mut completions = std::mem::take(&mut self.completions);
        self.disk.poll(&mut completions);
        for completion in completions.drain(..) {
            busy = true;
            self.completed(completion);
        }
        self.completions = completions;
        self.queue.submit_waiting(&mut *self.disk);
        busy |= self.recovery_timer();
        busy |= self.issue_reads();
        self.count_memory_wait();
        busy
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.recovery_due()
    }

    pub(super) fn prepare_to_wait(&mut self) -> std::io::Result<Wait<'_>> {
        if !self.to_sort.is_empty() {
            return Ok(Wait::Ready);
        }
        self.disk.prepare_to_wait()
    }

    /// Sorting that has no thread of its own.
    pub(super) fn sort(&mut self, spill: Arc<Spill>) {
        self.to_sort.push_back(spill);
    }

    fn count(&self, request: &DiskRequest, result: &Result<DiskDone, DiskError>) {
        let counters = &self.settings.counters.disk;
        match (request, result) {
            (DiskRequest::Read { .. } | DiskRequest::Write { .. }, _) => counters.move_ends(),
            (_, Ok(DiskDone::Opened { .. })) => counters.file_opened(),
            (DiskRequest::Close { .. }, _) => counters.file_closed(),
            _ => {}
        }
        if result.is_err() {
            counters.request_failed();
        }
    }

    /// Whether reading is short of memory, and since when.
    fn count_memory_wait(&mut self) {
        match (self.take_back_due().is_some(), self.short_since) {
            (true, None) => {
                self.settings.counters.disk.memory_wait_begins();
                self.short_since = Some(self.now);
            }
            (false, Some(since)) => {
                self.settings.counters.disk.memory_wait_ends(self.now.since(since));
                self.short_since = None;
            }
            _ => {}
        }
    }

    fn completed(&mut self, DiskCompletion { token, request, result }: DiskCompletion) {
        self.count(&request, &result);
        let purpose = self.queue.purposes.remove(&token).expect("the disk gives back what was submitted, once");
        match purpose {
            Purpose::Write(partition, step) => self.write_step(partition, step, request, result),
            Purpose::Open(partition, part) => self.opened(partition, part, result),
            Purpose::Read(read) => self.read_completed(read, request, result),
            Purpose::Recover(step) => self.recover_step(step, request, result),
            Purpose::Space => self.space_told(&request, result),
            Purpose::Tidy => {
                if let Err(error) = result {
                    tracing::warn!("{error}; the file may stay until the next start");
                }
            }
        }
    }

    /// A partition is not wanted any more.
    pub(super) fn release(&mut self, partition: PartitionId) {
        self.forget_recovered(partition);
        if let Some(writing) = self.writing.get(&partition) {
            let spill = Arc::clone(writing.spill());
            spill.conclude(Err("it was released".into()));
        }
        self.release_stored(partition);
    }

    /// The worker stops: what is not finished goes, what is finished stays for its next life.
    pub(super) fn stop(&mut self) {
        self.stop_recovery();
        for writing in self.writing.values() {
            writing.spill().conclude(Err("the worker stops".into()));
        }
        for stored in self.stored.keys().copied().collect::<Vec<_>>() {
            self.forsake(stored);
        }
    }

    /// Whether nothing is under way: files of what is over are closed.
    pub(super) fn is_quiet(&self) -> bool {
        self.queue.purposes.is_empty()
    }
}

/// What a consumer is told of a finished partition of which something cannot be read: where, and that it is not the
/// producer's fault but its data that is missing.
fn lost(error: &DiskError) -> Failure {
    Failure { code: ReasonCode::PartitionLost, text: text(error) }
}

/// An error as a task or a consumer is told.
fn text(error: &DiskError) -> Box<str> {
    error.to_string().into()
}

fn done(result: Result<DiskDone, DiskError>) -> Result<(), DiskError> {
    result.map(drop)
}
