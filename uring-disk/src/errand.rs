//! What is slow and touches names, lengths and the medium: carried out one after the other, on a thread of its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fallocate, fdatasync,
    fstat, fsync, ftruncate, open, statvfs, utimensat,
};
use rustix::io::{Errno, retry_on_intr};
use sluice_plugin::{DirectoryId, DiskDone, DiskError, DiskRequest, FileOwner, is_file_name};

use crate::directories::Directory;
use crate::lease::{self, Death};
use crate::listing;
use crate::names;

/// A file that is open, for reads, writes and errands.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) descriptor: Arc<OwnedFd>,
    pub(crate) path: PathBuf,
    directory: DirectoryId,
}

/// Something to be done.
pub(crate) struct Errand {
    pub(crate) token: u64,
    pub(crate) request: DiskRequest,
    /// The file of a request that is for an open one.
    pub(crate) file: Option<Arc<OpenFile>>,
}

/// An errand that is over.
pub(crate) struct Carried {
    pub(crate) token: u64,
    pub(crate) request: DiskRequest,
    pub(crate) result: Result<Outcome, DiskError>,
}

/// What came out.
pub(crate) enum Outcome {
    Done(DiskDone),
    /// A file was opened, which has no id yet; and its length in bytes.
    Opened(OpenFile, u64),
}

/// Who does them.
pub(crate) struct Clerk {
    pub(crate) owner: FileOwner,
    pub(crate) directories: Arc<[Directory]>,
}

impl Clerk {
    pub(crate) fn carry_out(&self, errand: Errand) -> Carried {
        let Errand { token, request, file } = errand;
        let result = self.result(&request, file);
        Carried { token, request, result }
    }

    fn result(&self, request: &DiskRequest, file: Option<Arc<OpenFile>>) -> Result<Outcome, DiskError> {
        let open_file = || file.as_ref().expect("the disk found it open");
        let done = match request {
            DiskRequest::Create { directory, name } => {
                return self.open(*directory, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL);
            }
            // Not to be written any more, and it may be that it cannot be: what it lies on can be read-only by now.
            DiskRequest::Open { directory, name } => return self.open(*directory, name, OFlags::RDONLY),
            DiskRequest::Allocate { bytes, .. } => open_file().allocate(*bytes),
            DiskRequest::Truncate { bytes, .. } => open_file().truncate(*bytes),
            DiskRequest::Sync { .. } => open_file().sync(&self.directory(open_file().directory).path),
            DiskRequest::Close { .. } => {
                // Here, as it may take long: this is the last handle, and frees the room of a removed file.
                drop(file);
                Ok(())
            }
            DiskRequest::Remove { directory, owner, name } => {
                self.remove(*directory, owner.as_ref().unwrap_or(&self.owner), name)
            }
            DiskRequest::Adopt { directory, owner, name } => self.adopt(*directory, owner, name),
            DiskRequest::Touch { directory, name } => self.touch(*directory, name),
            DiskRequest::List { directory } => {
                let path = &self.directory(*directory).path;
                let listed = listing::list(path, &self.owner).map_err(|source| failed("list", path, source))?;
                return Ok(Outcome::Done(DiskDone::Listed(listed)));
            }
            DiskRequest::Space { directory } => return self.space(*directory),
            DiskRequest::Read { .. } | DiskRequest::Write { .. } => unreachable!("the engine's"),
        };
        done.map(|()| Outcome::Done(DiskDone::Done))
    }

    fn directory(&self, id: DirectoryId) -> &Directory {
        &self.directories[usize::from(id.0)]
    }

    /// Where a file is, if it and its owner can be called so.
    fn path(
        &self,
        operation: &'static str,
        directory: DirectoryId,
        owner: &FileOwner,
        name: &str,
    ) -> Result<PathBuf, DiskError> {
        let directory = &self.directory(directory).path;
        let path = directory.join(names::file(owner, name));
        let problem = match (is_file_name(name), names::is_owner(&owner.0)) {
            (true, true) => return Ok(path),
            (false, _) => "a name has 1 to 100 letters, digits, '-', '_' and '.'",
            (_, false) => "this is nobody's file: an owner is called CLUSTER-NODE-INCARNATION",
        };
        Err(failed(operation, &path, io::Error::new(ErrorKind::InvalidInput, problem)))
    }

    fn open(&self, directory: DirectoryId, name: &str, flags: OFlags) -> Result<Outcome, DiskError> {
        let operation = if flags.contains(OFlags::CREATE) { "create" } else { "open" };
        let path = self.path(operation, directory, &self.owner, name)?;
        let direct = if self.directory(directory).is_direct { OFlags::DIRECT } else { OFlags::empty() };
        let flags = flags | direct | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = retry_on_intr(|| open(&path, flags, Mode::RUSR | Mode::WUSR));
        let file = opened.map_err(|error| failed(operation, &path, error.into()))?;
        let bytes = fstat(&file).map_err(|error| failed(operation, &path, error.into()))?.st_size as u64;
        Ok(Outcome::Opened(OpenFile { descriptor: Arc::new(file), path, directory }, bytes))
    }

    fn remove(&self, directory: DirectoryId, owner: &FileOwner, name: &str) -> Result<(), DiskError> {
        let path = self.path("remove", directory, owner, name)?;
        let Some(_dead) = self.death_of(directory, owner) else {
            return if is_missing(&path) { Ok(()) } else { Err(alive("remove", &path)) };
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", &path, error)),
            _ => Ok(()),
        }
    }

    fn adopt(&self, directory: DirectoryId, owner: &FileOwner, name: &str) -> Result<(), DiskError> {
        let from = self.path("adopt", directory, owner, name)?;
        let to = self.path("adopt", directory, &self.owner, name)?;
        // Until the rename is done its owner cannot come back.
        let Some(_dead) = self.death_of(directory, owner) else {
            let missing = || failed("adopt", &from, ErrorKind::NotFound.into());
            return Err(if is_missing(&from) { missing() } else { alive("adopt", &from) });
        };
        // Nobody but this thread makes files of this owner, so none comes between the look and the rename.
        match fs::symlink_metadata(&to) {
            Ok(_) => return Err(failed("adopt", &to, ErrorKind::AlreadyExists.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("adopt", &to, error)),
        }
        // Of two who rename it, one finds it.
        fs::rename(&from, &to).map_err(|error| failed("adopt", &from, error))
    }

    /// Its time is now, by the clock of the file system's writes.
    fn touch(&self, directory: DirectoryId, name: &str) -> Result<(), DiskError> {
        let path = self.path("touch", directory, &self.owner, name)?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: now };
        match utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed("touch", &path, error.into())),
        }
    }

    /// For an own file: nothing to ask, and nothing to hold. One who is dead and has no files is taken for alive while
    /// somebody else forgets it: without a file there is nothing to keep hands off.
    fn death_of(&self, directory: DirectoryId, owner: &FileOwner) -> Option<Option<Death>> {
        if *owner == self.owner {
            return Some(None);
        }
        lease::death(&self.directory(directory).path, owner).map(Some)
    }

    fn space(&self, directory: DirectoryId) -> Result<Outcome, DiskError> {
        let path = &self.directory(directory).path;
        let found = statvfs(path).map_err(|error| failed("ask for the room in", path, error.into()))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let total = found.f_blocks.saturating_mul(found.f_frsize);
        Ok(Outcome::Done(DiskDone::Space { free, total }))
    }
}

impl OpenFile {
    /// Has room for all of it, so that a write within neither fails for want of it nor has to make the file longer,
    /// which direct writes wait for one after the other. If there is no room the file stays as it was.
    fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        let before = self.bytes("allocate room for")?;
        if bytes == 0 {
            return Ok(());
        }
        match retry_on_intr(|| fallocate(&self.descriptor, FallocateFlags::empty(), 0, bytes)) {
            Ok(()) => Ok(()),
            // The file system cannot promise room. Longer it can be all the same.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if bytes > before => self.truncate(bytes),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => {
                // What was found before the rest was missing goes back; if even that fails, the first error says why.
                let _ = ftruncate(&self.descriptor, before);
                Err(failed("allocate room for", &self.path, error.into()))
            }
        }
    }

    fn truncate(&self, bytes: u64) -> Result<(), DiskError> {
        let truncated = retry_on_intr(|| ftruncate(&self.descriptor, bytes));
        truncated.map_err(|error| failed("truncate", &self.path, error.into()))
    }

    /// The data and the length, then the name.
    fn sync(&self, directory: &Path) -> Result<(), DiskError> {
        let synced = retry_on_intr(|| fdatasync(&self.descriptor));
        synced.map_err(|error| failed("sync", &self.path, error.into()))?;
        let names = File::open(directory).map_err(|error| failed("sync", directory, error))?;
        retry_on_intr(|| fsync(&names)).map_err(|error| failed("sync", directory, error.into()))
    }

    fn bytes(&self, operation: &'static str) -> Result<u64, DiskError> {
        let found = fstat(&self.descriptor).map_err(|error| failed(operation, &self.path, error.into()))?;
        Ok(found.st_size as u64)
    }
}

fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> DiskError {
    DiskError { operation, path: path.to_owned(), offset: None, source }
}

fn alive(operation: &'static str, path: &Path) -> DiskError {
    failed(operation, path, io::Error::new(ErrorKind::ResourceBusy, "its owner lives"))
}
