//! What tasks tell a reactor, and how they wake it: only when it sleeps.
//!
//! The queue itself has no limit, its content has: a channel, a gate or a writer has at most one command of a kind under
//! way, and the rest are calls of the embedding engine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Wake, Waker};

use crossbeam_channel::{Receiver, Sender};
use rustix::event::{EventfdFlags, eventfd};
use sluice_protocol::{ChannelId, Incarnation, NodeId, PartitionId};

use crate::gate::{ChannelLocation, GateId, GateMemory, Inbox};
use crate::partition::{ReaderId, Spill, WriterEnd};

/// A session of a reactor: what it has with one peer on one lane, over one link after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// What a reactor is told.
pub(crate) enum Command {
    /// Subpartitions that were empty have something.
    Ready(Vec<(SessionId, ChannelId)>),
    /// A gate that this reactor serves.
    OpenGate { gate: GateId, inbox: Arc<Inbox>, memory: GateMemory, channels: u32 },
    /// A channel of a gate has got its location.
    Subscribe { gate: GateId, channel: u32, location: ChannelLocation },
    /// The task has taken enough out of a channel for new credit to be worth while.
    Consumed { gate: GateId, channel: u32 },
    /// The task has taken events out of a channel.
    EventsTaken { gate: GateId, channel: u32, events: u32 },
    /// The pool of a gate has memory again.
    GateMemory(GateId),
    /// The task has no more use for a gate.
    CloseGate(GateId),
    /// Somebody may wait for this partition.
    Registered(PartitionId),
    /// Nobody will get this partition any more.
    Released(PartitionId),
    /// Somebody wants a partition that an earlier life has left.
    Claim(PartitionId),
    /// A partition on its way to the disk has a region to be sorted, and no thread of its own for that.
    Sort(Arc<Spill>),
    /// There is something of it to be written, or to be undone.
    Spilled(Arc<Spill>),
    /// A reader of a retained partition has room for more.
    ReadMore(PartitionId, ReaderId),
    /// A reader of a retained partition has credit for so many bytes.
    Fetch(PartitionId, ReaderId, u64),
    /// A reader of a retained partition has gone.
    ReaderGone(PartitionId, ReaderId),
    /// A writer has something that is to go out after the flush interval even if the task writes nothing more.
    FlushLater(WriterEnd),
    /// A life of a worker is over, as somebody else knows.
    WorkerLost(NodeId, Incarnation),
    /// Ends the loop.
    Stop,
}

/// The tasks' end. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailbox {
    sender: Sender<Command>,
    bell: Arc<Bell>,
}

/// The reactor's end.
pub(crate) struct MailSlot {
    receiver: Receiver<Command>,
    bell: Arc<Bell>,
}

/// The reactor looks at everything before it sleeps.
const AWAKE: u8 = 0;
/// It sleeps, or is about to.
const ASLEEP: u8 = 1;
/// Somebody has called the waker while it was awake: it does not fall asleep before it has looked again.
const RUNG: u8 = 2;
/// Somebody has rung while it slept: the event is, or is about to be, readable.
const ROUSED: u8 = 3;

/// Wakes a sleeping reactor.
struct Bell {
    state: AtomicU8,
    /// The worker stops, or its reactor is gone: who leaves a command has to look, because nobody may read it.
    closed: AtomicBool,
    event: OwnedFd,
}

pub(crate) fn mailbox() -> io::Result<(Mailbox, MailSlot)> {
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let bell = Arc::new(Bell { state: AtomicU8::new(AWAKE), closed: AtomicBool::new(false), event });
    let (sender, receiver) = crossbeam_channel::unbounded();
    Ok((Mailbox { sender, bell: Arc::clone(&bell) }, MailSlot { receiver, bell }))
}

impl Mailbox {
    /// Leaves a command. After the reactor has stopped nobody reads it.
    pub(crate) fn send(&self, command: Command) {
        if self.sender.send(command).is_ok() {
            self.bell.ring();
        }
    }

    /// Whether the worker stops or its reactor is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.bell.closed.load(Ordering::SeqCst)
    }

    /// Wakes the reactor, or keeps it from falling asleep before it has looked once more.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.bell))
    }
}

impl MailSlot {
    pub(crate) fn next(&self) -> Option<Command> {
        self.receiver.try_recv().ok()
    }

    /// Tells everybody who leaves commands that they are in vain.
    pub(crate) fn close(&self) {
        self.bell.closed.store(true, Ordering::SeqCst);
    }

    /// Announces sleep. False if something has come meanwhile: do not sleep. `awake` has to follow in either case.
    pub(crate) fn fall_asleep(&self) -> bool {
        let quiet = self.bell.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        quiet && self.receiver.is_empty()
    }

    /// Ends what `fall_asleep` began.
    pub(crate) fn awake(&self) {
        if self.bell.state.swap(AWAKE, Ordering::SeqCst) == ROUSED {
            // Take the ring back, or the next sleep would end at once.
            let mut count = [0u8; 8];
            let _ = rustix::io::read(&self.bell.event, &mut count);
        }
    }

    /// Becomes readable when somebody rings.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.bell.event.as_fd()
    }
}

impl Bell {
    /// For who has left a command: a reactor that is awake sees it before it sleeps.
    fn ring(&self) {
        // The sender has pushed before; the reactor looks after it has stored: one of the two sees the other.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == ASLEEP {
            self.rouse();
        }
    }

    /// For who has left something where the reactor does not look, such as a task's place in an executor's queue: sticky,
    /// so that it is not lost between the executor's look and the sleep.
    fn ring_sticky(&self) {
        if self.state.compare_exchange(AWAKE, RUNG, Ordering::SeqCst, Ordering::SeqCst) == Err(ASLEEP) {
            self.rouse();
        }
    }

    fn rouse(&self) {
        if self.state.compare_exchange(ASLEEP, ROUSED, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            // Fails only if the counter is full, and then it is readable anyway.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring_sticky();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring_sticky();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executor found its queue empty; before its reactor fell asleep, another thread put a task there and called the
    /// waker. The ring was lost, and the task ran when a heartbeat was due.
    #[test]
    fn a_waker_that_is_called_before_the_sleep_keeps_the_reactor_awake_once() {
        let (mailbox, mail) = mailbox().expect("an eventfd");
        mailbox.waker().wake();
        assert!(!mail.fall_asleep(), "somebody rang");
        mail.awake();
        assert!(mail.fall_asleep(), "and was heard");
        mail.awake();
    }

    #[test]
    fn a_command_before_the_sleep_or_a_ring_in_it_ends_it() {
        let (mailbox, mail) = mailbox().expect("an eventfd");
        mailbox.send(Command::Stop);
        assert!(!mail.fall_asleep(), "there is mail");
        mail.awake();
        assert!(mail.next().is_some());
        assert!(mail.fall_asleep());
        mailbox.waker().wake();
        let mut polled = [rustix::event::PollFd::new(&mail.bell.event, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut polled, None), Ok(1));
        mail.awake();
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut polled, Some(&now)), Ok(0), "the ring is taken back");
    }
}
