//! Which of all wishes are read next: as many as the disks like and as fit into memory; and what happens when memory is
//! short.

use std::collections::VecDeque;
use std::time::Duration;

use sluice_memory::SizeClass;
use sluice_plugin::{DISK_REQUEST_BYTES_MAX, DiskCapabilities, DiskRequest, FileId};
use sluice_protocol::{PartitionId, Time};

use super::super::{Purpose, Storage};
use super::{Tag, UnderWay, front};
use crate::elevator::{Elevator, ElevatorConfig, Request};
use crate::partition::ReaderId;
use crate::spill::Decompressor;

/// Memory that has been short for so long is taken back from those who do not use it. Sessions read only what they have
/// credit for, so what waits for longer is a gate's of this worker whose task does something else.
const TAKE_BACK_AFTER: Duration = Duration::from_millis(20);
/// For so long after that nobody reads ahead.
const PRESSED_FOR: Duration = Duration::from_secs(1);

/// Reads of so many bytes do not wait for more to be joined to them.
const JOINED_BYTES: usize = 128 << 10;
/// Where few read there are no neighbours to wait for: so many shorter ones are under way, divided by how many read …
const SHORT_FOR_ALL: u32 = 2048;
/// … but at least this many, with which a disk does about half of what it can.
const SHORT_UNDER_WAY: u32 = 16;

/// What is read, of all partitions.
pub(in crate::reactor::storage) struct Reads {
    /// One for each directory.
    pub(super) lifts: Vec<Lift>,
    pub(super) depth: u32,
    pub(super) readers: usize,
    /// Counts the calls of readers: who has called last has the greatest number.
    pub(super) calls: u64,
    pub(super) decompressor: Decompressor,
    pub(super) short_since: Option<Time>,
    /// When memory was taken back last.
    pub(super) taken_back: Option<Time>,
    /// Some readers wait for memory to decompress to.
    pub(super) is_starved: bool,
    /// Readers for whose further wishes there is no memory yet, in their order. Each has one wish that waits for the disk
    /// whatever there is, and goes into its queue at once. More of it only if all that is asked for fits into what there is: so
    /// what arrives never waits for what could not be read for want of the memory that it has itself.
    pub(super) hungry: VecDeque<(PartitionId, ReaderId)>,
    /// The same, of those who have something in their queue.
    pub(super) greedy: VecDeque<(PartitionId, ReaderId)>,
}

pub(super) struct Lift {
    pub(super) elevator: Elevator<Tag>,
    pub(super) under_way: u32,
}

impl Reads {
    pub(in crate::reactor::storage) fn new(capabilities: &DiskCapabilities) -> Self {
        let lift = |_| Lift { elevator: Elevator::new(ElevatorConfig::default()), under_way: 0 };
        Self {
            lifts: capabilities.directories.iter().map(lift).collect(),
            depth: capabilities.depth.max(1),
            readers: 0,
            calls: 0,
            decompressor: Decompressor::new(),
            short_since: None,
            taken_back: None,
            is_starved: false,
            hungry: VecDeque::new(),
            greedy: VecDeque::new(),
        }
    }

    /// How many reads are under way when short ones wait. Readers of neighbouring slices ask one after the other: as long as
    /// the disk has enough to do, who comes first waits for those who will be next to it.
    fn short_under_way_max(&self) -> u32 {
        let readers = u32::try_from(self.readers).unwrap_or(u32::MAX).max(1);
        (SHORT_FOR_ALL / readers).max(SHORT_UNDER_WAY)
    }

    pub(super) fn requested_bytes(&self) -> u64 {
        self.lifts.iter().map(|lift| lift.elevator.requested_bytes()).sum()
    }

    /// Somebody waits for memory: if it is not there soon, some is taken back.
    pub(in crate::reactor::storage) fn falls_short(&mut self, now: Time) {
        self.short_since.get_or_insert(now);
    }

    /// What was asked for of a partition and is not under way.
    pub(in crate::reactor::storage) fn forget(&mut self, partition: PartitionId) {
        for lift in &mut self.lifts {
            lift.elevator.retain(|tag| tag.partition != partition);
        }
    }

    /// So many readers are no more.
    pub(in crate::reactor::storage) fn left(&mut self, readers: usize) {
        self.readers -= readers;
    }

    pub(super) fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

impl Storage {
    /// Starts reads, as many as the disks like and there is memory for. True if there were any.
    pub(in crate::reactor::storage) fn issue_reads(&mut self) -> bool {
        let mut busy = self.feed_the_starved();
        busy |= self.feed_the_hungry();
        for lift in 0..self.reads.lifts.len() {
            while self.issue_read(lift) {
                busy = true;
            }
        }
        busy
    }

    /// Readers that waited for memory to decompress to go on once there is some.
    fn feed_the_starved(&mut self) -> bool {
        if !self.reads.is_starved || !self.memory.has_raw_or_wakes() {
            return false;
        }
        (self.reads.is_starved, self.reads.short_since) = (false, None);
        for id in self.stored.keys().copied().collect::<Vec<_>>() {
            let Some(stored) = self.stored.get_mut(&id) else { continue };
            stored.readers.values_mut().for_each(|reading| reading.is_starved = false);
            self.read_on(id);
        }
        true
    }

    /// Readers that stood back ask for what they want, as long as there is memory for it.
    fn feed_the_hungry(&mut self) -> bool {
        let before = self.reads.requested_bytes();
        for _ in 0..self.reads.hungry.len() + self.reads.greedy.len() {
            let requested = self.reads.requested_bytes();
            if requested > 0 && requested >= self.memory.available_bytes() / 2 {
                break;
            }
            let next = self.reads.hungry.pop_front().or_else(|| self.reads.greedy.pop_front());
            let Some((id, reader)) = next else { break };
            if let Some(reading) = self.reading(id, reader) {
                reading.is_hungry = false;
                self.get_on(id, reader);
            }
            if self.reading(id, reader).is_some_and(|reading| reading.is_hungry) {
                // Nor would the others get more.
                break;
            }
        }
        self.reads.requested_bytes() > before
    }

    fn issue_read(&mut self, index: usize) -> bool {
        let lift = &mut self.reads.lifts[index];
        if lift.elevator.is_empty() || lift.under_way >= self.reads.depth {
            return false;
        }
        let Some(bytes) = lift.elevator.next_bytes(self.now, DISK_REQUEST_BYTES_MAX) else { return false };
        if bytes < JOINED_BYTES && lift.under_way >= self.reads.short_under_way_max() {
            return false;
        }
        let class = SizeClass::fitting(bytes).unwrap_or(SizeClass::MAX);
        let Some(mut memory) = self.memory.acquire(class).or_else(|| self.memory.wake_when_there_is_some()) else {
            self.reads.short_since.get_or_insert(self.now);
            return false;
        };
        if !self.reads.is_starved {
            self.reads.short_since = None;
        }
        let lift = &mut self.reads.lifts[index];
        let Some(batch) = lift.elevator.next_batch(self.now, memory.len()) else {
            // What is there is too little for who has the turn.
            self.reads.short_since.get_or_insert(self.now);
            return false;
        };
        // What was asked for by who has gone, or has gone back, is not read.
        let live = |request: &Request<Tag>| {
            let stored = self.stored.get(&request.tag.partition)?;
            stored.readers.get(&request.tag.reader).filter(|reading| reading.epoch == request.tag.epoch)
        };
        if !batch.requests.iter().any(|request| live(request).is_some()) {
            return true;
        }
        let fitting = SizeClass::fitting(batch.bytes).unwrap_or(SizeClass::MAX);
        if fitting.bytes() < memory.len()
            && let Some(smaller) = self.memory.acquire_exactly(fitting)
        {
            memory = smaller;
        }
        let memory = front(memory, batch.bytes);
        let partition = batch.requests[0].tag.partition;
        if let Some(stored) = self.stored.get_mut(&partition) {
            stored.under_way += 1;
        }
        self.reads.lifts[index].under_way += 1;
        let request = DiskRequest::Read { file: FileId(batch.file), offset: batch.offset, into: vec![memory] };
        let read = UnderWay { partition, lift: index, offset: batch.offset, requests: batch.requests };
        self.submit(Purpose::Read(read), request);
        true
    }

    /// Whether memory had to be taken back lately.
    pub(super) fn is_pressed(&self) -> bool {
        self.reads.taken_back.is_some_and(|last| self.now.since(last) < PRESSED_FOR)
    }

    /// When what waits in queues is to be taken back, if memory stays short until then.
    pub(in crate::reactor) fn take_back_due(&self) -> Option<Time> {
        self.reads.short_since.map(|since| since.after(TAKE_BACK_AFTER))
    }

    /// Takes back what waits in queues, from who has not called for longest first, until there is memory.
    pub(in crate::reactor) fn take_back(&mut self) {
        self.reads.taken_back = Some(self.now);
        self.reads.short_since = Some(self.now);
        let readers =
            self.stored.iter().flat_map(|(id, stored)| stored.readers.iter().map(|(r, reading)| (*id, *r, reading)));
        let mut by_call: Vec<_> = readers.map(|(id, reader, reading)| (reading.last_call, id, reader)).collect();
        by_call.sort_unstable();
        for (_, id, reader) in by_call {
            let Some(stored) = self.stored.get_mut(&id) else { continue };
            let next = stored.log.take_back(reader);
            let Some(reading) = stored.readers.get_mut(&reader) else { continue };
            match next {
                Some(next) => {
                    reading.go_back(next);
                    reading.is_idle = reading.credit_bytes.is_none();
                    // A session is shown it anew, or given its end, and fetches it when there is credit.
                    reading.credit_bytes = reading.credit_bytes.map(|_| 0);
                    self.get_on(id, reader);
                }
                // What has arrived before what stands in front of it pins memory as well; from now on in order.
                None if !reading.arrived.is_empty() => {
                    reading.go_back(u64::MAX);
                    reading.is_careful = true;
                    self.get_on(id, reader);
                }
                None => continue,
            }
            // Whoever waits for memory to decompress to needs what others have read, wherever it is.
            if !self.reads.is_starved && self.memory.available_bytes() >= self.memory.limit_bytes() as u64 / 2 {
                break;
            }
        }
        self.issue_reads();
    }
}
