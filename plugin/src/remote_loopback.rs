//! Remote placement without a network: the sender writes into slots that the receiver has granted.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_memory::BufferMut;
use sluice_protocol::ChannelId;
use sluice_protocol::wire::{Frame, Head, Placement, Slot};

use crate::hub::{Endpoint, Hub, Landing};
use crate::link::{CloseCause, LinkId};
use crate::transport::{
    BuildError, Capabilities, Landed, Payload, PayloadPlacement, Setup, Transport, TransportFactory,
};

/// As the protocol starts out with for networks.
const INLINE_BYTES_MAX: u32 = 1024;

/// Builds transports with remote placement that find each other, at addresses of the form `remote-loopback:N`.
///
/// A message and its writes are under way until the receiver polls, or for longer ([`RemoteLoopback::hold`]). So a
/// write can come late: after its slot was taken back, against the rules of [`Transport::forget_channel`]. On a real
/// device it would hit whatever the memory is used for by then. Here it hits nothing, and is counted.
#[derive(Clone, Debug)]
pub struct RemoteLoopback {
    hub: Hub,
    late_writes: Arc<AtomicU64>,
}

impl RemoteLoopback {
    /// A place of its own: what it builds does not find what another has built.
    pub fn new() -> Self {
        Self { hub: Hub::new("remote-loopback"), late_writes: Arc::default() }
    }

    /// Keeps all messages and their writes under way, as a slow network would.
    pub fn hold(&self) {
        self.hub.hold();
    }

    /// Lets what is held arrive.
    pub fn release(&self) {
        self.hub.release();
    }

    /// Writes that came after their slot was taken back. Each is a mistake of the receiving engine.
    pub fn late_writes(&self) -> u64 {
        self.late_writes.load(Ordering::SeqCst)
    }
}

impl Default for RemoteLoopback {
    fn default() -> Self {
        Self::new()
    }
}

impl TransportFactory for RemoteLoopback {
    fn name(&self) -> &'static str {
        self.hub.transport()
    }

    fn build(&self, setup: Setup) -> Result<Box<dyn Transport>, BuildError> {
        let landing = Slots { late_writes: Arc::clone(&self.late_writes), ..Slots::default() };
        Ok(Box::new(Endpoint::new(self.hub.clone(), setup, landing)))
    }
}

/// What one transport lets its peers write to.
#[derive(Default)]
struct Slots {
    /// By key, which is never used again: a late write finds nothing.
    granted: HashMap<u32, Granted>,
    channels: HashMap<(LinkId, ChannelId), Channel>,
    keys: u32,
    late_writes: Arc<AtomicU64>,
}

struct Granted {
    slot: Slot,
    buffer: BufferMut,
}

/// The slots of a channel. The peer spends them, or gives them back, in their order.
#[derive(Default)]
struct Channel {
    /// The peer may write there.
    keys: VecDeque<u32>,
    /// The number of the first of `keys`; the first that was posted has 0.
    first: u64,
    /// The peer has given them back, and the engine has not asked for them yet.
    returned: VecDeque<BufferMut>,
}

impl Slots {
    fn write(&mut self, payload: &Payload) -> Result<(), CloseCause> {
        let slot = payload.slot.expect("a payload that does not stand in the head has a slot");
        let Some(Granted { slot: granted, buffer }) = self.granted.get_mut(&slot.key) else {
            self.late_writes.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        };
        let length = payload.buffer.len();
        if *granted != slot || length > buffer.len() {
            let problem = format!("{length} bytes into {slot:?}, granted is {granted:?}");
            let source = io::Error::new(io::ErrorKind::InvalidInput, problem);
            return Err(CloseCause::Io { operation: "remote write", source });
        }
        buffer[..length].copy_from_slice(&payload.buffer);
        Ok(())
    }

    /// The peer has given back all slots below `through`, or passed them over.
    fn return_through(&mut self, link: LinkId, channel: ChannelId, through: u64) {
        let Some(channel) = self.channels.get_mut(&(link, channel)) else { return };
        while channel.first < through
            && let Some(buffer) = channel.pop(&mut self.granted)
        {
            channel.returned.push_back(buffer);
        }
    }

    fn landed(&mut self, link: LinkId, channel: ChannelId, number: u64, length: usize) -> Landed {
        self.return_through(link, channel, number);
        let Some(channel) = self.channels.get_mut(&(link, channel)) else { return Landed::Discarded };
        if channel.first != number {
            return Landed::Discarded;
        }
        match channel.pop(&mut self.granted) {
            Some(mut buffer) if length <= buffer.len() => {
                buffer.truncate(length);
                Landed::Whole(buffer.freeze())
            }
            _ => Landed::Discarded,
        }
    }
}

impl Channel {
    /// Ends the grant of the oldest slot.
    fn pop(&mut self, granted: &mut HashMap<u32, Granted>) -> Option<BufferMut> {
        let key = self.keys.pop_front()?;
        self.first += 1;
        granted.remove(&key).map(|granted| granted.buffer)
    }
}

impl Landing for Slots {
    fn capabilities(&self) -> Capabilities {
        Capabilities { placement: PayloadPlacement::Remote, inline_bytes_max: INLINE_BYTES_MAX }
    }

    fn post(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Option<Slot> {
        self.keys = self.keys.checked_add(1).expect("a test grants fewer than 2^32 slots");
        let at = buffer.location();
        let address = u64::from(at.region.0) << 32 | u64::from(at.offset);
        let slot = Slot { address, key: self.keys, bytes: buffer.len() as u32 };
        self.granted.insert(slot.key, Granted { slot, buffer });
        self.channels.entry((link, channel)).or_default().keys.push_back(slot.key);
        Some(slot)
    }

    fn withdraw(&mut self, link: LinkId, channel: ChannelId, _bytes: u64, slots: u64) -> Vec<BufferMut> {
        let Some(channel) = self.channels.get_mut(&(link, channel)) else { return Vec::new() };
        let next = || channel.returned.pop_front().or_else(|| channel.pop(&mut self.granted));
        std::iter::from_fn(next).take(slots as usize).collect()
    }

    fn forget(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut> {
        let Some(mut channel) = self.channels.remove(&(link, channel)) else { return Vec::new() };
        let mut all = Vec::from(std::mem::take(&mut channel.returned));
        all.extend(std::iter::from_fn(|| channel.pop(&mut self.granted)));
        all
    }

    fn close(&mut self, link: LinkId) {
        let channels: Vec<_> = self.channels.keys().filter(|(of, _)| *of == link).copied().collect();
        for (_, channel) in channels {
            drop(self.forget(link, channel));
        }
    }

    fn land(&mut self, link: LinkId, head: &Head, payloads: Vec<Payload>) -> Result<VecDeque<Landed>, CloseCause> {
        // All writes come before the head.
        payloads.iter().try_for_each(|payload| self.write(payload))?;
        drop(payloads);
        let mut landed = VecDeque::new();
        for frame in head.frames() {
            match frame {
                Frame::Return { channel, slots_through, .. } => self.return_through(link, channel, slots_through),
                Frame::Data(channel, block, Placement::Slot(number)) => {
                    landed.push_back(self.landed(link, channel, number, block.length as usize));
                }
                // There is no stream that it could be in.
                Frame::Data(_, _, Placement::Body) => landed.push_back(Landed::Discarded),
                _ => {}
            }
        }
        Ok(landed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::conformance::parcel::{Intake, Parcel, assert_landed};
    use crate::conformance::stage::Stage;

    crate::transport_conformance!(RemoteLoopback::new());

    /// The mistake against which `forget_channel` warns: before the peer's `Cancelled`.
    #[test]
    fn a_write_into_a_slot_that_was_taken_back_hits_nothing_and_is_counted() {
        let factory = RemoteLoopback::new();
        let (mut stage, near, far) = Stage::pair(&factory);
        let mut intake = Intake::new(&stage, far, 1);
        intake.post(&mut stage, 4096);
        let block = stage.filled(near.worker, 4096, 1);
        factory.hold();
        stage.send(near, Parcel::new().block(&mut intake, &block, &mut Vec::new()).seal(1));
        stage.step(Duration::from_millis(1));

        let mut taken_back = stage.transport(far.worker).forget_channel(far.link, intake.channel);
        taken_back[0].fill(0xab);
        // Its next use: granted again, to another channel.
        let at = taken_back[0].location();
        let other = ChannelId(2);
        let slot = stage.transport(far.worker).post_receive(far.link, other, taken_back.remove(0));
        assert!(slot.is_some());
        factory.release();
        let (_, landed) = stage.received(far);
        assert!(matches!(landed[0], Landed::Discarded));
        assert_eq!(factory.late_writes(), 1);

        let granted = stage.transport(far.worker).forget_channel(far.link, other);
        assert_eq!(granted[0].location(), at);
        assert!(granted[0].iter().all(|byte| *byte == 0xab), "the late write has hit memory in another use");
        drop((block, granted));
        stage.end();
    }

    #[test]
    fn what_is_held_arrives_in_order_when_it_is_released() {
        let factory = RemoteLoopback::new();
        let (mut stage, near, far) = Stage::pair(&factory);
        let mut intake = Intake::new(&stage, far, 1);
        factory.hold();
        let mut dues = Vec::new();
        for number in 1..4 {
            intake.post(&mut stage, 2000);
            let block = stage.filled(near.worker, 2000, number);
            let mut due = Vec::new();
            stage.send(near, Parcel::new().block(&mut intake, &block, &mut due).seal(number as u64));
            dues.push(due);
        }
        stage.step(Duration::from_millis(1));
        assert!(!stage.has_event(far));
        factory.release();
        dues.into_iter().for_each(|due| assert_landed(stage.received(far).1, due));
        assert_eq!(factory.late_writes(), 0);
        stage.end();
    }

    #[test]
    fn writes_under_way_on_a_link_that_closes_hit_nothing_and_are_not_late() {
        let factory = RemoteLoopback::new();
        let (mut stage, near, far) = Stage::pair(&factory);
        let mut intake = Intake::new(&stage, far, 1);
        intake.post(&mut stage, 4096);
        let block = stage.filled(near.worker, 4096, 1);
        factory.hold();
        stage.send(near, Parcel::new().block(&mut intake, &block, &mut Vec::new()).seal(1));
        stage.transport(far.worker).close(far.link);
        assert!(matches!(stage.closed(far), CloseCause::Local));
        assert_eq!(stage.in_use_bytes(far.worker), 0);
        factory.release();
        assert!(matches!(stage.closed(near), CloseCause::PeerClosed));
        stage.step(Duration::from_millis(1));
        assert_eq!(factory.late_writes(), 0);
        drop(block);
        stage.end();
    }

    #[test]
    fn a_write_beyond_its_slot_closes_the_link() {
        let (mut stage, near, far) = Stage::pair(&RemoteLoopback::new());
        let mut intake = Intake::new(&stage, far, 1);
        intake.post(&mut stage, 2000);
        let block = stage.filled(near.worker, 2001, 1);
        stage.send(near, Parcel::new().block(&mut intake, &block, &mut Vec::new()).seal(1));
        assert!(matches!(stage.closed(far), CloseCause::Io { operation: "remote write", .. }));
        assert!(matches!(stage.closed(near), CloseCause::PeerClosed));
        assert_eq!(stage.in_use_bytes(far.worker), 0);
        drop(block);
        stage.end();
    }
}
