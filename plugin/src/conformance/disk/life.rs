//! One life of a worker with a disk: its memory, what it sleeps on, and what has completed.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use sluice_memory::{Arena, ArenaOptions, Buffer, BufferMut, BufferPool, HugePages, Memory, PoolSpec, SizeClass};
use sluice_protocol::{Incarnation, NodeId};

use super::super::worker::{Bell, Sleeper, poll_files};
use crate::device::Wait;
use crate::disk::{
    DISK_ALIGNMENT, DirectoryId, Disk, DiskCompletion, DiskDone, DiskError, DiskFactory, DiskRequest, DiskSetup,
    FileId, FileOwner, ListedFile,
};

/// Far more than anything here takes, far less than the patience of who waits for the tests.
const PATIENCE: Duration = Duration::from_secs(20);
/// Eight of the largest segments; little enough to be locked where the limit is 8 MiB.
const ARENA_BYTES: usize = 4 << 20;

pub(crate) const PAGE: usize = DISK_ALIGNMENT;
/// The directory of the rules that need one.
pub(crate) const HERE: DirectoryId = DirectoryId(0);

/// A worker as far as its disk can tell.
pub(crate) struct Life {
    disk: Option<Box<dyn Disk>>,
    setup: DiskSetup,
    pool: BufferPool,
    bell: Arc<Bell>,
    completed: Vec<DiskCompletion>,
    submitted: u64,
}

impl Life {
    /// The first life of a worker.
    pub(crate) fn first(factory: &dyn DiskFactory) -> Self {
        Self::numbered(factory, 1)
    }

    /// Others have other numbers.
    pub(crate) fn numbered(factory: &dyn DiskFactory, number: u64) -> Self {
        let arena = Arena::map(ArenaOptions { bytes: ARENA_BYTES, huge_pages: HugePages::Never });
        let memory = Memory::new(arena.expect("address space is plenty"));
        let pool = PoolSpec { owner: "disk".into(), unit: SizeClass::MAX, floor_units: 1, bytes_max: ARENA_BYTES };
        let pool = memory.pool(pool).expect("the arena is made for it");
        let bell = Arc::new(Bell::new());
        let setup = DiskSetup {
            node: NodeId(11),
            incarnation: Incarnation(1000 + number),
            cluster: "conformance".into(),
            arena: memory.arena().clone(),
            waker: Waker::from(Arc::clone(&bell)),
        };
        let disk = factory.build(setup.clone()).expect("the factory builds here");
        Self { disk: Some(disk), setup, pool, bell, completed: Vec::new(), submitted: 0 }
    }

    pub(crate) fn setup(&self) -> &DiskSetup {
        &self.setup
    }

    pub(crate) fn owner(&self) -> FileOwner {
        self.setup.owner()
    }

    pub(crate) fn disk(&mut self) -> &mut dyn Disk {
        self.disk.as_deref_mut().expect("the rule has not dropped it")
    }

    // ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────────

    pub(crate) fn memory(&self, bytes: usize) -> BufferMut {
        let class = SizeClass::fitting(bytes).expect("no rule wants more than a segment");
        let mut buffer = self.pool.try_acquire(class).expect("the arena is made for the rules");
        buffer.truncate(bytes);
        buffer
    }

    /// A page whose bytes tell its seed and its place.
    pub(crate) fn filled(&self, bytes: usize, seed: usize) -> Buffer {
        let mut buffer = self.memory(bytes);
        buffer.copy_from_slice(&pattern(bytes, seed));
        buffer.freeze()
    }

    pub(crate) fn in_use_bytes(&self) -> usize {
        self.pool.in_use_bytes()
    }

    // ── Requests ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Submits at once, if the disk takes it.
    pub(crate) fn try_submit(&mut self, request: DiskRequest) -> Result<u64, DiskRequest> {
        let token = self.submitted;
        self.disk().submit(token, request)?;
        self.submitted += 1;
        Ok(token)
    }

    /// Submits, after some completion where the disk is full.
    pub(crate) fn submit(&mut self, mut request: DiskRequest) -> u64 {
        loop {
            match self.try_submit(request) {
                Ok(token) => return token,
                Err(refused) => request = refused,
            }
            let before = self.completed.len();
            self.until("room for a request", |life| (life.completed.len() > before).then_some(()));
        }
    }

    /// The completion of a request.
    pub(crate) fn completion(&mut self, token: u64) -> DiskCompletion {
        self.until(&format!("the completion of request {token}"), |life| {
            let index = life.completed.iter().position(|completion| completion.token == token)?;
            Some(life.completed.swap_remove(index))
        })
    }

    pub(crate) fn run(&mut self, request: DiskRequest) -> (DiskRequest, Result<DiskDone, DiskError>) {
        let token = self.submit(request);
        let DiskCompletion { request, result, .. } = self.completion(token);
        (request, result)
    }

    /// A request that only has to be done.
    pub(crate) fn done(&mut self, request: DiskRequest) {
        let what = format!("{request:?}");
        let result = self.run(request).1;
        assert!(matches!(result, Ok(DiskDone::Done)), "{what} gave {result:?}");
    }

    pub(crate) fn fails(&mut self, request: DiskRequest) -> DiskError {
        let what = format!("{request:?}");
        self.run(request).1.expect_err(&what)
    }

    pub(crate) fn create(&mut self, name: &str) -> FileId {
        match self.run(create(name)).1 {
            Ok(DiskDone::Opened { file, bytes: 0 }) => file,
            result => panic!("creating {name} gave {result:?}"),
        }
    }

    pub(crate) fn open(&mut self, name: &str) -> (FileId, u64) {
        match self.run(open(name)).1 {
            Ok(DiskDone::Opened { file, bytes }) => (file, bytes),
            result => panic!("opening {name} gave {result:?}"),
        }
    }

    pub(crate) fn close(&mut self, file: FileId) {
        self.done(DiskRequest::Close { file });
    }

    /// Writes a piece of each of these sizes, with one pattern through all of them.
    pub(crate) fn write(&mut self, file: FileId, offset: u64, pieces: &[usize], seed: usize) {
        let bytes = pattern(pieces.iter().sum(), seed);
        let mut left = &bytes[..];
        let from = pieces.iter().map(|piece| {
            let (now, later) = left.split_at(*piece);
            left = later;
            let mut buffer = self.memory(*piece);
            buffer.copy_from_slice(now);
            buffer.freeze()
        });
        let from = from.collect();
        self.done(DiskRequest::Write { file, offset, from });
    }

    /// Reads pieces of these sizes; all their bytes.
    pub(crate) fn read(&mut self, file: FileId, offset: u64, pieces: &[usize]) -> Vec<u8> {
        let into = pieces.iter().map(|piece| self.memory(*piece)).collect();
        match self.run(DiskRequest::Read { file, offset, into }) {
            (DiskRequest::Read { into, .. }, Ok(DiskDone::Done)) => {
                into.iter().flat_map(|piece| piece.iter().copied()).collect()
            }
            (_, result) => panic!("reading {pieces:?} at {offset} gave {result:?}"),
        }
    }

    /// A new file with so many pages of a pattern, closed.
    pub(crate) fn leave_file(&mut self, name: &str, pages: usize, seed: usize) {
        let file = self.create(name);
        self.write(file, 0, &[pages * PAGE], seed);
        self.close(file);
    }

    /// The file has so many pages of a pattern and no more.
    pub(crate) fn assert_file(&mut self, name: &str, pages: usize, seed: usize) {
        let (file, bytes) = self.open(name);
        assert_eq!(bytes, (pages * PAGE) as u64, "the length of {name}");
        let read = self.read(file, 0, &[pages * PAGE]);
        assert!(read == pattern(pages * PAGE, seed), "{name} has other bytes than were written");
        self.close(file);
    }

    /// What is there, without the ages, which no rule can know.
    pub(crate) fn list(&mut self) -> Vec<ListedFile> {
        let ageless = |file| ListedFile { age: None, ..file };
        self.list_with_ages().into_iter().map(ageless).collect()
    }

    /// How old a file is, of whoever.
    pub(crate) fn age(&mut self, name: &str) -> Option<Duration> {
        let found = self.list_with_ages().into_iter().find(|file| file.name == name);
        found.expect("it is there").age
    }

    fn list_with_ages(&mut self) -> Vec<ListedFile> {
        match self.run(DiskRequest::List { directory: HERE }).1 {
            Ok(DiskDone::Listed(mut files)) => {
                files.sort_by(|one, other| (&one.owner, &one.name).cmp(&(&other.owner, &other.name)));
                files
            }
            result => panic!("a list gave {result:?}"),
        }
    }

    // ── Driving ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Drives the disk until `done` finds what it wants.
    pub(crate) fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = done(self) {
                return found;
            }
            let left = patience.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not happen within {PATIENCE:?}, or woke nobody");
            self.step(left);
        }
    }

    /// Sleeps as the reactor would, for at most `bound`, and polls if there is cause; whether there was.
    pub(crate) fn step(&mut self, bound: Duration) -> bool {
        let bell = Arc::clone(&self.bell);
        // A reactor has other reasons to be woken, so it listens to its waker always.
        let mut files = vec![PollFd::new(&*bell, PollFlags::IN)];
        let is_ready = match self.disk().prepare_to_wait().expect("prepare_to_wait works") {
            Wait::Ready => true,
            Wait::On(file) => {
                files.push(PollFd::from_borrowed_fd(file, PollFlags::IN));
                poll_files(&mut files, bound);
                files.iter().any(|file| !file.revents().is_empty())
            }
            Wait::Waker => {
                poll_files(&mut files, bound);
                files.iter().any(|file| !file.revents().is_empty())
            }
        };
        if is_ready {
            self.poll();
        }
        is_ready
    }

    pub(crate) fn poll(&mut self) {
        // Only now: what rings from here on is for the next sleep.
        self.bell.hush();
        let mut completed = std::mem::take(&mut self.completed);
        self.disk().poll(&mut completed);
        self.completed = completed;
    }

    /// Sleeps after the last look, and is woken by nothing but the disk.
    pub(crate) fn sleep_until_woken(&mut self) {
        let Some(sleeper) = self.fall_asleep() else { return };
        let patience = Instant::now() + PATIENCE;
        while !sleeper.is_woken() {
            assert!(Instant::now() < patience, "nothing has woken the reactor within {PATIENCE:?}");
            let mut files = vec![PollFd::new(&*sleeper.bell, PollFlags::IN)];
            files.extend(sleeper.file.as_ref().map(|file| PollFd::new(file, PollFlags::IN)));
            poll_files(&mut files, PATIENCE);
        }
    }

    /// Whatever has rung was not heard.
    pub(crate) fn miss_the_bell(&self) {
        self.bell.hush();
    }

    fn fall_asleep(&mut self) -> Option<Sleeper> {
        let bell = Arc::clone(&self.bell);
        let file: Option<OwnedFd> = match self.disk().prepare_to_wait().expect("prepare_to_wait works") {
            Wait::Ready => return None,
            Wait::On(file) => Some(file.as_fd().try_clone_to_owned().expect("a file descriptor is free")),
            Wait::Waker => None,
        };
        Some(Sleeper { file, bell })
    }

    pub(crate) fn take_completed(&mut self) -> Vec<DiskCompletion> {
        std::mem::take(&mut self.completed)
    }

    /// The disk goes, with whatever is under way.
    pub(crate) fn drop_disk(&mut self) {
        self.disk = None;
    }

    /// All is over; nothing that was lent to the disk is missing.
    pub(crate) fn end(mut self) {
        assert!(self.completed.is_empty(), "completions that nobody asked for: {:?}", self.completed);
        self.drop_disk();
        assert_eq!(self.pool.in_use_bytes(), 0, "bytes that the worker has not got back");
    }
}

pub(crate) fn create(name: &str) -> DiskRequest {
    DiskRequest::Create { directory: HERE, name: name.into() }
}

pub(crate) fn open(name: &str) -> DiskRequest {
    DiskRequest::Open { directory: HERE, name: name.into() }
}

pub(crate) fn remove(name: &str) -> DiskRequest {
    DiskRequest::Remove { directory: HERE, owner: None, name: name.into() }
}

pub(crate) fn remove_of(owner: &FileOwner, name: &str) -> DiskRequest {
    DiskRequest::Remove { directory: HERE, owner: Some(owner.clone()), name: name.into() }
}

pub(crate) fn adopt(owner: &FileOwner, name: &str) -> DiskRequest {
    DiskRequest::Adopt { directory: HERE, owner: owner.clone(), name: name.into() }
}

pub(crate) fn touch(name: &str) -> DiskRequest {
    DiskRequest::Touch { directory: HERE, name: name.into() }
}

/// Bytes that tell one `seed` from another, and one place from another.
pub(crate) fn pattern(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index.wrapping_mul(31) ^ (index >> 8) ^ seed.wrapping_mul(131)) as u8).collect()
}
