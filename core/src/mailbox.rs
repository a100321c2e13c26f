//! What tasks tell a reactor, and how they wake it: only when it sleeps.
//!
//! The queue itself has no limit, its content has: a channel, a gate or a writer has at most one command of a kind under
//! way, and the rest are calls of the embedding engine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use crossbeam_channel::{Receiver, Sender};
use rustix::event::{EventfdFlags, eventfd};
use sluice_plugin::LinkId;
use sluice_protocol::{ChannelId, PartitionId};

use crate::gate::{ChannelLocation, GateId, GateMemory, Inbox};
use crate::partition::WriterEnd;

/// What a reactor is told.
pub(crate) enum Command {
    /// Subpartitions that were empty have something.
    Ready(Vec<(LinkId, ChannelId)>),
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
    /// A writer has something that is to go out after the flush interval even if the task writes nothing more.
    FlushLater(WriterEnd),
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

/// Wakes a sleeping reactor; does nothing to one that is awake.
struct Bell {
    asleep: AtomicBool,
    /// The worker stops, or its reactor is gone: who leaves a command has to look, because nobody may read it.
    closed: AtomicBool,
    event: OwnedFd,
}

pub(crate) fn mailbox() -> io::Result<(Mailbox, MailSlot)> {
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let bell = Arc::new(Bell { asleep: AtomicBool::new(false), closed: AtomicBool::new(false), event });
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

    /// Wakes the reactor.
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
        self.bell.asleep.store(true, Ordering::SeqCst);
        self.receiver.is_empty()
    }

    /// Ends what `fall_asleep` began.
    pub(crate) fn awake(&self) {
        if !self.bell.asleep.swap(false, Ordering::SeqCst) {
            // Somebody rang; take the ring back, or the next sleep would end at once.
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
    fn ring(&self) {
        // The sender has pushed before; the reactor looks after it has stored: one of the two sees the other.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            // Fails only if the counter is full, and then it is readable anyway.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
