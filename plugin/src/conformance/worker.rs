//! One worker: a transport, its memory, and what it sleeps on.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use sluice_memory::{Arena, ArenaOptions, BufferPool, HugePages, Memory, PoolSpec, SizeClass};
use sluice_protocol::{Incarnation, Limits, NodeId, Time};

use crate::device::Wait;
use crate::link::LinkId;
use crate::transport::{Setup, Transport, TransportEvent, TransportFactory};

/// Four of the largest segments for each of two uses; little enough to be locked where the limit is 8 MiB.
const ARENA_BYTES: usize = 4 << 20;

/// A worker as far as its transport can tell.
pub(super) struct Worker {
    pub(super) transport: Option<Box<dyn Transport>>,
    pub(super) setup: Setup,
    pub(super) pool: BufferPool,
    pub(super) bell: Arc<Bell>,
    pub(super) events: VecDeque<TransportEvent>,
    pub(super) links: Vec<LinkId>,
}

impl Worker {
    pub(super) fn build(factory: &dyn TransportFactory, index: usize, adjust: &impl Fn(usize, &mut Setup)) -> Self {
        let arena = Arena::map(ArenaOptions { bytes: ARENA_BYTES, huge_pages: HugePages::Never });
        let memory = Memory::new(arena.expect("address space is plenty"));
        let pool =
            PoolSpec { owner: format!("worker {index}"), unit: SizeClass::MAX, floor_units: 1, bytes_max: ARENA_BYTES };
        let pool = memory.pool(pool).expect("the arena is made for it");
        let bell = Arc::new(Bell::new());
        let mut setup = Setup {
            node: NodeId(11 + index as u64),
            incarnation: Incarnation(1001 + index as u64),
            cluster: "conformance".into(),
            limits: Limits::default(),
            arena: memory.arena().clone(),
            waker: Waker::from(Arc::clone(&bell)),
        };
        adjust(index, &mut setup);
        let transport = factory.build(setup.clone()).expect("the factory builds here");
        Self { transport: Some(transport), setup, pool, bell, events: VecDeque::new(), links: Vec::new() }
    }

    pub(super) fn transport(&self) -> &dyn Transport {
        self.transport.as_deref().expect("the rule has not dropped it")
    }

    pub(super) fn transport_mut(&mut self) -> &mut dyn Transport {
        self.transport.as_deref_mut().expect("the rule has not dropped it")
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.transport.as_ref()?.poll_timeout()
    }

    /// `None` if there is cause to poll first.
    pub(super) fn fall_asleep(&mut self) -> Option<Sleeper> {
        self.bell.hush();
        let bell = Arc::clone(&self.bell);
        let file = match self.transport_mut().prepare_to_wait().expect("prepare_to_wait works") {
            Wait::Ready => return None,
            Wait::On(file) => Some(file.try_clone_to_owned().expect("a file descriptor is free")),
            Wait::Waker => None,
        };
        let sleeper = Sleeper { file, bell };
        (!sleeper.is_woken()).then_some(sleeper)
    }

    pub(super) fn poll(&mut self, now: Time) {
        let Some(transport) = &mut self.transport else { return };
        // Only now: what rings from here on is for the next sleep.
        self.bell.hush();
        let mut happened = Vec::new();
        transport.poll(now, &mut happened);
        self.events.extend(happened);
    }
}

/// A worker that was let sleep, and is not looked at again before it is woken.
pub(super) struct Sleeper {
    pub(super) file: Option<OwnedFd>,
    pub(super) bell: Arc<Bell>,
}

impl Sleeper {
    pub(super) fn is_woken(&self) -> bool {
        let bell = std::iter::once(&self.bell.0);
        let mut files: Vec<_> = bell.chain(&self.file).map(|file| PollFd::new(file, PollFlags::IN)).collect();
        poll_files(&mut files, Duration::ZERO);
        files.iter().any(|file| !file.revents().is_empty())
    }
}

/// Sleeps until one of the workers, but for `left_alone`, has cause to wake, or for `bound`; says who has.
pub(super) fn sleep(workers: &mut [Worker], left_alone: impl Fn(usize) -> bool, bound: Duration) -> Vec<usize> {
    let mut ready = Vec::new();
    let mut files = Vec::new();
    let mut sleepers = Vec::new();
    for (index, Worker { transport, bell, .. }) in workers.iter_mut().enumerate() {
        let Some(transport) = transport.as_mut().filter(|_| !left_alone(index)) else { continue };
        let mut sleeps_on = |file| {
            files.push(PollFd::from_borrowed_fd(file, PollFlags::IN));
            sleepers.push(index);
        };
        // A reactor has other reasons to be woken, so it listens to its waker always.
        sleeps_on(bell.0.as_fd());
        match transport.prepare_to_wait().expect("prepare_to_wait works") {
            Wait::Ready => ready.push(index),
            Wait::On(file) => sleeps_on(file),
            Wait::Waker => {}
        }
    }
    let bound = if ready.is_empty() { bound } else { Duration::ZERO };
    poll_files(&mut files, bound);
    let woken = files.iter().zip(sleepers).filter(|(file, _)| !file.revents().is_empty());
    ready.extend(woken.map(|(_, index)| index));
    ready.sort_unstable();
    ready.dedup();
    ready
}

/// Sleeps until one of the files is readable, or for `bound`.
pub(super) fn poll_files(files: &mut [PollFd<'_>], bound: Duration) {
    let bound = Timespec::try_from(bound).expect("seconds, not centuries");
    match poll(files, Some(&bound)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => panic!("poll(2) failed: {error}"),
    }
}

/// A waker that poll(2) can wait for together with files.
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> Self {
        Self(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("a file descriptor is free"))
    }

    pub(super) fn hush(&self) {
        // Fails where it has not rung.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Fails where it has rung 2^64 times already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}
