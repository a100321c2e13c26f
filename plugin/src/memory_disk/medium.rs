//! The directories and files of a disk in memory, and who lives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use sluice_memory::{Buffer, BufferMut};

use super::Failure;
use crate::disk::{DISK_ALIGNMENT, DirectoryId, FileOwner, ListedFile, OwnerState, is_file_name};

const PAGE: usize = DISK_ALIGNMENT;

/// All that outlives a disk.
#[derive(Debug)]
pub(super) struct Medium {
    directories: Vec<Directory>,
    contents: BTreeMap<ContentId, Content>,
    next: u64,
    alive: BTreeSet<FileOwner>,
    /// Since the beginning, as it was told.
    now: Duration,
    /// Of files with this in their name, so many reads more will fail.
    failing: (String, u32),
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    bytes_max: u64,
    is_lost: bool,
    names: BTreeMap<(FileOwner, String), ContentId>,
}

/// A file's bytes, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ContentId(u64);

#[derive(Debug)]
struct Content {
    directory: DirectoryId,
    path: PathBuf,
    /// What was ever written; the rest is zeros.
    pages: BTreeMap<u64, Vec<u8>>,
    bytes: u64,
    openings: usize,
    has_name: bool,
    /// When it was written or touched last.
    changed: Duration,
}

impl Medium {
    pub(super) fn files(&self) -> Vec<(DirectoryId, FileOwner, String)> {
        let directories = self.directories.iter().enumerate();
        let files = directories.flat_map(|(number, directory)| {
            let named = directory.names.keys();
            named.map(move |(owner, name)| (DirectoryId(number as u16), owner.clone(), name.clone()))
        });
        files.collect()
    }

    pub(super) fn new(name: &str, bytes_max: &[u64]) -> Self {
        let directory = |(index, bytes_max): (usize, &u64)| Directory {
            path: PathBuf::from(format!("{name}:{index}")),
            bytes_max: *bytes_max,
            is_lost: false,
            names: BTreeMap::new(),
        };
        let directories = bytes_max.iter().enumerate().map(directory).collect();
        Self {
            directories,
            contents: BTreeMap::new(),
            next: 0,
            alive: BTreeSet::new(),
            now: Duration::ZERO,
            failing: (String::new(), 0),
        }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.directories.iter().map(|directory| directory.path.clone()).collect()
    }

    /// Whether nobody of that name lives already.
    pub(super) fn enter(&mut self, owner: &FileOwner) -> bool {
        self.alive.insert(owner.clone())
    }

    pub(super) fn leave(&mut self, owner: &FileOwner) {
        self.alive.remove(owner);
    }

    // ── From outside ────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn remove_from_outside(&mut self, directory: DirectoryId, owner: &FileOwner, name: &str) {
        if let Some(content) = self.names(directory).remove(&(owner.clone(), name.to_owned())) {
            self.forget_name(content);
        }
    }

    pub(super) fn fail_reads(&mut self, name: &str, times: u32) {
        self.failing = (name.to_owned(), times);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(super) fn set_back(&mut self, time: Duration) {
        self.now = self.now.saturating_sub(time);
    }

    pub(super) fn resize(&mut self, directory: DirectoryId, bytes_max: u64) {
        self.directories[usize::from(directory.0)].bytes_max = bytes_max;
    }

    pub(super) fn lose(&mut self, directory: DirectoryId) {
        let directory = &mut self.directories[usize::from(directory.0)];
        directory.is_lost = true;
        for content in std::mem::take(&mut directory.names).into_values() {
            self.forget_name(content);
        }
    }

    pub(super) fn contents(&self, directory: DirectoryId, owner: &FileOwner, name: &str) -> Option<Vec<u8>> {
        let names = &self.directories[usize::from(directory.0)].names;
        let content = &self.contents[names.get(&(owner.clone(), name.to_owned()))?];
        let pages = 0..content.bytes.div_ceil(PAGE as u64);
        let mut bytes: Vec<u8> = pages.flat_map(|page| content.page(page).to_vec()).collect();
        bytes.truncate(content.bytes as usize);
        Some(bytes)
    }

    pub(super) fn overwrite(&mut self, directory: DirectoryId, owner: &FileOwner, name: &str, bytes: &[u8]) {
        let key = (owner.clone(), name.to_owned());
        let known = self.directories[usize::from(directory.0)].names.get(&key).copied();
        let id = known.unwrap_or_else(|| self.name_anew(directory, key));
        let content = self.content(id);
        content.pages.clear();
        content.bytes = bytes.len() as u64;
        for (page, bytes) in bytes.chunks(PAGE).enumerate() {
            let mut padded = bytes.to_vec();
            padded.resize(PAGE, 0);
            content.pages.insert(page as u64, padded);
        }
    }

    // ── Names ───────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn create(
        &mut self,
        directory: DirectoryId,
        owner: &FileOwner,
        name: &str,
    ) -> Result<ContentId, Failure> {
        let place = self.place(directory, owner, name)?;
        if self.names(directory).contains_key(&place.key) {
            return Err(place.failure(ErrorKind::AlreadyExists));
        }
        let content = self.name_anew(directory, place.key);
        self.content(content).openings = 1;
        Ok(content)
    }

    pub(super) fn open(
        &mut self,
        directory: DirectoryId,
        owner: &FileOwner,
        name: &str,
    ) -> Result<(ContentId, u64), Failure> {
        let place = self.place(directory, owner, name)?;
        let found = self.names(directory).get(&place.key).copied();
        let id = found.ok_or_else(|| place.failure(ErrorKind::NotFound))?;
        let content = self.content(id);
        content.openings += 1;
        Ok((id, content.bytes))
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
        if let Some(content) = self.names(directory).remove(&place.key) {
            self.forget_name(content);
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
        let content = names.remove(&from.key).ok_or_else(|| from.failure(ErrorKind::NotFound))?;
        names.insert(to.key, content);
        self.content(content).path = to.path;
        Ok(())
    }

    pub(super) fn touch(&mut self, directory: DirectoryId, owner: &FileOwner, name: &str) -> Result<(), Failure> {
        let place = self.place(directory, owner, name)?;
        if let Some(content) = self.names(directory).get(&place.key).copied() {
            self.has_changed(content);
        }
        Ok(())
    }

    pub(super) fn list(&mut self, directory: DirectoryId, by: &FileOwner) -> Result<Vec<ListedFile>, Failure> {
        self.directory(directory)?;
        let listed = |((owner, name), content): (&(FileOwner, String), &ContentId)| ListedFile {
            name: name.clone(),
            owner: owner.clone(),
            state: match owner {
                owner if owner == by => OwnerState::Own,
                owner if self.alive.contains(owner) => OwnerState::Alive,
                _ => OwnerState::Dead,
            },
            bytes: self.contents[content].bytes,
            age: self.now.checked_sub(self.contents[content].changed),
        };
        Ok(self.directories[usize::from(directory.0)].names.iter().map(listed).collect())
    }

    // ── Bytes ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// How much is free, and how much there is.
    pub(super) fn space(&mut self, directory: DirectoryId) -> Result<(u64, u64), Failure> {
        let total = self.directory(directory)?.bytes_max;
        Ok((total.saturating_sub(self.used(directory)), total))
    }

    /// What there is to say of a change through an opening that is to read.
    pub(super) fn closed_to_writes(&self, content: ContentId) -> Failure {
        let path = self.contents[&content].path.clone();
        Failure { path, offset: None, kind: ErrorKind::PermissionDenied }
    }

    pub(super) fn lengthen(&mut self, content: ContentId, bytes: u64) -> Result<(), Failure> {
        let Content { directory, path, bytes: now, .. } = &self.contents[&content];
        let more = bytes.saturating_sub(*now);
        let bytes_max = self.directories[usize::from(directory.0)].bytes_max;
        if more > bytes_max.saturating_sub(self.used(*directory)) {
            return Err(Failure { path: path.clone(), offset: None, kind: ErrorKind::StorageFull });
        }
        self.content(content).bytes += more;
        self.has_changed(content);
        Ok(())
    }

    pub(super) fn truncate(&mut self, content: ContentId, bytes: u64) -> Result<(), Failure> {
        self.lengthen(content, bytes)?;
        let content = self.content(content);
        content.bytes = bytes;
        content.pages.retain(|page, _| page * (PAGE as u64) < bytes);
        let within = (bytes % PAGE as u64) as usize;
        if let Some(last) = content.pages.get_mut(&(bytes / PAGE as u64)) {
            last[within..].fill(0);
        }
        Ok(())
    }

    pub(super) fn read(&mut self, content: ContentId, offset: u64, into: &mut [BufferMut]) -> Result<(), Failure> {
        let content = &self.contents[&content];
        if self.failing.1 > 0 && content.path.to_string_lossy().contains(&self.failing.0) {
            self.failing.1 -= 1;
            return Err(Failure { path: content.path.clone(), offset: Some(offset), kind: ErrorKind::Other });
        }
        let mut at = offset;
        for page in into.iter_mut().flat_map(|piece| piece.chunks_mut(PAGE)) {
            if at + PAGE as u64 > content.bytes {
                let path = content.path.clone();
                return Err(Failure { path, offset: Some(at), kind: ErrorKind::UnexpectedEof });
            }
            page.copy_from_slice(content.page(at / PAGE as u64));
            at += PAGE as u64;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, content: ContentId, offset: u64, from: &[Buffer]) -> Result<(), Failure> {
        let bytes: usize = from.iter().map(|piece| piece.len()).sum();
        let room = self.lengthen(content, offset.saturating_add(bytes as u64));
        room.map_err(|failure| Failure { offset: Some(offset), ..failure })?;
        let first = offset / PAGE as u64;
        for (page, bytes) in (first..).zip(from.iter().flat_map(|piece| piece.chunks(PAGE))) {
            self.content(content).pages.insert(page, bytes.to_vec());
        }
        Ok(())
    }

    pub(super) fn close(&mut self, content: ContentId) {
        self.content(content).openings -= 1;
        self.forget_unreachable(content);
    }

    // ── Inside ──────────────────────────────────────────────────────────────────────────────────────────────────

    fn directory(&mut self, id: DirectoryId) -> Result<&mut Directory, Failure> {
        let directory = &mut self.directories[usize::from(id.0)];
        if directory.is_lost {
            return Err(Failure { path: directory.path.clone(), offset: None, kind: ErrorKind::NotFound });
        }
        Ok(directory)
    }

    fn names(&mut self, directory: DirectoryId) -> &mut BTreeMap<(FileOwner, String), ContentId> {
        &mut self.directories[usize::from(directory.0)].names
    }

    fn place(&mut self, directory: DirectoryId, owner: &FileOwner, name: &str) -> Result<Place, Failure> {
        let directory = self.directory(directory)?;
        let path = directory.path.join(format!("{}~{name}", owner.0));
        if !is_file_name(name) {
            return Err(Failure { path, offset: None, kind: ErrorKind::InvalidInput });
        }
        Ok(Place { path, key: (owner.clone(), name.to_owned()) })
    }

    fn name_anew(&mut self, directory: DirectoryId, key: (FileOwner, String)) -> ContentId {
        let id = ContentId(self.next);
        self.next += 1;
        let at = &mut self.directories[usize::from(directory.0)];
        let path = at.path.join(format!("{}~{}", key.0.0, key.1));
        at.names.insert(key, id);
        let content = Content {
            directory,
            path,
            pages: BTreeMap::new(),
            bytes: 0,
            openings: 0,
            has_name: true,
            changed: self.now,
        };
        self.contents.insert(id, content);
        id
    }

    fn content(&mut self, id: ContentId) -> &mut Content {
        self.contents.get_mut(&id).expect("it has a name, or is open")
    }

    fn has_changed(&mut self, content: ContentId) {
        self.content(content).changed = self.now;
    }

    fn used(&self, directory: DirectoryId) -> u64 {
        let here = self.contents.values().filter(|content| content.directory == directory);
        here.map(|content| content.bytes).sum()
    }

    fn forget_name(&mut self, content: ContentId) {
        self.content(content).has_name = false;
        self.forget_unreachable(content);
    }

    fn forget_unreachable(&mut self, id: ContentId) {
        let content = self.content(id);
        if content.openings == 0 && !content.has_name {
            self.contents.remove(&id);
        }
    }
}

impl Content {
    fn page(&self, page: u64) -> &[u8] {
        self.pages.get(&page).map_or(&[0; PAGE], Vec::as_slice)
    }
}

/// Where a file is or would be.
struct Place {
    path: PathBuf,
    key: (FileOwner, String),
}

impl Place {
    fn failure(&self, kind: ErrorKind) -> Failure {
        Failure { path: self.path.clone(), offset: None, kind }
    }
}
