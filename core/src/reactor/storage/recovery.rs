//! What earlier lives of this worker have left on its disks: what they had finished is served again, the rest goes. Of
//! other workers that are gone nothing is touched until they have had their time to come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use sluice_memory::SizeClass;
use sluice_plugin::{
    DirectoryId, DiskCapabilities, DiskDone, DiskError, DiskRequest, FileId, FileOwner, ListedFile, OwnerState,
};
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::{PartitionId, Time};

use super::stored::{Stored, StoredPart, StoredSet};
use super::{Purpose, Storage};
use crate::mailbox::Command;
use crate::partition::{BlockLog, HeldPartition, PartitionKind};
use crate::spill::{FileSet, Footer, FormatError, Header, Layout, PAGE_BYTES, PartName, Trailer};
use crate::sync::lock;

/// What was found, for who asks the environment.
#[derive(Default)]
pub(crate) struct Recovered {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_complete: bool,
    held: Vec<(Vec<DirectoryId>, HeldPartition)>,
    disk: Option<DiskCapabilities>,
    wakers: Vec<Waker>,
}

impl Recovered {
    pub(crate) fn set_disk(&self, disk: DiskCapabilities) {
        lock(&self.state).disk = Some(disk);
    }

    pub(crate) fn capabilities(&self) -> Option<DiskCapabilities> {
        lock(&self.state).disk.clone()
    }

    /// Whether a directory is one of the worker's.
    pub(crate) fn knows(&self, directory: &Path) -> bool {
        lock(&self.state).place_of(directory).is_some()
    }

    /// Those that lie in a directory, once all have been looked at.
    pub(crate) fn poll(&self, context: &Context<'_>, directory: &Path) -> Poll<Vec<HeldPartition>> {
        let mut state = lock(&self.state);
        if !state.is_complete {
            state.wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        let place = state.place_of(directory);
        let of_it = |ids: &[DirectoryId]| place.is_some_and(|place| ids.contains(&place));
        Poll::Ready(state.held.iter().filter(|(ids, _)| of_it(ids)).map(|(_, held)| held.clone()).collect())
    }

    fn add(&self, directories: Vec<DirectoryId>, held: HeldPartition) {
        lock(&self.state).held.push((directories, held));
    }

    pub(super) fn remove(&self, partition: PartitionId) {
        lock(&self.state).held.retain(|(_, held)| held.partition != partition);
    }

    fn complete(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.is_complete = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn place_of(&self, directory: &Path) -> Option<DirectoryId> {
        let known = &self.disk.as_ref()?.directories;
        let index = known.iter().position(|known| is_same(&known.path, directory))?;
        Some(DirectoryId(index as u16))
    }
}

fn is_same(known: &Path, asked: &Path) -> bool {
    known == asked || matches!((known.canonicalize(), asked.canonicalize()), (Ok(known), Ok(asked)) if known == asked)
}

/// The look at what was left, file by file.
pub(super) struct Recovery {
    /// Directories that are being listed.
    lists: usize,
    waiting: VecDeque<Left>,
    examined: Option<Examined>,
    found: Vec<Found>,
    /// Released before they were found.
    forgotten: BTreeSet<PartitionId>,
    is_complete: bool,
    /// What nobody has claimed by then goes, and so does what other workers have left that are dead then.
    sweep_at: Option<Time>,
}

/// A file of an earlier life.
struct Left {
    directory: DirectoryId,
    owner: FileOwner,
    name: String,
}

/// The file that is being looked at.
struct Examined {
    directory: DirectoryId,
    name: String,
    file: Option<FileId>,
    bytes: u64,
    header: Option<Header>,
    trailer: Option<Trailer>,
    /// As much of its footer as is read.
    footer: Vec<u8>,
    /// It waits for memory to read into.
    stalled: bool,
}

/// A part that makes sense by itself.
struct Found {
    directory: DirectoryId,
    name: String,
    header: Header,
    end: Option<(Trailer, Footer)>,
}

/// What a request of the recovery is for.
pub(super) enum Step {
    List,
    Adopt,
    Open,
    Header,
    Trailer,
    Footer,
    Close,
    Sweep,
}

impl Recovery {
    pub(super) fn new(directories: usize, sweep_at: Time) -> Self {
        Self {
            lists: directories,
            waiting: VecDeque::new(),
            examined: None,
            found: Vec::new(),
            forgotten: BTreeSet::new(),
            is_complete: false,
            sweep_at: Some(sweep_at),
        }
    }

    /// The partition is not wanted, should it be found.
    pub(super) fn forget(&mut self, partition: PartitionId) {
        if !self.is_complete {
            self.forgotten.insert(partition);
        }
    }
}

impl Storage {
    pub(super) fn begin_recovery(&mut self) {
        for directory in self.directories.ids() {
            self.submit(Purpose::Recover(Step::List), DiskRequest::List { directory });
        }
    }

    /// Whether a file was left by an earlier life of this worker.
    fn is_ours(&self, file: &ListedFile) -> bool {
        let life = |owner: &str| owner.rsplit_once('-').map(|(worker, _)| worker.to_owned());
        let known = file.name.parse::<PartName>().is_ok();
        file.state == OwnerState::Dead && known && life(&file.owner.0) == life(&self.settings.owner.0)
    }

    pub(super) fn recover_step(&mut self, step: Step, request: DiskRequest, result: Result<DiskDone, DiskError>) {
        match (step, request) {
            (Step::List, DiskRequest::List { directory }) => {
                self.recovery.lists -= 1;
                match result {
                    Ok(DiskDone::Listed(files)) => {
                        let ours = files.into_iter().filter(|file| self.is_ours(file));
                        let left = ours.map(|ListedFile { owner, name, .. }| Left { directory, owner, name });
                        let mut left: Vec<_> = left.collect();
                        left.sort_by(|one, other| (&one.owner, &one.name).cmp(&(&other.owner, &other.name)));
                        self.recovery.waiting.extend(left);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!("{error}; what earlier lives have left there is not looked at"),
                }
                if self.recovery.lists == 0 {
                    self.examine_next();
                }
            }
            (Step::Sweep, DiskRequest::List { directory }) => {
                let Ok(DiskDone::Listed(files)) = result else { return };
                let dead = files.into_iter().filter(|file| file.state == OwnerState::Dead);
                for ListedFile { name, owner, .. } in dead.filter(|file| file.name.parse::<PartName>().is_ok()) {
                    tracing::info!(owner = %owner.0, name, "a file that a dead worker has left is removed");
                    self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: Some(owner), name });
                }
            }
            (Step::Close, _) => self.examine_next(),
            (step, request) => self.examine_step(step, request, result),
        }
    }

    fn examine_next(&mut self) {
        let Some(Left { directory, owner, name }) = self.recovery.waiting.pop_front() else {
            return self.offer_what_is_complete();
        };
        self.recovery.examined = Some(Examined {
            directory,
            name: name.clone(),
            file: None,
            bytes: 0,
            header: None,
            trailer: None,
            footer: Vec::new(),
            stalled: false,
        });
        self.submit(Purpose::Recover(Step::Adopt), DiskRequest::Adopt { directory, owner, name });
    }

    fn examine_step(&mut self, step: Step, request: DiskRequest, result: Result<DiskDone, DiskError>) {
        let done = match result {
            Ok(done) => done,
            Err(error) => {
                let what = error.to_string();
                if let (Step::Adopt, DiskRequest::Adopt { directory, owner, name }) = (&step, request) {
                    // Another life has taken it, or this one has one of the name: it is in nobody's way.
                    tracing::warn!("{what}");
                    let taken = error.source.kind() == std::io::ErrorKind::AlreadyExists;
                    if taken {
                        self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: Some(owner), name });
                    }
                    return self.examine_next();
                }
                return self.refuse(&what);
            }
        };
        let Some(examined) = &mut self.recovery.examined else { return };
        match (step, done, request) {
            (Step::Adopt, ..) => {
                let (directory, name) = (examined.directory, examined.name.clone());
                self.submit(Purpose::Recover(Step::Open), DiskRequest::Open { directory, name });
            }
            (Step::Open, DiskDone::Opened { file, bytes }, _) => {
                (examined.file, examined.bytes) = (Some(file), bytes);
                self.examine_on();
            }
            (Step::Header, _, DiskRequest::Read { into, .. }) => {
                match Header::decode(into.first().map_or(&[], |page| &page[..])) {
                    Ok(header) => examined.header = Some(header),
                    Err(error) => return self.refuse_format(&error, 0),
                }
                self.examine_on();
            }
            (Step::Trailer, _, DiskRequest::Read { into, offset, .. }) => {
                let page = into.first().map_or(&[][..], |page| &page[..]);
                match Trailer::decode(page, examined.bytes) {
                    Ok(trailer) => {
                        examined.trailer = Some(trailer);
                        self.examine_on();
                    }
                    // One of several parts has none; the last of them says how many there are.
                    Err(_) if examined.header.is_some() => self.examined(None),
                    Err(error) => self.refuse_format(&error, offset),
                }
            }
            (Step::Footer, _, DiskRequest::Read { into, .. }) => {
                into.iter().for_each(|piece| examined.footer.extend_from_slice(piece));
                self.examine_on();
            }
            _ => unreachable!("as it was submitted"),
        }
    }

    /// Reads what comes next of the file: its first page, its last one, its footer.
    fn examine_on(&mut self) {
        let Some(examined) = &self.recovery.examined else { return };
        let (Some(file), page) = (examined.file, PAGE_BYTES as u64) else { return };
        if examined.bytes < 2 * page {
            return self.refuse(&format!("{} bytes: too short for a part of a partition", examined.bytes));
        }
        if examined.header.is_none() {
            return self.examine(file, Step::Header, 0, PAGE_BYTES);
        }
        let Some(trailer) = &examined.trailer else {
            return self.examine(file, Step::Trailer, examined.bytes - page, PAGE_BYTES);
        };
        let whole = trailer.footer_bytes.next_multiple_of(page);
        let read = examined.footer.len() as u64;
        if read < whole {
            let bytes = (whole - read).min(self.settings.pools.floor.unit().bytes() as u64) as usize;
            return self.examine(file, Step::Footer, trailer.footer_offset + read, bytes);
        }
        let footer = &examined.footer[..trailer.footer_bytes as usize];
        match Footer::decode(footer, trailer) {
            Ok(footer) => {
                let end = (*trailer, footer);
                self.examined(Some(end));
            }
            Err(error) => {
                let base = trailer.footer_offset;
                self.refuse_format(&error, base);
            }
        }
    }

    fn examine(&mut self, file: FileId, step: Step, offset: u64, bytes: usize) {
        let class = SizeClass::fitting(bytes).unwrap_or(SizeClass::MAX);
        let memory = self.memory.acquire_exactly(class).or_else(|| self.memory.wake_when_there_is_some());
        let Some(examined) = &mut self.recovery.examined else { return };
        examined.stalled = memory.is_none();
        if memory.is_none() {
            self.reads.falls_short(self.now);
        }
        if let Some(mut memory) = memory {
            memory.truncate(bytes);
            self.submit(Purpose::Recover(step), DiskRequest::Read { file, offset, into: vec![memory] });
        }
    }

    fn refuse_format(&mut self, error: &FormatError, base: u64) {
        let what = error.clone().behind(base).to_string();
        self.refuse(&what);
    }

    /// The file is none that could be read: it goes.
    fn refuse(&mut self, what: &str) {
        let Some(examined) = self.recovery.examined.take() else { return };
        let path = self.directories.path(examined.directory);
        tracing::warn!(
            "{path}: file {}: {what}; an earlier life has not finished it, and it is removed",
            examined.name
        );
        let (directory, name) = (examined.directory, examined.name);
        match examined.file {
            Some(file) => self.submit(Purpose::Recover(Step::Close), DiskRequest::Close { file }),
            None => self.examine_next(),
        }
        self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: None, name });
    }

    fn examined(&mut self, end: Option<(Trailer, Footer)>) {
        let Some(examined) = &mut self.recovery.examined else { return };
        let (Some(header), Some(file)) = (examined.header, examined.file) else { return };
        let (directory, name) = (examined.directory, examined.name.clone());
        self.recovery.found.push(Found { directory, name, header, end });
        self.submit(Purpose::Recover(Step::Close), DiskRequest::Close { file });
    }

    /// All files are looked at.
    fn offer_what_is_complete(&mut self) {
        self.recovery.examined = None;
        self.recovery.is_complete = true;
        let mut by_life: BTreeMap<_, Vec<Found>> = BTreeMap::new();
        for found in std::mem::take(&mut self.recovery.found) {
            let set = found.header.set;
            // What was merged stands for itself beside what it was merged from, of which only one is complete, or both.
            let is_merged = found.name.parse::<PartName>().is_ok_and(|name| name.is_merged);
            by_life.entry((set.partition, set.incarnation, is_merged)).or_default().push(found);
        }
        for ((partition, ..), found) in by_life {
            let files: Vec<_> = found.iter().map(|found| (found.directory, found.name.clone())).collect();
            let result = match self.recovery.forgotten.contains(&partition) {
                true => Err("it is released".into()),
                false => complete_sets(found, self.settings.disk.boot),
            };
            match result.and_then(|sets| self.offer(partition, sets)) {
                Ok(()) => {}
                Err(why) => {
                    tracing::info!(%partition, "what an earlier life has left is removed: {why}");
                    for (directory, name) in files {
                        self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: None, name });
                    }
                }
            }
        }
        // Lives whose last files were adopted or removed are forgotten by who lists.
        for directory in self.directories.ids() {
            self.submit(Purpose::Tidy, DiskRequest::List { directory });
        }
        self.settings.recovered.complete();
    }

    fn offer(&mut self, partition: PartitionId, sets: Vec<StoredSet>) -> Result<(), String> {
        let Some(set) = sets.first().map(|set| set.footer.set) else { return Err("it has no files".into()) };
        let kind = match set.layout {
            Layout::SortMerge => PartitionKind::SortMerge,
            Layout::Hash => PartitionKind::Hash,
        };
        let log = Arc::new(BlockLog::new(partition, kind, set.subpartitions, self.settings.mailbox.clone()));
        if !self.settings.manager.register(Arc::clone(&log)) {
            return Err("it is here already".into());
        }
        let mut directories: Vec<_> = sets.iter().flat_map(|set| &set.parts).map(|part| part.directory).collect();
        directories.dedup();
        let mut stored = Stored::new(log, sets);
        stored.claim_by = self.recovery.sweep_at;
        if let Some(held) = stored.held() {
            stored.log.finish(held.statistics.clone());
            self.settings.recovered.add(directories, held);
        }
        tracing::info!(%partition, "an earlier life has left it complete, and it is served again");
        self.stored.insert(partition, stored);
        self.settings.mailbox.send(Command::Registered(partition));
        Ok(())
    }

    /// Somebody wants a recovered partition: it stays.
    pub(in crate::reactor) fn claim(&mut self, partition: PartitionId) {
        if let Some(stored) = self.stored.get_mut(&partition) {
            stored.claim_by = None;
        }
    }

    pub(super) fn recovery_due(&self) -> Option<Time> {
        let short = self.take_back_due();
        self.recovery.sweep_at.into_iter().chain(short).min()
    }

    pub(super) fn recovery_timer(&mut self) {
        if self.recovery.examined.as_ref().is_some_and(|examined| examined.stalled) {
            self.examine_on();
        }
        if self.recovery.sweep_at.is_none_or(|at| at > self.now) {
            return;
        }
        self.recovery.sweep_at = None;
        let unclaimed = self.stored.iter().filter(|(_, stored)| stored.claim_by.is_some()).map(|(id, _)| *id);
        for id in unclaimed.collect::<Vec<_>>() {
            tracing::info!(partition = %id, "nobody has claimed it in time (disk.recover_timeout): it is removed");
            self.settings.recovered.remove(id);
            if let Some(log) = self.settings.manager.remove(id) {
                log.release();
            }
            self.settings.mailbox.send(Command::Released(id));
        }
        for directory in self.directories.ids() {
            self.submit(Purpose::Recover(Step::Sweep), DiskRequest::List { directory });
        }
    }
}

/// The file sets of a partition, if every part of each is there and has survived for sure.
fn complete_sets(found: Vec<Found>, boot: [u8; 16]) -> Result<Vec<StoredSet>, String> {
    let mut by_set: BTreeMap<u32, Vec<Found>> = BTreeMap::new();
    for found in found {
        by_set.entry(found.header.set.first.0).or_default().push(found);
    }
    let mut sets = Vec::new();
    for mut parts in by_set.into_values() {
        parts.sort_by_key(|found| found.header.part);
        let last = parts.last_mut().expect("a set has the part that it was made of");
        let Some((trailer, footer)) = last.end.take() else {
            if defect::is(Defect::AcceptMissingParts) {
                continue;
            }
            return Err(format!("{} has no end", last.name));
        };
        let numbers = parts.iter().map(|found| found.header.part);
        let all_there = numbers.eq(0..trailer.parts) || defect::is(Defect::AcceptMissingParts);
        if !all_there || parts.iter().any(|found| found.header.set != trailer.set) {
            return Err(format!("{} of {} parts are there", parts.len(), trailer.parts));
        }
        if !trailer.durable && trailer.boot != boot && !defect::is(Defect::RecoverFromOtherBoot) {
            return Err("the machine has gone down since, and it was not made durable (disk.durability)".into());
        }
        let parts = parts.into_iter().map(|found| StoredPart::new(found.directory, found.name));
        sets.push(StoredSet::new(footer, parts.collect()));
    }
    // By their first subpartitions, in order: each goes on where the one before ends.
    let mut all = sets.iter().map(|set| set.footer.set);
    let end = all.clone().try_fold(0, |end, FileSet { first, count, .. }| (first.0 == end).then_some(end + count));
    match all.next_back() {
        Some(set) if end == Some(set.subpartitions) || defect::is(Defect::AcceptMissingParts) => Ok(sets),
        _ => Err("not all of its subpartitions are there".into()),
    }
}
