//! The end of a partition that is written: lengths, headers, footers, and last the trailer, without which nothing counts.
//! One step after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use sluice_memory::{Buffer, BufferMut};
use sluice_plugin::{DiskError, DiskRequest, FileId};
use sluice_protocol::PartitionId;
use sluice_protocol::defect::{self, Defect};

use super::stored::{Stored, StoredPart, StoredSet};
use super::writing::{Part, SetFiles, Step, Writing};
use super::{Storage, text};
use crate::disk_settings::Durability;
use crate::mailbox::Command;
use crate::spill::{ALIGNMENT, Footer, Header, PAGE_BYTES, Trailer};

/// The end of one set after the other.
pub(super) struct Tail {
    /// The one that has its turn.
    set: usize,
    /// What is left to do for it.
    steps: VecDeque<TailStep>,
    /// What is to be written of it.
    bytes: Vec<u8>,
    memory: Option<BufferMut>,
    /// All of the memory, while a part of it is being written.
    whole: Option<Buffer>,
    /// The set that has its turn waits for room.
    pub(super) awaits_room: bool,
    stored: Vec<StoredSet>,
}

/// A step for one part of the set.
#[derive(Clone, Copy)]
pub(super) enum TailStep {
    Truncate {
        part: usize,
        bytes: u64,
    },
    Header {
        part: usize,
    },
    /// So many of the tail's bytes, from there on, to this place of the last part.
    Bytes {
        from: usize,
        offset: u64,
        bytes: usize,
    },
    Sync {
        part: usize,
    },
    Close {
        part: usize,
    },
}

impl Storage {
    pub(super) fn begin_tail(&mut self, id: PartitionId) {
        self.look_for_space();
        let Some(writing) = self.writing.get_mut(&id) else { return };
        // All chunks are back, so there is some, unless it has failed meanwhile.
        let memory = writing.tail_memory.take().or_else(|| writing.spill().take_memory());
        let Some(memory) = memory else { return };
        if defect::is(Defect::FinishBeforeTrailer) {
            writing.spill().conclude(Ok(()));
        }
        writing.tail = Some(Tail {
            set: 0,
            steps: VecDeque::new(),
            bytes: Vec::new(),
            memory: Some(memory),
            whole: None,
            awaits_room: false,
            stored: Vec::new(),
        });
        self.next_set(id);
    }

    /// Plans the end of the set that has its turn, if there is room for it; that may take another part first.
    pub(super) fn next_set(&mut self, id: PartitionId) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        let Some(tail) = &mut writing.tail else { return };
        let set = tail.set;
        if set == writing.sets.len() {
            return self.complete(id);
        }
        let Some(summary) = writing.summaries.as_ref().and_then(|all| all.get(set)) else { return };
        let files = &writing.sets[set];
        let footer = Footer {
            set: files.set,
            totals: summary.totals.clone(),
            extents: files.extents(),
            directories: summary.directories.clone(),
        };
        let stored_bytes = summary.stored_bytes;
        let (mut bytes, footer_crc) = footer.encode();
        let footer_bytes = bytes.len() as u64;
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        // Room as for a chunk; the part behind it is the last one then.
        let whole = (bytes.len() + PAGE_BYTES) as u64;
        let Some((_, part, footer_offset)) = self.room(id, set as u32, whole) else {
            // Whatever comes of that leads here again.
            if let Some(tail) = self.writing.get_mut(&id).and_then(|writing| writing.tail.as_mut()) {
                tail.awaits_room = true;
            }
            return;
        };
        let durable = self.settings.disk.durability == Durability::OnFinish;
        let trailer = Trailer {
            set: footer.set,
            part,
            parts: part + 1,
            durable,
            footer_offset,
            footer_bytes,
            footer_crc,
            boot: self.settings.disk.boot,
            stored_bytes,
        };
        let at = bytes.len();
        bytes.extend_from_slice(&trailer.encode());
        let Some(writing) = self.writing.get_mut(&id) else { return };
        let files = &writing.sets[set];
        let Some(tail) = &mut writing.tail else { return };
        tail.awaits_room = false;
        let step_bytes = tail.memory.as_ref().map_or(PAGE_BYTES, |memory| memory.len());
        tail.steps = steps(files, footer_offset, at, step_bytes, durable);
        tail.bytes = bytes;
        let parts = files.parts.iter().map(|part| StoredPart::new(part.directory, part.name.clone()));
        tail.stored.push(StoredSet::new(footer, parts.collect()));
        self.next_tail_step(id);
    }

    fn next_tail_step(&mut self, id: PartitionId) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        let Some(tail) = &mut writing.tail else { return };
        let Some(step) = tail.steps.pop_front() else {
            tail.set += 1;
            return self.next_set(id);
        };
        let files = &mut writing.sets[tail.set];
        let last = files.parts.len() - 1;
        let set = files.set;
        let file = |part: &Part| part.file.expect("it was written to");
        let request = match step {
            TailStep::Truncate { part, bytes } => DiskRequest::Truncate { file: file(&files.parts[part]), bytes },
            TailStep::Sync { part } => DiskRequest::Sync { file: file(&files.parts[part]) },
            TailStep::Close { part } => {
                let file = file(&files.parts[part]);
                files.parts[part].file = None;
                DiskRequest::Close { file }
            }
            TailStep::Header { part } => {
                let header = Header { set, part: part as u16 }.encode();
                tail.write(file(&files.parts[part]), 0, |memory| memory.copy_from_slice(&header), PAGE_BYTES)
            }
            TailStep::Bytes { from, offset, bytes } => {
                let source = std::mem::take(&mut tail.bytes);
                let copy = |memory: &mut [u8]| memory.copy_from_slice(&source[from..from + bytes]);
                let request = tail.write(file(&files.parts[last]), offset, copy, bytes);
                tail.bytes = source;
                request
            }
        };
        self.submit_step(id, Step::Tail, request);
    }

    pub(super) fn tail_step(&mut self, id: PartitionId, request: DiskRequest, result: Result<(), DiskError>) {
        // With its handle on the memory.
        drop(request);
        if let Err(error) = result {
            if self.writing.get(&id).is_some_and(|writing| writing.merge.is_some()) {
                self.give_up_merge(id, &error.to_string());
                return if self.undo_if_over(id) {
                } else {
                    self.advance(id)
                };
            }
            self.fail_writing(id, text(&error));
        } else if let Some(tail) = self.writing.get_mut(&id).and_then(|writing| writing.tail.as_mut())
            && let Some(whole) = tail.whole.take()
        {
            tail.memory = Some(whole.try_thaw().expect("the disk has given its handle back"));
        }
        if !self.undo_if_over(id) {
            self.next_tail_step(id);
        }
    }

    /// Everything of it is there: consumers may begin.
    fn complete(&mut self, id: PartitionId) {
        if self.undo_if_over(id) {
            return;
        }
        self.remove_source(id);
        let Some(mut writing) = self.writing.remove(&id) else { return };
        let tail = writing.tail.take().expect("its last step was the last of all");
        for part in writing.sets.iter().flat_map(|files| &files.parts) {
            self.directories.written(part.directory);
        }
        let spill = Arc::clone(writing.spill());
        let stored = Stored::new(Arc::clone(spill.log()), tail.stored);
        spill.log().finish(stored.held().map(|held| held.statistics).unwrap_or_default());
        stored.log.count_in(&self.settings.counters);
        let raw = stored.sets.iter().flat_map(|set| &set.footer.totals).map(|totals| totals.raw_bytes).sum();
        let summaries = writing.summaries.iter().flatten();
        self.settings.counters.disk.finished(raw, summaries.map(|summary| summary.stored_bytes).sum());
        self.stored.insert(id, stored);
        spill.conclude(Ok(()));
        // It may have been released while the last step was under way.
        if spill.log().is_released() {
            return self.release_stored(id);
        }
        self.settings.mailbox.send(Command::Registered(id));
    }
}

impl Writing {
    /// The tail is given up; its memory is there for another one.
    pub(super) fn keep_tail_memory(&mut self) {
        let Some(Tail { memory, whole, .. }) = self.tail.take() else { return };
        let whole = whole.map(|whole| whole.try_thaw().expect("the disk has given its handle back"));
        self.tail_memory = whole.or(memory);
    }
}

impl Tail {
    /// A write of so many bytes, in the memory that there is for that.
    fn write(&mut self, file: FileId, offset: u64, fill: impl FnOnce(&mut [u8]), bytes: usize) -> DiskRequest {
        let mut memory = self.memory.take().expect("one step at a time");
        fill(&mut memory[..bytes]);
        let whole = memory.freeze();
        let from = vec![whole.slice(..bytes)];
        self.whole = Some(whole);
        DiskRequest::Write { file, offset, from }
    }
}

/// What is to be done for a set whose footer and trailer are these bytes of the tail, the latter from `trailer` on.
fn steps(files: &SetFiles, footer_offset: u64, trailer: usize, step_bytes: usize, durable: bool) -> VecDeque<TailStep> {
    let parts = 0..files.parts.len();
    let last = files.parts.len() - 1;
    let mut steps = VecDeque::new();
    steps.extend(parts.clone().map(|part| TailStep::Truncate { part, bytes: files.parts[part].end }));
    steps.extend(parts.clone().map(|part| TailStep::Header { part }));
    let pieces = (0..trailer).step_by(step_bytes);
    steps.extend(pieces.map(|from| TailStep::Bytes {
        from,
        offset: footer_offset + from as u64,
        bytes: step_bytes.min(trailer - from),
    }));
    if durable {
        steps.extend(parts.clone().map(|part| TailStep::Sync { part }));
    }
    steps.push_back(TailStep::Bytes { from: trailer, offset: footer_offset + trailer as u64, bytes: PAGE_BYTES });
    if durable && !defect::is(Defect::SyncBeforeTrailer) {
        steps.push_back(TailStep::Sync { part: last });
    }
    steps.extend(parts.map(|part| TailStep::Close { part }));
    steps
}
