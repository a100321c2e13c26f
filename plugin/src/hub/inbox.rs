//! What is under way to one transport, from all its peers.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::Facts;
use crate::link::{CloseCause, LinkId, Peer};
use crate::transport::Message;

/// Messages of one link that may be under way. The sender holds memory for each until it is taken; more would only
/// pile up what the session's control window lets through.
const MESSAGES_MAX: usize = 16;

/// Where the peers of a transport leave what is for it.
pub(super) struct Inbox {
    pub(super) facts: Facts,
    waker: Waker,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    deliveries: VecDeque<Delivery>,
    /// The links that this side may receive on.
    queues: HashMap<LinkId, Queue>,
    links: u64,
    gone: bool,
}

/// The messages of one link among the deliveries.
#[derive(Default)]
struct Queue {
    messages: usize,
    sender_waits: bool,
}

/// Something that comes from a peer.
pub(super) enum Delivery {
    Accepted { link: LinkId, peer: Peer, remote: Remote },
    Message { link: LinkId, message: Message },
    Writable { link: LinkId },
    Closed { link: LinkId, cause: CloseCause },
}

/// The other end of a link.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) inbox: Arc<Inbox>,
    pub(super) link: LinkId,
}

/// What a transport takes out of its inbox at a time.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) deliveries: VecDeque<Delivery>,
    /// Links that are drained, and whose senders wait for it.
    pub(super) drained: Vec<LinkId>,
}

impl Inbox {
    pub(super) fn new(facts: Facts, waker: Waker) -> Self {
        Self { facts, waker, state: Mutex::default() }
    }

    /// A new link, on which messages may come at once.
    pub(super) fn open_link(&self) -> LinkId {
        let mut state = self.state();
        state.links += 1;
        let link = LinkId(state.links);
        state.queues.insert(link, Queue::default());
        link
    }

    /// Nothing more is received on the link; what is under way is thrown away when it is taken.
    pub(super) fn close_link(&self, link: LinkId) {
        self.state().queues.remove(&link);
    }

    /// Leaves a delivery; false if nobody will take it any more.
    pub(super) fn put(&self, delivery: Delivery) -> bool {
        let mut state = self.state();
        if state.gone {
            return false;
        }
        let was_empty = state.deliveries.is_empty();
        state.deliveries.push_back(delivery);
        drop(state);
        if was_empty {
            self.waker.wake_by_ref();
        }
        true
    }

    /// Leaves a message, unless the link is full or closed.
    pub(super) fn put_message(&self, link: LinkId, message: Message) -> Result<(), Message> {
        let mut state = self.state();
        match state.queues.get_mut(&link) {
            None => return Err(message),
            Some(queue) if queue.messages == MESSAGES_MAX => {
                queue.sender_waits = true;
                return Err(message);
            }
            Some(queue) => queue.messages += 1,
        }
        let was_empty = state.deliveries.is_empty();
        state.deliveries.push_back(Delivery::Message { link, message });
        drop(state);
        if was_empty {
            self.waker.wake_by_ref();
        }
        Ok(())
    }

    /// Takes everything, up to the first message if messages are `held`.
    pub(super) fn take(&self, held: bool, taken: &mut Taken) {
        let mut state = self.state();
        let State { deliveries, queues, .. } = &mut *state;
        while let Some(delivery) = deliveries.pop_front_if(|next| !held || !matches!(next, Delivery::Message { .. })) {
            if let Delivery::Message { link, .. } = &delivery
                && let Some(queue) = queues.get_mut(link)
            {
                queue.messages -= 1;
                if queue.messages == 0 && std::mem::take(&mut queue.sender_waits) {
                    taken.drained.push(*link);
                }
            }
            taken.deliveries.push_back(delivery);
        }
    }

    /// Whether `take` would find something.
    pub(super) fn has_any(&self, held: bool) -> bool {
        match self.state().deliveries.front() {
            None => false,
            Some(Delivery::Message { .. }) => !held,
            Some(_) => true,
        }
    }

    pub(super) fn wake_if_any(&self) {
        if self.has_any(false) {
            self.waker.wake_by_ref();
        }
    }

    /// The transport is gone: nothing is left here any more. What was under way comes back.
    pub(super) fn close(&self) -> VecDeque<Delivery> {
        let mut state = self.state();
        state.gone = true;
        state.queues.clear();
        std::mem::take(&mut state.deliveries)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the inbox is sound: no foreign code runs under its lock")
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("facts", &self.facts).finish_non_exhaustive()
    }
}
