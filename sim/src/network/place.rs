//! Where a transport stands in the network.

use std::task::Waker;

use sluice_core::{Address, Incarnation, Limits, NodeId};
use sluice_plugin::{LinkId, Setup};

/// What a handshake tells of a worker.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) address: Address,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) cluster: String,
    pub(super) limits: Limits,
}

/// One transport, as long as it lives and after.
pub(super) struct Place {
    pub(super) facts: Facts,
    pub(super) waker: Waker,
    pub(super) is_alive: bool,
    /// Its links by number: the connection, and which end of it.
    pub(super) links: Vec<(usize, usize)>,
    /// Connections of which its end is not over, and which end that is.
    pub(super) live: Vec<(usize, usize)>,
}

impl Place {
    pub(super) fn new(address: Address, setup: Setup, inline_bytes_max: u32) -> Self {
        let Setup { node, incarnation, cluster, limits, waker, .. } = setup;
        let limits = Limits { inline_bytes_max: limits.inline_bytes_max.min(inline_bytes_max), ..limits };
        let facts = Facts { address, node, incarnation, cluster, limits };
        Self { facts, waker, is_alive: true, links: Vec::new(), live: Vec::new() }
    }

    /// Gives an end its name.
    pub(super) fn name(&mut self, connection: usize, side: usize) -> LinkId {
        self.links.push((connection, side));
        LinkId(self.links.len() as u64)
    }

    pub(super) fn find(&self, link: LinkId) -> Option<(usize, usize)> {
        self.links.get(usize::try_from(link.0).ok()?.checked_sub(1)?).copied()
    }
}
