//! A finished partition on the disk, and its files, which are open while somebody reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_plugin::{DirectoryId, DiskDone, DiskError, DiskRequest, FileId};
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::{PartitionId, SubpartitionIndex, Time};

use super::reading::Reading;
use super::{Purpose, Storage, lost};
use crate::partition::{BlockLog, HeldPartition, PartitionKind, PartitionStatistics, ReaderId};
use crate::spill::{Footer, Layout};

/// A finished partition.
pub(super) struct Stored {
    pub(super) log: Arc<BlockLog>,
    pub(super) sets: Vec<StoredSet>,
    pub(super) readers: BTreeMap<ReaderId, Reading>,
    /// Requests to its files that are under way.
    pub(super) under_way: u32,
    /// It goes as soon as nothing of it is under way.
    released: bool,
    /// An earlier life has left it, and it goes if nobody has claimed it by then.
    pub(super) claim_by: Option<Time>,
}

/// One of its file sets.
pub(super) struct StoredSet {
    pub(super) footer: Footer,
    pub(super) parts: Vec<StoredPart>,
}

/// One of its files.
pub(super) struct StoredPart {
    pub(super) directory: DirectoryId,
    pub(super) name: String,
    pub(super) file: OpenFile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenFile {
    Closed,
    Opening,
    Open(FileId),
}

/// Names a part: its set's place, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartName {
    pub(super) set: usize,
    pub(super) part: u16,
}

impl StoredPart {
    pub(super) fn new(directory: DirectoryId, name: String) -> Self {
        Self { directory, name, file: OpenFile::Closed }
    }
}

impl StoredSet {
    pub(super) fn new(footer: Footer, parts: Vec<StoredPart>) -> Self {
        Self { footer, parts }
    }
}

impl Stored {
    pub(super) fn new(log: Arc<BlockLog>, sets: Vec<StoredSet>) -> Self {
        Self { log, sets, readers: BTreeMap::new(), under_way: 0, released: false, claim_by: None }
    }

    /// The set that has a subpartition, by its place.
    pub(super) fn set_of(&self, subpartition: u32) -> Option<usize> {
        self.sets.iter().position(|set| set.footer.set.holds(SubpartitionIndex(subpartition)))
    }

    /// What others are told of it.
    pub(super) fn held(&self) -> Option<HeldPartition> {
        let first = self.sets.first()?.footer.set;
        let totals = self.sets.iter().flat_map(|set| &set.footer.totals);
        let (bytes, records) = totals.map(|totals| (totals.raw_bytes, totals.records)).unzip();
        let kind = match first.layout {
            Layout::SortMerge => PartitionKind::SortMerge,
            Layout::Hash => PartitionKind::Hash,
        };
        let statistics = PartitionStatistics { bytes, records };
        Some(HeldPartition { partition: first.partition, kind, subpartitions: first.subpartitions, statistics })
    }

    /// All its files.
    pub(super) fn parts(&self) -> impl Iterator<Item = &StoredPart> {
        self.sets.iter().flat_map(|set| &set.parts)
    }
}

impl Storage {
    /// Nobody reads it any more, and it stays.
    pub(super) fn forsake(&mut self, id: PartitionId) {
        if let Some(stored) = self.stored.get_mut(&id) {
            let readers = std::mem::take(&mut stored.readers);
            self.reads.left(readers.len());
            self.reads.forget(id);
            self.close_if_unread(id);
        }
    }

    /// The file, if it is open; else it is being opened, and its readers go on then.
    pub(super) fn open_part(&mut self, id: PartitionId, name: PartName) -> Option<FileId> {
        let stored = self.stored.get_mut(&id)?;
        let part = &mut stored.sets[name.set].parts[usize::from(name.part)];
        match part.file {
            OpenFile::Open(file) => Some(file),
            OpenFile::Opening => None,
            OpenFile::Closed => {
                part.file = OpenFile::Opening;
                stored.under_way += 1;
                let request = DiskRequest::Open { directory: part.directory, name: part.name.clone() };
                self.submit(Purpose::Open(id, name), request);
                None
            }
        }
    }

    pub(super) fn opened(&mut self, id: PartitionId, name: PartName, result: Result<DiskDone, DiskError>) {
        let Some(stored) = self.stored.get_mut(&id) else { return };
        stored.under_way -= 1;
        let part = &mut stored.sets[name.set].parts[usize::from(name.part)];
        match result {
            Ok(DiskDone::Opened { file, .. }) => part.file = OpenFile::Open(file),
            Ok(_) => unreachable!("a file that is opened is open"),
            Err(error) => {
                part.file = OpenFile::Closed;
                let of_set = stored.readers.iter().filter(|(_, reading)| reading.set == name.set);
                let readers: Vec<_> = of_set.map(|(reader, _)| *reader).collect();
                for reader in readers {
                    self.fail_reader(id, reader, lost(&error));
                }
            }
        }
        if !self.remove_if_released(id) {
            self.read_on(id);
            self.close_if_unread(id);
        }
    }

    pub(super) fn release_stored(&mut self, id: PartitionId) {
        if let Some(stored) = self.stored.get_mut(&id) {
            stored.released = true;
            let readers = std::mem::take(&mut stored.readers);
            self.reads.left(readers.len());
            self.reads.forget(id);
            self.remove_if_released(id);
        }
    }

    /// True if it was released: it is gone, or goes when nothing of it is under way.
    pub(super) fn remove_if_released(&mut self, id: PartitionId) -> bool {
        let Some(stored) = self.stored.get(&id) else { return true };
        if !stored.released {
            return false;
        }
        if stored.under_way == 0 {
            self.close(id);
            let stored = self.stored.remove(&id).expect("looked at above");
            let forgotten = usize::from(defect::is(Defect::ForgetFileOnRelease));
            for part in stored.parts().skip(forgotten) {
                let (directory, name) = (part.directory, part.name.clone());
                self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: None, name });
            }
            self.look_for_space();
        }
        true
    }

    /// Files that nobody reads are closed.
    pub(super) fn close_if_unread(&mut self, id: PartitionId) {
        if self.stored.get(&id).is_some_and(|stored| stored.readers.is_empty() && stored.under_way == 0) {
            self.reads.forget(id);
            self.close(id);
        }
    }

    fn close(&mut self, id: PartitionId) {
        let Some(stored) = self.stored.get_mut(&id) else { return };
        let parts = stored.sets.iter_mut().flat_map(|set| &mut set.parts);
        let files: Vec<_> = parts
            .filter_map(|part| match std::mem::replace(&mut part.file, OpenFile::Closed) {
                OpenFile::Open(file) => Some(file),
                OpenFile::Closed | OpenFile::Opening => None,
            })
            .collect();
        for file in files {
            self.submit(Purpose::Tidy, DiskRequest::Close { file });
        }
    }
}
