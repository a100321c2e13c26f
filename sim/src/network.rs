//! A network of one thread: links with latency, room and faults, and the two placements that networks have.
//!
//! [`Network`] is the simulator's handle; [`Network::factory`] builds the transports that the workers use. Time is told
//! ([`Network::advance`]), and everything that is not said by a caller is drawn from one stream of numbers. What holds
//! for every transport holds here (`tests/devices.rs` runs the conformance suite): memory that was posted or sent is
//! given up with `Closed`, which may come long after the link was cut; until then remote writes go on landing.

mod calls;
mod connection;
mod endpoint;
mod harm;
mod landing;
mod news;
mod path;
mod pipe;
mod place;
mod state;
mod tap;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sluice_core::{NodeId, PartitionId, Time};
use sluice_plugin::{BuildError, PayloadPlacement, Setup, Transport, TransportFactory};

pub use path::{Cut, OutageKind, Path};

use crate::journal::Journal;
use crate::seed::Random;
use endpoint::Endpoint;
use path::{path_key, way_index};
use state::State;

/// The network of a run. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    placement: PayloadPlacement,
}

/// A channel that was hit by a fault of which it must hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelName {
    /// What it reads.
    pub partition: PartitionId,
    /// The share of it.
    pub subpartition: u32,
}

/// A time in which two nodes could not talk as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// The lower node first.
    pub between: (NodeId, NodeId),
    /// Since when.
    pub from: Time,
    /// How long.
    pub until: Time,
    /// A link was lost.
    pub lost: bool,
}

impl Network {
    /// A network where payload goes as `placement` says.
    pub fn new(placement: PayloadPlacement, random: Random, journal: Journal) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(placement, random, journal))), placement }
    }

    /// What builds the workers' transports.
    pub fn factory(&self) -> Arc<dyn TransportFactory> {
        Arc::new(self.clone())
    }

    /// How long a connect waits for an answer.
    pub fn set_connect_deadline(&self, deadline: Duration) {
        self.state().connect_deadline = deadline;
    }

    /// The way between two nodes from now on.
    pub fn set_path(&self, one: NodeId, other: NodeId, path: Path) {
        self.state().paths.insert(path_key(one, other), path);
    }

    /// It is later now.
    pub fn advance(&self, now: Time) {
        self.state().advance(now);
    }

    /// When something happens after `now`, whoever sees it.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        self.state().next_due(now)
    }

    /// Ends all connections between two nodes.
    pub fn cut(&self, one: NodeId, other: NodeId, cut: &Cut) {
        self.state().cut(path_key(one, other), cut);
    }

    /// The same, once so many more bytes have gone from one to the other.
    pub fn cut_after(&self, from: NodeId, to: NodeId, bytes: u64, cut: Cut) {
        let mut state = self.state();
        let way = &mut state.path(from, to).ways[way_index(from, to)];
        way.cuts.push((way.bytes + bytes, cut));
        way.cuts.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    /// No connection comes about between two nodes for a while.
    pub fn block(&self, one: NodeId, other: NodeId, outage: Duration, kind: OutageKind) {
        self.state().block(path_key(one, other), outage, kind);
    }

    /// Nothing arrives between two nodes for a while; then all of it does.
    pub fn stall(&self, one: NodeId, other: NodeId, pause: Duration) {
        self.state().stall(path_key(one, other), pause);
    }

    /// The head of a message from one to the other arrives altered: that of so many messages later.
    pub fn alter_head(&self, from: NodeId, to: NodeId, after: u64) {
        let mut state = self.state();
        let way = &mut state.path(from, to).ways[way_index(from, to)];
        way.heads.push(way.messages + after);
        way.heads.sort_by_key(|at| std::cmp::Reverse(*at));
    }

    /// A payload from one to the other arrives altered: so many payloads later.
    pub fn alter_payload(&self, from: NodeId, to: NodeId, after: u64) {
        let mut state = self.state();
        let way = &mut state.path(from, to).ways[way_index(from, to)];
        way.payloads_altered.push(way.payloads + after);
        way.payloads_altered.sort_by_key(|at| std::cmp::Reverse(*at));
    }

    /// The next transport of this node that is dropped vanishes: its peers hear nothing.
    pub fn vanish(&self, node: NodeId) {
        self.state().vanishing.insert(node);
    }

    /// Channels of which a payload arrived altered.
    pub fn corrupted(&self) -> Vec<ChannelName> {
        self.state().corrupted.iter().copied().collect()
    }

    /// Pairs of nodes, who connected first, of which the first connection of a session did not come about.
    pub fn unreached(&self) -> Vec<(NodeId, NodeId)> {
        self.state().unreached.iter().copied().collect()
    }

    /// When the way between two nodes was not as it should be.
    pub fn disturbances(&self) -> Vec<Disturbance> {
        self.state().outages.clone()
    }

    /// One of two nodes does not answer for a while, for a reason that the network does not see.
    pub fn note_pause(&self, one: NodeId, other: NodeId, pause: Duration) {
        self.state().disturbed(path_key(one, other), pause, false);
    }

    /// What is up between whom, in words.
    pub fn words(&self) -> String {
        self.state().words()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl TransportFactory for Network {
    fn name(&self) -> &'static str {
        match self.placement {
            PayloadPlacement::Remote => "sim-remote",
            _ => "sim-stream",
        }
    }

    fn build(&self, setup: Setup) -> Result<Box<dyn Transport>, BuildError> {
        Ok(Box::new(Endpoint::new(Arc::clone(&self.state), self.placement, self.name(), setup)))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no foreign code runs under the network's lock but wakers, which only note")
}
