//! Where completions of many queue pairs come together.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use thiserror::Error;

use super::device::Drive;
use super::shared::{Shared, timespec};
use crate::work::{Completion, Status};

/// A completion came when the queue was full. It is lost, so nothing can be said any more of what was posted: the queue
/// is of no further use, and every queue pair that has it is in error (IBTA vol. 1, 10.2.6 and 11.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a completion queue for {capacity} completions was overrun")]
pub struct Overrun {
    /// How many completions it holds.
    pub capacity: usize,
}

/// Why [`CompletionQueue::wait`] has no completions.
#[derive(Debug, Error)]
pub enum WaitError {
    /// The queue was overrun.
    #[error(transparent)]
    Overrun(#[from] Overrun),
    /// The device's socket, or waiting for it, failed.
    #[error("the device has failed")]
    Device(#[from] io::Error),
}

/// A queue of completions. Cheap to clone; all clones are the same queue.
#[derive(Clone)]
pub struct CompletionQueue {
    queue: Arc<Queue>,
    device: Arc<Shared>,
}

/// The part that the device fills.
pub(super) struct Queue {
    content: Mutex<Content>,
    capacity: usize,
    /// Readable after a completion that was waited for.
    bell: OwnedFd,
}

#[derive(Default)]
struct Content {
    completions: VecDeque<Completion>,
    overrun: bool,
    armed: Option<Armed>,
}

/// What rings the bell, once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    Any,
    /// A solicited completion, or one that is not a success.
    Solicited,
}

impl Queue {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a completion.
    pub(super) fn push(&self, completion: Completion) -> Result<(), Overrun> {
        let mut content = self.content();
        if content.overrun || content.completions.len() >= self.capacity {
            content.overrun = true;
            self.ring();
            return Err(Overrun { capacity: self.capacity });
        }
        content.completions.push_back(completion);
        let wanted = match content.armed {
            None => false,
            Some(Armed::Any) => true,
            Some(Armed::Solicited) => completion.solicited || completion.status != Status::Success,
        };
        if wanted {
            content.armed = None;
            self.ring();
        }
        Ok(())
    }

    pub(super) fn is_overrun(&self) -> bool {
        self.content().overrun
    }

    /// Makes the file readable.
    pub(super) fn ring(&self) {
        // It can only fail if it has rung 2^64 times: then it is readable anyway.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

impl CompletionQueue {
    pub(super) fn new(device: Arc<Shared>, capacity: usize) -> io::Result<CompletionQueue> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let queue = Arc::new(Queue { content: Mutex::default(), capacity, bell });
        Ok(CompletionQueue { queue, device })
    }

    pub(super) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// How many completions it holds.
    pub fn capacity(&self) -> usize {
        self.queue.capacity
    }

    /// Takes up to `most` completions, the oldest first. Never waits.
    ///
    /// # Errors
    ///
    /// If the queue was overrun and everything before that was taken.
    pub fn poll(&self, most: usize) -> Result<Vec<Completion>, Overrun> {
        let mut content = self.queue.content();
        if content.completions.is_empty() && content.overrun {
            return Err(Overrun { capacity: self.queue.capacity });
        }
        let taken = content.completions.len().min(most);
        Ok(content.completions.drain(..taken).collect())
    }

    /// From now on the next completion makes [`fd`](Self::fd) readable; with `solicited_only` the next that the peer
    /// asked to be told of, or that is an error. Once: then it must be armed again. Look with [`poll`](Self::poll) once
    /// more after it, for what came before.
    pub fn arm(&self, solicited_only: bool) {
        let mut content = self.queue.content();
        // The stronger wish stays.
        if content.armed != Some(Armed::Any) {
            content.armed = Some(if solicited_only { Armed::Solicited } else { Armed::Any });
        }
        if content.overrun {
            self.queue.ring();
        }
    }

    /// The file that becomes readable as [`arm`](Self::arm) says. Reading eight bytes clears it, and so does
    /// [`clear`](Self::clear).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.queue.bell.as_fd()
    }

    /// Makes [`fd`](Self::fd) unreadable until it rings again.
    pub fn clear(&self) {
        // Empty if it has not rung.
        let _ = rustix::io::read(&self.queue.bell, &mut [0; 8]);
    }

    /// Waits for completions and takes all there are; none if `timeout` passes first. With [`Drive::Caller`] the
    /// calling thread drives the device meanwhile.
    ///
    /// # Errors
    ///
    /// If the queue was overrun, or the device has failed.
    pub fn wait(&self, timeout: Duration) -> Result<Vec<Completion>, WaitError> {
        let end = self.device.now().after(timeout);
        loop {
            let completions = self.poll(usize::MAX)?;
            let left = self.device.now().until(end);
            if !completions.is_empty() || left.is_zero() {
                return Ok(completions);
            }
            match self.device.drive() {
                Drive::Caller => {
                    if !self.device.has_work() {
                        self.device.park(left)?;
                    }
                    self.device.turn()?;
                }
                Drive::Thread => {
                    self.arm(false);
                    if self.is_empty() {
                        self.device.failure()?;
                        let mut fds = [PollFd::new(&self.queue.bell, PollFlags::IN)];
                        match poll(&mut fds, Some(&timespec(left))) {
                            Ok(_) | Err(rustix::io::Errno::INTR) => {}
                            Err(error) => return Err(io::Error::from(error).into()),
                        }
                    }
                    self.clear();
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        let content = self.queue.content();
        content.completions.is_empty() && !content.overrun
    }
}

impl fmt::Debug for CompletionQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompletionQueue({} of {})", self.queue.content().completions.len(), self.queue.capacity)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({})", self.capacity)
    }
}
