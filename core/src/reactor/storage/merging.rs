//! Merging of regions: before its end is written, a partition of small slices is read once more, range of subpartitions by
//! range of subpartitions out of all regions, and written anew to a second file, with one large slice for each. The first
//! file goes when the second is complete; whatever goes wrong until then, the first one is completed instead.
//!
//! The reactor reads; who sorts checks and packs; what is packed is written like what was sorted. All memory is the
//! writer's own.

mod batch;
mod cost;
mod walk;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use sluice_memory::{Buffer, BufferMut};
use sluice_plugin::{DISK_REQUEST_BYTES_MAX, DiskDone, DiskError, DiskRequest};
use sluice_protocol::PartitionId;
use sluice_protocol::defect::{self, Defect};

use super::writing::{SetFiles, Step, Writing};
use super::{Purpose, Storage};
use crate::partition::{Gathered, MergeNews, SetSummary, Window};
use crate::spill::{ALIGNMENT, Extents, Layout};
use batch::{pages, take};
use cost::Case;
use walk::{Order, Sections, Walk};

/// What is listed of slices at a time, in bytes of directories: it is on the heap, as what is collected of one is.
const LISTED_BYTES_MAX: u64 = 512 << 10;

/// A partition whose regions are merged.
pub(super) struct Merge {
    /// The file that has them, and what its footer would say.
    pub(super) source: SetFiles,
    summary: SetSummary,
    extents: Extents,
    walk: Walk,
    stage: Stage,
    /// Slices that are to be read next.
    order: Order,
    /// Reads that wait, and the logical offset of each.
    reads: VecDeque<(u64, DiskRequest)>,
    reads_under_way: u32,
    pieces: Vec<(u64, Buffer)>,
    given_up: bool,
    /// Nobody packs any more, and all memory is back.
    is_packed: bool,
}

enum Stage {
    /// Sections are being read.
    Listing(Sections),
    /// Slices are being read.
    Gathering(Order),
    /// What was read is being packed.
    Packing,
    /// All is packed: what is left is written, and the end.
    Ending,
}

impl Merge {
    fn new(source: SetFiles, mut summary: SetSummary, rotation: u32) -> Self {
        let common = std::mem::take(&mut summary.slices.common);
        let directories = std::mem::take(&mut summary.directories);
        let walk = Walk::new(directories, source.set.count, rotation, common);
        let extents = source.extents();
        Self {
            source,
            summary,
            extents,
            walk,
            stage: Stage::Packing,
            order: Order::new(),
            reads: VecDeque::new(),
            reads_under_way: 0,
            pieces: Vec::new(),
            given_up: false,
            is_packed: false,
        }
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Nothing is read any more.
    pub(super) fn drop_reads(&mut self) {
        self.reads.clear();
    }

    /// Reads of these ranges, into this memory, which is as much at least.
    fn plan_reads(&mut self, runs: &[Range<u64>], memory: Vec<BufferMut>) {
        let mut memory = memory.into_iter();
        let mut room = memory.next().unwrap_or_default();
        let Some(file) = self.source.file() else { return };
        for run in runs {
            let mut from = run.start;
            while from < run.end {
                if room.is_empty() {
                    room = memory.next().expect("as much memory as is read");
                }
                let part = (run.end - from).min(room.len() as u64).min(DISK_REQUEST_BYTES_MAX as u64);
                for (_, physical, bytes) in self.extents.locate(from, part).collect::<Vec<_>>() {
                    let into = vec![room.split_to(bytes as usize)];
                    self.reads.push_back((from, DiskRequest::Read { file, offset: physical, into }));
                    from += bytes;
                }
            }
        }
    }
}

impl Storage {
    /// All of a partition is written. Merges its regions if that pays; else, or after that, its end is written.
    pub(super) fn all_is_written(&mut self, id: PartitionId) {
        if self.begins_merge(id) {
            self.gather_next(id);
        } else {
            self.begin_tail(id);
        }
    }

    /// Each partition once.
    fn begins_merge(&mut self, id: PartitionId) -> bool {
        let Some(writing) = self.writing.get_mut(&id) else { return false };
        if std::mem::replace(&mut writing.merge_considered, true) {
            return false;
        }
        let Some(case) = writing.merge_case() else { return false };
        if !case.pays(self.settings.disk.merge) {
            return false;
        }
        let Some(summary) = writing.summaries.take().and_then(|mut all| all.pop()) else { return false };
        let slices = case.slices;
        tracing::debug!(partition = %id, bytes = case.bytes, regions = case.regions, slices, "its slices are merged");
        let merged = SetFiles::merged(&writing.sets[0]);
        let source = std::mem::replace(&mut writing.sets[0], merged);
        let too_early = source.parts.iter().map(|part| (part.directory, part.name.clone())).collect::<Vec<_>>();
        let spill = Arc::clone(writing.spill());
        writing.merge = Some(Merge::new(source, summary, spill.rotation()));
        spill.begin_merge();
        if defect::is(Defect::RemoveBeforeMerged) {
            for (directory, name) in too_early {
                self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: None, name });
            }
        }
        true
    }

    /// What comes next is read, if there is more: first what is listed of it.
    fn gather_next(&mut self, id: PartitionId) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        let spill = Arc::clone(writing.spill());
        let Some(merge) = &mut writing.merge else { return };
        let limit = spill.gather_bytes();
        if merge.order.is_empty() {
            let Some(sections) = merge.walk.next(LISTED_BYTES_MAX, limit as u64) else {
                merge.stage = Stage::Ending;
                return spill.merge(None);
            };
            let runs = pages(sections.ranges());
            let wanted = runs.iter().map(|run| run.end - run.start).sum::<u64>() as usize;
            let memory = acquire(wanted, |most| spill.acquire_to_gather(most));
            if memory.iter().map(|piece| piece.len()).sum::<usize>() < wanted {
                return self.give_up_merge(id, "there is no memory to read its directories into");
            }
            merge.stage = Stage::Listing(sections);
            merge.plan_reads(&runs, memory);
        } else {
            let wanted = merge.order.iter().map(|(_, slice)| slice.stored_bytes() as usize + 2 * ALIGNMENT);
            let wanted = wanted.sum::<usize>().next_multiple_of(ALIGNMENT).min(limit);
            let memory = acquire(wanted, |most| spill.acquire_to_gather(most));
            let bytes = memory.iter().map(|piece| piece.len() as u64).sum();
            let Some((slices, runs)) = take(&mut merge.order, bytes) else {
                return self.give_up_merge(id, "there is no memory to read a block into");
            };
            merge.stage = Stage::Gathering(slices);
            merge.plan_reads(&runs, memory);
        }
        self.submit_merge_reads(id);
    }

    fn submit_merge_reads(&mut self, id: PartitionId) {
        // Half of the queue: consumers read from the same disk.
        let depth = (self.disk.capabilities().depth / 2).max(1);
        while let Some(merge) = self.writing.get_mut(&id).and_then(|writing| writing.merge.as_mut()) {
            if merge.reads_under_way >= depth {
                return;
            }
            let Some((logical, request)) = merge.reads.pop_front() else { return };
            merge.reads_under_way += 1;
            self.submit_step(id, Step::MergeRead { logical }, request);
        }
    }

    pub(super) fn merge_read(
        &mut self,
        id: PartitionId,
        logical: u64,
        request: DiskRequest,
        result: Result<DiskDone, DiskError>,
    ) {
        let Some(merge) = self.writing.get_mut(&id).and_then(|writing| writing.merge.as_mut()) else { return };
        merge.reads_under_way -= 1;
        if merge.given_up {
            return;
        }
        if let Err(error) = result {
            return self.give_up_merge(id, &error.to_string());
        }
        let DiskRequest::Read { into, .. } = request else { unreachable!("as it was submitted") };
        merge.pieces.extend(into.into_iter().map(|memory| (logical, memory.freeze())));
        if merge.reads.is_empty() && merge.reads_under_way == 0 {
            return self.merge_was_read(id);
        }
        self.submit_merge_reads(id);
    }

    /// All that was asked for is here.
    fn merge_was_read(&mut self, id: PartitionId) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        let spill = Arc::clone(writing.spill());
        let Some(merge) = &mut writing.merge else { return };
        let bytes = Window::new(std::mem::take(&mut merge.pieces));
        match std::mem::replace(&mut merge.stage, Stage::Packing) {
            Stage::Listing(sections) => match sections.decode(|logical, into| bytes.copy(logical, into)) {
                Ok(order) => {
                    merge.order = order;
                    drop(bytes);
                    self.gather_next(id);
                }
                Err(error) => self.give_up_merge(id, &error.to_string()),
            },
            Stage::Gathering(slices) => spill.merge(Some(Gathered { slices, bytes })),
            stage @ (Stage::Packing | Stage::Ending) => merge.stage = stage,
        }
    }

    /// What who packs has to say.
    pub(super) fn merge_news(&mut self, id: PartitionId, news: MergeNews) {
        let Some(merge) = self.writing.get_mut(&id).and_then(|writing| writing.merge.as_mut()) else { return };
        match news {
            MergeNews::WantsMore if merge.given_up => {}
            MergeNews::WantsMore => self.gather_next(id),
            MergeNews::GivenUp => merge.is_packed = true,
            MergeNews::Damaged(what) => {
                merge.is_packed = true;
                self.give_up_merge(id, &what);
            }
        }
    }

    /// All is packed. What the footer says is what it would have said before.
    pub(super) fn merge_packed(&mut self, id: PartitionId, summaries: &mut [SetSummary]) {
        let Some(merge) = self.writing.get_mut(&id).and_then(|writing| writing.merge.as_mut()) else { return };
        merge.is_packed = true;
        let Some(summary) = summaries.first_mut() else { return };
        let told = merge.summary.totals.iter().map(|totals| (totals.blocks, totals.raw_bytes));
        let is_whole = told.eq(summary.totals.iter().map(|totals| (totals.blocks, totals.raw_bytes)));
        summary.totals.clone_from(&merge.summary.totals);
        if !is_whole || summary.stored_bytes != merge.summary.stored_bytes {
            self.give_up_merge(id, "not all that was written was found again");
        }
    }

    /// The partition is to be completed as it was written first.
    pub(super) fn give_up_merge(&mut self, id: PartitionId, why: &str) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        let spill = Arc::clone(writing.spill());
        let Some(merge) = &mut writing.merge else { return };
        if std::mem::replace(&mut merge.given_up, true) {
            return;
        }
        tracing::warn!(partition = %id, "its slices stay small: {why}");
        metrics::counter!("sluice_disk_merges_given_up_total").increment(1);
        merge.drop_reads();
        merge.pieces.clear();
        merge.order.clear();
        if !merge.is_packed {
            spill.give_up_merge();
        }
    }

    /// Goes back to the first file, once nothing of the second is under way: that goes before the end of the first is
    /// written, so that there are never two that look complete.
    pub(super) fn undo_merge(&mut self, id: PartitionId) {
        let Some(writing) = self.writing.get_mut(&id) else { return };
        for chunk in std::mem::take(&mut writing.waiting) {
            writing.spill().written(chunk.memory, chunk.is_reserve);
        }
        let is_packed = writing.merge.as_ref().is_some_and(|merge| merge.is_packed);
        if !is_packed || writing.under_way > 0 {
            return;
        }
        writing.keep_tail_memory();
        let Some(Merge { source, mut summary, walk, .. }) = writing.merge.take() else { return };
        summary.directories = walk.into_directories();
        writing.summaries = Some(vec![summary]);
        let merged = std::mem::replace(&mut writing.sets[0], source);
        let mut removes = Vec::new();
        for part in merged.parts {
            self.directories.written(part.directory);
            if let Some(file) = part.file {
                removes.push(DiskRequest::Close { file });
            }
            removes.push(DiskRequest::Remove { directory: part.directory, owner: None, name: part.name });
        }
        if removes.is_empty() {
            return self.all_is_written(id);
        }
        for request in removes {
            self.submit_step(id, Step::MergeUndone, request);
        }
    }

    /// The second file is complete: the first one goes.
    pub(super) fn remove_source(&mut self, id: PartitionId) {
        let Some(merge) = self.writing.get_mut(&id).and_then(|writing| writing.merge.as_mut()) else { return };
        for part in std::mem::take(&mut merge.source.parts) {
            self.remove_part(part);
        }
    }
}

/// As much memory as there is, up to so many bytes.
fn acquire(mut bytes: usize, mut acquire: impl FnMut(usize) -> Option<BufferMut>) -> Vec<BufferMut> {
    let mut memory = Vec::new();
    while let Some(piece) = acquire(bytes) {
        bytes -= piece.len();
        memory.push(piece);
    }
    memory
}

impl Writing {
    /// What there is to merge: one file with slices of many subpartitions.
    fn merge_case(&self) -> Option<Case> {
        let [files] = &self.sets[..] else { return None };
        let [summary] = &self.summaries.as_ref()?[..] else { return None };
        // What needed several parts has had trouble enough with its disks.
        if files.set.layout != Layout::SortMerge || files.parts.len() != 1 {
            return None;
        }
        Some(Case {
            bytes: summary.stored_bytes,
            subpartitions: files.set.count.into(),
            regions: summary.slices.regions,
            slices: summary.slices.own,
            stretches: summary.slices.common.len() as u64 + 1,
            memory_bytes: self.spill().gather_bytes() as u64,
        })
    }
}
