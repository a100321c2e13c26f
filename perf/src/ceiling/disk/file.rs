//! A file without a name: it goes with the process that measures, however that ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fstatfs, open, statvfs, unlink};
use rustix::io::Errno;

/// Memory file systems: they may take O_DIRECT, but there is nothing behind the cache.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

pub(super) struct RawFile {
    pub(super) file: File,
    /// Whether reads and writes go past the page cache.
    pub(super) is_direct: bool,
}

impl RawFile {
    /// A file of so many bytes, with room on the disk for all of them where the file system can promise that.
    pub(super) fn create(directory: &Path, bytes: u64, try_direct: bool) -> Result<RawFile, DirectoryError> {
        let failed = |source: Errno| DirectoryError { directory: directory.to_owned(), bytes, source: source.into() };
        let direct = if try_direct { nameless(directory, OFlags::DIRECT) } else { Err(Errno::INVAL) };
        let (file, mut is_direct) = match direct {
            Ok(file) => (file, true),
            // The file system has no direct IO, or was not to be asked.
            Err(Errno::INVAL) => (nameless(directory, OFlags::empty()).map_err(failed)?, false),
            Err(error) => return Err(failed(error)),
        };
        if fstatfs(&file).is_ok_and(|system| IN_MEMORY.contains(&(system.f_type as u64))) {
            is_direct = false;
        }
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => file.set_len(bytes).map_err(|source| DirectoryError {
                directory: directory.to_owned(),
                bytes,
                source,
            })?,
            Err(error) => return Err(failed(error)),
        }
        Ok(RawFile { file, is_direct })
    }
}

fn nameless(directory: &Path, more: OFlags) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | more;
    let mode = Mode::RUSR | Mode::WUSR;
    match open(directory, flags | OFlags::TMPFILE, mode) {
        Ok(file) => Ok(file.into()),
        // No nameless files here: one with a name, for a moment.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {
            let path = directory.join(format!("sluice-perf-{}", std::process::id()));
            let file = open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode);
            let unlinked = unlink(&path);
            let file = file?;
            unlinked?;
            Ok(file.into())
        }
        Err(error) => Err(error),
    }
}

/// How much of the file system this process may still fill, in bytes; `None` if it does not say.
pub(crate) fn room(directory: &Path) -> Option<u64> {
    let system = statvfs(directory).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

/// A directory that cannot take the file of a measurement.
#[derive(Debug, thiserror::Error)]
#[error("{}: no file of {} MiB can be made there; name a directory that exists, can be written and has room", directory.display(), bytes >> 20)]
pub struct DirectoryError {
    directory: PathBuf,
    bytes: u64,
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_length_and_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = RawFile::create(folder.path(), 1 << 20, true).unwrap();
        assert_eq!(file.file.metadata().unwrap().len(), 1 << 20);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn memory_is_never_called_direct() {
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            assert!(!RawFile::create(shared, 4096, true).unwrap().is_direct);
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = RawFile::create(Path::new("/nowhere/at/all"), 1 << 20, true).err().unwrap();
        assert!(crate::causes::with_causes(&error).contains("/nowhere/at/all: no file of 1 MiB"), "{error}");
    }
}
