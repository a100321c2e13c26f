//! Consumers' ways through stored partitions: what each wants next goes to the elevator of its disk, and what comes back
//! is checked and put into their queues, in order.
//!
//! What waits in a queue is on the disk as well. So when memory is short it is taken back from who has not come for it
//! for longest, and read again when it is asked for: no consumer that stands still keeps another one from its bytes.

mod arrival;
mod lifts;
mod reader;

use sluice_memory::BufferMut;
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::wire::Backlog;
use sluice_protocol::{PartitionId, ReasonCode, SubpartitionIndex};

use super::Storage;
use super::stored::{OpenFile, PartName, StoredPart, StoredSet};
use crate::block::{Failure, Item};
use crate::elevator::Request;
use crate::partition::{ReaderId, Upcoming};
use crate::spill::BlockKind;
pub(super) use lifts::Reads;
pub(super) use reader::Reading;
use reader::Section;

/// The most that is read ahead for one reader, in bytes: a few of the largest requests.
const WINDOW_BYTES_MAX: usize = 8 << 20;

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

impl Storage {
    /// A consumer begins to read, with this item of its subpartition: not the first where it had others already.
    pub(in crate::reactor) fn attach(&mut self, id: PartitionId, reader: ReaderId, subpartition: u32, first: u64) {
        let call = self.reads.next_call();
        let Some(stored) = self.stored.get_mut(&id) else { return };
        let subpartition = match defect::is(Defect::IndexOffByOne) {
            true => (subpartition + 1) % stored.log.subpartitions(),
            false => subpartition,
        };
        let Some(set) = stored.set_of(subpartition) else { return };
        stored.claim_by = None;
        let is_remote = stored.log.is_remote(reader);
        stored.readers.insert(reader, Reading::new(set, subpartition, first, is_remote, call));
        self.reads.readers += 1;
        self.get_on(id, reader);
    }

    /// A reader's queue runs low.
    pub(in crate::reactor) fn read_more(&mut self, id: PartitionId, reader: ReaderId) {
        let call = self.reads.next_call();
        if let Some(reading) = self.reading(id, reader) {
            reading.last_call = call;
            reading.is_idle = false;
            self.get_on(id, reader);
        }
    }

    /// A reader of a session has credit, and nothing is in its queue.
    pub(in crate::reactor) fn fetch(&mut self, id: PartitionId, reader: ReaderId, credit_bytes: u64) {
        let call = self.reads.next_call();
        if let Some(reading) = self.reading(id, reader) {
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
        let waits = !reading.sections.is_empty() || reading.is_starved || reading.is_idle;
        if waits || ((reading.is_careful || reading.is_hungry) && reading.asked_bytes > 0) {
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
        // Its first wish takes no memory before it is read. Half: reads are whole pages, and buffers powers of two.
        let requested = self.reads.requested_bytes();
        if reading.asked_bytes > 0 && requested + u64::from(next.entry.stored_bytes) > self.memory.available_bytes() / 2
        {
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
        let through = reading.next + u64::from(count);
        reading.asked_bytes += reading.raw_bytes(reading.next..through);
        reading.next = through;
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
        let upcoming =
            reading.place(reading.next).filter(|_| reading.asked_bytes == 0 && !reading.is_starved).map(|place| {
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
}

fn front(mut memory: BufferMut, bytes: usize) -> BufferMut {
    memory.truncate(bytes);
    memory
}
