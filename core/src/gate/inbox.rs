//! Where a reactor, and local writers, leave what arrived for a gate; the task takes it out, channel by channel.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use sluice_memory::Buffer;
use sluice_protocol::ReasonCode;

use super::GateId;
use crate::block::Event;
use crate::mailbox::{Command, Mailbox};
use crate::partition::{BlockLog, ReaderId};
use crate::sync::lock;

/// What arrived on a channel.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// A block in the pieces in which it lies, one if it can be.
    Block {
        pieces: Vec<Buffer>,
        crc: u32,
    },
    Event(Event),
    PriorityEvent {
        event: Event,
        overtook: u32,
    },
    End,
    Failed {
        code: ReasonCode,
        text: Box<str>,
    },
}

/// Shared by a gate, its reactor and the local partitions it reads.
pub(crate) struct Inbox {
    gate: GateId,
    mailbox: Mailbox,
    state: Mutex<State>,
}

struct State {
    /// Channels with something to read, once each, in the order in which they are served.
    ready: VecDeque<u32>,
    channels: Vec<Channel>,
    waker: Option<Waker>,
    stopped: bool,
}

#[derive(Default)]
struct Channel {
    queue: VecDeque<Arrived>,
    ready: bool,
    local: Option<(Arc<BlockLog>, ReaderId)>,
    /// Bytes that the task has taken and the reactor does not know of.
    taken: u64,
    /// From how many taken bytes the reactor wants to know.
    tell_at: u64,
    told: bool,
    events_taken: u32,
}

/// What the task finds.
pub(crate) enum Found {
    Remote(u32, Arrived),
    Local(u32, Arc<BlockLog>, ReaderId),
    Nothing,
    Stopped,
}

impl Inbox {
    pub(crate) fn new(gate: GateId, channels: u32, mailbox: Mailbox) -> Self {
        let channels = (0..channels).map(|_| Channel { tell_at: u64::MAX, ..Channel::default() }).collect();
        let state = State { ready: VecDeque::new(), channels, waker: None, stopped: false };
        Self { gate, mailbox, state: Mutex::new(state) }
    }

    pub(crate) fn gate(&self) -> GateId {
        self.gate
    }

    /// From the reactor: something came from afar.
    pub(crate) fn deliver(&self, channel: u32, arrived: Arrived) {
        let waker = {
            let mut state = lock(&self.state);
            let first = matches!(arrived, Arrived::PriorityEvent { .. });
            let queue = &mut state.channels[channel as usize].queue;
            if first {
                let place = queue.iter().take_while(|a| matches!(a, Arrived::PriorityEvent { .. })).count();
                queue.insert(place, arrived);
            } else {
                queue.push_back(arrived);
            }
            state.make_ready(channel, first)
        };
        wake(waker);
    }

    /// From a writer of this worker: its partition has something for the channel.
    pub(crate) fn local_ready(&self, channel: u32) {
        let waker = lock(&self.state).make_ready(channel, false);
        wake(waker);
    }

    /// The channel reads a partition of this worker, and looks at once.
    pub(crate) fn set_local(&self, channel: u32, partition: &Arc<BlockLog>, reader: ReaderId) {
        lock(&self.state).channels[channel as usize].local = Some((Arc::clone(partition), reader));
        self.local_ready(channel);
    }

    /// The reactor wants to know when so many bytes are taken.
    pub(crate) fn tell_at(&self, channel: u32, bytes: u64) {
        lock(&self.state).channels[channel as usize].tell_at = bytes;
    }

    /// Bytes that the task has taken since the last call.
    pub(crate) fn consumed(&self, channel: u32) -> u64 {
        let mut state = lock(&self.state);
        let channel = &mut state.channels[channel as usize];
        channel.told = false;
        std::mem::take(&mut channel.taken)
    }

    /// Nothing will arrive any more: the task is told.
    pub(crate) fn stop(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.stopped = true;
            state.waker.take()
        };
        wake(waker);
    }

    /// The task has no more use for it: gives back all that waits, and the partitions that were read here.
    pub(crate) fn close(&self) -> Vec<(Arc<BlockLog>, ReaderId)> {
        let (queues, local) = {
            let mut state = lock(&self.state);
            state.stopped = true;
            let queues: Vec<_> = state.channels.iter_mut().map(|channel| std::mem::take(&mut channel.queue)).collect();
            let local = state.channels.iter_mut().filter_map(|channel| channel.local.take()).collect();
            (queues, local)
        };
        drop(queues);
        local
    }

    /// The next thing to read; registers the task's waker if there is none.
    pub(crate) fn find(&self, context: &mut Context<'_>) -> Found {
        let mut state = lock(&self.state);
        if state.stopped {
            return Found::Stopped;
        }
        while let Some(index) = state.ready.pop_front() {
            let channel = &mut state.channels[index as usize];
            channel.ready = false;
            if let Some((partition, reader)) = &channel.local {
                return Found::Local(index, Arc::clone(partition), *reader);
            }
            let Some(arrived) = channel.queue.pop_front() else { continue };
            let tell = channel.take(&arrived);
            if channel.queue.is_empty() {
                // A thousand channels do not keep the room of their fullest moment.
                channel.queue = VecDeque::new();
            } else {
                channel.ready = true;
                // Behind the others: every channel has its turn.
                state.ready.push_back(index);
            }
            drop(state);
            if let Some(tell) = tell {
                self.mailbox.send(tell.command(self.gate, index));
            }
            return Found::Remote(index, arrived);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        Found::Nothing
    }
}

enum Tell {
    Consumed,
    Events(u32),
}

impl Tell {
    fn command(self, gate: GateId, channel: u32) -> Command {
        match self {
            Tell::Consumed => Command::Consumed { gate, channel },
            Tell::Events(events) => Command::EventsTaken { gate, channel, events },
        }
    }
}

impl Channel {
    fn take(&mut self, arrived: &Arrived) -> Option<Tell> {
        match arrived {
            Arrived::Block { pieces, .. } => {
                self.taken += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
                let tell = self.taken >= self.tell_at && !self.told;
                self.told |= tell;
                tell.then_some(Tell::Consumed)
            }
            Arrived::Event(_) | Arrived::PriorityEvent { .. } => {
                self.events_taken += 1;
                // Half of what the peer may send; telling each one would cost a wake-up each.
                (self.events_taken >= 4).then(|| Tell::Events(std::mem::take(&mut self.events_taken)))
            }
            Arrived::End | Arrived::Failed { .. } => None,
        }
    }
}

impl State {
    fn make_ready(&mut self, index: u32, first: bool) -> Option<Waker> {
        let channel = &mut self.channels[index as usize];
        if !std::mem::replace(&mut channel.ready, true) {
            if first {
                self.ready.push_front(index);
            } else {
                self.ready.push_back(index);
            }
        }
        self.waker.take()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
