//! Where payload goes at the receiving end: into what was posted, in one of two ways.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use sluice_memory::BufferMut;
use sluice_plugin::{CloseCause, Landed, LinkId, PayloadPlacement};
use sluice_protocol::ChannelId;
use sluice_protocol::wire::{Frame, Head, Placement, Slot};

use super::pipe::Load;

/// What a transport has posted.
pub(super) enum Landing {
    Stream(Ranges),
    Remote(Slots),
}

/// What became of a remote write.
pub(super) enum Written {
    Landed,
    /// Its memory had been taken back: a real device would have hit whatever it is used for by now.
    MemoryReused(Slot),
    BeyondItsSlot(CloseCause),
}

/// Bytes posted for each channel, in the order in which they fill.
#[derive(Default)]
pub(super) struct Ranges(BTreeMap<(LinkId, ChannelId), VecDeque<BufferMut>>);

/// Slots that peers may write to.
#[derive(Default)]
pub(super) struct Slots {
    /// By key, which is never used again: a late write finds nothing.
    granted: BTreeMap<u32, (Slot, BufferMut)>,
    channels: BTreeMap<(LinkId, ChannelId), SlotQueue>,
    keys: u32,
}

/// The slots of a channel. The peer spends them, or gives them back, in their order.
#[derive(Default)]
struct SlotQueue {
    /// The peer may write there.
    keys: VecDeque<u32>,
    /// The number of the first of `keys`; the first that was posted has 0.
    first: u64,
    /// The peer has given them back, and the engine has not asked for them yet.
    returned: VecDeque<BufferMut>,
}

impl Landing {
    pub(super) fn new(placement: PayloadPlacement) -> Self {
        match placement {
            PayloadPlacement::Stream => Self::Stream(Ranges::default()),
            PayloadPlacement::Remote => Self::Remote(Slots::default()),
            PayloadPlacement::HandOver => panic!("the simulated network copies, or writes"),
        }
    }

    pub(super) fn post(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Option<Slot> {
        match self {
            Self::Stream(ranges) => {
                ranges.0.entry((link, channel)).or_default().push_back(buffer);
                None
            }
            Self::Remote(slots) => Some(slots.post(link, channel, buffer)),
        }
    }

    pub(super) fn withdraw(&mut self, link: LinkId, channel: ChannelId, bytes: u64, slots: u64) -> Vec<BufferMut> {
        match self {
            Self::Stream(ranges) => ranges.withdraw(link, channel, bytes),
            Self::Remote(all) => all.withdraw(link, channel, slots),
        }
    }

    pub(super) fn forget(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut> {
        match self {
            Self::Stream(ranges) => ranges.0.remove(&(link, channel)).map(Vec::from).unwrap_or_default(),
            Self::Remote(slots) => slots.forget(link, channel),
        }
    }

    /// The link is over: what is posted on it is dropped.
    pub(super) fn close(&mut self, link: LinkId) {
        match self {
            Self::Stream(ranges) => ranges.0.retain(|(of, _), _| *of != link),
            Self::Remote(slots) => slots.close(link),
        }
    }

    /// A remote write lands.
    pub(super) fn write(&mut self, load: &Load) -> Written {
        match self {
            Self::Stream(_) => Written::Landed,
            Self::Remote(slots) => slots.write(load),
        }
    }

    /// A message has arrived. `discarded` is told of payload that found no memory.
    pub(super) fn land(
        &mut self,
        link: LinkId,
        head: &Head,
        loads: Vec<Load>,
        mut discarded: impl FnMut(ChannelId, u32),
    ) -> VecDeque<Landed> {
        let mut loads = loads.into_iter();
        let mut landed = VecDeque::new();
        for frame in head.frames() {
            let (channel, length, found) = match (frame, &mut *self) {
                (Frame::Return { channel, slots_through, .. }, Self::Remote(slots)) => {
                    slots.return_through(link, channel, slots_through);
                    continue;
                }
                (Frame::Data(channel, block, Placement::Body), Self::Stream(ranges)) => {
                    let load = loads.next().expect("one body for each frame");
                    (channel, block.length, ranges.landed(link, channel, &load))
                }
                (Frame::Data(channel, block, Placement::Slot(number)), Self::Remote(slots)) => {
                    (channel, block.length, slots.landed(link, channel, number, block.length as usize))
                }
                (Frame::Data(channel, block, Placement::Body | Placement::Slot(_)), _) => {
                    (channel, block.length, Landed::Discarded)
                }
                _ => continue,
            };
            if matches!(found, Landed::Discarded) {
                discarded(channel, length);
            }
            landed.push_back(found);
        }
        landed
    }
}

impl Ranges {
    fn landed(&mut self, link: LinkId, channel: ChannelId, load: &Load) -> Landed {
        let length = load.cargo.bytes().len();
        let Some(posted) = self.0.get_mut(&(link, channel)) else { return Landed::Discarded };
        if posted.iter().map(|range| range.len()).sum::<usize>() < length {
            return Landed::Discarded;
        }
        let mut bytes = vec![0; length];
        load.write_to(&mut bytes);
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        while let Some(range) = posted.front_mut().filter(|_| !rest.is_empty()) {
            let mut piece = range.split_to(range.len().min(rest.len()));
            let (now, later) = rest.split_at(piece.len());
            piece.copy_from_slice(now);
            rest = later;
            pieces.push(piece.freeze());
            posted.pop_front_if(|range| range.is_empty());
        }
        if pieces.len() == 1 { Landed::Whole(pieces.remove(0)) } else { Landed::Pieces(pieces) }
    }

    fn withdraw(&mut self, link: LinkId, channel: ChannelId, bytes: u64) -> Vec<BufferMut> {
        let Some(posted) = self.0.get_mut(&(link, channel)) else { return Vec::new() };
        let mut left = bytes as usize;
        let mut back = Vec::new();
        while left > 0
            && let Some(mut last) = posted.pop_back()
        {
            let cut = last.split_off(last.len().saturating_sub(left));
            left -= cut.len();
            back.push(cut);
            if !last.is_empty() {
                posted.push_back(last);
            }
        }
        back
    }
}

impl Slots {
    fn post(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Slot {
        self.keys += 1;
        let at = buffer.location();
        let address = u64::from(at.region.0) << 32 | u64::from(at.offset);
        let slot = Slot { address, key: self.keys, bytes: buffer.len() as u32 };
        self.granted.insert(slot.key, (slot, buffer));
        self.channels.entry((link, channel)).or_default().keys.push_back(slot.key);
        slot
    }

    fn write(&mut self, load: &Load) -> Written {
        let slot = load.slot.expect("a payload that does not stand in the head has a slot");
        let Some((granted, buffer)) = self.granted.get_mut(&slot.key) else { return Written::MemoryReused(slot) };
        let length = load.cargo.bytes().len();
        if *granted != slot || length > buffer.len() {
            let problem = format!("{length} bytes into {slot:?}, granted is {granted:?}");
            let source = io::Error::new(io::ErrorKind::InvalidInput, problem);
            return Written::BeyondItsSlot(CloseCause::Io { operation: "remote write", source });
        }
        load.write_to(&mut buffer[..length]);
        Written::Landed
    }

    /// The peer has given back all slots below `through`, or passed them over.
    fn return_through(&mut self, link: LinkId, channel: ChannelId, through: u64) {
        let Some(queue) = self.channels.get_mut(&(link, channel)) else { return };
        while queue.first < through
            && let Some(buffer) = queue.pop(&mut self.granted)
        {
            queue.returned.push_back(buffer);
        }
    }

    fn landed(&mut self, link: LinkId, channel: ChannelId, number: u64, length: usize) -> Landed {
        self.return_through(link, channel, number);
        let Some(queue) = self.channels.get_mut(&(link, channel)) else { return Landed::Discarded };
        if queue.first != number {
            return Landed::Discarded;
        }
        match queue.pop(&mut self.granted) {
            Some(mut buffer) if length <= buffer.len() => {
                buffer.truncate(length);
                Landed::Whole(buffer.freeze())
            }
            _ => Landed::Discarded,
        }
    }

    fn withdraw(&mut self, link: LinkId, channel: ChannelId, slots: u64) -> Vec<BufferMut> {
        let Some(queue) = self.channels.get_mut(&(link, channel)) else { return Vec::new() };
        let next = || queue.returned.pop_front().or_else(|| queue.pop(&mut self.granted));
        std::iter::from_fn(next).take(slots as usize).collect()
    }

    fn forget(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut> {
        let Some(mut queue) = self.channels.remove(&(link, channel)) else { return Vec::new() };
        let mut all = Vec::from(std::mem::take(&mut queue.returned));
        all.extend(std::iter::from_fn(|| queue.pop(&mut self.granted)));
        all
    }

    fn close(&mut self, link: LinkId) {
        let channels: Vec<_> = self.channels.keys().filter(|(of, _)| *of == link).copied().collect();
        for (_, channel) in channels {
            drop(self.forget(link, channel));
        }
    }
}

impl SlotQueue {
    /// Ends the grant of the oldest slot.
    fn pop(&mut self, granted: &mut BTreeMap<u32, (Slot, BufferMut)>) -> Option<BufferMut> {
        let key = self.keys.pop_front()?;
        self.first += 1;
        granted.remove(&key).map(|(_, buffer)| buffer)
    }
}
