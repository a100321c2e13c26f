//! What the files that were found make together: complete partitions are offered, others go, unless what they lack may
//! lie where nobody could look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluice_plugin::DiskRequest;
use sluice_protocol::PartitionId;
use sluice_protocol::defect::{self, Defect};

use super::Place;
use crate::mailbox::Command;
use crate::partition::{BlockLog, PartitionKind};
use crate::reactor::storage::stored::{Stored, StoredPart, StoredSet};
use crate::reactor::storage::{Purpose, Storage};
use crate::spill::{FileSet, Footer, Header, Layout, PartName, Trailer};

/// A part that makes sense by itself.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) age: Option<Duration>,
    pub(super) header: Header,
    pub(super) end: Option<(Trailer, Footer)>,
}

/// Why a partition is not offered.
enum Refusal {
    /// Some of it is not there, or was not found.
    Incomplete(String),
    /// What there is of it is not to be served.
    Unwanted(String),
}

impl Storage {
    /// All files are looked at.
    pub(super) fn offer_what_is_complete(&mut self) {
        self.recovery.examined = None;
        self.recovery.is_complete = true;
        let mut by_life: BTreeMap<_, Vec<Found>> = BTreeMap::new();
        for found in std::mem::take(&mut self.recovery.found) {
            let set = found.header.set;
            // What was merged stands for itself beside what it was merged from, of which only one is complete, or both.
            let is_merged = found.place.name.parse::<PartName>().is_ok_and(|name| name.is_merged);
            by_life.entry((set.partition, set.incarnation, is_merged)).or_default().push(found);
        }
        for ((partition, ..), found) in by_life {
            let places: Vec<_> = found.iter().map(|found| found.place.clone()).collect();
            // Who wants one of its files wants all of them.
            let age = found.iter().map(|found| found.age).min().flatten();
            let result = match self.recovery.forgotten.contains(&partition) {
                true => Err(Refusal::Unwanted("it is released".into())),
                false => complete_sets(found, self.settings.disk.boot),
            };
            match result.and_then(|sets| self.offer(partition, sets, age)) {
                Ok(()) => {}
                Err(Refusal::Incomplete(why)) if self.may_be_elsewhere(partition) => {
                    tracing::warn!(%partition, "{why}, and not all could be read: what there is stays");
                    self.recovery.left_alone.entry(partition).or_default().extend(places);
                }
                Err(Refusal::Incomplete(why) | Refusal::Unwanted(why)) => {
                    tracing::info!(%partition, "what an earlier life has left is removed: {why}");
                    self.remove_places(places);
                }
            }
        }
        self.tell_of_the_unread();
        self.settings.recovered.complete();
        // Also so that lives whose last files were adopted or removed are forgotten by who lists.
        self.look_at_ages();
    }

    /// Whether what is missing of a partition may lie in a file that could not be read, or where nobody could look.
    fn may_be_elsewhere(&self, partition: PartitionId) -> bool {
        self.recovery.unlisted.is_some() || self.recovery.unread.contains_key(&partition)
    }

    fn tell_of_the_unread(&mut self) {
        let released = |partition: &&PartitionId| self.recovery.forgotten.contains(partition);
        let gone: Vec<_> = self.recovery.left_alone.keys().filter(released).copied().collect();
        for partition in gone {
            let places = self.recovery.left_alone.remove(&partition).unwrap_or_default();
            self.remove_places(places);
        }
        let unlisted = self.recovery.unlisted.clone().unwrap_or_default();
        let alone = self.recovery.left_alone.keys().map(|partition| (*partition, unlisted.clone()));
        let unread = std::mem::take(&mut self.recovery.unread);
        // What is served all the same, as what was merged or what it was merged from, lacks nothing.
        let all = unread.into_iter().chain(alone).filter(|(partition, _)| !self.stored.contains_key(partition));
        for (partition, cause) in all {
            self.settings.recovered.add_unread(partition, cause);
        }
    }

    fn remove_places(&mut self, places: Vec<Place>) {
        for Place { directory, name } in places {
            self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: None, name });
        }
    }

    fn offer(&mut self, partition: PartitionId, sets: Vec<StoredSet>, age: Option<Duration>) -> Result<(), Refusal> {
        let Some(set) = sets.first().map(|set| set.footer.set) else {
            return Err(Refusal::Incomplete("it has no files".into()));
        };
        let kind = match set.layout {
            Layout::SortMerge => PartitionKind::SortMerge,
            Layout::Hash => PartitionKind::Hash,
        };
        let log = Arc::new(BlockLog::new(partition, kind, set.subpartitions, self.settings.mailbox.clone()));
        if !self.settings.manager.register(Arc::clone(&log)) {
            return Err(Refusal::Unwanted("it is here already".into()));
        }
        let mut directories: Vec<_> = sets.iter().flat_map(|set| &set.parts).map(|part| part.directory).collect();
        directories.dedup();
        log.count_in(&self.settings.counters);
        let mut stored = Stored::new(log, sets);
        stored.claim_by = Some(self.recovery.ages.claim_by(self.now, age));
        if let Some(held) = stored.held() {
            stored.log.finish(held.statistics.clone());
            self.settings.recovered.add(directories, held);
        }
        tracing::info!(%partition, "an earlier life has left it complete, and it is served again");
        self.stored.insert(partition, stored);
        self.settings.mailbox.send(Command::Registered(partition));
        Ok(())
    }
}

/// The file sets of a partition, if every part of each is there and has survived for sure.
fn complete_sets(found: Vec<Found>, boot: [u8; 16]) -> Result<Vec<StoredSet>, Refusal> {
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
            return Err(Refusal::Incomplete(format!("{} has no end", last.place.name)));
        };
        let numbers = parts.iter().map(|found| found.header.part);
        let all_there = numbers.eq(0..trailer.parts) || defect::is(Defect::AcceptMissingParts);
        if !all_there || parts.iter().any(|found| found.header.set != trailer.set) {
            return Err(Refusal::Incomplete(format!("{} of {} parts are there", parts.len(), trailer.parts)));
        }
        if !trailer.durable && trailer.boot != boot && !defect::is(Defect::RecoverFromOtherBoot) {
            let why = "the machine has gone down since, and it was not made durable (disk.durability)";
            return Err(Refusal::Unwanted(why.into()));
        }
        let parts = parts.into_iter().map(|found| StoredPart::new(found.place.directory, found.place.name));
        sets.push(StoredSet::new(footer, parts.collect()));
    }
    // By their first subpartitions, in order: each goes on where the one before ends.
    let mut all = sets.iter().map(|set| set.footer.set);
    let end = all.clone().try_fold(0, |end, FileSet { first, count, .. }| (first.0 == end).then_some(end + count));
    match all.next_back() {
        Some(set) if end == Some(set.subpartitions) || defect::is(Defect::AcceptMissingParts) => Ok(sets),
        _ => Err(Refusal::Incomplete("not all of its subpartitions are there".into())),
    }
}
