//! A partition on its way to the disk: chunks become writes, in parts of file sets. A write that fails goes to another
//! directory, as another part; what cannot be written anywhere fails the partition, and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sluice_memory::{Buffer, BufferMut};
use sluice_plugin::{DirectoryId, DiskDone, DiskError, DiskRequest, FileId};
use sluice_protocol::PartitionId;

use super::merging::Merge;
use super::tail::Tail;
use super::{Purpose, Storage, done, text};
use crate::mailbox::Command;
use crate::partition::{Chunk, SetSummary, Spill, Spilled};
use crate::spill::{Extents, FileSet, PAGE_BYTES, PartName};

/// The room that is asked for at first. Then as much again as is written, so that there are few such requests and no
/// write makes a file longer, up to …
const ALLOCATION_MIN: u64 = 256 << 10;
/// … this.
const ALLOCATION_MAX: u64 = 256 << 20;

/// A partition that is being written.
pub(super) struct Writing {
    spill: Arc<Spill>,
    pub(super) sets: Vec<SetFiles>,
    /// Chunks that cannot be submitted yet.
    pub(super) waiting: VecDeque<Chunk>,
    /// Requests of any sort that are under way.
    pub(super) under_way: u32,
    /// Chunks are among them.
    chunks_under_way: u32,
    pub(super) summaries: Option<Vec<SetSummary>>,
    pub(super) merge: Option<Merge>,
    /// Whether to merge has been decided.
    pub(super) merge_considered: bool,
    pub(super) tail: Option<Tail>,
    /// That of a tail that was given up.
    pub(super) tail_memory: Option<BufferMut>,
}

/// The files of one set.
pub(super) struct SetFiles {
    pub(super) set: FileSet,
    is_merged: bool,
    /// How long it will be, if that is known.
    expected: u64,
    pub(super) parts: Vec<Part>,
    /// The last part takes no more, because its directory has failed.
    closed: bool,
    /// Directories that have failed this set.
    failed: Vec<DirectoryId>,
    last_error: Option<Box<str>>,
    placed: Placed,
}

/// One file.
pub(super) struct Part {
    pub(super) directory: DirectoryId,
    pub(super) name: String,
    /// None while it is being made.
    pub(super) file: Option<FileId>,
    /// Where the next chunk goes.
    pub(super) end: u64,
    pub(super) allocated: u64,
    allocating: bool,
    /// No more room than is needed is asked for.
    is_tight: bool,
    under_way: u32,
    /// Chunks that are on it for sure.
    placed: u32,
}

/// Which part has which logical bytes; neighbours joined.
#[derive(Default)]
struct Placed(BTreeMap<u64, (u64, u16, u64)>);

/// What a request of a partition that is written is for.
pub(super) enum Step {
    Create {
        set: u32,
    },
    Allocate {
        set: u32,
        exact: bool,
    },
    Chunk {
        set: u32,
        part: u16,
        logical: u64,
        bytes: usize,
        memory: Buffer,
        is_reserve: bool,
    },
    Tail,
    /// What is there from this logical offset on is read to be merged.
    MergeRead {
        logical: u64,
    },
    /// The file that was merged into goes.
    MergeUndone,
}

impl Writing {
    fn new(spill: Arc<Spill>) -> Self {
        let sets = spill.sets().iter().map(|set| SetFiles::new(*set)).collect();
        Self {
            spill,
            sets,
            waiting: VecDeque::new(),
            under_way: 0,
            chunks_under_way: 0,
            summaries: None,
            merge: None,
            merge_considered: false,
            tail: None,
            tail_memory: None,
        }
    }

    pub(super) fn spill(&self) -> &Arc<Spill> {
        &self.spill
    }
}

impl SetFiles {
    fn new(set: FileSet) -> Self {
        Self {
            set,
            is_merged: false,
            expected: 0,
            parts: Vec::new(),
            closed: true,
            failed: Vec::new(),
            last_error: None,
            placed: Placed::default(),
        }
    }

    /// What another one is merged into.
    pub(super) fn merged(source: &Self) -> Self {
        let expected = source.parts.iter().map(|part| part.end).sum();
        Self { is_merged: true, expected, ..Self::new(source.set) }
    }

    /// The only file.
    pub(super) fn file(&self) -> Option<FileId> {
        self.parts.first()?.file
    }

    pub(super) fn extents(&self) -> Extents {
        let mut extents = Extents::new();
        for (logical, (bytes, part, physical)) in &self.placed.0 {
            extents.push(*logical, *part, *physical, *bytes);
        }
        extents
    }
}

impl Placed {
    fn insert(&mut self, logical: u64, bytes: u64, part: u16, physical: u64) {
        let (mut from, mut at, mut length) = (logical, physical, bytes);
        if let Some((before, (their_bytes, their_part, their_at))) = self.0.range(..logical).next_back()
            && (*their_part, before + their_bytes, their_at + their_bytes) == (part, logical, physical)
        {
            (from, at, length) = (*before, *their_at, their_bytes + length);
        }
        if let Some((their_bytes, their_part, their_at)) = self.0.get(&(logical + bytes)).copied()
            && (their_part, their_at) == (part, physical + bytes)
        {
            length += their_bytes;
            self.0.remove(&(logical + bytes));
        }
        self.0.insert(from, (length, part, at));
    }
}

impl Storage {
    /// There is something of a spill: chunks, its end, or its failure.
    pub(in crate::reactor) fn spilled(&mut self, spill: &Arc<Spill>) {
        let id = spill.id();
        if spill.log().is_released() {
            // Perhaps before this storage had heard of it.
            spill.conclude(Err("it was released".into()));
        }
        self.writing.entry(id).or_insert_with(|| Writing::new(Arc::clone(spill)));
        loop {
            let Some(writing) = self.writing.get_mut(&id) else { return };
            match spill.next() {
                Spilled::Chunk(chunk) => writing.waiting.push_back(chunk),
                Spilled::End(mut summaries) => {
                    self.merge_packed(id, &mut summaries);
                    let Some(writing) = self.writing.get_mut(&id) else { return };
                    writing.summaries = Some(summaries);
                }
                Spilled::Merge(news) => self.merge_news(id, news),
                Spilled::Nothing => break,
                Spilled::Over => {
                    // Who waits for its end hears that there is none.
                    self.settings.mailbox.send(Command::Registered(id));
                    return self.undo(id);
                }
            }
        }
        self.advance(id);
    }

    /// Submits what can be submitted.
    pub(super) fn advance(&mut self, id: PartitionId) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        if writing.merge.as_ref().is_some_and(Merge::is_given_up) {
            return self.undo_merge(id);
        }
        for _ in 0..writing.waiting.len() {
            let Some(writing) = self.writing.get_mut(&id) else { return };
            let Some(chunk) = writing.waiting.pop_front() else { break };
            let bytes = chunk.bytes as u64;
            match self.room(id, chunk.set, bytes) {
                Some((file, part, physical)) => self.write_chunk(id, chunk, file, part, physical),
                None => {
                    let Some(writing) = self.writing.get_mut(&id) else { return };
                    writing.waiting.push_back(chunk);
                }
            }
        }
        let Some(writing) = self.writing.get_mut(&id) else { return };
        // By the way chunks came out of the queue: of each set in the order of their logical offsets again.
        writing.waiting.make_contiguous().sort_by_key(|chunk| (chunk.set, chunk.logical));
        let all_written = writing.waiting.is_empty() && writing.under_way == 0;
        match &writing.tail {
            None if all_written && writing.summaries.is_some() => self.all_is_written(id),
            Some(tail) if tail.awaits_room => self.next_set(id),
            _ => {}
        }
    }

    /// Room for so many bytes at the end of a set: in which file, which part, and where. `None` if that has to be made
    /// first, which is under way then, or is impossible, and the partition has failed.
    pub(super) fn room(&mut self, id: PartitionId, set: u32, bytes: u64) -> Option<(FileId, u16, u64)> {
        let files = &mut self.writing.get_mut(&id)?.sets[set as usize];
        if files.closed {
            self.next_part(id, set);
            return None;
        }
        let number = files.parts.len() as u16 - 1;
        let part = files.parts.last_mut()?;
        let file = part.file?;
        let wanted = part.end + bytes;
        if wanted > part.allocated {
            if !std::mem::replace(&mut part.allocating, true) {
                let ahead = part.end.clamp(ALLOCATION_MIN, ALLOCATION_MAX).max(files.expected.saturating_sub(wanted));
                let ahead = if part.is_tight { 0 } else { ahead };
                let exact = ahead == 0;
                part.under_way += 1;
                let request = DiskRequest::Allocate { file, bytes: wanted + ahead };
                self.submit_step(id, Step::Allocate { set, exact }, request);
            }
            return None;
        }
        let at = part.end;
        part.end = wanted;
        Some((file, number, at))
    }

    pub(super) fn submit_step(&mut self, id: PartitionId, step: Step, request: DiskRequest) {
        if let Some(writing) = self.writing.get_mut(&id) {
            writing.under_way += 1;
            self.submit(Purpose::Write(id, step), request);
        }
    }

    fn write_chunk(&mut self, id: PartitionId, chunk: Chunk, file: FileId, part: u16, physical: u64) {
        let Chunk { set, logical, memory, is_reserve, bytes } = chunk;
        let Some(writing) = self.writing.get_mut(&id) else { return };
        writing.chunks_under_way += 1;
        writing.sets[set as usize].parts[usize::from(part)].under_way += 1;
        let request = DiskRequest::Write { file, offset: physical, from: vec![memory.slice(..bytes)] };
        self.submit_step(id, Step::Chunk { set, part, logical, bytes, memory, is_reserve }, request);
    }

    /// Begins another part, as soon as it is known what the one before has.
    fn next_part(&mut self, id: PartitionId, set: u32) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        let files = &mut writing.sets[set as usize];
        if let Some(last) = files.parts.last() {
            if last.under_way > 0 {
                return;
            }
            if last.placed == 0 {
                // Nothing is on it: its number is free again.
                let part = files.parts.pop().expect("looked at above");
                self.remove_part(part);
                return self.next_part(id, set);
            }
        }
        let Some(directory) = self.directories.choose(&files.failed) else {
            let cause = files.last_error.clone().unwrap_or_else(|| "no directory takes it".into());
            return self.fail_writing(id, cause);
        };
        let part = files.parts.len() as u16;
        let (first, is_merged) = (files.set.first, files.is_merged);
        let name = PartName { partition: id, first, is_merged, part }.to_string();
        files.closed = false;
        files.parts.push(Part {
            directory,
            name: name.clone(),
            file: None,
            end: PAGE_BYTES as u64,
            allocated: 0,
            allocating: false,
            is_tight: false,
            under_way: 1,
            placed: 0,
        });
        self.submit_step(id, Step::Create { set }, DiskRequest::Create { directory, name });
    }

    pub(super) fn remove_part(&mut self, part: Part) {
        self.directories.written(part.directory);
        if let Some(file) = part.file {
            self.submit(Purpose::Tidy, DiskRequest::Close { file });
        }
        // Also one that is closed already; one that could not be made counts as removed.
        let (directory, name) = (part.directory, part.name);
        self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: None, name });
    }

    /// A request is over.
    pub(super) fn write_step(
        &mut self,
        id: PartitionId,
        step: Step,
        request: DiskRequest,
        result: Result<DiskDone, DiskError>,
    ) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        writing.under_way -= 1;
        match step {
            Step::Create { set } => {
                let part = writing.sets[set as usize].parts.last_mut().expect("it is being made");
                part.under_way -= 1;
                match result {
                    Ok(DiskDone::Opened { file, .. }) => part.file = Some(file),
                    Ok(_) => unreachable!("a file that is made is open"),
                    Err(error) => self.part_failed(id, set, &error),
                }
            }
            Step::Allocate { set, exact } => {
                let DiskRequest::Allocate { bytes, .. } = request else { unreachable!("as it was submitted") };
                let part = writing.sets[set as usize].parts.last_mut().expect("it gets room");
                (part.allocating, part.under_way) = (false, part.under_way - 1);
                match result {
                    Ok(_) => part.allocated = bytes,
                    // What there is no room for is better not begun to be merged.
                    Err(_) if !exact && writing.merge.is_none() => part.is_tight = true,
                    Err(error) => self.part_failed(id, set, &error),
                }
            }
            Step::Chunk { set, part, logical, bytes, memory, is_reserve } => {
                let DiskRequest::Write { offset, from, .. } = request else { unreachable!("as it was submitted") };
                drop(from);
                writing.chunks_under_way -= 1;
                let files = &mut writing.sets[set as usize];
                files.parts[usize::from(part)].under_way -= 1;
                match result {
                    Ok(_) => {
                        files.parts[usize::from(part)].placed += 1;
                        files.placed.insert(logical, bytes as u64, part, offset);
                        writing.spill.written(memory, is_reserve);
                    }
                    Err(error) => {
                        writing.waiting.push_front(Chunk { set, logical, memory, is_reserve, bytes });
                        // Those behind it may have failed as well; only the first of them closes the part.
                        if usize::from(part) + 1 == files.parts.len() && !files.closed {
                            self.part_failed(id, set, &error);
                        }
                    }
                }
            }
            Step::Tail => return self.tail_step(id, request, done(result)),
            Step::MergeRead { logical } => {
                if !self.undo_if_over(id) {
                    self.merge_read(id, logical, request, result);
                }
            }
            Step::MergeUndone => {}
        }
        if !self.undo_if_over(id) {
            self.advance(id);
        }
    }

    pub(super) fn undo_if_over(&mut self, id: PartitionId) -> bool {
        let is_over = self.writing.get(&id).is_some_and(|writing| matches!(writing.spill.outcome(None), Some(Err(_))));
        if is_over {
            self.undo(id);
        }
        is_over
    }

    /// The directory of a set's last part does not do: what is to be written goes elsewhere.
    fn part_failed(&mut self, id: PartitionId, set: u32, error: &DiskError) {
        if self.writing.get(&id).is_some_and(|writing| writing.merge.is_some()) {
            return self.give_up_merge(id, &error.to_string());
        }
        tracing::warn!(partition = %id, "{error}; what is to be written goes to another directory, if there is one");
        metrics::counter!("sluice_disk_failures_total").increment(1);
        let Some(writing) = self.writing.get_mut(&id) else { return };
        let files = &mut writing.sets[set as usize];
        if let Some(part) = files.parts.last() {
            files.failed.push(part.directory);
        }
        files.closed = true;
        files.last_error = Some(text(error));
        self.look_for_space();
    }

    /// The partition cannot be completed: its task and its consumers are told, and its files go.
    pub(super) fn fail_writing(&mut self, id: PartitionId, cause: Box<str>) {
        let Some(writing) = self.writing.get(&id) else { return };
        tracing::warn!(partition = %id, "a partition has failed: {cause}");
        let spill = Arc::clone(&writing.spill);
        spill.log().fail(&cause);
        spill.conclude(Err(cause));
    }

    /// Removes what there is of a partition that is over, once nothing of it is under way.
    fn undo(&mut self, id: PartitionId) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        writing.waiting.clear();
        writing.tail = None;
        if let Some(merge) = &mut writing.merge {
            merge.drop_reads();
        }
        if writing.under_way > 0 {
            return;
        }
        let writing = self.writing.remove(&id).expect("looked at above");
        let source = writing.merge.map(|merge| merge.source);
        for part in writing.sets.into_iter().chain(source).flat_map(|files| files.parts) {
            self.remove_part(part);
        }
        self.look_for_space();
    }
}
