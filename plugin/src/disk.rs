//! The disk seam: files in a few directories, whole requests in any order, memory of the arena both ways.

mod choice;
mod owner;

use std::io;
use std::path::PathBuf;
use std::task::Waker;
use std::time::Duration;

use sluice_memory::{Arena, Buffer, BufferMut, Location};
use sluice_protocol::{Incarnation, NodeId};

use crate::device::Device;

pub use choice::{DirectIo, DiskEngine};

/// What every offset and length of a read or write, and every piece's place in memory, is a multiple of, in bytes. A
/// page: what direct IO wants on the devices there are, and the smallest segment of the arena.
pub const DISK_ALIGNMENT: usize = 4096;

/// The most that one read or write moves, in bytes. Larger ones are handed to kernel threads and get slower.
pub const DISK_REQUEST_BYTES_MAX: usize = 512 << 10;

/// Leaves room for the owner's name within the 255 bytes that a name has on most file systems.
const FILE_NAME_BYTES_MAX: usize = 100;

/// Reads and writes files. Belongs to one reactor.
///
/// Requests complete in any order: who needs one before the other waits for its completion. Every request, those
/// that only touch names included, goes the same way: nothing here blocks the reactor.
///
/// # Whose a file is
///
/// Each life of a worker is an *owner*, by a name that nobody else has, in every directory. What it creates is its own
/// until it removes it, or its process is gone in whatever way: then another life may adopt or remove it. Two live
/// processes in one directory do not touch each other's files.
pub trait Disk: Device {
    /// What it can do, and where.
    fn capabilities(&self) -> &DiskCapabilities;

    /// Owns the request, and the memory in it, until its completion; `token` comes back with it. A disk that has as many
    /// under way as it takes hands the request back: after the next completion there is room.
    ///
    /// # Panics
    /// If a read or write is not aligned, has no bytes or more than [`DISK_REQUEST_BYTES_MAX`], if the file is not
    /// open, or is to be closed while something of it is under way, or if there is no such directory.
    fn submit(&mut self, token: u64, request: DiskRequest) -> Result<(), DiskRequest>;

    /// Starts what was submitted, and adds what has completed since the last call.
    fn poll(&mut self, completions: &mut Vec<DiskCompletion>);
}

/// One of the disk's directories, by its place in [`DiskCapabilities::directories`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId(pub u16);

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// The name of a life of a worker, safe within the name of a file: [`DiskSetup::owner`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileOwner(pub String);

/// Something that a disk is to do.
#[derive(Debug)]
pub enum DiskRequest {
    /// Make a new, empty file of this worker's own and open it. One of that name must not exist.
    Create {
        /// Where.
        directory: DirectoryId,
        /// Its name: letters and digits of ASCII, `-`, `_` and `.`, 1 to 100 of them. Another one is an error of the
        /// kind [`io::ErrorKind::InvalidInput`], here and wherever a file is named.
        name: String,
    },
    /// Open an own file that exists, to read: what would change it through this opening is an error. That a file, or what
    /// it lies on, cannot be written any more does not prevent this.
    Open {
        /// Where.
        directory: DirectoryId,
        /// Its name.
        name: String,
    },
    /// Have the file be at least so long, with room on the disk for all of it where the file system can promise that.
    Allocate {
        /// Which.
        file: FileId,
        /// How long, in bytes.
        bytes: u64,
    },
    /// Have the file be exactly so long.
    Truncate {
        /// Which.
        file: FileId,
        /// How long, in bytes.
        bytes: u64,
    },
    /// Read until all the pieces are full; the end of the file before that is an error.
    Read {
        /// Which.
        file: FileId,
        /// From where, in bytes.
        offset: u64,
        /// Where to, one after the other.
        into: Vec<BufferMut>,
    },
    /// Write all of the pieces. Not on the medium before a [`DiskRequest::Sync`]; but whoever reads, now or after the
    /// death of this process, reads it.
    Write {
        /// Which.
        file: FileId,
        /// To where, in bytes.
        offset: u64,
        /// From where, one after the other.
        from: Vec<Buffer>,
    },
    /// Have all that was written, the file's length and its name survive a loss of power. A write counts if its completion
    /// came before this was submitted.
    Sync {
        /// Which.
        file: FileId,
    },
    /// Close the file: nothing of it is under way. Never fails.
    Close {
        /// Which.
        file: FileId,
    },
    /// Remove an own file, or one whose owner is dead. It may be open: then its room is free when it is closed, or an
    /// instant later. One that is not there counts as removed; of an owner who lives it is an error of the kind
    /// [`io::ErrorKind::ResourceBusy`].
    Remove {
        /// Where.
        directory: DirectoryId,
        /// Whose; `None`: an own one.
        owner: Option<FileOwner>,
        /// Its name.
        name: String,
    },
    /// Make a file of a dead owner an own one, of the same name, which no own one may have. Of two who try, one gets
    /// it, and the other an error of the kind [`io::ErrorKind::NotFound`] or [`io::ErrorKind::ResourceBusy`], which is
    /// also what an owner who lives gives.
    Adopt {
        /// Where.
        directory: DirectoryId,
        /// Whose it was.
        owner: FileOwner,
        /// Its name.
        name: String,
    },
    /// Say that somebody wants an own file: its [`ListedFile::age`] begins anew. One that is not there counts as done.
    Touch {
        /// Where.
        directory: DirectoryId,
        /// Its name.
        name: String,
    },
    /// All files of all owners in a directory. Owners that are dead and have no files any more are forgotten.
    List {
        /// Where.
        directory: DirectoryId,
    },
    /// How much room there is.
    Space {
        /// Where.
        directory: DirectoryId,
    },
}

impl DiskRequest {
    /// The open file that it is for.
    pub fn file(&self) -> Option<FileId> {
        match self {
            Self::Allocate { file, .. }
            | Self::Truncate { file, .. }
            | Self::Read { file, .. }
            | Self::Write { file, .. }
            | Self::Sync { file }
            | Self::Close { file } => Some(*file),
            _ => None,
        }
    }

    /// The open file that it would change: an error if that was [opened](DiskRequest::Open) to read.
    pub fn changes(&self) -> Option<FileId> {
        match self {
            Self::Allocate { file, .. } | Self::Truncate { file, .. } | Self::Write { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// What it moves, in bytes: 0 for all but reads and writes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Read { into, .. } => into.iter().map(|piece| piece.len()).sum(),
            Self::Write { from, .. } => from.iter().map(|piece| piece.len()).sum(),
            _ => 0,
        }
    }

    /// Checks a read or write as [`Disk::submit`] has to.
    ///
    /// # Panics
    /// If it is not aligned, in the file or in memory, or moves no bytes or more than [`DISK_REQUEST_BYTES_MAX`].
    pub fn assert_aligned(&self) {
        let (offset, pieces): (u64, Vec<(Location, usize)>) = match self {
            Self::Read { offset, into, .. } => (*offset, into.iter().map(|to| (to.location(), to.len())).collect()),
            Self::Write { offset, from, .. } => (*offset, from.iter().map(|of| (of.location(), of.len())).collect()),
            _ => return,
        };
        let is_aligned = |bytes: u64| bytes.is_multiple_of(DISK_ALIGNMENT as u64);
        assert!(is_aligned(offset), "offset {offset} is not aligned to {DISK_ALIGNMENT} bytes");
        for (Location { offset, .. }, length) in pieces {
            let fits = length > 0 && is_aligned(length as u64) && is_aligned(u64::from(offset));
            assert!(fits, "a piece of {length} bytes at {offset} in memory is not aligned to {DISK_ALIGNMENT} bytes");
        }
        let bytes = self.bytes();
        let most = DISK_REQUEST_BYTES_MAX;
        assert!((1..=most).contains(&bytes), "a request of {bytes} bytes, of 1 to {most} that are possible");
    }
}

/// Whether a file can be called so: see [`DiskRequest::Create`].
pub fn is_file_name(name: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=FILE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_safe)
}

/// A request that is over.
#[derive(Debug)]
pub struct DiskCompletion {
    /// As it was submitted.
    pub token: u64,
    /// The request with its memory. After a failed read the memory holds anything. A disk that has broken, and cannot tell
    /// whether the device is through with the memory, keeps it: a read or write that failed so has no pieces.
    pub request: DiskRequest,
    /// What was done.
    pub result: Result<DiskDone, DiskError>,
}

/// What a disk did.
#[derive(Debug, PartialEq, Eq)]
pub enum DiskDone {
    /// A file is open.
    Opened {
        /// By this name from now on; no two openings of a life have the same.
        file: FileId,
        /// How long it is, in bytes.
        bytes: u64,
    },
    /// What was asked for is done.
    Done,
    /// What is in a directory, in no order.
    Listed(Vec<ListedFile>),
    /// How much room there is.
    Space {
        /// For this process, in bytes.
        free: u64,
        /// All of the file system, in bytes.
        total: u64,
    },
}

/// A file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: FileOwner,
    /// How that one fares.
    pub state: OwnerState,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// How long nobody has written or touched it, through all lives, by the clock that the files' times are of; adopting it
    /// changes nothing. `None` if that clock has gone back behind its time.
    pub age: Option<Duration>,
}

/// How the owner of a file fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    /// It is this worker itself.
    Own,
    /// It lives: hands off.
    Alive,
    /// Its process is gone.
    Dead,
}

/// What a disk can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCapabilities {
    /// What does the IO: "io_uring, fixed buffers", "threads", …; for reports.
    pub engine: String,
    /// How many reads and writes are worth having under way at a time.
    pub depth: u32,
    /// Where files can be, by [`DirectoryId`].
    pub directories: Vec<DirectoryCapabilities>,
}

/// One directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryCapabilities {
    /// Its path.
    pub path: PathBuf,
    /// Whether reads and writes go past the page cache.
    pub is_direct: bool,
}

/// What did not work, and where.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path}{at}: {source}", path = path.display(), at = offset.map_or_else(String::new, |offset| format!(" at {offset}")))]
pub struct DiskError {
    /// What was tried: "write to", "open", …
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// What the system said.
    pub source: io::Error,
}

/// What a disk needs to know of the worker that it serves.
#[derive(Clone, Debug)]
pub struct DiskSetup {
    /// This worker.
    pub node: NodeId,
    /// This life of it.
    pub incarnation: Incarnation,
    /// Its cluster.
    pub cluster: String,
    /// The memory to register.
    pub arena: Arena,
    /// Wakes the reactor; for disks that have no file to wait on.
    pub waker: Waker,
}

/// Builds the disk on the reactor's own thread.
pub trait DiskFactory: Send + Sync {
    /// The name by which reports call it.
    fn name(&self) -> &'static str;

    /// Looks at the directories, takes this life's place in each, registers, probes.
    fn build(&self, setup: DiskSetup) -> Result<Box<dyn Disk>, DiskBuildError>;
}

/// Why a disk cannot start.
#[derive(Debug, thiserror::Error)]
#[error("disk {disk}: {problem}")]
pub struct DiskBuildError {
    /// Which disk.
    pub disk: &'static str,
    /// What is wrong, with what, and what to do about it.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_operation_the_path_and_the_place() {
        let path = PathBuf::from("/data/a");
        let source = || io::Error::from(io::ErrorKind::StorageFull);
        let written = DiskError { operation: "write to", path: path.clone(), offset: Some(4096), source: source() };
        assert_eq!(written.to_string(), "write to /data/a at 4096: no storage space");
        let opened = DiskError { operation: "open", path, offset: None, source: source() };
        assert_eq!(opened.to_string(), "open /data/a: no storage space");
    }
}
