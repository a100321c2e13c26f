//! What transports hear of: remote writes, and events in the order in which they come to pass.

use sluice_plugin::LinkId;
use sluice_protocol::LinkEpoch;

use super::connection::{EndState, Over, refusal};
use super::path::path_key;
use super::pipe::{Cargo, Load};
use super::state::{Happening, State};
use crate::coverage::Sight;

impl State {
    /// Remote writes that have reached the memory of this place.
    pub(super) fn writes(&mut self, place: usize) -> Vec<(LinkId, Load)> {
        let mut writes = Vec::new();
        if !self.remote {
            return writes;
        }
        let now = self.now;
        for (number, side) in &self.places[place].live {
            let connection = &mut self.connections[*number];
            let Some(link) = connection.ends[*side].link else { continue };
            let until = connection.ends[*side].over.as_ref().map_or(now, |(at, _)| now.min(*at));
            let pipe = &mut connection.pipes[1 - side];
            let (landed, strays) = std::mem::take(&mut pipe.strays).into_iter().partition(|load| load.arrives <= until);
            pipe.strays = strays;
            for load in landed {
                self.journal.saw(Sight::LateWrite);
                writes.push((link, load));
            }
            for load in pipe.flights.iter_mut().flat_map(|flight| &mut flight.loads) {
                if load.arrives <= until && !load.written {
                    load.written = true;
                    let cargo = std::mem::replace(&mut load.cargo, Cargo::Copied(Vec::new()));
                    writes.push((
                        link,
                        Load { slot: load.slot, cargo, arrives: load.arrives, written: true, altered: load.altered },
                    ));
                }
            }
        }
        writes
    }

    /// What has happened since the last call, link by link.
    pub(super) fn poll(&mut self, place: usize) -> Vec<Happening> {
        let mut happened = Vec::new();
        for (number, side) in self.places[place].live.clone() {
            self.poll_end(number, side, &mut happened);
        }
        let State { places, connections, .. } = self;
        places[place].live.retain(|(number, side)| connections[*number].ends[*side].state != EndState::Over);
        happened
    }

    pub(super) fn poll_end(&mut self, number: usize, side: usize, happened: &mut Vec<Happening>) {
        let now = self.now;
        if self.connections[number].ends[side].state == EndState::Unheard && !self.answer(number, happened) {
            return;
        }
        let connection = &mut self.connections[number];
        let Some(link) = connection.ends[side].link else { return };
        if connection.ends[side].state == EndState::Calling && connection.give_up_at <= now {
            connection.ends[side].over.get_or_insert((now, Over::Deadline));
        }
        if let EndState::Answered(at) = connection.ends[side].state
            && at <= now
        {
            connection.ends[side].state = EndState::Up;
            self.journal.saw(Sight::Link);
            happened.push(Happening::Connected { link, peer: connection.peer(side) });
        }
        if connection.ends[side].state == EndState::Up {
            self.receive(number, side, link, happened);
        }
        let connection = &mut self.connections[number];
        if let Some((_, over)) = connection.ends[side].over.take_if(|(at, _)| *at <= now) {
            self.told(number, side, link, over, happened);
        }
    }

    /// The accepting side reads the hello. False if there is nothing to read yet.
    pub(super) fn answer(&mut self, number: usize, happened: &mut Vec<Happening>) -> bool {
        let now = self.now;
        let connection = &mut self.connections[number];
        if connection.is_cut || connection.hello_at > now {
            return false;
        }
        let caller = connection.ends[0].state;
        if connection.give_up_at <= now || !matches!(caller, EndState::Calling) {
            // Nobody waits for the answer any more.
            connection.ends[1].state = EndState::Over;
            return false;
        }
        let (from, to) = (connection.ends[0].node, connection.ends[1].node);
        let place = connection.ends[1].place;
        let link = self.places[place].name(number, 1);
        let latency = self.path(from, to).latency;
        let back_at = now.max(self.path(from, to).stalled_until).after(latency);
        let connection = &mut self.connections[number];
        connection.ends[1].link = Some(link);
        let here = &self.places[connection.ends[0].place].facts;
        let there = &self.places[place].facts;
        if let Some([here_says, there_says]) = refusal(&connection.wish, here, there) {
            connection.ends[0].over = Some((back_at, Over::Refused(here_says)));
            connection.ends[1].state = EndState::Up;
            connection.ends[1].over = Some((now, Over::Refused(there_says)));
            connection.is_cut = true;
        } else {
            connection.ends[0].state = EndState::Answered(back_at);
            connection.ends[1].state = EndState::Up;
            happened.push(Happening::Accepted { link, peer: connection.peer(1) });
        }
        let caller = self.connections[number].ends[0].place;
        self.places[caller].waker.wake_by_ref();
        true
    }

    pub(super) fn receive(&mut self, number: usize, side: usize, link: LinkId, happened: &mut Vec<Happening>) {
        let now = self.now;
        let connection = &mut self.connections[number];
        let (from, to) = (connection.ends[1 - side].node, connection.ends[side].node);
        while let Some(flight) = connection.pipes[1 - side].receive(now) {
            let message = flight.head.as_ref().map_or(0, |head| head.prefix().message);
            self.journal.note(&[7, number as u64, side as u64, message], || {
                format!("node {to} receives message {message} of {from} on {number}")
            });
            happened.push(Happening::Arrived { link, flight });
        }
        let path = self.paths.entry(path_key(from, to)).or_default();
        let pipe = &mut connection.pipes[1 - side];
        if pipe.sender_waits && pipe.has_room(path) && !connection.is_cut {
            pipe.sender_waits = false;
            connection.ends[1 - side].writable_at = Some(now.after(path.latency));
            self.places[connection.ends[1 - side].place].waker.wake_by_ref();
        }
        if connection.ends[side].writable_at.take_if(|at| *at <= now).is_some() {
            happened.push(Happening::Writable { link });
        }
        let pipe = &connection.pipes[1 - side];
        if pipe.flights.is_empty() && pipe.end_at.is_some_and(|at| at <= now) && connection.ends[side].over.is_none() {
            connection.ends[side].over = Some((now, Over::PeerClosed));
        }
    }

    pub(super) fn told(&mut self, number: usize, side: usize, link: LinkId, over: Over, happened: &mut Vec<Happening>) {
        let connection = &self.connections[number];
        let (from, to) = (connection.ends[0].node, connection.ends[1].node);
        let first = connection.wish.epoch == LinkEpoch(1) && side == 0;
        let failed = first && matches!(connection.ends[0].state, EndState::Calling | EndState::Answered(_));
        if failed && over != Over::Local {
            self.journal.saw(Sight::Unreachable);
            self.unreached.insert((from, to));
        }
        let node = connection.ends[side].node;
        self.journal.note(&[8, number as u64, side as u64], || {
            format!("node {node} is told that connection {number} is over: {over:?}")
        });
        let cause = connection.cause(over, self.connect_deadline);
        self.end(number, side);
        happened.push(Happening::Closed { link, cause });
    }

    pub(super) fn end(&mut self, number: usize, side: usize) {
        let connection = &self.connections[number];
        let (one, other) = (connection.ends[0].node, connection.ends[1].node);
        let latency = self.path(one, other).latency;
        let now = self.now;
        self.connections[number].end(side, now, latency);
        let there = self.connections[number].ends[1 - side].place;
        self.places[there].waker.wake_by_ref();
    }
}
