//! A disk of plain memory, for tests: the reference of the seam, and what an engine's tests put beneath it.

mod medium;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::device::{Device, Wait};
use crate::disk::{
    DirectoryCapabilities, DirectoryId, Disk, DiskBuildError, DiskCapabilities, DiskCompletion, DiskDone, DiskError,
    DiskFactory, DiskRequest, DiskSetup, FileId, FileOwner,
};
use medium::{ContentId, Medium};

const NAME: &str = "memory-disk";
/// As many requests as it takes: few, so that whoever forgets that a disk can be full notices.
const UNDER_WAY_MAX: usize = 32;

/// Builds disks over one medium, that of this value and its clones. What a disk leaves behind when it is dropped is a
/// dead owner's, for the next life to find.
///
/// Requests complete in the next poll, and are carried out in another order than that of their submission, always the
/// same: who did not wait where it had to reads the wrong bytes.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    medium: Arc<Mutex<Medium>>,
}

impl MemoryDisk {
    /// Two directories of a TiB.
    pub fn new() -> Self {
        Self::with_directories(&[1 << 40, 1 << 40])
    }

    /// A directory for each of these numbers: that many bytes fit into it. Each byte of a file's length counts, written
    /// or not.
    pub fn with_directories(bytes_max: &[u64]) -> Self {
        Self { medium: Arc::new(Mutex::new(Medium::new(NAME, bytes_max))) }
    }

    /// From now on so many bytes fit into the directory. What is in it stays.
    pub fn resize(&self, directory: DirectoryId, bytes_max: u64) {
        self.medium().resize(directory, bytes_max);
    }

    /// The directory and its files are gone, as if it had been unmounted. What is open stays so.
    pub fn lose(&self, directory: DirectoryId) {
        self.medium().lose(directory);
    }

    /// It is so much later, for the age of files.
    pub fn pass(&self, time: Duration) {
        self.medium().pass(time);
    }

    /// The clock of the files is set back by so much.
    pub fn set_clock_back(&self, time: Duration) {
        self.medium().set_back(time);
    }

    /// A file is gone, as if somebody had removed it. What is open stays so.
    pub fn remove(&self, directory: DirectoryId, owner: &FileOwner, name: &str) {
        self.medium().remove_from_outside(directory, owner, name);
    }

    /// The next so many reads of files with this in their name fail, as those of a bad sector.
    pub fn fail_reads(&self, name: &str, times: u32) {
        self.medium().fail_reads(name, times);
    }

    /// All files: where they are, whose, and their names.
    pub fn files(&self) -> Vec<(DirectoryId, FileOwner, String)> {
        self.medium().files()
    }

    /// The bytes of a file; `None` if there is none.
    pub fn contents(&self, directory: DirectoryId, owner: &FileOwner, name: &str) -> Option<Vec<u8>> {
        self.medium().contents(directory, owner, name)
    }

    /// Makes these the bytes of a file, whether there was one or not, for tests of what damage does.
    pub fn overwrite(&self, directory: DirectoryId, owner: &FileOwner, name: &str, bytes: &[u8]) {
        self.medium().overwrite(directory, owner, name, bytes);
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().expect("no code under this lock panics")
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl DiskFactory for MemoryDisk {
    fn name(&self) -> &'static str {
        NAME
    }

    fn build(&self, setup: DiskSetup) -> Result<Box<dyn Disk>, DiskBuildError> {
        let owner = setup.owner();
        let mut medium = self.medium();
        if !medium.enter(&owner) {
            let problem = format!("{} has a disk here already: a life has one", owner.0);
            return Err(DiskBuildError { disk: NAME, problem });
        }
        let paths = medium.paths();
        let directories = paths.into_iter().map(|path| DirectoryCapabilities { path, is_direct: false }).collect();
        let capabilities = DiskCapabilities { engine: "memory".into(), depth: UNDER_WAY_MAX as u32, directories };
        drop(medium);
        Ok(Box::new(Life {
            factory: self.clone(),
            owner,
            capabilities,
            files: HashMap::new(),
            opened: 0,
            waiting: Vec::new(),
            dice: 1,
        }))
    }
}

/// The disk of one life.
struct Life {
    factory: MemoryDisk,
    owner: FileOwner,
    capabilities: DiskCapabilities,
    files: HashMap<FileId, OpenFile>,
    /// How many were ever opened.
    opened: u64,
    waiting: Vec<(u64, DiskRequest)>,
    dice: u64,
}

struct OpenFile {
    content: ContentId,
    is_to_read: bool,
    under_way: usize,
    is_closing: bool,
}

impl Device for Life {
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        // With nothing under way there is nothing to be woken by.
        Ok(if self.waiting.is_empty() { Wait::Waker } else { Wait::Ready })
    }
}

impl Disk for Life {
    fn capabilities(&self) -> &DiskCapabilities {
        &self.capabilities
    }

    fn submit(&mut self, token: u64, request: DiskRequest) -> Result<(), DiskRequest> {
        request.assert_aligned();
        if self.waiting.len() == UNDER_WAY_MAX {
            return Err(request);
        }
        if let Some(id) = request.file() {
            let file = self.files.get_mut(&id).filter(|file| !file.is_closing);
            let file = file.unwrap_or_else(|| panic!("{id:?} is not open"));
            let closes = matches!(request, DiskRequest::Close { .. });
            assert!(!closes || file.under_way == 0, "{id:?} is closed with {} under way", file.under_way);
            file.is_closing = closes;
            file.under_way += 1;
        }
        self.waiting.push((token, request));
        Ok(())
    }

    fn poll(&mut self, completions: &mut Vec<DiskCompletion>) {
        let mut waiting = mem::take(&mut self.waiting);
        while !waiting.is_empty() {
            let next = self.roll(waiting.len());
            let (token, mut request) = waiting.swap_remove(next);
            let result = self.carry_out(&mut request);
            if let Some(file) = request.file().and_then(|file| self.files.get_mut(&file)) {
                file.under_way -= 1;
            }
            completions.push(DiskCompletion { token, request, result });
        }
    }
}

impl Life {
    /// One of so many, by a generator that always begins alike (Knuth's MMIX).
    fn roll(&mut self, sides: usize) -> usize {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) as usize % sides
    }

    fn carry_out(&mut self, request: &mut DiskRequest) -> Result<DiskDone, DiskError> {
        let factory = self.factory.clone();
        let mut medium = factory.medium();
        let medium = &mut *medium;
        if let Some(file) = request.changes()
            && self.files[&file].is_to_read
        {
            return Err(medium.closed_to_writes(self.content(file)).error("change"));
        }
        match request {
            DiskRequest::Create { directory, name } => {
                let content = medium.create(*directory, &self.owner, name);
                content.map(|content| self.open(content, 0, false)).map_err(|at| at.error("create"))
            }
            DiskRequest::Open { directory, name } => {
                let found = medium.open(*directory, &self.owner, name);
                found.map(|(content, bytes)| self.open(content, bytes, true)).map_err(|at| at.error("open"))
            }
            DiskRequest::Allocate { file, bytes } => {
                done(medium.lengthen(self.content(*file), *bytes), "allocate room for")
            }
            DiskRequest::Truncate { file, bytes } => done(medium.truncate(self.content(*file), *bytes), "truncate"),
            DiskRequest::Read { file, offset, into } => done(medium.read(self.content(*file), *offset, into), "read"),
            DiskRequest::Write { file, offset, from } => {
                done(medium.write(self.content(*file), *offset, from), "write to")
            }
            DiskRequest::Sync { .. } => Ok(DiskDone::Done),
            DiskRequest::Close { file } => {
                let closed = self.files.remove(file).expect("submit() found it open");
                medium.close(closed.content);
                Ok(DiskDone::Done)
            }
            DiskRequest::Remove { directory, owner, name } => {
                let whose = owner.as_ref().unwrap_or(&self.owner);
                done(medium.remove(*directory, &self.owner, whose, name), "remove")
            }
            DiskRequest::Adopt { directory, owner, name } => {
                done(medium.adopt(*directory, &self.owner, owner, name), "adopt")
            }
            DiskRequest::Touch { directory, name } => done(medium.touch(*directory, &self.owner, name), "touch"),
            DiskRequest::List { directory } => {
                medium.list(*directory, &self.owner).map(DiskDone::Listed).map_err(|at| at.error("list"))
            }
            DiskRequest::Space { directory } => {
                let space = medium.space(*directory).map_err(|at| at.error("ask for the room in"))?;
                Ok(DiskDone::Space { free: space.0, total: space.1 })
            }
        }
    }

    fn open(&mut self, content: ContentId, bytes: u64, is_to_read: bool) -> DiskDone {
        self.opened += 1;
        let file = FileId(self.opened);
        self.files.insert(file, OpenFile { content, is_to_read, under_way: 0, is_closing: false });
        DiskDone::Opened { file, bytes }
    }

    fn content(&self, file: FileId) -> ContentId {
        self.files.get(&file).expect("submit() found it open").content
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let mut medium = self.factory.medium();
        self.files.values().for_each(|file| medium.close(file.content));
        medium.leave(&self.owner);
    }
}

fn done(result: Result<(), Failure>, operation: &'static str) -> Result<DiskDone, DiskError> {
    result.map(|()| DiskDone::Done).map_err(|at| at.error(operation))
}

/// What went wrong, and where; the operation is known above.
struct Failure {
    path: PathBuf,
    offset: Option<u64>,
    kind: io::ErrorKind,
}

impl Failure {
    fn error(self, operation: &'static str) -> DiskError {
        DiskError { operation, path: self.path, offset: self.offset, source: self.kind.into() }
    }
}
