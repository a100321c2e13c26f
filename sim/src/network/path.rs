//! The way between two nodes: how fast it is, and what is wrong with it.

use std::time::Duration;

use sluice_core::{NodeId, Time};

/// What messages between two nodes meet, whichever connection they are on.
#[derive(Clone, Debug)]
pub struct Path {
    /// From the last byte sent to the last byte there.
    pub latency: Duration,
    /// On top of it, for each message anew, at most.
    pub jitter: Duration,
    /// Between two bytes of a pipe.
    pub nanos_per_byte: u64,
    /// What a pipe takes before it refuses, in bytes; one message it always takes.
    pub queue_bytes_max: u64,
    /// The same in messages.
    pub queue_messages_max: usize,
    pub(super) outage: Option<Outage>,
    pub(super) stalled_until: Time,
    /// By direction, from the lower node first.
    pub(super) ways: [Way; 2],
}

/// One direction of a path, over all its connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub(super) bytes: u64,
    pub(super) messages: u64,
    pub(super) payloads: u64,
    /// Cuts that wait for a byte, the next one last.
    pub(super) cuts: Vec<(u64, Cut)>,
    /// Heads that arrive altered, by number, the next one last.
    pub(super) heads: Vec<u64>,
    /// Payloads that arrive altered, by number, the next one last.
    pub(super) payloads_altered: Vec<u64>,
}

/// For how long no connection between two nodes comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) until: Time,
    pub(super) kind: OutageKind,
}

/// How it feels to connect in an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageKind {
    /// Told at once that there is no way.
    Refused,
    /// Nothing comes back.
    Silent,
}

/// The end of all connections between two nodes at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// After how long each side hears of it, the lower node first; `None`: never.
    pub heard: [Option<Duration>; 2],
    /// How long no new connection comes about.
    pub outage: Duration,
    /// How it feels to connect meanwhile.
    pub kind: OutageKind,
    /// Messages that have arrived and were not read are lost as well.
    pub unread_lost: bool,
}

impl Default for Path {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(50),
            jitter: Duration::ZERO,
            nanos_per_byte: 1,
            queue_bytes_max: 1 << 20,
            queue_messages_max: 16,
            outage: None,
            stalled_until: Time(0),
            ways: [Way::default(), Way::default()],
        }
    }
}

impl Path {
    pub(super) fn outage_at(&self, now: Time) -> Option<OutageKind> {
        self.outage.filter(|outage| outage.until > now).map(|outage| outage.kind)
    }
}

/// The same path, from whichever end.
pub(super) fn path_key(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

/// Which way of a path leads from one node to another.
pub(super) fn way_index(from: NodeId, to: NodeId) -> usize {
    usize::from(from > to)
}
