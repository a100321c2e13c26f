//! What the transports of one process share: where they find each other, and how a message gets across.

mod endpoint;
mod inbox;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use sluice_protocol::{Incarnation, Limits, NodeId, ReasonCode};

pub(crate) use endpoint::{Endpoint, Landing};
use inbox::Inbox;

use crate::link::{Address, CloseCause, Connect, Peer};
use crate::transport::Setup;

/// The transports of one kind in this process. Clones are the same hub.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Also what stands in front of the number in an address.
    transport: &'static str,
    /// By the number in their address. An address is never given out twice, so a late connect finds nobody.
    endpoints: Mutex<Vec<Weak<Inbox>>>,
    held: AtomicBool,
}

impl Hub {
    pub(crate) fn new(transport: &'static str) -> Self {
        let endpoints = Mutex::new(Vec::new());
        Self { shared: Arc::new(Shared { transport, endpoints, held: AtomicBool::new(false) }) }
    }

    pub(crate) fn transport(&self) -> &'static str {
        self.shared.transport
    }

    /// Keeps messages from being delivered: they are under way until [`Hub::release`].
    pub(crate) fn hold(&self) {
        self.shared.held.store(true, Ordering::SeqCst);
    }

    /// Lets what is under way arrive.
    pub(crate) fn release(&self) {
        self.shared.held.store(false, Ordering::SeqCst);
        let endpoints: Vec<_> = self.endpoints().iter().filter_map(Weak::upgrade).collect();
        for inbox in endpoints {
            inbox.wake_if_any();
        }
    }

    fn is_held(&self) -> bool {
        self.shared.held.load(Ordering::SeqCst)
    }

    fn join(&self, setup: Setup, inline_bytes_max: u32) -> Arc<Inbox> {
        let mut endpoints = self.endpoints();
        let address = Address(format!("{}:{}", self.transport(), endpoints.len()));
        let inbox = Arc::new(Inbox::new(Facts::new(address, &setup, inline_bytes_max), setup.waker));
        endpoints.push(Arc::downgrade(&inbox));
        inbox
    }

    fn find(&self, address: &Address) -> Option<Arc<Inbox>> {
        let number = address.0.strip_prefix(self.transport())?.strip_prefix(':')?;
        self.endpoints().get(number.parse::<usize>().ok()?)?.upgrade()
    }

    fn endpoints(&self) -> MutexGuard<'_, Vec<Weak<Inbox>>> {
        self.shared.endpoints.lock().expect("the hub is sound: no foreign code runs under its lock")
    }
}

/// What a handshake would tell of a worker.
#[derive(Debug)]
struct Facts {
    address: Address,
    node: NodeId,
    incarnation: Incarnation,
    cluster: String,
    limits: Limits,
}

impl Facts {
    fn new(address: Address, setup: &Setup, inline_bytes_max: u32) -> Self {
        let inline_bytes_max = setup.limits.inline_bytes_max.min(inline_bytes_max);
        Self {
            address,
            node: setup.node,
            incarnation: setup.incarnation,
            cluster: setup.cluster.clone(),
            limits: Limits { inline_bytes_max, ..setup.limits },
        }
    }

    /// What the other side of the link `connect` sees of this one.
    fn as_peer(&self, connect: &Connect, limits: Limits) -> Peer {
        let Connect { session, epoch, lane, .. } = *connect;
        Peer { node: self.node, incarnation: self.incarnation, session, epoch, lane, limits }
    }

    /// Why `self` may not make the link `connect` to `other`, as each side would put it.
    fn refusal(&self, connect: &Connect, other: &Facts) -> Option<(String, String)> {
        let refused = |mine: &Facts, theirs: &Facts| {
            format!(
                "this is node {} of cluster {:?} at {}, the peer is node {} of cluster {:?} at {}",
                mine.node, mine.cluster, mine.address, theirs.node, theirs.cluster, theirs.address
            )
        };
        if self.cluster != other.cluster {
            return Some((refused(self, other), refused(other, self)));
        }
        if connect.node != other.node {
            let expected = format!("node {} was expected at {}", connect.node, other.address);
            return Some((
                format!("{expected}: {}", refused(self, other)),
                format!("{expected}: {}", refused(other, self)),
            ));
        }
        None
    }
}

fn refused(text: String) -> CloseCause {
    CloseCause::Refused { code: ReasonCode::Violation, text }
}
