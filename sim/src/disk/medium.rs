//! The directories and files that outlive a worker's lives, and who lives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::path::PathBuf;

use sluice_core::Time;
use sluice_memory::{Buffer, BufferMut};
use sluice_plugin::{DirectoryId, DiskRequest, FileOwner, ListedFile, OwnerState, is_file_name};

use super::content::{Content, ContentId, Name, PAGE, PAGE_SECTORS};

pub(super) struct Medium {
    pub(super) directories: Vec<Directory>,
    pub(super) contents: BTreeMap<ContentId, Content>,
    pub(super) alive: BTreeSet<FileOwner>,
    created: u64,
    /// The number of the last change of anything.
    changes: u64,
    /// The disk's time.
    pub(super) now: Time,
}

pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) bytes_max: u64,
    pub(super) is_lost: bool,
    names: BTreeMap<Name, ContentId>,
}

/// What went wrong, and where; the operation is known above.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) path: PathBuf,
    pub(super) offset: Option<u64>,
    pub(super) source: Error,
}

/// Where a file is or would be.
struct Place {
    path: PathBuf,
    key: Name,
}

impl Place {
    fn failure(&self, kind: ErrorKind) -> Failure {
        Failure { path: self.path.clone(), offset: None, source: kind.into() }
    }
}

impl Medium {
    pub(super) fn new(name: &str, bytes_max: &[u64]) -> Self {
        let directory = |(index, bytes_max): (usize, &u64)| Directory {
            path: PathBuf::from(format!("{name}:{index}")),
            bytes_max: *bytes_max,
            is_lost: false,
            names: BTreeMap::new(),
        };
        let directories = bytes_max.iter().enumerate().map(directory).collect();
        Self { directories, contents: BTreeMap::new(), alive: BTreeSet::new(), created: 0, changes: 0, now: Time(0) }
    }

    /// What a sync that is asked for now covers.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    // ── Names ───────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn create(
        &mut self,
        directory: DirectoryId,
        owner: &FileOwner,
        life: u64,
        name: &str,
    ) -> Result<ContentId, Failure> {
        let place = self.place(directory, owner, name)?;
        if self.names(directory).contains_key(&place.key) {
            return Err(place.failure(ErrorKind::AlreadyExists));
        }
        let id = ContentId(self.created);
        self.created += 1;
        let number = self.change();
        let mut content = Content::new(directory, life);
        content.changed_at = self.now;
        content.name.change(number, Some(place.key.clone()));
        content.openings = 1;
        self.contents.insert(id, content);
        self.names(directory).insert(place.key, id);
        Ok(id)
    }

    pub(super) fn open(&mut self, directory: DirectoryId, owner: &FileOwner, name: &str) -> Result<ContentId, Failure> {
        let place = self.place(directory, owner, name)?;
        let found = self.names(directory).get(&place.key).copied();
        let id = found.ok_or_else(|| place.failure(ErrorKind::NotFound))?;
        self.content(id).openings += 1;
        Ok(id)
    }

    pub(super) fn close(&mut self, id: ContentId) {
        self.content(id).openings -= 1;
    }

    pub(super) fn remove(
        &mut self,
        directory: DirectoryId,
        by: &FileOwner,
        owner: &FileOwner,
        name: &str,
    ) -> Result<(), Failure> {
        let place = self.place(directory, owner, name)?;
        if owner != by && self.alive.contains(owner) {
            return Err(place.failure(ErrorKind::ResourceBusy));
        }
        if let Some(id) = self.names(directory).remove(&place.key) {
            let number = self.change();
            self.content(id).name.change(number, None);
        }
        Ok(())
    }

    pub(super) fn adopt(
        &mut self,
        directory: DirectoryId,
        by: &FileOwner,
        owner: &FileOwner,
        name: &str,
    ) -> Result<(), Failure> {
        let from = self.place(directory, owner, name)?;
        let to = self.place(directory, by, name)?;
        if self.alive.contains(owner) {
            return Err(from.failure(ErrorKind::ResourceBusy));
        }
        let names = self.names(directory);
        if names.contains_key(&to.key) {
            return Err(to.failure(ErrorKind::AlreadyExists));
        }
        let id = names.remove(&from.key).ok_or_else(|| from.failure(ErrorKind::NotFound))?;
        names.insert(to.key.clone(), id);
        let number = self.change();
        self.content(id).name.change(number, Some(to.key));
        Ok(())
    }

    pub(super) fn touch(&mut self, directory: DirectoryId, owner: &FileOwner, name: &str) -> Result<(), Failure> {
        let place = self.place(directory, owner, name)?;
        if let Some(id) = self.names(directory).get(&place.key).copied() {
            self.content(id).changed_at = self.now;
        }
        Ok(())
    }

    pub(super) fn list(&mut self, directory: DirectoryId, by: &FileOwner) -> Result<Vec<ListedFile>, Failure> {
        self.directory(directory)?;
        let listed = |((owner, name), content): (&Name, &ContentId)| ListedFile {
            name: name.clone(),
            owner: owner.clone(),
            state: match owner {
                owner if owner == by => OwnerState::Own,
                owner if self.alive.contains(owner) => OwnerState::Alive,
                _ => OwnerState::Dead,
            },
            bytes: self.contents[content].length(),
            age: Some(self.now.since(self.contents[content].changed_at)),
        };
        Ok(self.directories[usize::from(directory.0)].names.iter().map(listed).collect())
    }

    // ── Bytes ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// How much is free, and how much there is.
    pub(super) fn space(&mut self, directory: DirectoryId) -> Result<(u64, u64), Failure> {
        let total = self.directory(directory)?.bytes_max;
        Ok((total.saturating_sub(self.used(directory)), total))
    }

    pub(super) fn lengthen(&mut self, id: ContentId, bytes: u64) -> Result<(), Failure> {
        self.find_room(id, bytes)?;
        let (number, now) = (self.change(), self.now);
        self.content(id).changed_at = now;
        self.content(id).lengthen(number, bytes);
        Ok(())
    }

    pub(super) fn truncate(&mut self, id: ContentId, bytes: u64) -> Result<(), Failure> {
        self.find_room(id, bytes)?;
        let (number, now) = (self.change(), self.now);
        self.content(id).changed_at = now;
        self.content(id).truncate(number, bytes);
        Ok(())
    }

    pub(super) fn read(&self, id: ContentId, offset: u64, into: &mut [BufferMut]) -> Result<(), Failure> {
        let content = &self.contents[&id];
        let mut at = offset;
        for page in into.iter_mut().flat_map(|piece| piece.chunks_mut(PAGE)) {
            if at + PAGE as u64 > content.length() {
                let source = ErrorKind::UnexpectedEof.into();
                return Err(Failure { path: self.path(id), offset: Some(at), source });
            }
            page.copy_from_slice(content.page(at / PAGE as u64));
            at += PAGE as u64;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, id: ContentId, offset: u64, from: &[Buffer]) -> Result<(), Failure> {
        let bytes: usize = from.iter().map(|piece| piece.len()).sum();
        let room = self.find_room(id, offset.saturating_add(bytes as u64));
        room.map_err(|failure| Failure { offset: Some(offset), ..failure })?;
        self.write_part(id, offset, from, &vec![PAGE_SECTORS; bytes / PAGE]);
        Ok(())
    }

    /// What a write that did not end has left, whether there is room or not: of each page so many sectors.
    pub(super) fn write_part(&mut self, id: ContentId, offset: u64, from: &[Buffer], sectors: &[usize]) {
        let (number, now) = (self.change(), self.now);
        self.content(id).changed_at = now;
        let pages = from.iter().flat_map(|piece| piece.chunks(PAGE)).zip(sectors.iter().copied());
        self.content(id).write(number, offset / PAGE as u64, pages);
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn content(&mut self, id: ContentId) -> &mut Content {
        self.contents.get_mut(&id).expect("a content stays for as long as the medium")
    }

    /// Where a file is; or was, if it has no name any more.
    pub(super) fn path(&self, id: ContentId) -> PathBuf {
        let content = &self.contents[&id];
        let directory = &self.directories[usize::from(content.directory.0)].path;
        directory.join(content.name.now().as_ref().map_or_else(|| format!("removed-{}", id.0), words))
    }

    /// Where a request does its work.
    pub(super) fn directory_of(&self, request: &DiskRequest, content: Option<ContentId>) -> DirectoryId {
        match request {
            DiskRequest::Create { directory, .. }
            | DiskRequest::Open { directory, .. }
            | DiskRequest::Remove { directory, .. }
            | DiskRequest::Adopt { directory, .. }
            | DiskRequest::Touch { directory, .. }
            | DiskRequest::List { directory }
            | DiskRequest::Space { directory } => *directory,
            _ => self.contents[&content.expect("the others are for an open file")].directory,
        }
    }

    fn directory(&mut self, id: DirectoryId) -> Result<&mut Directory, Failure> {
        let directory = &mut self.directories[usize::from(id.0)];
        if directory.is_lost {
            let source = ErrorKind::NotFound.into();
            return Err(Failure { path: directory.path.clone(), offset: None, source });
        }
        Ok(directory)
    }

    fn names(&mut self, directory: DirectoryId) -> &mut BTreeMap<Name, ContentId> {
        &mut self.directories[usize::from(directory.0)].names
    }

    fn place(&mut self, directory: DirectoryId, owner: &FileOwner, name: &str) -> Result<Place, Failure> {
        let directory = self.directory(directory)?;
        let key = (owner.clone(), name.to_owned());
        let place = Place { path: directory.path.join(words(&key)), key };
        if is_file_name(name) { Ok(place) } else { Err(place.failure(ErrorKind::InvalidInput)) }
    }

    fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    fn find_room(&self, id: ContentId, bytes: u64) -> Result<(), Failure> {
        let content = &self.contents[&id];
        let more = bytes.saturating_sub(content.length());
        let bytes_max = self.directories[usize::from(content.directory.0)].bytes_max;
        if more > bytes_max.saturating_sub(self.used(content.directory)) {
            let source = ErrorKind::StorageFull.into();
            return Err(Failure { path: self.path(id), offset: None, source });
        }
        Ok(())
    }

    fn used(&self, directory: DirectoryId) -> u64 {
        let here = self.contents.values().filter(|content| content.directory == directory);
        let held = here.filter(|content| content.openings > 0 || content.name.now().is_some());
        held.map(Content::length).sum()
    }

    /// The names of a directory are gone, as if it had been unmounted. What is open stays so.
    pub(super) fn lose(&mut self, directory: DirectoryId) {
        self.directories[usize::from(directory.0)].is_lost = true;
        for id in std::mem::take(self.names(directory)).into_values() {
            let number = self.change();
            self.content(id).name.change(number, None);
        }
    }

    /// Names are anew what the contents say. Nothing is open.
    pub(super) fn find_names(&mut self) {
        self.directories.iter_mut().for_each(|directory| directory.names.clear());
        self.contents.retain(|_, content| content.name.now().is_some());
        // Of two of one name the one that was created later stays.
        let mut doubled = Vec::new();
        for (id, content) in &self.contents {
            let name = content.name.now().clone().expect("those without were just dropped");
            doubled.extend(self.directories[usize::from(content.directory.0)].names.insert(name, *id));
        }
        self.contents.retain(|id, _| !doubled.contains(id));
    }

    /// The files that have a name, in words, with their lengths.
    pub(super) fn files(&self) -> impl Iterator<Item = (PathBuf, u64)> {
        let names = self.directories.iter().flat_map(|directory| directory.names.values());
        names.map(|id| (self.path(*id), self.contents[id].length()))
    }
}

fn words((owner, name): &Name) -> String {
    format!("{}~{name}", owner.0)
}
