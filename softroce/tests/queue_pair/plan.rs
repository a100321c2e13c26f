//! What the two ends ask of each other, drawn from a seed, and whether they got it.

use std::time::Duration;

use sluice_softroce::Time;
use sluice_softroce::memory::{Access, Key, Segment};
use sluice_softroce::queue_pair::{PathMtu, State};
use sluice_softroce::work::{
    Completion, CompletionKind, Operation, ReceiveRequest, RemoteAddress, SendRequest, Status,
};

use crate::dice::Dice;
use crate::wire::{Faults, Wire};
use crate::world::{Setup, World};

/// A request and what it is to bring about.
struct Asked {
    /// Who asks.
    by: usize,
    request: SendRequest,
    content: Vec<u8>,
}

/// Room for a message.
struct Room {
    /// Whose.
    of: usize,
    request: ReceiveRequest,
}

/// What is done at a time.
enum Step {
    Ask(usize),
    Offer(usize),
}

pub(crate) struct Plan {
    pub(crate) faults: Faults,
    world: World,
    asked: Vec<Asked>,
    rooms: Vec<Room>,
    steps: Vec<(Time, Step)>,
}

/// The keys of the regions: everything local, and for the peer to write and to read.
const LOCAL: u32 = 1;
const WRITABLE: u32 = 2;
const READABLE: u32 = 3;

impl Plan {
    pub(crate) fn draw(seed: u64) -> Plan {
        let mut dice = Dice::new(seed);
        let faults = Faults::draw(&mut dice);
        let path_mtu = dice.pick(&PathMtu::ALL);
        let setup = Setup {
            path_mtu,
            reads_max: 1 + dice.below(16) as u8,
            timeout: Duration::from_micros(200 + dice.below(2_000)),
            window_bytes_max: path_mtu.bytes() * (4 + dice.below(200) as usize),
            first_psn: [dice.pick(&[0, 0xFF_FFFF, 0x7F_FFFF, 12345]), dice.next() as u32],
            ..Setup::default()
        };
        let world = World::new(setup, Wire::new(faults, Dice::new(seed ^ 0xFACE)));
        let mut plan = Plan { faults, world, asked: Vec::new(), rooms: Vec::new(), steps: Vec::new() };
        for by in 0..2 {
            let requests = dice.below(30);
            plan.draw_requests(&mut dice, by, requests, path_mtu.bytes());
        }
        plan.steps.sort_by_key(|(time, _)| *time);
        plan
    }

    fn draw_requests(&mut self, dice: &mut Dice, by: usize, requests: u64, mtu: usize) {
        let (mut asked_at, mut offered_at) = (Time::ZERO, Time::ZERO);
        let pace = 1 + dice.below(100_000);
        for _ in 0..requests {
            asked_at = asked_at.after(Duration::from_nanos(dice.below(pace)));
            let length = match dice.below(8) {
                0 => 0,
                1 => 1,
                2 => mtu - 1,
                3 => mtu,
                4 => mtu + 1,
                5 => dice.below(40 * mtu as u64) as usize,
                _ => dice.below(6 * mtu as u64) as usize,
            };
            let id = self.asked.len() as u64;
            let immediate = dice.chance(4_000).then(|| dice.next() as u32);
            let operation = self.draw_operation(dice, by, length, immediate);
            let content = dice.bytes(length);
            let local = self.draw_segments(dice, by, &content, matches!(operation, Operation::Read { .. }));
            if let Operation::Read { remote } = operation {
                let start = (remote.address - crate::memory::BASE) as usize;
                self.world.ends[1 - by].memory.bytes.borrow_mut()[start..start + length].copy_from_slice(&content);
            }
            let needs_room = matches!(operation, Operation::Send { .. })
                || matches!(operation, Operation::Write { immediate: Some(_), .. });
            let (signaled, solicited) = (dice.chance(8_000), dice.chance(2_000));
            let request = SendRequest { id, operation, local, signaled, solicited };
            self.steps.push((asked_at, Step::Ask(self.asked.len())));
            self.asked.push(Asked { by, request, content });
            if needs_room {
                offered_at = offered_at.after(Duration::from_nanos(dice.below(pace)));
                let room = vec![0xEE; length + dice.below(3) as usize];
                let local = self.draw_segments(dice, 1 - by, &room, true);
                self.steps.push((offered_at, Step::Offer(self.rooms.len())));
                let request = ReceiveRequest { id: self.rooms.len() as u64, local };
                self.rooms.push(Room { of: 1 - by, request });
            }
        }
    }

    fn draw_operation(&self, dice: &mut Dice, by: usize, length: usize, immediate: Option<u32>) -> Operation {
        let target = |key: u32, rights: &'static [Access]| {
            let key = key << 16 | self.asked.len() as u32;
            let address = self.world.ends[1 - by].memory.add(key, &vec![0xEE; length], rights);
            RemoteAddress { address, key: Key(key) }
        };
        match dice.below(3) {
            0 => Operation::Send { immediate },
            1 => Operation::Write { remote: target(WRITABLE, &[Access::RemoteWrite]), immediate },
            _ => Operation::Read { remote: target(READABLE, &[Access::RemoteRead]) },
        }
    }

    /// Memory with this content in one to four pieces; if it is to be written to, it holds something else at first.
    fn draw_segments(&mut self, dice: &mut Dice, of: usize, content: &[u8], target: bool) -> Vec<Segment> {
        let rights: &'static [Access] = if target { &[Access::LocalWrite] } else { &[] };
        let mut segments = Vec::new();
        let mut rest = content;
        while !rest.is_empty() {
            let last = segments.len() == 3;
            let length = if last { rest.len() } else { 1 + dice.below(rest.len() as u64) as usize };
            let (piece, later) = rest.split_at(length);
            let key = LOCAL << 24 | dice.next() as u32 & 0xFF_FFFF;
            let piece = if target { vec![0xEE; length] } else { piece.to_vec() };
            let address = self.world.ends[of].memory.add(key, &piece, rights);
            segments.push(Segment { address, length: length as u32, key: Key(key) });
            rest = later;
        }
        segments
    }

    /// Runs to the end and checks everything.
    pub(crate) fn run(mut self) -> Outcome {
        for (time, step) in std::mem::take(&mut self.steps) {
            while let Some(next) = self.world.next_event().filter(|next| *next < time) {
                self.world.step(next);
            }
            self.world.now = self.world.now.max(time);
            match step {
                Step::Ask(index) => {
                    let Asked { by, request, .. } = &self.asked[index];
                    self.world.send(*by, request.clone());
                }
                Step::Offer(index) => {
                    let Room { of, request } = &self.rooms[index];
                    self.world.receive(*of, request.clone());
                }
            }
        }
        self.world.settle();
        for end in 0..2 {
            self.check_sends(end);
            self.check_receives(end);
        }
        let failed = |end: usize| self.world.ends[end].queue_pair.state() == State::Error;
        Outcome { failed: failed(0) || failed(1) }
    }

    fn completions(&self, end: usize, receives: bool) -> Vec<Completion> {
        let is_receive = |kind| matches!(kind, CompletionKind::Receive | CompletionKind::ReceiveWrite);
        let all = self.world.ends[end].completions.iter().copied();
        all.filter(|done| is_receive(done.kind) == receives).collect()
    }

    /// Each request is completed once, in order: successes, then one error, then what was flushed.
    fn check_sends(&self, end: usize) {
        let done = self.completions(end, false);
        let failed_at = done.iter().position(|done| done.status != Status::Success);
        let is_in_error = self.world.ends[end].queue_pair.state() == State::Error;
        let mut told = done.iter();
        let mut failed = false;
        for asked in self.asked.iter().filter(|asked| asked.by == end) {
            if !failed && !asked.request.signaled {
                // Either done without a word, or among the failures.
                match told.as_slice().first() {
                    Some(next) if next.id == asked.request.id => {}
                    _ => {
                        self.check_effect(asked);
                        continue;
                    }
                }
            }
            let next = told.next().unwrap_or_else(|| panic!("request {} was forgotten", asked.request.id));
            assert_eq!(next.id, asked.request.id, "out of order");
            if next.status == Status::Success {
                assert!(!failed, "{next:?} after a failure");
                self.check_effect(asked);
            } else {
                assert!(is_in_error, "{next:?} although the queue pair works");
                assert!(!failed || next.status == Status::Flushed, "{next:?} is the second cause");
                failed = true;
            }
        }
        assert_eq!(told.next(), None, "more completions than requests; the first failure was {failed_at:?}");
    }

    /// What a request that was told to be done has brought about.
    fn check_effect(&self, asked: &Asked) {
        match asked.request.operation {
            Operation::Send { .. } => {}
            Operation::Write { remote, .. } => {
                let memory = &self.world.ends[1 - asked.by].memory;
                assert_eq!(memory.content(remote.address, asked.content.len()), asked.content);
            }
            Operation::Read { .. } => {
                assert_eq!(self.content(asked.by, &asked.request.local, asked.content.len()), asked.content);
            }
        }
    }

    fn content(&self, end: usize, segments: &[Segment], length: usize) -> Vec<u8> {
        let memory = &self.world.ends[end].memory;
        let pieces = segments.iter().flat_map(|piece| memory.content(piece.address, piece.length as usize));
        pieces.take(length).collect()
    }

    /// Each receive is completed once, in order, with the peer's messages in order; none is flushed but in error.
    fn check_receives(&self, end: usize) {
        let done = self.completions(end, true);
        let is_in_error = self.world.ends[end].queue_pair.state() == State::Error;
        let wanted = |asked: &&Asked| {
            asked.by != end
                && match asked.request.operation {
                    Operation::Send { .. } => true,
                    Operation::Write { immediate, .. } => immediate.is_some(),
                    Operation::Read { .. } => false,
                }
        };
        let mut messages = self.asked.iter().filter(wanted);
        let mut told = done.iter();
        for room in self.rooms.iter().filter(|room| room.of == end) {
            let Some(next) = told.next() else {
                assert!(!is_in_error, "receive {} was not flushed", room.request.id);
                continue;
            };
            assert_eq!(next.id, room.request.id, "out of order");
            if next.status == Status::Success {
                let message = messages.next().expect("there are as many receives as messages");
                self.check_message(end, room, next, message);
            } else {
                assert!(is_in_error && next.status == Status::Flushed, "{next:?}");
            }
        }
        assert_eq!(told.next(), None);
        if !is_in_error {
            let successes = done.iter().filter(|done| done.status == Status::Success).count();
            let sent = self.completions(1 - end, false);
            let sent_well =
                |asked: &Asked| sent.iter().any(|d| d.id == asked.request.id && d.status == Status::Success);
            let acknowledged = self.asked.iter().filter(wanted).filter(|asked| sent_well(asked)).count();
            assert!(successes >= acknowledged, "acknowledged but not received");
        }
    }

    fn check_message(&self, end: usize, room: &Room, done: &Completion, message: &Asked) {
        assert_eq!(done.bytes as usize, message.content.len());
        let (kind, immediate) = match message.request.operation {
            Operation::Send { immediate } => (CompletionKind::Receive, immediate),
            Operation::Write { immediate, .. } => (CompletionKind::ReceiveWrite, immediate),
            Operation::Read { .. } => unreachable!("a READ takes no receive"),
        };
        assert_eq!((done.kind, done.immediate), (kind, immediate));
        assert_eq!(done.solicited, message.request.solicited);
        match message.request.operation {
            // The WRITE is visible when its receive is completed; nothing goes to the receive's own memory.
            Operation::Write { remote, .. } => {
                assert_eq!(self.world.ends[end].memory.content(remote.address, message.content.len()), message.content);
            }
            _ => assert_eq!(self.content(end, &room.request.local, message.content.len()), message.content),
        }
    }
}

pub(crate) struct Outcome {
    /// A queue pair is in error.
    pub(crate) failed: bool,
}
