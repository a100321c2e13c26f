//! What a task, who sorts, and the reactor share of a partition on its way to the disk. Each does its part when it can:
//! the task offers regions, the sorter makes chunks of them, the reactor has them written and gives the memory back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use sluice_memory::{Buffer, BufferMut, BufferPool, SizeClass};
use sluice_protocol::PartitionId;

use super::bench::Bench;
use super::log::Region;
use super::merger::{Gathered, Merged, Merger};
use super::sorter::{Chunk, Room, SetSummary, Sorted, Sorter};
use crate::mailbox::{Command, Mailbox};
use crate::partition::BlockLog;
use crate::spill::{Codec, FileSet, Totals};
use crate::sync::lock;

/// Large chunks of one partition: filled, written, or free. As many as keep a disk busy.
const CHUNKS_MAX: usize = 8;
/// Smaller ones are not worth the pool's while: then there is only the one of the floor.
const CHUNK_MIN: SizeClass = SizeClass::UNIT;

/// A partition on its way to the disk.
pub(crate) struct Spill {
    log: Arc<BlockLog>,
    sets: Vec<FileSet>,
    floor: BufferPool,
    elastic: BufferPool,
    bench: Bench,
    mailbox: Mailbox,
    /// The subpartition that comes first in each region.
    rotation: u32,
    state: Mutex<State>,
    /// Held for a step at a time; only who was sent the spill takes it.
    sorter: Mutex<Sorter>,
    /// The same; there is one while regions are merged.
    merger: Mutex<Option<Merger>>,
}

#[derive(Default)]
struct State {
    /// Waits to be sorted.
    region: Option<Region>,
    /// A region waits or is being sorted.
    sorting: bool,
    /// The producer has finished: nothing comes any more.
    last: bool,
    /// Somebody has been sent to sort.
    scheduled: bool,
    /// The sorter has stopped for want of memory.
    starved: bool,
    /// To be written, in the order of their logical offsets.
    ready: VecDeque<Chunk>,
    /// The reactor knows that there is something.
    told: bool,
    /// The chunk that is always there, out of the floor, while it is free.
    reserve: Option<BufferMut>,
    /// Large chunks that are free, and how many there are in all.
    free: Vec<BufferMut>,
    large: usize,
    /// All is given out.
    given_out: bool,
    /// What is said of it; taken by the reactor.
    summaries: Option<Vec<SetSummary>>,
    merge: MergeState,
    producer: Option<Waker>,
    outcome: Option<Result<(), Box<str>>>,
}

/// What reactor and merger tell each other.
#[derive(Default)]
struct MergeState {
    gathered: Option<Gathered>,
    /// Nothing more is gathered.
    last: bool,
    given_up: bool,
    news: Option<MergeNews>,
}

/// What the reactor is told while regions are merged.
pub(crate) enum MergeNews {
    /// What was gathered is packed: more of it.
    WantsMore,
    /// What was read is not what was written; nothing more comes.
    Damaged(Box<str>),
    /// All is back that was lent; nothing more comes.
    GivenUp,
}

/// What the reactor finds.
pub(crate) enum Spilled {
    Chunk(Chunk),
    /// Behind the last chunk: what the footers say.
    End(Vec<SetSummary>),
    Merge(MergeNews),
    Nothing,
    /// It has failed or is given up: files are to be removed.
    Over,
}

/// How a partition is spilled.
pub(crate) struct SpillSettings {
    /// One for all subpartitions, or one for each.
    pub(crate) sets: Vec<FileSet>,
    /// What is always the writer's own.
    pub(crate) floor: BufferPool,
    /// Memory beyond the floor.
    pub(crate) elastic: BufferPool,
    pub(crate) bench: Bench,
    pub(crate) block_bytes_max: usize,
    pub(crate) codec: Codec,
}

impl Spill {
    pub(crate) fn new(log: Arc<BlockLog>, mailbox: Mailbox, settings: SpillSettings) -> Self {
        let SpillSettings { sets, floor, elastic, bench, block_bytes_max, codec } = settings;
        let id = log.id();
        // Anything that differs from partition to partition does.
        let rotation = (id.partition.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32 % log.subpartitions();
        let sorter = Mutex::new(Sorter::new(&sets, rotation, block_bytes_max, codec));
        let merger = Mutex::default();
        Self { log, sets, floor, elastic, bench, mailbox, rotation, state: Mutex::default(), sorter, merger }
    }

    pub(crate) fn id(&self) -> PartitionId {
        self.log.id()
    }

    pub(crate) fn log(&self) -> &Arc<BlockLog> {
        &self.log
    }

    pub(crate) fn sets(&self) -> &[FileSet] {
        &self.sets
    }

    /// What has been sorted so far, of each subpartition.
    pub(crate) fn totals(&self) -> Vec<Totals> {
        lock(&self.sorter).totals()
    }

    // ── The task ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Lends the chunk without which nothing could be written.
    pub(super) fn lend(&self, reserve: BufferMut) {
        lock(&self.state).reserve = Some(reserve);
    }

    /// How much of the elastic memory chunks take, in bytes.
    pub(super) fn chunk_bytes(&self) -> usize {
        self.chunk_class().map_or(0, |class| CHUNKS_MAX * class.bytes())
    }

    /// Whether a region can be offered now; else the producer is woken when it can, or when all is over.
    pub(super) fn takes_region(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        if state.sorting && state.outcome.is_none() {
            state.producer = Some(waker.clone());
            return false;
        }
        true
    }

    /// A region to be sorted; only after [`Self::takes_region`].
    pub(super) fn offer(self: &Arc<Self>, region: Region) {
        let mut state = lock(&self.state);
        if state.outcome.is_some() {
            drop(state);
            return;
        }
        debug_assert!(!state.sorting, "one region at a time");
        state.region = Some(region);
        state.sorting = true;
        self.schedule(&mut state);
    }

    /// The producer has finished.
    pub(super) fn end(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.last = true;
        self.schedule(&mut state);
    }

    /// How it went: `None` while it goes on, and the producer is woken then.
    pub(crate) fn outcome(&self, waker: Option<&Waker>) -> Option<Result<(), Box<str>>> {
        let mut state = lock(&self.state);
        if state.outcome.is_none()
            && let Some(waker) = waker
        {
            state.producer = Some(waker.clone());
        }
        state.outcome.clone()
    }

    // ── Who sorts ───────────────────────────────────────────────────────────────────────────────────────────────

    fn schedule(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.scheduled, true) {
            self.bench.send(Arc::clone(self));
        }
    }

    /// Sorts a little. True if there is more to do at once.
    pub(crate) fn work(self: &Arc<Self>) -> bool {
        let mut merger = lock(&self.merger);
        if merger.is_some() {
            return self.work_merging(&mut merger);
        }
        drop(merger);
        let mut sorter = lock(&self.sorter);
        let step = sorter.step();
        let mut state = lock(&self.state);
        let again = match step {
            _ if state.outcome.is_some() => false,
            Sorted::Something => true,
            Sorted::Chunk(chunk) => {
                state.ready.push_back(chunk);
                self.tell(&mut state);
                true
            }
            Sorted::WantsMemory => {
                let room = self.find_memory(&mut state);
                state.starved = room.is_none();
                room.map(|room| sorter.put(room)).is_some()
            }
            Sorted::Idle => self.next_region(&mut state, &mut sorter),
        };
        if again {
            return true;
        }
        state.scheduled = false;
        let over = state.outcome.is_some();
        let producer = if state.sorting { None } else { state.producer.take() };
        // What others could use meanwhile.
        let unused = if state.sorting { Vec::new() } else { state.take_free() };
        drop(state);
        drop(unused);
        if over {
            sorter.abandon();
        }
        if let Some(producer) = producer {
            producer.wake();
        }
        false
    }

    /// The same, once all is sorted.
    fn work_merging(self: &Arc<Self>, merger: &mut Option<Merger>) -> bool {
        let Some(merging) = merger else { return false };
        let step = merging.step();
        let mut state = lock(&self.state);
        if state.outcome.is_some() {
            state.scheduled = false;
            drop(state);
            *merger = None;
            return false;
        }
        let mut news = None;
        let again = match step {
            _ if state.merge.given_up => {
                news = Some(MergeNews::GivenUp);
                false
            }
            Merged::Something => true,
            Merged::Chunk(chunk) => {
                state.ready.push_back(chunk);
                self.tell(&mut state);
                true
            }
            Merged::WantsMemory => {
                let room = self.find_memory(&mut state);
                state.starved = room.is_none();
                room.map(|room| merging.put_room(room)).is_some()
            }
            Merged::Idle => match state.merge.gathered.take() {
                Some(gathered) => {
                    merging.put(gathered);
                    true
                }
                None if state.merge.last => {
                    merging.end();
                    true
                }
                None => {
                    state.scheduled = false;
                    state.merge.news = Some(MergeNews::WantsMore);
                    self.tell(&mut state);
                    return false;
                }
            },
            Merged::Ended => {
                state.summaries = Some(vec![merging.summary()]);
                false
            }
            Merged::Damaged(what) => {
                news = Some(MergeNews::Damaged(what));
                false
            }
        };
        if again {
            return true;
        }
        state.scheduled = false;
        if state.starved {
            return false;
        }
        if let Some(room) = merging.take_room() {
            state.keep(room);
        }
        state.merge.gathered = None;
        state.merge.news = news;
        self.tell(&mut state);
        drop(state);
        *merger = None;
        false
    }

    fn find_memory(&self, state: &mut State) -> Option<Room> {
        let large = state.free.pop().or_else(|| self.large_chunk(state));
        match large {
            Some(memory) => Some(Room { memory, is_reserve: false }),
            // The small one only if there is no other: it makes small writes.
            None if state.large == 0 => state.reserve.take().map(|memory| Room { memory, is_reserve: true }),
            None => None,
        }
    }

    fn chunk_class(&self) -> Option<SizeClass> {
        SizeClass::at_most(self.elastic.limit_bytes() / (2 * CHUNKS_MAX)).filter(|class| *class >= CHUNK_MIN)
    }

    fn large_chunk(&self, state: &mut State) -> Option<BufferMut> {
        if state.large >= CHUNKS_MAX {
            return None;
        }
        let largest = self.chunk_class()?;
        let fitting = SizeClass::all().rev().filter(|class| (CHUNK_MIN..=largest).contains(class));
        let memory = fitting.into_iter().find_map(|class| self.elastic.try_acquire(class))?;
        state.large += 1;
        Some(memory)
    }

    /// What to do when all is given out: another region, the end, or nothing for now.
    fn next_region(self: &Arc<Self>, state: &mut State, sorter: &mut Sorter) -> bool {
        if let Some(room) = sorter.take_memory() {
            state.keep(room);
        }
        if let Some(region) = state.region.take() {
            sorter.begin(region);
            return true;
        }
        state.sorting = false;
        if !state.last {
            return false;
        }
        // First what is left of the directories.
        if sorter.end() {
            return true;
        }
        if !std::mem::replace(&mut state.given_out, true) {
            state.summaries = Some(sorter.summaries());
            self.tell(state);
        }
        false
    }

    // ── The reactor ─────────────────────────────────────────────────────────────────────────────────────────────

    fn tell(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.told, true) {
            self.mailbox.send(Command::Spilled(Arc::clone(self)));
        }
    }

    /// The next thing to do; after `Nothing` the reactor is told of the next one.
    pub(crate) fn next(&self) -> Spilled {
        let mut state = lock(&self.state);
        if state.outcome.is_some() {
            return Spilled::Over;
        }
        if let Some(chunk) = state.ready.pop_front() {
            return Spilled::Chunk(chunk);
        }
        if let Some(summaries) = state.summaries.take() {
            return Spilled::End(summaries);
        }
        if let Some(news) = state.merge.news.take() {
            return Spilled::Merge(news);
        }
        state.told = false;
        Spilled::Nothing
    }

    /// The memory of a chunk that is written: nobody else has a handle to it.
    pub(crate) fn written(self: &Arc<Self>, memory: Buffer, is_reserve: bool) {
        let memory = memory.try_thaw().expect("the disk has given its handle back");
        let mut state = lock(&self.state);
        if state.outcome.is_some() {
            drop(state);
            return;
        }
        state.keep(Room { memory, is_reserve });
        if std::mem::take(&mut state.starved) {
            self.schedule(&mut state);
        }
    }

    // ── The reactor, when it merges regions ─────────────────────────────────────────────────────────────────────

    /// The subpartition that comes first in each region.
    pub(crate) fn rotation(&self) -> u32 {
        self.rotation
    }

    /// Once all is given out, and only of a partition in one file set: what is gathered from now on is packed anew.
    pub(crate) fn begin_merge(&self) {
        *lock(&self.merger) = self.sets.first().map(Merger::new);
    }

    /// How much memory there is to gather in, in bytes: all that was there to sort in, but for the chunks.
    pub(crate) fn gather_bytes(&self) -> usize {
        self.elastic.limit_bytes().saturating_sub(self.chunk_bytes()).max(self.floor_to_gather().bytes())
    }

    /// The half of the floor that was there to sort in.
    fn floor_to_gather(&self) -> SizeClass {
        SizeClass::at_most(self.floor.unit().bytes() / 2).unwrap_or(SizeClass::MIN)
    }

    /// Memory to gather in: the largest that there is, up to so many bytes, and no crumbs where more is wanted.
    pub(crate) fn acquire_to_gather(&self, bytes_max: usize) -> Option<BufferMut> {
        let most = SizeClass::at_most(bytes_max)?;
        let least = most.min(CHUNK_MIN);
        let fitting = SizeClass::all().rev().filter(|class| (least..=most).contains(class));
        let elastic = fitting.into_iter().find_map(|class| self.elastic.try_acquire(class));
        elastic.or_else(|| self.floor.try_acquire(most.min(self.floor_to_gather())))
    }

    /// What comes next; `None`: nothing does. Only when more is wanted.
    pub(crate) fn merge(self: &Arc<Self>, gathered: Option<Gathered>) {
        let mut state = lock(&self.state);
        state.merge.last = gathered.is_none();
        state.merge.gathered = gathered;
        self.schedule(&mut state);
    }

    /// Nothing is to be merged: all that is lent comes back, then the reactor is told.
    pub(crate) fn give_up_merge(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        state.merge.given_up = true;
        state.starved = false;
        self.schedule(&mut state);
    }

    /// Memory to write footers from, once all chunks are back; `None` if it has failed meanwhile.
    pub(crate) fn take_memory(&self) -> Option<BufferMut> {
        let mut state = lock(&self.state);
        let large = state.free.pop();
        large.or_else(|| state.reserve.take())
    }

    /// Ends it, well or not; the first word counts. The producer is woken.
    pub(crate) fn conclude(self: &Arc<Self>, outcome: Result<(), Box<str>>) {
        let (producer, dropped) = {
            let mut state = lock(&self.state);
            if state.outcome.is_some() {
                return;
            }
            let failed = outcome.is_err();
            state.outcome = Some(outcome);
            let sorted = (state.region.take(), std::mem::take(&mut state.ready), state.merge.gathered.take());
            let memory = (sorted, state.take_free(), state.reserve.take());
            if failed {
                // The reactor has files to remove, the sorter memory to drop.
                self.tell(&mut state);
                self.schedule(&mut state);
            }
            (state.producer.take(), memory)
        };
        drop(dropped);
        if let Some(producer) = producer {
            producer.wake();
        }
    }
}

impl State {
    /// Memory of a chunk is free again.
    fn keep(&mut self, Room { memory, is_reserve }: Room) {
        if is_reserve {
            self.reserve = Some(memory);
        } else {
            self.free.push(memory);
        }
    }

    fn take_free(&mut self) -> Vec<BufferMut> {
        self.large -= self.free.len();
        std::mem::take(&mut self.free)
    }
}
