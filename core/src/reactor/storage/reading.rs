//! Consumers' ways through stored partitions: what each wants next goes to the elevator of its disk, and what comes back
//! is checked and put into their queues, in order.
//!
//! What waits in a queue is on the disk as well. So when memory is short it is taken back from who has not come for it
//! for longest, and read again when it is asked for: no consumer that stands still keeps another one from its bytes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sluice_memory::{Buffer, BufferMut, SizeClass};
use sluice_plugin::{DISK_REQUEST_BYTES_MAX, DiskCapabilities, DiskDone, DiskError, DiskRequest, FileId};
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::wire::Backlog;
use sluice_protocol::{PartitionId, ReasonCode, SubpartitionIndex, Time};

use super::stored::{OpenFile, PartName, Stored, StoredPart, StoredSet};
use super::{Purpose, Storage, text};
use crate::block::{Block, Event, Failure, Item};
use crate::elevator::{Elevator, ElevatorConfig, Request};
use crate::partition::{ReaderId, Upcoming};
use crate::spill::{BlockEntry, BlockKind, Codec, Decompressor, SectionPlace, checksum, in_stream_order};

/// The most that is read ahead for one reader, in bytes: a few of the largest requests.
const WINDOW_BYTES_MAX: usize = 8 << 20;
/// Memory that has been short for so long is taken back from those who do not use it. Sessions read only what they have
/// credit for, so what waits for longer is a gate's of this worker whose task does something else.
const TAKE_BACK_AFTER: Duration = Duration::from_millis(20);
/// For so long after that nobody reads ahead.
const PRESSED_FOR: Duration = Duration::from_secs(1);

/// What is read, of all partitions.
pub(super) struct Reads {
    /// One for each directory.
    lifts: Vec<Lift>,
    depth: u32,
    readers: usize,
    /// Counts the calls of readers: who has called last has the greatest number.
    calls: u64,
    decompressor: Decompressor,
    short_since: Option<Time>,
    /// When memory was taken back last.
    taken_back: Option<Time>,
    /// Some readers wait for memory to decompress to.
    is_starved: bool,
    /// Readers for whose wishes there is no memory yet, in their order. What is asked for fits into what there is; so what
    /// arrives never waits for what could not be read for want of the memory that it has itself.
    hungry: VecDeque<(PartitionId, ReaderId)>,
    /// The same, of those who have something in their queue.
    greedy: VecDeque<(PartitionId, ReaderId)>,
}

struct Lift {
    elevator: Elevator<Tag>,
    under_way: u32,
}

/// A reader's way through its subpartition.
pub(super) struct Reading {
    pub(super) set: usize,
    subpartition: u32,
    /// What was asked for under another number is not wanted any more.
    epoch: u32,
    /// The directory whose section comes next.
    directory: usize,
    sections: Vec<Section>,
    /// Blocks that are known, from number `first` on; those before were taken.
    places: VecDeque<Place>,
    first: u64,
    /// The next to be asked for, and the next to go into the queue.
    next: u64,
    delivered: u64,
    /// Raw bytes of those before `delivered`.
    delivered_bytes: u64,
    /// Bytes that are asked for or have arrived, and are not in the queue.
    asked_bytes: u64,
    arrived: BTreeMap<u64, Vec<Item>>,
    /// Ranges that lie in more than one piece, as far as they are here.
    pieces: BTreeMap<Wanted, Vec<Option<Vec<u8>>>>,
    /// All that its sections say, of data alone, and with events.
    data: (u64, u64),
    all: (u64, u64),
    has_end: bool,
    /// There was no memory for what it had asked for: one range at a time, until one is through.
    is_careful: bool,
    /// It waits for such memory.
    is_starved: bool,
    /// What it had was taken back: it asks for nothing before its consumer has looked for more.
    is_idle: bool,
    /// It stands in the queue of those who may ask when there is memory for what they want.
    is_hungry: bool,
    /// Of a session: it reads only what there is credit for, so that what it reads goes out. `None`: of a gate of this
    /// worker, which reads ahead.
    credit_bytes: Option<u64>,
    last_call: u64,
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    entry: BlockEntry,
}

struct Section {
    place: SectionPlace,
    bytes: Option<Vec<u8>>,
}

/// What a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Blocks { first: u64, count: u32 },
    Section { index: usize },
}

/// Whose range it is, and which piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    partition: PartitionId,
    reader: ReaderId,
    epoch: u32,
    name: PartName,
    wanted: Wanted,
    piece: usize,
    pieces: usize,
}

/// A read for some of them.
pub(super) struct UnderWay {
    partition: PartitionId,
    lift: usize,
    offset: u64,
    requests: Vec<Request<Tag>>,
}

/// Why a reader does not get on.
enum Stop {
    Failed(Failure),
    /// There was no memory for some of it.
    NoMemory,
}

impl Reads {
    pub(super) fn new(capabilities: &DiskCapabilities) -> Self {
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

    fn requested_bytes(&self) -> u64 {
        self.lifts.iter().map(|lift| lift.elevator.requested_bytes()).sum()
    }

    /// What was asked for of a partition and is not under way.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        for lift in &mut self.lifts {
            lift.elevator.retain(|tag| tag.partition != partition);
        }
    }

    /// So many readers are no more.
    pub(super) fn left(&mut self, readers: usize) {
        self.readers -= readers;
    }

    fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

impl Reading {
    fn new(set: usize, subpartition: u32, is_remote: bool, last_call: u64) -> Self {
        Self {
            set,
            subpartition,
            epoch: 0,
            directory: 0,
            sections: Vec::new(),
            places: VecDeque::new(),
            first: 0,
            next: 0,
            delivered: 0,
            delivered_bytes: 0,
            asked_bytes: 0,
            arrived: BTreeMap::new(),
            pieces: BTreeMap::new(),
            data: (0, 0),
            all: (0, 0),
            has_end: false,
            is_careful: false,
            is_starved: false,
            is_idle: false,
            is_hungry: false,
            credit_bytes: is_remote.then_some(0),
            last_call,
        }
    }

    fn place(&self, block: u64) -> Option<Place> {
        self.places.get(usize::try_from(block.checked_sub(self.first)?).ok()?).copied()
    }

    /// Blocks from a number on that lie one behind the other, as long as they are no more than so many bytes.
    fn run(&self, stored_bytes_max: u64, raw_bytes_max: u64) -> Option<(u64, u64, u32)> {
        let first = self.place(self.next)?;
        let (mut end, mut raw, mut count) = (first.offset, 0, 0);
        while let Some(place) = self.place(self.next + u64::from(count)) {
            let (stored, theirs) = (u64::from(place.entry.stored_bytes), u64::from(place.entry.raw_bytes));
            let too_much = end + stored - first.offset > stored_bytes_max || raw + theirs > raw_bytes_max;
            if place.offset != end || (count > 0 && too_much) {
                break;
            }
            end += stored;
            raw += theirs;
            count += 1;
        }
        Some((first.offset, end - first.offset, count))
    }

    /// Blocks that were taken are not needed any more.
    fn taken(&mut self, through: u64) {
        while self.first < through && self.places.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// Goes back to the block that the queue wants next, or to one that was even in it, and asks again from there.
    fn go_back(&mut self, to: u64) {
        self.epoch = self.epoch.wrapping_add(1);
        let to = self.delivered.min(to);
        let back = (to..self.delivered).filter_map(|block| self.place(block));
        self.delivered_bytes -= back.map(|place| u64::from(place.entry.raw_bytes)).sum::<u64>();
        self.delivered = to;
        self.next = to;
        self.asked_bytes = 0;
        self.arrived.clear();
        self.pieces.clear();
        self.sections.clear();
        self.has_end = false;
    }

    /// Adds what a directory's sections say.
    fn learn(&mut self, slices: Vec<crate::spill::Slice>) {
        for slice in slices {
            let mut offset = slice.offset;
            for entry in slice.blocks {
                self.places.push_back(Place { offset, entry });
                offset += u64::from(entry.stored_bytes);
                self.all = (self.all.0 + 1, self.all.1 + u64::from(entry.raw_bytes));
                if entry.kind == BlockKind::Data {
                    self.data = (self.data.0 + 1, self.data.1 + u64::from(entry.raw_bytes));
                }
            }
        }
    }
}

impl Storage {
    /// A consumer begins to read.
    pub(in crate::reactor) fn attach(&mut self, id: PartitionId, reader: ReaderId, subpartition: u32) {
        let call = self.reads.next_call();
        let Some(stored) = self.stored.get_mut(&id) else { return };
        let subpartition = match defect::is(Defect::IndexOffByOne) {
            true => (subpartition + 1) % stored.log.subpartitions(),
            false => subpartition,
        };
        let Some(set) = stored.set_of(subpartition) else { return };
        stored.claim_by = None;
        let is_remote = stored.log.is_remote(reader);
        stored.readers.insert(reader, Reading::new(set, subpartition, is_remote, call));
        self.reads.readers += 1;
        self.get_on(id, reader);
    }

    /// A reader's queue runs low.
    pub(in crate::reactor) fn read_more(&mut self, id: PartitionId, reader: ReaderId) {
        let call = self.reads.next_call();
        if let Some(reading) = self.stored.get_mut(&id).and_then(|stored| stored.readers.get_mut(&reader)) {
            reading.last_call = call;
            reading.is_idle = false;
            self.get_on(id, reader);
        }
    }

    /// A reader of a session has credit, and nothing is in its queue.
    pub(in crate::reactor) fn fetch(&mut self, id: PartitionId, reader: ReaderId, credit_bytes: u64) {
        let call = self.reads.next_call();
        if let Some(reading) = self.stored.get_mut(&id).and_then(|stored| stored.readers.get_mut(&reader)) {
            reading.last_call = call;
            // At least the block that was shown, which may need none.
            reading.credit_bytes = Some(credit_bytes.max(1));
            self.get_on(id, reader);
        }
    }

    /// A consumer has gone, or has all.
    pub(in crate::reactor) fn reader_gone(&mut self, id: PartitionId, reader: ReaderId) {
        self.drop_reader(id, reader);
        self.close_if_unread(id);
    }

    fn drop_reader(&mut self, id: PartitionId, reader: ReaderId) {
        if let Some(stored) = self.stored.get_mut(&id)
            && stored.readers.remove(&reader).is_some()
        {
            self.reads.readers -= 1;
        }
    }

    pub(super) fn fail_reader(&mut self, id: PartitionId, reader: ReaderId, failure: Failure) {
        tracing::warn!(partition = %id, "a consumer cannot be served: {}", failure.text);
        if let Some(stored) = self.stored.get(&id) {
            stored.log.fail_reader(reader, failure);
        }
        self.drop_reader(id, reader);
    }

    /// All readers of a partition go on.
    pub(super) fn read_on(&mut self, id: PartitionId) {
        let readers: Vec<_> =
            self.stored.get(&id).map(|stored| stored.readers.keys().copied().collect()).unwrap_or_default();
        for reader in readers {
            self.get_on(id, reader);
        }
    }

    /// The most that is read ahead for a reader.
    fn window(&self) -> u64 {
        let share = self.memory.limit_bytes() / (2 * self.reads.readers.max(1));
        share.clamp(self.memory.request_bytes_max(), WINDOW_BYTES_MAX) as u64
    }

    /// Asks for what a reader wants next, as far as its window goes.
    fn get_on(&mut self, id: PartitionId, reader: ReaderId) {
        let Some(set) = self.reading(id, reader).map(|reading| reading.set) else { return };
        // Once all files are open, the readers go on.
        if self.open_set(id, set) {
            while self.ask_for_next(id, reader) {}
            self.show_what_comes(id, reader);
        }
    }

    /// One range, if the reader may have more. True if there may be another.
    fn ask_for_next(&mut self, id: PartitionId, reader: ReaderId) -> bool {
        let window = self.window();
        let is_pressed = self.is_pressed();
        let most = self.memory.request_bytes_max() as u64;
        let Some(stored) = self.stored.get_mut(&id) else { return false };
        let Some(reading) = stored.readers.get_mut(&reader) else { return false };
        let Some((taken, waiting)) = stored.log.progress(reader) else {
            self.reader_gone(id, reader);
            return false;
        };
        // The last one may have been shown to a session only, and come back.
        reading.taken(taken.saturating_sub(1));
        let waits = !reading.sections.is_empty() || reading.is_starved || reading.is_hungry || reading.is_idle;
        if waits || (reading.is_careful && reading.asked_bytes > 0) {
            return false;
        }
        let room = match reading.credit_bytes {
            Some(credit) => credit.min(window).saturating_sub(reading.asked_bytes),
            // Where memory had to be taken back, nobody reads ahead for a while.
            None if is_pressed && waiting > 0 => 0,
            None => window.saturating_sub(reading.asked_bytes + u64::from(waiting)),
        };
        let Some(next) = reading.place(reading.next) else {
            if self.ask_for_sections(id, reader) {
                return true;
            }
            self.give_end(id, reader);
            return false;
        };
        // What has too little credit would only wait in memory.
        let is_short = reading.credit_bytes.is_some() && next.entry.kind == BlockKind::Data;
        if room == 0 || (is_short && u64::from(next.entry.raw_bytes) > room) {
            // Its window may have become smaller since it was told from when on to ask.
            let idle = reading.credit_bytes.is_none() && reading.asked_bytes == 0;
            let ask_below = if is_pressed { 0 } else { (window / 2) as u32 };
            return idle && !stored.log.ask_later(reader, ask_below);
        }
        // Half: reads are whole pages, and buffers powers of two.
        let requested = self.reads.requested_bytes();
        if requested > 0 && requested + u64::from(next.entry.stored_bytes) > self.memory.available_bytes() / 2 {
            reading.is_hungry = true;
            // Who has nothing goes before who would only have more.
            let queue = if waiting == 0 { &mut self.reads.hungry } else { &mut self.reads.greedy };
            queue.push_back((id, reader));
            return false;
        }
        // A careful one gets a single block: the first of a run is never too much.
        let raw_most = if reading.is_careful { 0 } else { room };
        let Some((offset, bytes, count)) = reading.run(most, raw_most) else { return false };
        let wanted = Wanted::Blocks { first: reading.next, count };
        let raw = (0..count).filter_map(|index| reading.place(reading.next + u64::from(index)));
        let raw: u64 = raw.map(|place| u64::from(place.entry.raw_bytes)).sum();
        reading.next += u64::from(count);
        reading.asked_bytes += raw;
        self.ask(id, reader, wanted, offset, bytes);
        true
    }

    /// Tells a session what it could have, if it had credit for it.
    fn show_what_comes(&mut self, id: PartitionId, reader: ReaderId) {
        let Some(stored) = self.stored.get_mut(&id) else { return };
        let Some(reading) = stored.readers.get(&reader) else { return };
        if reading.credit_bytes.is_none() {
            return;
        }
        let totals = stored.sets[reading.set].footer.totals_of(SubpartitionIndex(reading.subpartition));
        let upcoming = reading
            .place(reading.next)
            .filter(|_| reading.asked_bytes == 0 && !reading.is_starved && !reading.is_hungry)
            .map(|place| {
                let totals = totals.unwrap_or_default();
                let raw = place.entry.raw_bytes;
                let is_data = place.entry.kind == BlockKind::Data;
                let blocks = totals.blocks.saturating_sub(reading.next + 1);
                let bytes = totals.raw_bytes.saturating_sub(reading.delivered_bytes + u64::from(raw));
                let next = reading.place(reading.next + 1).map_or(0, |place| place.entry.raw_bytes);
                let all = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
                let behind = Backlog { bytes: all(bytes), blocks: all(blocks), next };
                Upcoming { bytes: if is_data { raw } else { 0 }, behind }
            });
        stored.log.set_upcoming(reader, upcoming);
    }

    fn reading(&mut self, id: PartitionId, reader: ReaderId) -> Option<&mut Reading> {
        self.stored.get_mut(&id)?.readers.get_mut(&reader)
    }

    /// Asks for the sections of the next directory in which the reader has something. False if there is none.
    fn ask_for_sections(&mut self, id: PartitionId, reader: ReaderId) -> bool {
        let Some(stored) = self.stored.get_mut(&id) else { return false };
        let Some(reading) = stored.readers.get_mut(&reader) else { return false };
        let directories = &stored.sets[reading.set].footer.directories;
        let subpartition = SubpartitionIndex(reading.subpartition);
        while let Some(directory) = directories.get(reading.directory) {
            let sections: Vec<_> = directory.section(subpartition).into_iter().chain(directory.common()).collect();
            if sections.is_empty() {
                reading.directory += 1;
                continue;
            }
            reading.sections = sections.iter().map(|place| Section { place: *place, bytes: None }).collect();
            for (index, place) in sections.iter().enumerate() {
                self.ask(id, reader, Wanted::Section { index }, place.offset, u64::from(place.bytes));
            }
            return true;
        }
        false
    }

    /// Whether all files of a set are open; those that are not are being opened.
    fn open_set(&mut self, id: PartitionId, set: usize) -> bool {
        let parts = self.stored.get(&id).map_or(0, |stored| stored.sets[set].parts.len());
        let open = (0..parts).filter(|part| self.open_part(id, PartName { set, part: *part as u16 }).is_some());
        open.count() == parts
    }

    /// Asks for a range of a set's logical bytes.
    fn ask(&mut self, id: PartitionId, reader: ReaderId, wanted: Wanted, offset: u64, bytes: u64) {
        let Some(stored) = self.stored.get(&id) else { return };
        let Some(reading) = stored.readers.get(&reader) else { return };
        let (set, epoch) = (reading.set, reading.epoch);
        let StoredSet { footer, parts } = &stored.sets[set];
        let pieces: Vec<_> = footer.extents.locate(offset, bytes).collect();
        for (piece, (part, physical, bytes)) in pieces.iter().enumerate() {
            let StoredPart { directory, file, .. } = &parts[usize::from(*part)];
            let OpenFile::Open(file) = file else { unreachable!("all files of the set are open") };
            let name = PartName { set, part: *part };
            let tag = Tag { partition: id, reader, epoch, name, wanted, piece, pieces: pieces.len() };
            let request = Request { file: file.0, offset: *physical, bytes: *bytes as u32, tag };
            if defect::is(Defect::StarveRead) && (physical >> 12) % 8 == 3 {
                continue;
            }
            self.reads.lifts[usize::from(directory.0)].elevator.push(self.now, request);
        }
    }

    /// Behind the last block comes the end, with the totals of what was read.
    fn give_end(&mut self, id: PartitionId, reader: ReaderId) {
        let Some(stored) = self.stored.get_mut(&id) else { return };
        let Some(reading) = stored.readers.get_mut(&reader) else { return };
        let told = stored.sets[reading.set].footer.totals_of(SubpartitionIndex(reading.subpartition));
        if told.is_some_and(|told| (told.blocks, told.raw_bytes) != reading.all) {
            let told = told.unwrap_or_default();
            let text = format!(
                "subpartition {}: the directories list {} blocks of {} bytes, the footer {} of {}",
                reading.subpartition, reading.all.0, reading.all.1, told.blocks, told.raw_bytes
            );
            return self.fail_reader(id, reader, Failure { code: ReasonCode::CorruptBlock, text: text.into() });
        }
        if reading.delivered == reading.all.0 && !std::mem::replace(&mut reading.has_end, true) {
            let (blocks, bytes) = reading.data;
            let _ = stored.log.fill(reader, vec![Item::End { blocks, bytes }], 0);
        }
    }

    /// Starts reads, as many as the disks like and there is memory for. True if there were any.
    pub(super) fn issue_reads(&mut self) -> bool {
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
        }
        self.reads.requested_bytes() > before
    }

    fn issue_read(&mut self, index: usize) -> bool {
        let lift = &mut self.reads.lifts[index];
        if lift.elevator.is_empty() || lift.under_way >= self.reads.depth {
            return false;
        }
        let most = (lift.elevator.requested_bytes() as usize).saturating_add(2 * crate::spill::ALIGNMENT);
        let class = SizeClass::fitting(most.min(DISK_REQUEST_BYTES_MAX)).unwrap_or(SizeClass::MAX);
        let Some(mut memory) = self.memory.acquire(class).or_else(|| self.memory.wake_when_there_is_some()) else {
            self.reads.short_since.get_or_insert(self.now);
            return false;
        };
        self.reads.short_since = None;
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
        self.settings.counters.disk_read(batch.bytes as u64);
        let request = DiskRequest::Read { file: FileId(batch.file), offset: batch.offset, into: vec![memory] };
        let read = UnderWay { partition, lift: index, offset: batch.offset, requests: batch.requests };
        self.submit(Purpose::Read(read), request);
        true
    }

    pub(super) fn read_completed(&mut self, read: UnderWay, request: DiskRequest, result: Result<DiskDone, DiskError>) {
        let UnderWay { partition: id, lift, offset, requests } = read;
        self.reads.lifts[lift].under_way -= 1;
        if let Some(stored) = self.stored.get_mut(&id) {
            stored.under_way -= 1;
        }
        if self.remove_if_released(id) {
            return;
        }
        let DiskRequest::Read { into, .. } = request else { unreachable!("as it was submitted") };
        let buffer = into.into_iter().next().map(BufferMut::freeze).unwrap_or_default();
        for Request { tag, offset: at, bytes, .. } in requests {
            let live = self.reading(id, tag.reader).is_some_and(|reading| reading.epoch == tag.epoch);
            if !live {
                if defect::is(Defect::LeakReadMemory) {
                    std::mem::forget(buffer.clone());
                }
                continue;
            }
            let outcome = match &result {
                Err(error) => Err(Stop::Failed(Failure { code: ReasonCode::ProducerFailed, text: text(error) })),
                Ok(_) => {
                    let from = (at - offset) as usize;
                    self.piece_arrived(&tag, buffer.slice(from..from + bytes as usize))
                }
            };
            match outcome {
                Ok(()) => {}
                Err(Stop::Failed(failure)) => self.fail_reader(id, tag.reader, failure),
                Err(Stop::NoMemory) => {
                    if let Some(reading) = self.reading(id, tag.reader) {
                        reading.go_back(u64::MAX);
                        reading.is_careful = true;
                        reading.is_starved = true;
                    }
                    self.reads.is_starved = true;
                    self.reads.short_since.get_or_insert(self.now);
                }
            }
            self.get_on(id, tag.reader);
        }
        self.close_if_unread(id);
    }

    /// A piece of a range is here. Of a range in one piece the memory itself goes on to the consumer.
    fn piece_arrived(&mut self, tag: &Tag, bytes: Buffer) -> Result<(), Stop> {
        let Some(reading) = self.reading(tag.partition, tag.reader) else { return Ok(()) };
        if tag.pieces == 1 {
            return match tag.wanted {
                Wanted::Blocks { first, count } => self.blocks_arrived(tag, first, count, &Bytes::Buffer(bytes)),
                Wanted::Section { index } => self.section_arrived(tag, index, bytes.to_vec()),
            };
        }
        let pieces = reading.pieces.entry(tag.wanted).or_insert_with(|| vec![None; tag.pieces]);
        pieces[tag.piece] = Some(bytes.to_vec());
        if pieces.iter().any(Option::is_none) {
            return Ok(());
        }
        let whole: Vec<u8> = reading.pieces.remove(&tag.wanted).into_iter().flatten().flatten().flatten().collect();
        match tag.wanted {
            Wanted::Blocks { first, count } => self.blocks_arrived(tag, first, count, &Bytes::Copied(whole)),
            Wanted::Section { index } => self.section_arrived(tag, index, whole),
        }
    }

    fn section_arrived(&mut self, tag: &Tag, index: usize, bytes: Vec<u8>) -> Result<(), Stop> {
        let Some(reading) = self.reading(tag.partition, tag.reader) else { return Ok(()) };
        reading.sections[index].bytes = Some(bytes);
        if reading.sections.iter().any(|section| section.bytes.is_none()) {
            return Ok(());
        }
        let mut all = Vec::new();
        for Section { place, bytes } in std::mem::take(&mut reading.sections) {
            let slices = place.decode(&bytes.unwrap_or_default());
            all.push(slices.map_err(|error| self.corrupt(tag, error.behind(place.offset).to_string()))?);
        }
        let mut all = all.into_iter();
        let (own, common) = (all.next().unwrap_or_default(), all.next().unwrap_or_default());
        if let Some(reading) = self.reading(tag.partition, tag.reader) {
            reading.learn(in_stream_order(own, common));
            reading.directory += 1;
        }
        Ok(())
    }

    fn corrupt(&self, tag: &Tag, what: String) -> Stop {
        let path = self.stored.get(&tag.partition).map(|stored: &Stored| {
            let part = &stored.sets[tag.name.set].parts[usize::from(tag.name.part)];
            format!("{}/…{}", self.directories.path(part.directory), part.name)
        });
        let text = format!("{}: {what}", path.unwrap_or_default());
        Stop::Failed(Failure { code: ReasonCode::CorruptBlock, text: text.into() })
    }

    /// Blocks that lie one behind the other are here: checked, and put into the queue when those before them are.
    fn blocks_arrived(&mut self, tag: &Tag, first: u64, count: u32, bytes: &Bytes) -> Result<(), Stop> {
        let Some(reading) = self.reading(tag.partition, tag.reader) else { return Ok(()) };
        let places: Vec<_> = (first..first + u64::from(count)).filter_map(|block| reading.place(block)).collect();
        let (mut items, mut from, mut stop) = (Vec::with_capacity(places.len()), 0, Ok(()));
        for place in &places {
            let stored = from..from + place.entry.stored_bytes as usize;
            from = stored.end;
            match self.item(tag, place, bytes, stored) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => {
                    stop = Err(Stop::NoMemory);
                    break;
                }
                Err(error) => {
                    stop = Err(error);
                    break;
                }
            }
        }
        let window = self.window();
        let Some(stored) = self.stored.get_mut(&tag.partition) else { return Ok(()) };
        let Some(reading) = stored.readers.get_mut(&tag.reader) else { return Ok(()) };
        if !items.is_empty() {
            reading.arrived.insert(first, items);
        }
        while let Some(items) = reading.arrived.remove(&reading.delivered) {
            let through = reading.delivered + items.len() as u64;
            let raw = (reading.delivered..through).filter_map(|block| reading.place(block));
            let raw: u64 = raw.map(|place| u64::from(place.entry.raw_bytes)).sum();
            reading.asked_bytes = reading.asked_bytes.saturating_sub(raw);
            reading.delivered = through;
            reading.delivered_bytes += raw;
            reading.credit_bytes = reading.credit_bytes.map(|credit| credit.saturating_sub(raw));
            reading.is_careful = false;
            if stored.log.fill(tag.reader, items, (window / 2) as u32).is_err() {
                break;
            }
        }
        stop
    }

    /// One block as the consumer gets it. `None`: there is no memory for it.
    fn item(
        &mut self,
        tag: &Tag,
        place: &Place,
        bytes: &Bytes,
        range: std::ops::Range<usize>,
    ) -> Result<Option<Item>, Stop> {
        let BlockEntry { raw_bytes, crc, codec, kind, .. } = place.entry;
        let buffer = match (codec, bytes) {
            (Codec::None, Bytes::Buffer(buffer)) => buffer.slice(range),
            _ => {
                let stored = &bytes.as_slice()[range];
                let class = SizeClass::fitting(raw_bytes as usize).unwrap_or(SizeClass::MAX);
                let Some(memory) = self.memory.acquire_raw(class) else { return Ok(None) };
                let mut raw = front(memory, raw_bytes as usize);
                match codec {
                    Codec::None => raw.copy_from_slice(stored),
                    _ => {
                        let result = self.reads.decompressor.decompress(codec, stored, &mut raw);
                        let at = place.offset;
                        result.map_err(|error| self.corrupt(tag, format!("offset {at}: {error}")))?;
                    }
                }
                raw.freeze()
            }
        };
        let found = checksum(&buffer);
        let crc = if defect::is(Defect::SkipBlockChecksum) { found } else { crc };
        if found != crc {
            let (at, s) =
                (place.offset, self.reading(tag.partition, tag.reader).map_or(0, |reading| reading.subpartition));
            let what = format!("offset {at}: a block of subpartition {s}: checksum {found:08x}, expected {crc:08x}");
            return Err(self.corrupt(tag, what));
        }
        match kind {
            BlockKind::Data => Ok(Some(Item::Block(Block { buffer, crc }))),
            BlockKind::Event => match Event::decode(&buffer) {
                Some(event) => Ok(Some(Item::Event(event))),
                None => Err(self.corrupt(tag, format!("offset {}: an event without a kind", place.offset))),
            },
        }
    }

    /// Whether memory had to be taken back lately.
    fn is_pressed(&self) -> bool {
        self.reads.taken_back.is_some_and(|last| self.now.since(last) < PRESSED_FOR)
    }

    // ── Short memory ────────────────────────────────────────────────────────────────────────────────────────────

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
                    // A session shows it anew, and fetches it when there is credit.
                    reading.credit_bytes = reading.credit_bytes.map(|_| 0);
                    self.show_what_comes(id, reader);
                }
                // What has arrived before what stands in front of it pins memory as well; from now on in order.
                None if !reading.arrived.is_empty() => {
                    reading.go_back(u64::MAX);
                    reading.is_careful = true;
                    self.get_on(id, reader);
                }
                None => continue,
            }
            if self.memory.available_bytes() >= self.memory.limit_bytes() as u64 / 2 {
                break;
            }
        }
        self.issue_reads();
    }
}

/// Bytes of a range, in the memory they were read into or put together from pieces.
enum Bytes {
    Buffer(Buffer),
    Copied(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Copied(bytes) => bytes,
        }
    }
}

fn front(mut memory: BufferMut, bytes: usize) -> BufferMut {
    memory.truncate(bytes);
    memory
}
