//! What is done to the network.

use std::time::Duration;

use sluice_protocol::wire::{Frame, Placement};

use super::connection::{EndState, Over};
use super::path::{Cut, Outage, OutageKind, path_key};
use super::state::{PathKey, State, session_key};
use super::{ChannelName, Disturbance};
use crate::coverage::Sight;

impl State {
    pub(super) fn block(&mut self, key: PathKey, outage: Duration, kind: OutageKind) {
        self.disturbed(key, outage, false);
        let until = self.now.after(outage);
        let path = self.paths.entry(key).or_default();
        if path.outage.is_none_or(|outage| outage.until < until) {
            path.outage = Some(Outage { until, kind });
        }
    }

    pub(super) fn cut(&mut self, key: PathKey, cut: &Cut) {
        let now = self.now;
        self.block(key, cut.outage, cut.kind);
        self.journal.note(&[9, key.0.0, key.1.0], || format!("cut between nodes {} and {}: {cut:?}", key.0, key.1));
        for number in 0..self.connections.len() {
            let connection = &mut self.connections[number];
            let between = path_key(connection.ends[0].node, connection.ends[1].node) == key;
            let both_over = connection.ends.iter().all(|end| end.state == EndState::Over);
            if !between || both_over || connection.is_cut {
                continue;
            }
            connection.is_cut = true;
            let remote = self.remote;
            let within = connection.pipes.iter_mut().fold(false, |within, pipe| {
                let cut_within = pipe.cut(now, remote, cut.unread_lost);
                within | cut_within
            });
            self.journal.saw(Sight::Cut);
            if within {
                self.journal.saw(Sight::CutInMessage);
            }
            for end in &mut connection.ends {
                let heard = cut.heard[usize::from(end.node != key.0)];
                match (end.state, heard) {
                    (EndState::Up | EndState::Answered(_), Some(heard)) => {
                        end.over.get_or_insert((now.after(heard), Over::Lost));
                    }
                    (EndState::Up | EndState::Answered(_), None) => self.journal.saw(Sight::HalfOpen),
                    // It waits for the answer until its deadline.
                    (EndState::Calling | EndState::Closing | EndState::Over, _) => {}
                    (EndState::Unheard, _) => end.state = EndState::Over,
                }
            }
            self.note_loss(number);
        }
    }

    pub(super) fn stall(&mut self, key: PathKey, pause: Duration) {
        let now = self.now;
        self.journal.saw(Sight::Stall);
        self.journal.note(&[10, key.0.0, key.1.0], || {
            format!("nothing moves between nodes {} and {} for {pause:?}", key.0, key.1)
        });
        let path = self.paths.entry(key).or_default();
        // Stalls add up.
        path.stalled_until = path.stalled_until.max(now).after(pause);
        let lasting = path.stalled_until.since(now);
        self.disturbed(key, lasting, false);
        for connection in &mut self.connections {
            if path_key(connection.ends[0].node, connection.ends[1].node) == key && !connection.is_cut {
                connection.pipes.iter_mut().for_each(|pipe| pipe.hold(now, pause));
                if connection.hello_at > now {
                    connection.hello_at = connection.hello_at.after(pause);
                }
                for end in &mut connection.ends {
                    match &mut end.state {
                        EndState::Answered(at) if *at > now => *at = at.after(pause),
                        _ => {}
                    }
                }
            }
        }
    }

    /// One byte of a payload of the message that was just sent changes on the way.
    pub(super) fn alter(&mut self, number: usize, side: usize, index: usize) {
        let connection = &mut self.connections[number];
        let (session, consumer) = (session_key(connection), connection.ends[1 - side].node);
        let Some(flight) = connection.pipes[side].flights.back_mut() else { return };
        let Some(load) = flight.loads.get_mut(index) else { return };
        load.altered = Some(self.random.below(load.cargo.bytes().len().max(1) as u64) as usize);
        let Ok(head) = &flight.head else { return };
        let outside = head.frames().filter_map(|frame| match frame {
            Frame::Data(channel, _, Placement::Body | Placement::Slot(_)) => Some(channel),
            _ => None,
        });
        let Some(channel) = outside.into_iter().nth(index) else { return };
        if let Some((partition, subpartition, _)) = self.tap.reads(session, consumer, channel) {
            self.journal.saw(Sight::PayloadCorrupted);
            self.corrupted.insert(ChannelName { partition, subpartition });
            self.journal.note(&[5, channel.0.into()], || {
                format!("a payload of channel {channel} ({partition} / {subpartition}) to node {consumer} is altered")
            });
        }
    }

    pub(super) fn disturbed(&mut self, between: PathKey, lasting: Duration, lost: bool) {
        let (from, until) = (self.now, self.now.after(lasting));
        self.outages.push(Disturbance { between, from, until, lost });
    }

    pub(super) fn note_loss(&mut self, number: usize) {
        let ends = &self.connections[number].ends;
        let between = path_key(ends[0].node, ends[1].node);
        self.disturbed(between, Duration::ZERO, true);
    }
}
