//! A ring for files whose device is asked for completions instead of interrupting, and whether a device can be.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use sluice_memory::{Arena, ArenaOptions, BufferMut, HugePages, MapError, Memory, PoolSpec, SizeClass};

use crate::operation::{Completion, Done, Incoming, Operation};
use crate::probe::Features;
use crate::registered::RegisterError;
use crate::ring::{Ring, RingError, RingOptions};

const PAGE: usize = SizeClass::MIN.bytes();

/// A ring set up with `IORING_SETUP_IOPOLL`: takes direct reads and writes only, and owns them as a [`Ring`] does.
///
/// Who waits for it keeps a core busy, and there is no other way to learn of a completion: such a ring signals no
/// file. So a reactor, which must be able to sleep, cannot use it, and it has no `prepare_to_sleep`. It is here to
/// measure what a device would gain, where [`probe_io_poll`] says that it can be polled at all.
#[derive(Debug)]
pub struct PolledRing {
    ring: Ring,
}

impl PolledRing {
    /// A polled ring for this thread.
    pub fn new(options: RingOptions) -> Result<PolledRing, RingError> {
        Ok(PolledRing { ring: Ring::polled(options)? })
    }

    /// As [`Ring::register`].
    ///
    /// # Panics
    ///
    /// If an arena is registered already.
    pub fn register(&mut self, arena: &Arena) -> Result<(), RegisterError> {
        self.ring.register(arena)
    }

    /// What the kernel gave us.
    pub fn features(&self) -> &Features {
        self.ring.features()
    }

    /// Operations pushed whose completion has not been reaped.
    pub fn in_flight(&self) -> usize {
        self.ring.in_flight()
    }

    /// As [`Ring::push`]. The file must be open for direct IO: else the result is `EOPNOTSUPP`.
    ///
    /// # Panics
    ///
    /// If it is not a read or a write, or has no byte left to move.
    pub fn push(&mut self, token: u64, operation: Operation) -> Result<(), Operation> {
        let moves = matches!(operation, Operation::Read { .. } | Operation::Write { .. });
        assert!(moves, "a polled ring reads and writes files only, and this is {operation:?}");
        self.ring.push(token, operation)
    }

    /// Submits what is queued and takes what has completed, without waiting.
    pub fn reap(&mut self, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.ring.reap(completions)
    }

    /// Like [`PolledRing::reap`], but polls the device until there is a completion, if anything is in flight. The kernel
    /// takes no timeout for this.
    pub fn wait(&mut self, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.ring.wait(None, completions)
    }
}

/// Why a file cannot be polled for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoPolling {
    /// There is no polled ring.
    #[error("no ring to poll with")]
    Ring(#[from] RingError),
    /// There is no page to read into.
    #[error("no memory to read into")]
    Memory(#[from] MapError),
    /// `EOPNOTSUPP`: the device has no queues to poll, the file system cannot, or the file is not open for direct IO.
    #[error("the device or file system cannot be polled, or the file is not open for direct IO (O_DIRECT)")]
    Unsupported,
    /// The file has less than 4 KiB, so no device was asked.
    #[error("a file of at least 4096 bytes is needed to find out, and a read of this one gave {bytes}")]
    TooShort {
        /// What came.
        bytes: usize,
    },
    /// Another error.
    #[error("a polled read fails")]
    Read(#[source] io::Error),
}

/// Does one polled direct read of the file's first 4 KiB, and says why that does not work if it does not.
///
/// The file is open for direct IO and its first page written: a hole, or a page that was only allocated, is read
/// without asking the device. It may work and gain nothing: some kernels wait for the interrupt then.
pub fn probe_io_poll(file: &Arc<OwnedFd>) -> Result<(), NoPolling> {
    let mut ring = PolledRing::new(RingOptions { entries: 1, operations_max: 1 })?;
    let pieces = vec![Incoming::Buffer(aligned_page()?)];
    let read = Operation::Read { file: Arc::clone(file), offset: 0, pieces, skip: 0 };
    ring.push(0, read).expect("the ring is empty");
    let mut completions = Vec::new();
    while completions.is_empty() {
        ring.wait(&mut completions).map_err(NoPolling::Read)?;
    }
    match completions.swap_remove(0).result {
        Ok(Done::Read(PAGE)) => Ok(()),
        Ok(Done::Read(bytes)) => Err(NoPolling::TooShort { bytes }),
        Ok(done) => unreachable!("a read gave {done:?}"),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Err(NoPolling::Unsupported),
        Err(error) => Err(NoPolling::Read(error)),
    }
}

/// A page at a multiple of its size, as direct IO wants it.
fn aligned_page() -> Result<BufferMut, MapError> {
    let arena = Arena::map(ArenaOptions { bytes: PAGE, huge_pages: HugePages::Never })?;
    let owner = "a polled read".to_owned();
    let spec = PoolSpec { owner, unit: SizeClass::MIN, floor_units: 1, bytes_max: PAGE };
    let pool = Memory::new(arena).pool(spec).expect("the arena is one page, and nobody else has it");
    Ok(pool.acquire(SizeClass::MIN))
}
