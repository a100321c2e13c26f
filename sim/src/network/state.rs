//! What the network is at one moment, and what its parts do to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sluice_core::{NodeId, Time};
use sluice_plugin::{CloseCause, LinkId, PayloadPlacement, Peer, Setup};
use sluice_protocol::Limits;
use sluice_protocol::wire::{DecodeError, Head, Prefix};

use super::ChannelName;
use super::connection::{Connection, EndState};
use super::path::{Cut, Path, path_key};
use super::pipe::Flight;
use super::place::Place;
use super::tap::{SessionKey, Tap};
use crate::journal::Journal;
use crate::seed::Random;

/// As the protocol starts out with for networks.
pub(super) const INLINE_BYTES_MAX: u32 = 1024;

pub(super) type PathKey = (NodeId, NodeId);

/// Everything of a network.
pub(super) struct State {
    pub(super) now: Time,
    pub(super) journal: Journal,
    pub(super) paths: BTreeMap<PathKey, Path>,
    pub(super) connect_deadline: Duration,
    pub(super) vanishing: BTreeSet<NodeId>,
    pub(super) corrupted: BTreeSet<ChannelName>,
    pub(super) unreached: BTreeSet<(NodeId, NodeId)>,
    pub(super) outages: Vec<super::Disturbance>,
    pub(super) remote: bool,
    pub(super) random: Random,
    pub(super) places: Vec<Place>,
    pub(super) connections: Vec<Connection>,
    /// By the moment at which the byte arrives that they wait for.
    pub(super) cuts_due: BTreeMap<(Time, u64), (PathKey, Cut)>,
    pub(super) cuts: u64,
    pub(super) tap: Tap,
}

/// What a transport tells of one of its links.
pub(super) enum Happening {
    Accepted { link: LinkId, peer: Peer },
    Connected { link: LinkId, peer: Peer },
    Arrived { link: LinkId, flight: Flight },
    Writable { link: LinkId },
    Closed { link: LinkId, cause: CloseCause },
}

impl State {
    pub(super) fn new(placement: PayloadPlacement, random: Random, journal: Journal) -> Self {
        Self {
            now: Time(0),
            journal,
            paths: BTreeMap::new(),
            connect_deadline: Duration::from_secs(2),
            vanishing: BTreeSet::new(),
            corrupted: BTreeSet::new(),
            unreached: BTreeSet::new(),
            outages: Vec::new(),
            remote: placement == PayloadPlacement::Remote,
            random,
            places: Vec::new(),
            connections: Vec::new(),
            cuts_due: BTreeMap::new(),
            cuts: 0,
            tap: Tap::default(),
        }
    }

    pub(super) fn path(&mut self, one: NodeId, other: NodeId) -> &mut Path {
        self.paths.entry(path_key(one, other)).or_default()
    }

    pub(super) fn join(&mut self, transport: &'static str, setup: Setup) -> (usize, sluice_core::Address) {
        // Another life of a node is found where the one before was.
        let address = sluice_core::Address(format!("{transport}:{}", setup.node));
        self.places.push(Place::new(address.clone(), setup, INLINE_BYTES_MAX));
        (self.places.len() - 1, address)
    }

    // ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn advance(&mut self, now: Time) {
        let now = self.now.max(now);
        while let Some(entry) = self.cuts_due.first_entry().filter(|entry| entry.key().0 <= now) {
            // What arrives between the cut and now does not.
            self.now = self.now.max(entry.key().0);
            let (key, cut) = entry.remove();
            self.cut(key, &cut);
        }
        self.now = now;
    }

    pub(super) fn next_due(&self, now: Time) -> Option<Time> {
        let cut = self.cuts_due.first_key_value().map(|((at, _), _)| *at);
        let places = (0..self.places.len()).filter(|place| self.places[*place].is_alive);
        let live = places.flat_map(|place| &self.places[place].live);
        let ends = live.filter_map(|(connection, side)| self.connections[*connection].next_due(*side));
        ends.chain(cut).filter(|due| *due > now).min()
    }

    pub(super) fn next_due_at(&self, place: usize) -> Option<Time> {
        let live = self.places[place].live.iter();
        live.filter_map(|(connection, side)| self.connections[*connection].next_due(*side)).min()
    }

    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        for (number, connection) in self.connections.iter().enumerate() {
            let [one, other] = &connection.ends;
            if one.state == EndState::Over && other.state == EndState::Over {
                continue;
            }
            let cut = if connection.is_cut { ", cut" } else { "" };
            let [out, back] = &connection.pipes;
            words.push_str(&format!(
                "  connection {number} lane {} epoch {}: node {} {:?}, node {} {:?}{cut}; {} and {} messages under way\n",
                connection.wish.lane,
                connection.wish.epoch,
                one.node,
                one.state,
                other.node,
                other.state,
                out.flights.len(),
                back.flights.len()
            ));
        }
        words
    }
}

pub(super) fn session_key(connection: &Connection) -> SessionKey {
    let [one, other] = &connection.ends;
    let lane = connection.wish.lane.0;
    (one.node, one.incarnation, other.node, other.incarnation, lane, connection.wish.session)
}

pub(super) fn decode(bytes: Vec<u8>, limits: &Limits) -> Result<Head, DecodeError> {
    let first = bytes.first_chunk().ok_or(DecodeError::Truncated { index: 0 })?;
    let prefix = Prefix::decode(first, limits)?;
    let (found, told) = (bytes.len(), prefix.head_bytes as usize);
    if found < told {
        return Err(DecodeError::Truncated { index: 0 });
    }
    if found > told {
        return Err(DecodeError::Trailing { bytes: found - told });
    }
    Head::decode(prefix, bytes, limits)
}
