//! Two real sessions joined by two queues of real heads, with small engines around them that check what they see.
//!
//! The world changes only by [`Action`]s. [`World::enabled`] lists those that are possible; a test picks one, or all.
//! Memory is counted: what the consumer grants is set aside, and comes back when a block was consumed, returned, or
//! when its channel is closed. Slots are written as late as a link could do it: when the head that names them arrives,
//! or, on a lost link, just before the link is drained. An earlier write cannot find what a late one does not. All that
//! is granted is void with its link; what a channel had with its request it is granted again at once, if there is memory.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of the model")]
#![allow(clippy::unwrap_used, reason = "in a test, also in its helpers")]
#![allow(clippy::allow_attributes, reason = "what is dead differs from test to test")]

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use sluice_protocol::wire::{Backlog, Frame, Head, Open, PREFIX_BYTES, Placement, Slot};
use sluice_protocol::{
    ChannelId, JobId, Limits, LinkEpoch, Next, PartitionId, Place, ReasonCode, Session, SessionEvent, Source,
    SubpartitionIndex, Ticket, Time,
};

/// One thing that a producer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Item {
    /// A block of so many bytes.
    Block(u32),
    Event,
    /// Overtakes what waits.
    Priority,
    End,
}

/// What a model is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    pub limits: Limits,
    pub remote: bool,
    /// What each channel carries; the last item is the end.
    pub scripts: Vec<Vec<Item>>,
    /// How many channels are open at a time; the others follow as these close, with the same ids.
    pub open_max: usize,
    /// Bytes of the consumer's gate, for all channels.
    pub memory: u32,
    /// Bytes granted with the request.
    pub granted: u32,
    pub keep: u32,
    /// How often each of these may happen in one run.
    pub losses: u32,
    pub cancels: u32,
    pub reclaims: u32,
    pub failures: u32,
    /// Slots that are too small for anything: a consumer may err.
    pub useless_slots: u32,
    /// Whether a partition may be served at any time, or at once.
    pub serve_late: bool,
    /// Whether blocks come one by one at any time, or are all there from the start.
    pub reveal_late: bool,
    /// Whether the task takes blocks at any time, or at once.
    pub consume_late: bool,
    /// The mistake that the model has to find: memory is used again as soon as the channel is cancelled.
    pub reuse_at_cancel: bool,
}

impl Setup {
    pub fn new(remote: bool, scripts: Vec<Vec<Item>>) -> Self {
        // A block of one byte stands in the head, larger ones do not.
        let limits = Limits { inline_bytes_max: 1, ..Limits::default() };
        let open_max = scripts.len();
        Self {
            limits,
            remote,
            scripts,
            open_max,
            memory: 4,
            granted: 0,
            keep: 0,
            losses: 0,
            cancels: 0,
            reclaims: 0,
            failures: 0,
            useless_slots: 0,
            serve_late: false,
            reveal_late: false,
            consume_late: false,
            reuse_at_cancel: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Consumer,
    Producer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Open(usize),
    Serve(usize),
    Reveal(usize),
    Grant(usize),
    /// The consumer wants back what a channel keeps and has no use for, because some other, or a larger block of its
    /// own, waits for it.
    Release(usize),
    Consume(usize),
    Transmit(Side),
    Deliver(Side),
    Restore,
    // What need not happen:
    Cancel(usize),
    Reclaim(usize),
    Fail(usize),
    UselessSlot(usize),
    Lose,
}

impl Action {
    /// Whether it happens at last if nothing else does.
    pub fn is_fair(self) -> bool {
        !matches!(
            self,
            Action::Cancel(_) | Action::Reclaim(_) | Action::Fail(_) | Action::UselessSlot(_) | Action::Lose
        )
    }
}

/// A message under way.
#[derive(Clone, Debug)]
struct Message {
    head: Rc<[u8]>,
    bodies: Rc<[Vec<u8>]>,
    /// What is written into slots before the head arrives.
    writes: Rc<[(u64, Vec<u8>)]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ConsumerState {
    Unopened,
    Open,
    Cancelling,
    Complete,
    Cancelled,
    Failed,
}

/// A channel at the engine of the consumer.
#[derive(Clone, Debug, Hash)]
struct Consumer {
    state: ConsumerState,
    id: ChannelId,
    /// The next item of the script that is due, priority events left out.
    due: usize,
    priorities: usize,
    want: u32,
    /// What is kept has been asked back since the last grant.
    released: bool,
    /// What the task has not taken yet: bytes of a block, or an event, and the slot it stands in.
    unconsumed: VecDeque<(Option<u32>, Option<u64>)>,
    /// The oldest first.
    slots: VecDeque<u64>,
    /// How many have been written or came back on this link: the number of the oldest.
    slots_through: u64,
    granted: u64,
    spent: u64,
    returned: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ProducerState {
    Unknown,
    Waiting,
    Serving,
    Over,
}

/// A channel at the engine of the producer.
#[derive(Clone, Debug, Hash)]
struct Producer {
    state: ProducerState,
    id: ChannelId,
    revealed: usize,
    /// Indexes into the script, in the order in which they will go.
    queue: VecDeque<usize>,
    /// Sent and not acknowledged: sequence number, message, index. The message is none after a lost link.
    retained: VecDeque<(u64, Option<u64>, usize)>,
    next_sequence: u64,
    /// The end has gone out.
    ended: bool,
}

/// Remote memory.
#[derive(Clone, Debug, Hash)]
struct Memory {
    bytes: u32,
    content: Vec<u8>,
    used_again: bool,
}

/// All of it.
#[derive(Clone)]
pub struct World {
    setup: Rc<Setup>,
    consumer: Session,
    producer: Session,
    up: VecDeque<Message>,
    down: VecDeque<Message>,
    consumers: Vec<Consumer>,
    producers: Vec<Producer>,
    slots: BTreeMap<u64, Memory>,
    next_slot: u64,
    /// Slots of the lost link, and what may still be written into them.
    draining: Vec<u64>,
    draining_writes: Vec<(u64, Vec<u8>)>,
    /// Channels that want memory, first come, first served.
    waiting: VecDeque<usize>,
    memory: u32,
    linked: bool,
    epoch: u32,
    left: Left,
    /// Writes that hit memory which was in use by somebody else.
    pub bad_deliveries: u32,
}

#[derive(Clone, Debug, Hash)]
struct Left {
    losses: u32,
    cancels: u32,
    reclaims: u32,
    failures: u32,
    useless_slots: u32,
}

/// The bytes of an item: different for each, so that a wrong one is seen.
fn content(channel: usize, item: usize, bytes: u32) -> Vec<u8> {
    (0..bytes).map(|at| (channel as u32 * 89 + item as u32 * 7 + at * 3 + 1) as u8).collect()
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let epoch = LinkEpoch(1);
        let session = || Session::new(setup.limits, epoch, setup.remote, Time(0));
        let consumer = Consumer {
            state: ConsumerState::Unopened,
            id: ChannelId(0),
            due: 0,
            priorities: 0,
            want: 0,
            released: false,
            unconsumed: VecDeque::new(),
            slots: VecDeque::new(),
            slots_through: 0,
            granted: 0,
            spent: 0,
            returned: 0,
        };
        let producer = Producer {
            state: ProducerState::Unknown,
            id: ChannelId(0),
            revealed: 0,
            queue: VecDeque::new(),
            retained: VecDeque::new(),
            next_sequence: 0,
            ended: false,
        };
        let left = Left {
            losses: setup.losses,
            cancels: setup.cancels,
            reclaims: setup.reclaims,
            failures: setup.failures,
            useless_slots: setup.useless_slots,
        };
        let channels = setup.scripts.len();
        Self {
            consumer: session(),
            producer: session(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            consumers: vec![consumer; channels],
            producers: vec![producer; channels],
            slots: BTreeMap::new(),
            next_slot: 0,
            draining: Vec::new(),
            draining_writes: Vec::new(),
            waiting: VecDeque::new(),
            memory: setup.memory,
            linked: true,
            epoch: 1,
            left,
            bad_deliveries: 0,
            setup: Rc::new(setup),
        }
    }

    /// What can happen now.
    pub fn enabled(&self) -> Vec<Action> {
        let mut actions = Vec::with_capacity(8);
        let open = self.consumers.iter().filter(|consumer| consumer.is_open()).count();
        for channel in 0..self.consumers.len() {
            let (consumer, producer) = (&self.consumers[channel], &self.producers[channel]);
            if consumer.state == ConsumerState::Unopened {
                // In order: more orders would only be more of the same.
                let first = self.consumers[..channel].iter().all(|other| other.state != ConsumerState::Unopened);
                let free = self.setup.losses == 0 || self.ids_are_free();
                if first && free && open < self.setup.open_max && self.memory >= self.setup.granted {
                    // At once: what it says goes out at any time after.
                    return vec![Action::Open(channel)];
                }
                continue;
            }
            if producer.state == ProducerState::Waiting {
                actions.push(Action::Serve(channel));
            }
            if producer.state == ProducerState::Serving && producer.revealed < self.setup.scripts[channel].len() {
                actions.push(Action::Reveal(channel));
            }
            if self.waits_first(channel) {
                if self.memory >= consumer.want {
                    actions.push(Action::Grant(channel));
                } else {
                    let idle = |other: &usize| {
                        let consumer = &self.consumers[*other];
                        // A channel that waits itself has no use for what it holds either: it is too little, or slots
                        // where bytes are wanted.
                        let useless = consumer.want == 0 || *other == channel || self.wants(*other);
                        self.outstanding(*other) > 0 && !consumer.released && useless
                    };
                    actions.extend((0..self.consumers.len()).filter(idle).map(Action::Release));
                }
            }
            if !consumer.unconsumed.is_empty() {
                actions.push(Action::Consume(channel));
            }
            if consumer.state == ConsumerState::Open {
                if self.left.cancels > 0 {
                    actions.push(Action::Cancel(channel));
                }
                if self.left.reclaims > 0 {
                    actions.push(Action::Reclaim(channel));
                }
                if self.left.useless_slots > 0 && self.memory > 0 && self.linked {
                    actions.push(Action::UselessSlot(channel));
                }
            }
            if self.left.failures > 0 && matches!(producer.state, ProducerState::Waiting | ProducerState::Serving) {
                actions.push(Action::Fail(channel));
            }
        }
        if !self.linked {
            actions.push(Action::Restore);
            return actions;
        }
        for (side, session, queue) in
            [(Side::Consumer, &self.consumer, &self.up), (Side::Producer, &self.producer, &self.down)]
        {
            if !session.is_quiet() {
                actions.push(Action::Transmit(side));
            }
            if !queue.is_empty() {
                // To the other side of the one that sent it.
                actions.push(Action::Deliver(if side == Side::Consumer { Side::Producer } else { Side::Consumer }));
            }
        }
        if self.left.losses > 0 {
            actions.push(Action::Lose);
        }
        actions
    }

    /// Over lost links an id is used again only when the peer has surely forgotten its last use, which a session
    /// reaches by giving out all the others first.
    fn ids_are_free(&self) -> bool {
        let closed = self.consumers.iter().filter(|consumer| !consumer.is_open());
        closed.into_iter().all(|consumer| self.producer.sender_credit(consumer.id).is_none())
    }

    /// Who wants memory gets it in turn: the first of those that wait, and nobody else.
    fn waits_first(&self, channel: usize) -> bool {
        self.waiting.iter().find(|other| self.wants(**other)) == Some(&channel)
    }

    fn wants(&self, channel: usize) -> bool {
        let consumer = &self.consumers[channel];
        consumer.state == ConsumerState::Open
            && consumer.want > 0
            && self.linked
            && match self.in_slot(consumer.want) {
                true => !consumer.slots.iter().any(|slot| self.slots[slot].bytes >= consumer.want),
                false => self.outstanding_bytes(channel) < u64::from(consumer.want),
            }
    }

    fn in_slot(&self, bytes: u32) -> bool {
        self.setup.remote && bytes > self.setup.limits.inline_bytes_max
    }

    fn outstanding_bytes(&self, channel: usize) -> u64 {
        let consumer = &self.consumers[channel];
        consumer.granted - consumer.spent - consumer.returned
    }

    /// What a channel that is open holds and could give back.
    fn outstanding(&self, channel: usize) -> u64 {
        let consumer = &self.consumers[channel];
        match consumer.state {
            ConsumerState::Open => self.outstanding_bytes(channel) + consumer.slots.len() as u64,
            _ => 0,
        }
    }

    /// Does one thing, and checks everything.
    pub fn apply(&mut self, action: Action) {
        match action {
            Action::Open(channel) => self.open(channel),
            Action::Serve(channel) => self.serve(channel),
            Action::Reveal(channel) => self.reveal(channel),
            Action::Grant(channel) => self.grant(channel),
            Action::Release(channel) => {
                self.consumers[channel].released = true;
                self.consumer.reclaim(self.consumers[channel].id, 0);
            }
            Action::Consume(channel) => self.consume(channel),
            Action::Transmit(side) => self.transmit(side),
            Action::Deliver(Side::Producer) => self.deliver_up(),
            Action::Deliver(Side::Consumer) => self.deliver_down(),
            Action::Lose => self.lose(),
            Action::Restore => self.restore(),
            Action::Cancel(channel) => self.cancel(channel),
            Action::Reclaim(channel) => {
                self.left.reclaims -= 1;
                self.consumer.reclaim(self.consumers[channel].id, 0);
            }
            Action::Fail(channel) => {
                self.left.failures -= 1;
                self.producers[channel].over();
                self.producer.fail(self.producers[channel].id, ReasonCode::ProducerFailed, "a test");
            }
            Action::UselessSlot(channel) => {
                self.left.useless_slots -= 1;
                self.grant_slot(channel, 1);
            }
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|channel| self.wants(*channel));
        let more = (0..self.consumers.len()).filter(|channel| self.wants(*channel) && !waiting.contains(channel));
        self.waiting = waiting.iter().copied().chain(more).collect();
        self.check();
    }

    // ── The consumer ────────────────────────────────────────────────────────────────────────────────────────────

    fn open(&mut self, channel: usize) {
        self.consumer.use_ids_again();
        let id = self.consumer.open(Open {
            partition: PartitionId { job: JobId(1), partition: 2, attempt: 0 },
            subpartition: SubpartitionIndex(channel as u32),
            first_sequence: 0,
            granted: self.setup.granted.into(),
            keep: self.setup.keep,
            deadline_ms: 0,
            ticket: Ticket([channel as u8; 16]),
        });
        self.memory -= self.setup.granted;
        let consumer = &mut self.consumers[channel];
        consumer.due = self.setup.scripts[channel].iter().position(|item| *item != Item::Priority).expect("an end");
        (consumer.state, consumer.id, consumer.granted) = (ConsumerState::Open, id, self.setup.granted.into());
    }

    fn grant(&mut self, channel: usize) {
        let want = self.consumers[channel].want;
        self.consumers[channel].released = false;
        if self.in_slot(want) { self.grant_slot(channel, want) } else { self.grant_bytes(channel, want) }
    }

    fn grant_bytes(&mut self, channel: usize, bytes: u32) {
        self.memory -= bytes;
        self.consumers[channel].granted += u64::from(bytes);
        self.consumer.grant(self.consumers[channel].id, bytes.into());
    }

    fn grant_slot(&mut self, channel: usize, bytes: u32) {
        let address = self.next_slot;
        self.next_slot += 1;
        self.memory -= bytes;
        self.slots.insert(address, Memory { bytes, content: Vec::new(), used_again: false });
        self.consumers[channel].slots.push_back(address);
        self.consumer.grant_slots(self.consumers[channel].id, &[Slot { address, key: 5, bytes }]);
    }

    fn consume(&mut self, channel: usize) {
        let consumer = &mut self.consumers[channel];
        match consumer.unconsumed.pop_front().unwrap() {
            (Some(bytes), None) => self.memory += bytes,
            (Some(_), Some(slot)) => self.free_slot(slot),
            (None, _) => {
                let id = consumer.id;
                if consumer.state == ConsumerState::Open {
                    self.consumer.take_event(id);
                }
            }
        }
    }

    fn free_slot(&mut self, slot: u64) {
        let place = self.slots.get_mut(&slot).unwrap();
        assert!(!place.used_again, "freed twice");
        place.used_again = true;
        self.memory += place.bytes;
    }

    fn cancel(&mut self, channel: usize) {
        self.left.cancels -= 1;
        let consumer = &mut self.consumers[channel];
        consumer.state = ConsumerState::Cancelling;
        let id = consumer.id;
        if self.consumer.cancel(id) {
            self.close(channel, ConsumerState::Cancelled);
        } else if self.setup.reuse_at_cancel {
            for slot in std::mem::take(&mut self.consumers[channel].slots) {
                self.free_slot(slot);
            }
        }
    }

    /// The peer will not touch the channel's memory any more.
    fn close(&mut self, channel: usize, state: ConsumerState) {
        self.memory += self.outstanding_bytes(channel) as u32;
        let consumer = &mut self.consumers[channel];
        consumer.granted = consumer.spent + consumer.returned;
        consumer.state = state;
        consumer.want = 0;
        for slot in std::mem::take(&mut consumer.slots) {
            self.free_slot(slot);
        }
    }

    fn deliver_down(&mut self) {
        let message = self.down.pop_front().unwrap();
        for (slot, bytes) in message.writes.iter() {
            self.write(*slot, bytes);
        }
        let head = Head::parse(&message.head, &self.setup.limits).unwrap();
        let mut session = self.consumer.clone();
        let mut bodies = message.bodies.iter();
        session.handle_head(Time(0), &head, |event| self.consumer_event(event, &mut bodies)).unwrap();
        assert_eq!(bodies.next(), None, "all bodies belong to frames");
        self.consumer = session;
        for channel in 0..self.consumers.len() {
            while !self.setup.consume_late && !self.consumers[channel].unconsumed.is_empty() {
                self.consume(channel);
            }
        }
    }

    fn consumer_event<'a>(&mut self, event: SessionEvent<'_>, bodies: &mut impl Iterator<Item = &'a Vec<u8>>) {
        let find = |id: ChannelId| {
            let found = self.consumers.iter().position(|consumer| consumer.id == id && consumer.is_open());
            found.expect("an event of an open channel")
        };
        match event {
            SessionEvent::Data(id, block, placement) => {
                let channel = find(id);
                self.consume_block(channel, block.length, block.crc, block.backlog, placement, bodies);
            }
            SessionEvent::Skipped(id, placement) => {
                assert_eq!(self.consumers[find(id)].state, ConsumerState::Cancelling, "only cancelled ones skip");
                if placement == Placement::Body {
                    bodies.next().unwrap();
                }
            }
            SessionEvent::Backlog(id, backlog) => {
                assert!(backlog.next > 0, "a backlog that names its next block");
                let channel = find(id);
                self.consumers[channel].want = backlog.next;
            }
            SessionEvent::Event { channel: id, kind, overtook, payload } => {
                let channel = find(id);
                let index = usize::from(kind);
                assert_eq!(payload, content(channel, index, 3));
                let consumer = &mut self.consumers[channel];
                match overtook {
                    Some(_) => consumer.priorities += 1,
                    None => {
                        assert_eq!(consumer.due, index, "an event at its place");
                        consumer.due = next_due(&self.setup.scripts[channel], index);
                    }
                }
                consumer.unconsumed.push_back((None, None));
            }
            SessionEvent::End(id) => {
                let channel = find(id);
                let script = &self.setup.scripts[channel];
                assert_eq!(script[self.consumers[channel].due], Item::End, "the end behind everything");
                let priorities = script.iter().filter(|item| **item == Item::Priority).count();
                assert_eq!(self.consumers[channel].priorities, priorities, "each priority event once");
                self.close(channel, ConsumerState::Complete);
            }
            SessionEvent::Failed { channel, code, .. } => {
                assert_eq!(code, ReasonCode::ProducerFailed, "no totals that differ");
                self.close(find(channel), ConsumerState::Failed);
            }
            SessionEvent::Cancelled(id) => {
                let channel = find(id);
                assert_eq!(self.consumers[channel].state, ConsumerState::Cancelling);
                self.close(channel, ConsumerState::Cancelled);
            }
            SessionEvent::Returned { channel, bytes, slots } => {
                let channel = find(channel);
                self.consumers[channel].returned += bytes;
                // What the producer had announced counts no more.
                self.consumers[channel].want = 0;
                self.memory += bytes as u32;
                for _ in 0..slots {
                    let slot = self.consumers[channel].next_slot();
                    self.free_slot(slot);
                }
            }
            SessionEvent::Acknowledged { .. } => {}
            other => panic!("at the consumer: {other:?}"),
        }
    }

    fn consume_block<'a>(
        &mut self,
        channel: usize,
        length: u32,
        crc: u32,
        backlog: Backlog,
        placement: Placement<'_>,
        bodies: &mut impl Iterator<Item = &'a Vec<u8>>,
    ) {
        let index = crc as usize;
        assert_eq!(self.consumers[channel].due, index, "a block without a gap or a repetition");
        assert_eq!(self.setup.scripts[channel][index], Item::Block(length));
        let (bytes, slot) = match placement {
            Placement::Inline(bytes) => (bytes.to_vec(), None),
            Placement::Body => (bodies.next().unwrap().clone(), None),
            Placement::Slot(number) => {
                assert_eq!(number, self.consumers[channel].slots_through, "the oldest slot granted on this link");
                let slot = self.consumers[channel].next_slot();
                (self.slots[&slot].content.clone(), Some(slot))
            }
        };
        assert_eq!(bytes, content(channel, index, length), "the bytes that were written");
        let consumer = &mut self.consumers[channel];
        consumer.due = next_due(&self.setup.scripts[channel], index);
        consumer.want = backlog.next;
        if slot.is_none() {
            consumer.spent += u64::from(length);
        }
        consumer.unconsumed.push_back((Some(length), slot));
    }

    fn write(&mut self, slot: u64, bytes: &[u8]) {
        let place = self.slots.get_mut(&slot).unwrap();
        if place.used_again {
            self.bad_deliveries += 1;
        }
        assert!(bytes.len() <= place.bytes as usize, "a block that fits its slot");
        place.content = bytes.to_vec();
    }

    // ── The producer ────────────────────────────────────────────────────────────────────────────────────────────

    fn serve(&mut self, channel: usize) {
        self.producers[channel].state = ProducerState::Serving;
        self.producer.serve(self.producers[channel].id);
        while !self.setup.reveal_late && self.producers[channel].revealed < self.setup.scripts[channel].len() {
            self.reveal(channel);
        }
    }

    fn reveal(&mut self, channel: usize) {
        let producer = &mut self.producers[channel];
        let index = producer.revealed;
        producer.revealed += 1;
        match self.setup.scripts[channel][index] {
            Item::Priority => producer.queue.push_front(index),
            _ => producer.queue.push_back(index),
        }
        self.producer.data_ready(producer.id);
    }

    fn deliver_up(&mut self) {
        let message = self.up.pop_front().unwrap();
        let head = Head::parse(&message.head, &self.setup.limits).unwrap();
        let mut session = self.producer.clone();
        session.handle_head(Time(0), &head, |event| self.producer_event(event)).unwrap();
        self.producer = session;
        if !self.setup.serve_late {
            for channel in 0..self.producers.len() {
                if self.producers[channel].state == ProducerState::Waiting {
                    self.serve(channel);
                }
            }
        }
    }

    fn producer_event(&mut self, event: SessionEvent<'_>) {
        let find = |id: ChannelId| self.producers.iter().position(|producer| producer.id == id && producer.is_known());
        match event {
            SessionEvent::Opened(id, open) => {
                assert_eq!(find(id), None, "the channel before it is over");
                let producer = &mut self.producers[open.subpartition.0 as usize];
                assert_eq!(producer.state, ProducerState::Unknown, "opened once");
                assert_eq!(open.ticket, Ticket([open.subpartition.0 as u8; 16]), "the ticket that was shown");
                (producer.state, producer.id) = (ProducerState::Waiting, id);
            }
            SessionEvent::CancelRequested(id) => {
                // A reader that failed before is gone already; one whose end has arrived is told so after a reconnect.
                if let Some(channel) = find(id) {
                    self.producers[channel].over();
                }
            }
            SessionEvent::Acknowledged { through } => {
                for producer in &mut self.producers {
                    producer.retained.retain(|(_, message, _)| message.is_none_or(|message| message > through));
                    let sent_all = producer.revealed > 0 && producer.queue.is_empty() && producer.retained.is_empty();
                    if sent_all && producer.ended {
                        producer.over();
                    }
                }
            }
            SessionEvent::Rewind { channel: id, sequence } => {
                let channel = find(id).expect("a channel that is kept");
                self.producers[channel].rewind(sequence);
            }
            other => panic!("at the producer: {other:?}"),
        }
    }

    // ── The link ────────────────────────────────────────────────────────────────────────────────────────────────

    fn transmit(&mut self, side: Side) {
        let memory = Vec::new();
        let setup = Rc::clone(&self.setup);
        match side {
            Side::Consumer => {
                let mut none =
                    Taken { setup: &setup, producers: &mut [], bodies: vec![], writes: vec![], shown: vec![] };
                if let Some(head) = self.consumer.transmit(Time(0), &mut none, memory) {
                    self.check_frames(&head);
                    self.up.push_back(Message { head: head.into(), bodies: [].into(), writes: [].into() });
                }
            }
            Side::Producer => {
                let producers = &mut self.producers;
                let mut source = Taken { setup: &setup, producers, bodies: vec![], writes: vec![], shown: vec![] };
                let head = self.producer.transmit(Time(0), &mut source, memory);
                let (bodies, writes) = (source.bodies, source.writes);
                let Some(head) = head else {
                    assert!(bodies.is_empty() && writes.is_empty(), "nothing is taken without a message");
                    return;
                };
                let message = self.producer.last_message();
                for producer in &mut self.producers {
                    let unstamped = producer.retained.iter_mut().filter(|(_, stamp, _)| *stamp == Some(u64::MAX));
                    unstamped.for_each(|(_, stamp, _)| *stamp = Some(message));
                }
                self.check_frames(&head);
                self.down.push_back(Message { head: head.into(), bodies: bodies.into(), writes: writes.into() });
            }
        }
    }

    fn lose(&mut self) {
        self.left.losses -= 1;
        self.linked = false;
        let lost = std::mem::take(&mut self.down);
        self.draining_writes.extend(lost.iter().flat_map(|message| message.writes.iter().cloned()));
        self.up.clear();
        self.consumer.link_lost();
        self.producer.link_lost();
        for channel in 0..self.consumers.len() {
            self.drop_posted(channel);
        }
        for producer in &mut self.producers {
            producer.retained.iter_mut().for_each(|(_, message, _)| *message = None);
        }
    }

    /// What was posted for a channel is void with its link; nothing says `Returned`.
    fn drop_posted(&mut self, channel: usize) {
        let void = self.outstanding_bytes(channel);
        self.memory += void as u32;
        let consumer = &mut self.consumers[channel];
        consumer.returned += void;
        // Void, but not free before the link is drained.
        self.draining.extend(consumer.slots.drain(..));
        (consumer.slots_through, consumer.want, consumer.released) = (0, 0, false);
        if consumer.is_open() {
            assert_eq!(self.consumer.outstanding(consumer.id), Some(0), "no credit outlives its link");
        }
    }

    fn restore(&mut self) {
        for (slot, bytes) in std::mem::take(&mut self.draining_writes) {
            self.write(slot, &bytes);
        }
        for slot in std::mem::take(&mut self.draining) {
            self.free_slot(slot);
        }
        self.linked = true;
        self.epoch += 1;
        self.consumer.link_restored(LinkEpoch(self.epoch), Time(0));
        self.producer.link_restored(LinkEpoch(self.epoch), Time(0));
        for channel in 0..self.consumers.len() {
            let granted = self.setup.granted;
            let void = self.consumers[channel].state == ConsumerState::Open && self.outstanding_bytes(channel) == 0;
            if void && (1..=self.memory).contains(&granted) {
                self.grant_bytes(channel, granted);
            }
        }
    }

    // ── Checks ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// What holds in every state.
    fn check(&self) {
        let mut set_aside = 0;
        for (consumer, producer) in self.consumers.iter().zip(&self.producers) {
            set_aside += consumer.set_aside(&self.slots);
            if consumer.state != ConsumerState::Open {
                continue;
            }
            let credit = self.consumer.receiver_credit(consumer.id).expect("an open channel");
            let counted = (consumer.granted, consumer.spent, consumer.returned);
            assert_eq!((credit.granted(), credit.spent(), credit.returned()), counted);
            assert_eq!(credit.granted(), credit.outstanding() + credit.spent() + credit.returned());
            if !self.linked || !producer.is_known() {
                continue;
            }
            let Some(sender) = self.producer.sender_credit(producer.id) else { continue };
            assert_eq!(sender.granted(), sender.outstanding() + sender.spent() + sender.returned());
            assert!(sender.granted() <= credit.granted(), "what was granted was set aside");
            assert!(sender.spent() + sender.returned() <= sender.granted());
        }
        let draining: u32 = self.draining.iter().map(|slot| self.slots[slot].bytes).sum();
        assert_eq!(self.memory + set_aside + draining, self.setup.memory, "every byte is somewhere");
        if !self.setup.reuse_at_cancel {
            assert_eq!(self.bad_deliveries, 0, "a slot was written after its memory was used again");
        }
    }

    /// What holds for every message: nothing follows a channel's last frame, nobody is rejected.
    fn check_frames(&self, head: &[u8]) {
        let head = Head::parse(head, &self.setup.limits).expect("a head that its own side can read");
        let mut ended = Vec::new();
        for frame in head.frames() {
            let (channel, last) = match frame {
                Frame::Data(channel, ..) | Frame::Backlog(channel, _) => (channel, false),
                Frame::Event { channel, .. } | Frame::Return { channel, .. } => (channel, false),
                Frame::End { channel, .. } | Frame::Failed { channel, .. } => (channel, true),
                Frame::Cancelled { channel } => (channel, true),
                Frame::Reject { channel } => panic!("{channel:?} is rejected"),
                _ => continue,
            };
            assert!(!ended.contains(&channel), "a frame of {channel:?} behind its last one");
            if last {
                ended.push(channel);
            }
        }
    }

    /// Whether all is delivered, or cancelled, or failed as it was meant to, and every byte of memory is back.
    pub fn is_complete(&self) -> bool {
        let closed = self.consumers.iter().all(|consumer| {
            !consumer.is_open() && consumer.state != ConsumerState::Unopened && consumer.unconsumed.is_empty()
        });
        let forgotten = self.producers.iter().all(|producer| !producer.is_known());
        closed && forgotten && self.linked && self.memory == self.setup.memory
    }

    pub fn complete_channels(&self) -> usize {
        self.consumers.iter().filter(|consumer| consumer.state == ConsumerState::Complete).count()
    }

    /// The same for states that behave the same.
    pub fn fingerprint(&self) -> u64 {
        let mut state = std::hash::DefaultHasher::new();
        self.consumer.hash_state(&mut state);
        self.producer.hash_state(&mut state);
        for (queue, receiver) in [(&self.up, &self.producer), (&self.down, &self.consumer)] {
            for message in queue {
                let prefix = *Head::parse(&message.head, &self.setup.limits).expect("a head").prefix();
                (prefix.acknowledge, receiver.last_message().wrapping_sub(prefix.received)).hash(&mut state);
                message.head[PREFIX_BYTES..].hash(&mut state);
            }
            queue.len().hash(&mut state);
        }
        (&self.consumers, &self.waiting).hash(&mut state);
        for producer in &self.producers {
            producer.hash_state(self.producer.last_message(), &mut state);
        }
        for (slot, place) in self.slots.iter().filter(|(_, place)| !place.used_again) {
            (slot, place).hash(&mut state);
        }
        // A slot that is used again matters as long as somebody may write into it.
        let doomed = self.down.iter().flat_map(|message| message.writes.iter()).chain(&self.draining_writes);
        for (slot, _) in doomed {
            (slot, self.slots[slot].used_again).hash(&mut state);
        }
        (&self.draining, self.memory, self.linked, self.epoch, &self.left, self.next_slot).hash(&mut state);
        self.bad_deliveries.min(1).hash(&mut state);
        state.finish()
    }
}

fn next_due(script: &[Item], index: usize) -> usize {
    (index + 1..script.len()).find(|next| script[*next] != Item::Priority).expect("a script ends with its end")
}

impl Consumer {
    fn is_open(&self) -> bool {
        matches!(self.state, ConsumerState::Open | ConsumerState::Cancelling)
    }

    /// The oldest slot, written or returned.
    fn next_slot(&mut self) -> u64 {
        self.slots_through += 1;
        self.slots.pop_front().expect("a slot that was granted")
    }

    fn set_aside(&self, slots: &BTreeMap<u64, Memory>) -> u32 {
        let unconsumed: u32 = self
            .unconsumed
            .iter()
            .filter_map(|(bytes, slot)| match slot {
                Some(slot) => Some(slots[slot].bytes),
                None => *bytes,
            })
            .sum();
        let granted: u32 = self.slots.iter().map(|slot| slots[slot].bytes).sum();
        (self.granted - self.spent - self.returned) as u32 + granted + unconsumed
    }
}

impl Producer {
    fn is_known(&self) -> bool {
        matches!(self.state, ProducerState::Waiting | ProducerState::Serving)
    }

    fn over(&mut self) {
        self.state = ProducerState::Over;
        self.queue.clear();
        self.retained.clear();
    }

    /// Goes back to `sequence`; what is older has arrived.
    fn rewind(&mut self, sequence: u64) {
        assert!(sequence <= self.next_sequence, "nothing is asked for that was never sent");
        let kept: Vec<_> = self.retained.drain(..).filter(|(number, ..)| *number >= sequence).collect();
        assert_eq!(kept.len() as u64, self.next_sequence - sequence, "all that is asked for is still here");
        for (_, _, index) in kept.into_iter().rev() {
            self.queue.push_front(index);
        }
        self.next_sequence = sequence;
        self.ended = false;
    }

    fn hash_state(&self, sent: u64, state: &mut impl Hasher) {
        (self.state, self.id, self.revealed, &self.queue, self.next_sequence, self.ended).hash(state);
        for (sequence, message, index) in &self.retained {
            (sequence, message.map(|message| sent - message), index).hash(state);
        }
    }
}

/// The readers of the producer's engine while a message is composed.
struct Taken<'a> {
    setup: &'a Setup,
    producers: &'a mut [Producer],
    bodies: Vec<Vec<u8>>,
    writes: Vec<(u64, Vec<u8>)>,
    shown: Vec<u8>,
}

impl Taken<'_> {
    fn find(&self, id: ChannelId) -> Option<usize> {
        self.producers.iter().position(|producer| producer.id == id && producer.is_known())
    }

    fn blocks(&self, channel: usize, from: usize) -> impl Iterator<Item = u32> {
        let queue = self.producers[channel].queue.iter().skip(from);
        queue.filter_map(
            move |index| if let Item::Block(bytes) = self.setup.scripts[channel][*index] { Some(bytes) } else { None },
        )
    }

    fn behind(&self, channel: usize) -> Backlog {
        let (bytes, blocks) = (self.blocks(channel, 1).sum(), self.blocks(channel, 1).count() as u32);
        Backlog { bytes, blocks, next: self.blocks(channel, 1).next().unwrap_or(0) }
    }
}

impl Source for Taken<'_> {
    fn peek(&mut self, id: ChannelId) -> Option<Next<'_>> {
        let channel = self.find(id)?;
        let index = *self.producers[channel].queue.front()?;
        let script = &self.setup.scripts[channel];
        Some(match script[index] {
            Item::Block(bytes) => {
                let behind = self.behind(channel);
                self.shown = content(channel, index, bytes);
                Next::Block { payload: &self.shown, crc: index as u32, behind }
            }
            kind @ (Item::Event | Item::Priority) => {
                let overtook = (kind == Item::Priority).then(|| self.blocks(channel, 1).count() as u32);
                self.shown = content(channel, index, 3);
                Next::Event { kind: index as u16, overtook, payload: &self.shown }
            }
            Item::End => {
                let blocks =
                    script.iter().filter_map(|item| if let Item::Block(bytes) = item { Some(*bytes) } else { None });
                Next::End { blocks: blocks.clone().count() as u64, bytes: blocks.map(u64::from).sum() }
            }
        })
    }

    fn take(&mut self, id: ChannelId, sequence: u64, place: Place) {
        let channel = self.find(id).expect("a channel that was shown");
        let producer = &mut self.producers[channel];
        let index = producer.queue.pop_front().expect("an item that was shown");
        assert_eq!(sequence, producer.next_sequence, "numbers without a gap");
        producer.next_sequence += 1;
        // Stamped when the message has its number.
        producer.retained.push_back((sequence, Some(u64::MAX), index));
        producer.ended = self.setup.scripts[channel][index] == Item::End;
        match place {
            Place::Head => {}
            Place::Body => self.bodies.push(std::mem::take(&mut self.shown)),
            Place::Slot(slot) => self.writes.push((slot.address, std::mem::take(&mut self.shown))),
        }
    }
}
