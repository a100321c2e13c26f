//! Every state of two sessions that send to each other through the smallest window of control buffers.
//!
//! Credit is plenty; what can run out are the places for heads. Heartbeats come at any time, and take places too.

#![expect(clippy::unwrap_used, reason = "in a test, also in its helpers")]

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::time::Duration;

use sluice_protocol::wire::{Backlog, Head, Open};
use sluice_protocol::{
    ChannelId, Limits, LinkEpoch, Next, PartitionId, Place, Session, SessionEvent, Source, SubpartitionIndex, Ticket,
    Time,
};

const BLOCKS: u32 = 7;
const HEARTBEATS: u32 = 2;
/// Sent by each side before the enumeration begins: with them the window is nearly full.
const UNDER_WAY: u32 = 6;

/// Shows one block for each message, so that each takes a place of its own.
struct OneBlock {
    left: u32,
    shown: bool,
}

impl Source for OneBlock {
    fn peek(&mut self, _: ChannelId) -> Option<Next<'_>> {
        let shown = self.left > 0 && !self.shown;
        shown.then_some(Next::Block { payload: &[7], crc: 0, behind: Backlog::default() })
    }

    fn take(&mut self, _: ChannelId, _: u64, _: Place) {
        (self.left, self.shown) = (self.left - 1, true);
    }
}

#[derive(Clone)]
struct Side {
    session: Session,
    to_send: u32,
    received: u32,
    heartbeats: u32,
    now: Time,
    /// What it has sent and the other has not had yet.
    queue: VecDeque<Vec<u8>>,
}

#[derive(Clone)]
struct World {
    sides: [Side; 2],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Transmit(usize),
    Deliver(usize),
    Heartbeat(usize),
}

fn limits() -> Limits {
    // Nobody is found silent here.
    Limits { control_window: 8, silence_max: Duration::from_secs(1 << 20), ..Limits::default() }
}

impl World {
    /// Both sides have asked, granted and served; nothing has been sent of the data.
    fn new() -> Self {
        let side = || Side {
            session: Session::new(limits(), LinkEpoch(1), false, Time(0)),
            to_send: BLOCKS,
            received: 0,
            heartbeats: HEARTBEATS,
            now: Time(0),
            queue: VecDeque::new(),
        };
        let mut world = Self { sides: [side(), side()] };
        for side in &mut world.sides {
            side.session.open(Open {
                partition: PartitionId::default(),
                subpartition: SubpartitionIndex(0),
                first_sequence: 0,
                granted: 1 << 20,
                keep: 1 << 20,
                deadline_ms: 0,
                ticket: Ticket::NONE,
            });
        }
        for from in [0, 1] {
            let mut nothing = OneBlock { left: 0, shown: false };
            let head = world.sides[from].session.transmit(Time(0), &mut nothing, vec![]).unwrap();
            world.sides[from].queue.push_back(head);
        }
        for to in [0, 1] {
            world.apply(Action::Deliver(to));
            world.sides[to].session.serve(ChannelId(0));
        }
        for _ in 0..UNDER_WAY {
            (0..2).for_each(|side| world.apply(Action::Transmit(side)));
        }
        world
    }

    fn enabled(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for side in [0, 1] {
            let Side { session, to_send, heartbeats, .. } = &self.sides[side];
            if !session.is_quiet() || *to_send > 0 {
                actions.push(Action::Transmit(side));
            }
            if !self.sides[1 - side].queue.is_empty() {
                actions.push(Action::Deliver(side));
            }
            if *heartbeats > 0 {
                actions.push(Action::Heartbeat(side));
            }
        }
        actions
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Transmit(side) => {
                let side = &mut self.sides[side];
                let mut source = OneBlock { left: side.to_send, shown: false };
                side.session.data_ready(ChannelId(0));
                if let Some(head) = side.session.transmit(side.now, &mut source, vec![]) {
                    side.queue.push_back(head);
                }
                side.to_send = source.left;
            }
            Action::Deliver(side) => {
                let head = self.sides[1 - side].queue.pop_front().unwrap();
                let head = Head::parse(&head, &limits()).unwrap();
                let Side { session, received, now, .. } = &mut self.sides[side];
                let count = |event: SessionEvent<'_>| *received += u32::from(matches!(event, SessionEvent::Data(..)));
                // A head over the window would be a violation.
                session.handle_head(*now, &head, count).unwrap();
            }
            Action::Heartbeat(side) => {
                let side = &mut self.sides[side];
                side.heartbeats -= 1;
                side.now = side.now.after(limits().heartbeat);
                side.session.handle_timeout(side.now).unwrap();
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.sides.iter().all(|side| side.to_send == 0 && side.received == BLOCKS)
    }

    fn fingerprint(&self) -> u64 {
        let [one, other] = [0, 1].map(|side| {
            let mut state = std::hash::DefaultHasher::new();
            let Side { session, to_send, received, heartbeats, queue, .. } = &self.sides[side];
            session.hash_state(&mut state);
            (to_send, received, heartbeats, queue.len()).hash(&mut state);
            for head in queue {
                let prefix = *Head::parse(head, &limits()).unwrap().prefix();
                let acknowledged = self.sides[1 - side].session.last_message() - prefix.received;
                (prefix.frames, prefix.acknowledge, acknowledged).hash(&mut state);
            }
            state.finish()
        });
        // The sides are alike: a world and its mirror image are the same state.
        one.min(other) ^ one.max(other).rotate_left(17)
    }
}

#[test]
fn neither_side_of_the_smallest_window_starves_the_other() {
    let first = World::new();
    let mut numbers = HashMap::from([(first.fingerprint(), 0usize)]);
    let mut complete = vec![first.is_complete()];
    let mut fair_from: Vec<Vec<usize>> = vec![vec![]];
    let mut open = vec![(0, first)];
    let mut fullest = 0;
    while let Some((number, world)) = open.pop() {
        fullest = fullest.max(world.sides[0].queue.len());
        for action in world.enabled() {
            let mut next = world.clone();
            next.apply(action);
            let fresh = numbers.len();
            assert!(fresh < 600_000, "the model has lost its bounds");
            let known = *numbers.entry(next.fingerprint()).or_insert(fresh);
            if known == fresh {
                complete.push(next.is_complete());
                fair_from.push(vec![]);
                open.push((known, next));
            }
            if known != number && !matches!(action, Action::Heartbeat(_)) {
                fair_from[known].push(number);
            }
        }
    }
    let mut back: Vec<usize> = (0..complete.len()).filter(|number| complete[*number]).collect();
    println!("control window: {} states, {} complete, {fullest} heads under way", complete.len(), back.len());
    assert!(!back.is_empty() && fullest >= 7, "the model fills the window");
    while let Some(number) = back.pop() {
        for &from in &fair_from[number] {
            if !std::mem::replace(&mut complete[from], true) {
                back.push(from);
            }
        }
    }
    assert!(complete.iter().all(|reached| *reached), "a state from which the blocks never arrive");
}
