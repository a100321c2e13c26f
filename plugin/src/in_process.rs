//! The transport between workers of one process: the sender's buffers themselves arrive, or copies of them.

use std::collections::VecDeque;

use sluice_memory::BufferMut;
use sluice_protocol::ChannelId;
use sluice_protocol::wire::{Head, Slot};

use crate::copied::Copied;
use crate::hub::{Endpoint, Hub, Landing};
use crate::link::{CloseCause, LinkId};
use crate::transport::{
    BuildError, Capabilities, Landed, Payload, PayloadPlacement, Setup, Transport, TransportFactory,
};

/// Builds transports that find each other, at addresses of the form `in-process:N`: all those that this value and its
/// clones have built.
#[derive(Clone, Debug)]
pub struct InProcess {
    hub: Hub,
    copies: bool,
}

impl InProcess {
    /// A place of its own: what it builds does not find what another has built.
    ///
    /// Nothing is posted, and nothing copied: a payload arrives in the memory, and at the cost of the pool, of its
    /// sender, which gets it back when the receiver drops it. That is for partitions whose writers wait for their
    /// consumers; workers with a disk need [`InProcess::copying`].
    pub fn new() -> Self {
        Self { hub: Hub::new("in-process"), copies: false }
    }

    /// As [`InProcess::new`], but a payload is copied once, into memory that the receiver has posted for it. So a
    /// consumer that keeps what it got, or does not come for it, uses up only memory of its own: what is read from a
    /// worker's disk is in memory that all its readers share.
    pub fn copying() -> Self {
        Self { hub: Hub::new("in-process"), copies: true }
    }
}

impl Default for InProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl TransportFactory for InProcess {
    fn name(&self) -> &'static str {
        self.hub.transport()
    }

    fn build(&self, setup: Setup) -> Result<Box<dyn Transport>, BuildError> {
        let hub = self.hub.clone();
        Ok(match self.copies {
            true => Box::new(Endpoint::new(hub, setup, Copied::default())),
            false => Box::new(Endpoint::new(hub, setup, HandOver)),
        })
    }
}

struct HandOver;

impl Landing for HandOver {
    fn capabilities(&self) -> Capabilities {
        // Handing a buffer over is cheaper than any copy into a head.
        Capabilities { placement: PayloadPlacement::HandOver, inline_bytes_max: 0 }
    }

    fn post(&mut self, _link: LinkId, channel: ChannelId, _buffer: BufferMut) -> Option<Slot> {
        panic!("memory posted for channel {channel}: with hand-over nothing is")
    }

    fn withdraw(&mut self, _link: LinkId, _channel: ChannelId, _bytes: u64, _slots: u64) -> Vec<BufferMut> {
        Vec::new()
    }

    fn forget(&mut self, _link: LinkId, _channel: ChannelId) -> Vec<BufferMut> {
        Vec::new()
    }

    fn close(&mut self, _link: LinkId) {}

    fn land(&mut self, _link: LinkId, head: &Head, payloads: Vec<Payload>) -> Result<VecDeque<Landed>, CloseCause> {
        let bytes: usize = payloads.iter().map(|payload| payload.buffer.len()).sum();
        let announced = head.prefix().body_bytes as usize;
        assert_eq!(bytes, announced, "the payloads of a message have the bytes that its head announces");
        Ok(payloads.into_iter().map(|payload| Landed::Whole(payload.buffer)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::conformance::parcel::Parcel;
    use crate::conformance::stage::Stage;
    use crate::link::Address;

    crate::transport_conformance!(InProcess::new());

    mod copying {
        use super::*;

        crate::transport_conformance!(InProcess::copying());
    }

    #[derive(Default)]
    struct Rings(AtomicU64);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_reactor_is_woken_once_for_all_that_it_has_not_taken() {
        let rings = Arc::new(Rings::default());
        let waker = Waker::from(Arc::clone(&rings));
        let mut stage = Stage::with(&InProcess::new(), 2, |worker, setup| {
            if worker == 1 {
                setup.waker = waker.clone();
            }
        });
        let wish = stage.wish(0, 1);
        let near = stage.connect(0, wish);
        for number in 1..4 {
            stage.send(near, Parcel::new().event(b"wake up").seal(number));
        }
        assert_eq!(rings.0.load(Ordering::SeqCst), 1);
        let (far, _) = stage.accepted(1);
        stage.send(near, Parcel::new().event(b"again").seal(4));
        assert_eq!(rings.0.load(Ordering::SeqCst), 2);
        stage.connected(near);
        for _ in 1..5 {
            stage.received(far);
        }
        stage.end();
    }

    /// Its `Accepted` was never taken, so nobody there knew of the link when it was dropped.
    #[test]
    fn a_transport_that_is_dropped_before_it_accepts_is_noticed_too() {
        let mut stage = Stage::of(&InProcess::new(), 2);
        let wish = stage.wish(0, 1);
        let near = stage.connect(0, wish);
        stage.drop_transport(1);
        stage.connected(near);
        assert!(matches!(stage.closed(near), CloseCause::PeerClosed));
        stage.end();
    }

    #[test]
    fn addresses_count_up_and_what_is_none_leads_to_nobody() {
        let mut stage = Stage::of(&InProcess::new(), 2);
        assert_eq!(stage.wish(0, 1).address, Address("in-process:1".into()));
        for text in ["in-process:2", "in-process:", "in-process", "in-process:-1", "tcp:1", "1", ""] {
            let mut wish = stage.wish(0, 1);
            wish.address = Address(text.into());
            let near = stage.connect(0, wish);
            assert!(matches!(stage.closed(near), CloseCause::Unreachable { address } if address.0 == text));
        }
        stage.end();
    }

    #[test]
    fn factories_that_are_no_clones_of_each_other_do_not_meet() {
        let one = InProcess::new();
        let alone = Stage::of(&InProcess::new(), 1);
        let mut stage = Stage::of(&one.clone(), 1);
        let _beside = Stage::of(&one, 1);
        let mut wish = alone.wish(0, 0);
        wish.address = Address("in-process:1".into());
        wish.node = sluice_protocol::NodeId(11);
        let near = stage.connect(0, wish.clone());
        stage.connected(near);
        let mut alone = alone;
        let nowhere = alone.connect(0, wish);
        assert!(matches!(alone.closed(nowhere), CloseCause::Unreachable { .. }));
        stage.end();
    }
}
