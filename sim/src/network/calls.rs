//! What transports do: connect, send, close, and go away.

use std::time::Duration;

use sluice_core::Time;
use sluice_plugin::{CloseCause, Connect, LinkId, Message};
use sluice_protocol::ChannelId;

use super::connection::{Connection, End, EndState, Over};
use super::path::{OutageKind, path_key, way_index};
use super::pipe::Pipe;
use super::place::Facts;
use super::state::{State, decode, session_key};
use super::tap::{Said, words};
use crate::coverage::Sight;
use crate::journal::Rule;

impl State {
    pub(super) fn connect(&mut self, place: usize, wish: Connect) -> LinkId {
        let number = self.connections.len();
        let here = self.places[place].facts.clone();
        let found = self.places.iter().rposition(|there| there.is_alive && there.facts.address == wish.address);
        let (now, deadline) = (self.now, self.connect_deadline);
        let path = self.path(here.node, wish.node);
        let outage = path.outage_at(now);
        let hello_at = now.max(path.stalled_until).after(path.latency);
        let back_at = hello_at.after(path.latency);
        let over = match (outage, found) {
            (Some(OutageKind::Silent), _) => Some((now.after(deadline), Over::Deadline)),
            (Some(OutageKind::Refused), _) | (None, None) => Some((back_at, Over::Unreachable)),
            (None, Some(_)) => None,
        };
        let to = wish.node;
        let meets = |other: &Connection| {
            let [begun, _] = &other.ends;
            (begun.node, other.wish.node, other.wish.lane) == (to, here.node, wish.lane)
                && matches!(begun.state, EndState::Calling | EndState::Answered(_))
        };
        if self.connections.iter().any(meets) {
            self.journal.saw(Sight::ConnectBoth);
        }
        self.journal.note(&[1, here.node.0, to.0, wish.session, wish.epoch.0.into()], || {
            format!("node {} connects to node {to} as connection {number}: {wish:?}", here.node)
        });
        let limits = found.map_or(here.limits, |found| here.limits.both(self.places[found].facts.limits));
        let end = |place: usize, facts: &Facts, state, over| End {
            place,
            node: facts.node,
            incarnation: facts.incarnation.0,
            link: None,
            state,
            over,
            writable_at: None,
        };
        // Where nobody answers nobody ever hears of it.
        let (there, reached) = match found.filter(|_| over.is_none()) {
            Some(found) => (found, EndState::Unheard),
            None => (place, EndState::Over),
        };
        let facts = Facts { node: to, ..self.places[there].facts.clone() };
        let is_cut = reached == EndState::Over;
        let ends = [end(place, &here, EndState::Calling, over), end(there, &facts, reached, None)];
        let give_up_at = now.after(deadline);
        let pipes = [Pipe::default(), Pipe::default()];
        self.connections.push(Connection { wish, limits, ends, pipes, hello_at, give_up_at, is_cut });
        let link = self.places[place].name(number, 0);
        self.connections[number].ends[0].link = Some(link);
        self.places[place].live.push((number, 0));
        if !is_cut {
            self.places[there].live.push((number, 1));
            self.places[there].waker.wake_by_ref();
        }
        link
    }

    pub(super) fn is_open(&self, place: usize, link: LinkId) -> bool {
        let Some((connection, side)) = self.places[place].find(link) else { return false };
        self.connections[connection].ends[side].state == EndState::Up
    }

    pub(super) fn send(&mut self, place: usize, link: LinkId, mut message: Message) -> Result<(), Message> {
        let Some((number, side)) = self.places[place].find(link) else { return Err(message) };
        let now = self.now;
        let connection = &mut self.connections[number];
        let (from, to) = (connection.ends[side].node, connection.ends[1 - side].node);
        if connection.ends[side].state != EndState::Up {
            return Err(message);
        }
        let path = self.paths.entry(path_key(from, to)).or_default();
        if !connection.pipes[side].has_room(path) {
            connection.pipes[side].sender_waits = true;
            self.journal.saw(Sight::Refused);
            self.journal
                .note(&[2, number as u64, side as u64], || format!("node {from} to {to}: connection {number} is full"));
            return Err(message);
        }
        let way = &mut path.ways[way_index(from, to)];
        way.messages += 1;
        let altered = way.heads.pop_if(|at| *at <= way.messages).is_some();
        let limits = connection.limits;
        let mut head = decode(std::mem::take(&mut message.head), &limits);
        let head_bytes = head.as_ref().map_or(0, |head| head.prefix().head_bytes as usize);
        if let Ok(head) = &head {
            let session = session_key(connection);
            self.tap.sent(&self.journal, &Said { session, from, to, remote: self.remote }, head);
            let prefix = head.prefix();
            self.journal.note(&[3, number as u64, side as u64, prefix.message, prefix.frames.into()], || {
                format!("node {from} to {to} on {number}: {}", words(head))
            });
        }
        if altered && let Ok(good) = head {
            self.journal.saw(Sight::HeadCorrupted);
            let mut bytes = good.into_bytes();
            let at = self.random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.random.below(8);
            head = decode(bytes, &limits);
            self.journal.note(&[4, at as u64], || format!("node {from} to {to}: byte {at} of the head is altered"));
        }
        let payloads = message.payloads.len() as u64;
        let connected = match connection.ends[1 - side].state {
            EndState::Answered(at) => at,
            _ => Time(0),
        };
        // Its length is all that matters now.
        message.head = vec![0; head_bytes];
        let before = path.ways[way_index(from, to)].bytes;
        let span = connection.pipes[side].send(now, path, &mut self.random, connected, head, message);
        let way = &mut path.ways[way_index(from, to)];
        way.bytes += span.bytes;
        while let Some((at, cut)) = way.cuts.pop_if(|(at, _)| *at <= way.bytes) {
            self.cuts += 1;
            let when = span.arrival_of(at.saturating_sub(before)).max(now);
            if !span.is_lost() {
                self.cuts_due.insert((when, self.cuts), (path_key(from, to), cut));
            }
        }
        for _ in 0..payloads {
            way.payloads += 1;
            if way.payloads_altered.pop_if(|at| *at <= way.payloads).is_some() {
                let index = way.payloads + payloads;
                self.alter(number, side, (index % payloads) as usize);
                break;
            }
        }
        let there = self.connections[number].ends[1 - side].place;
        self.places[there].waker.wake_by_ref();
        Ok(())
    }

    /// Payload came for which there was no memory.
    pub(super) fn discarded(&self, place: usize, link: LinkId, channel: ChannelId, bytes: u32, was_forgotten: bool) {
        let Some((number, side)) = self.places[place].find(link) else { return };
        let connection = &self.connections[number];
        let node = connection.ends[side].node;
        let known = self.tap.reads(session_key(connection), node, channel);
        if was_forgotten || known.is_none_or(|(_, _, cancelled)| cancelled) {
            return;
        }
        let what = known.map_or_else(String::new, |(partition, index, _)| format!(" ({partition} / {index})"));
        let text = format!("node {node}: {bytes} bytes of channel {channel}{what} found no memory");
        self.journal.fail(Rule::Credit, text);
    }

    pub(super) fn close(&mut self, place: usize, link: LinkId) {
        let Some((number, side)) = self.places[place].find(link) else { return };
        let (one, other) = (self.connections[number].ends[0].node, self.connections[number].ends[1].node);
        let latency = self.path(one, other).latency;
        let lost_after = self.random.time(Duration::from_micros(10)..=Duration::from_millis(20));
        let now = self.now;
        let connection = &mut self.connections[number];
        let node = connection.ends[side].node;
        self.journal.note(&[6, number as u64, side as u64], || format!("node {node} closes connection {number}"));
        connection.close(side, now, latency, lost_after);
        let there = self.connections[number].ends[1 - side].place;
        self.places[there].waker.wake_by_ref();
        self.places[place].waker.wake_by_ref();
    }

    /// The transport itself ends a link, and tells of it at once.
    pub(super) fn hang_up(&mut self, place: usize, link: LinkId, cause: CloseCause) -> CloseCause {
        if let Some((number, side)) = self.places[place].find(link) {
            self.note_loss(number);
            self.end(number, side);
        }
        cause
    }

    /// A transport is dropped: its process is gone.
    pub(super) fn leave(&mut self, place: usize) {
        let node = self.places[place].facts.node;
        self.places[place].is_alive = false;
        let vanishes = self.vanishing.remove(&node);
        for (number, side) in std::mem::take(&mut self.places[place].live) {
            let remote = self.remote;
            let now = self.now;
            let all_sent = self.random.chance(50);
            let connection = &mut self.connections[number];
            if vanishes {
                connection.is_cut = true;
                connection.pipes.iter_mut().for_each(|pipe| {
                    pipe.cut(now, remote, false);
                });
            }
            let (one, other) = (connection.ends[0].node, connection.ends[1].node);
            let latency = self.path(one, other).latency;
            let connection = &mut self.connections[number];
            if connection.ends[side].state == EndState::Unheard {
                connection.ends[0].over.get_or_insert((now.after(latency), Over::PeerClosed));
            }
            if !all_sent && !connection.is_cut && connection.pipes[side].end_at.is_none() {
                connection.pipes[side].end(now.after(latency));
            }
            connection.end(side, now, latency);
            let there = self.connections[number].ends[1 - side].place;
            self.places[there].waker.wake_by_ref();
        }
    }
}
