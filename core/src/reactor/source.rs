//! What the channels of one session send: the partitions behind them, and what is not acknowledged yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sluice_plugin::Payload;
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::wire::Backlog;
use sluice_protocol::{ChannelId, Next, PartitionId, Place, ReasonCode, Source};

use crate::block::{Failure, Item};
use crate::partition::{BlockLog, ReaderId, Upcoming};

/// The outgoing side of a session.
#[derive(Default)]
pub(super) struct SessionSource {
    channels: BTreeMap<ChannelId, Outgoing>,
    /// What the peer has not acknowledged, by message, oldest first. The memory of its blocks is the writers': a writer
    /// whose blocks are not acknowledged has less to write with, and that bounds this queue.
    unacknowledged: VecDeque<Sent>,
    /// What was not acknowledged when the link was lost, in the order of its sequence numbers: it goes out again first.
    /// Not of what is on the disk: that is read again, so that a peer that is away keeps no memory from other readers.
    replay: BTreeMap<ChannelId, VecDeque<(u64, Item)>>,
    /// Channels of retained partitions whose last item is not acknowledged: they may have to be read again.
    ended: BTreeMap<ChannelId, Outgoing>,
    /// Something that was not acknowledged was dropped with the link, to be read again.
    dropped: bool,
    /// What the peer takes, in bytes.
    block_bytes_max: u32,
    /// The message that is being composed.
    message: u64,
    payloads: Vec<Payload>,
    /// Partitions that have given their last item to this session.
    drained: Vec<PartitionId>,
    /// Bytes of blocks in the message that is being composed, in whatever place.
    block_bytes: u64,
}

struct Outgoing {
    partition: Arc<BlockLog>,
    reader: ReaderId,
    subpartition: u32,
    /// Taken out of the queue and shown, but not sent.
    shown: Option<(Item, Backlog)>,
    /// The sequence number behind the last item that was sent.
    sequence: u64,
    /// Its partition was: only that has still to be said.
    released: bool,
}

/// What a rewound channel goes on with.
pub(super) enum Rewound {
    /// With what is here.
    GoesOn,
    /// With what has to be read again.
    ReadsAgain,
    /// It wants what it has acknowledged: that is not here any more.
    Impossible,
}

/// Something that the peer may have to be sent again.
struct Sent {
    message: u64,
    channel: ChannelId,
    sequence: u64,
    item: Item,
}

impl SessionSource {
    pub(super) fn new(block_bytes_max: u32) -> Self {
        Self { block_bytes_max, ..Self::default() }
    }

    /// A channel is served, from the item of this number on.
    pub(super) fn attach(
        &mut self,
        channel: ChannelId,
        partition: Arc<BlockLog>,
        reader: ReaderId,
        subpartition: u32,
        sequence: u64,
    ) {
        let outgoing = Outgoing { partition, reader, subpartition, shown: None, sequence, released: false };
        self.channels.insert(channel, outgoing);
    }

    /// The consumer is gone.
    pub(super) fn detach(&mut self, channel: ChannelId, why: &str) -> Option<PartitionId> {
        self.replay.remove(&channel);
        self.ended.remove(&channel);
        let outgoing = self.channels.remove(&channel)?;
        outgoing.partition.consumer_gone(outgoing.reader, why).then(|| outgoing.partition.id())
    }

    /// The partition is released: what its channels hold of it is dropped. Says which these are.
    pub(super) fn released(&mut self, partition: PartitionId) -> Vec<ChannelId> {
        let of_it = |outgoing: &Outgoing| outgoing.partition.id() == partition;
        let channels: Vec<_> =
            self.channels.iter().filter(|(_, outgoing)| of_it(outgoing)).map(|(channel, _)| *channel).collect();
        for channel in &channels {
            self.replay.remove(channel);
            if let Some(outgoing) = self.channels.get_mut(channel) {
                outgoing.released = true;
                outgoing.shown.take_if(|(item, _)| !matches!(item, Item::End { .. } | Item::Failed(_)));
            }
        }
        channels
    }

    /// Blocks that were shown and cannot go go back to their readers' queues, if they can be read again.
    pub(super) fn put_back_retained(&mut self) {
        for outgoing in self.channels.values_mut().filter(|outgoing| outgoing.is_retained()) {
            if let Some((item, _)) = outgoing.shown.take_if(|(item, _)| matches!(item, Item::Block(_))) {
                outgoing.partition.put_back(outgoing.reader, item);
            }
        }
    }

    /// The session is over, and all its consumers are gone.
    pub(super) fn detach_all(&mut self, why: &str) -> Vec<PartitionId> {
        let channels: Vec<_> = self.channels.keys().copied().collect();
        channels.into_iter().filter_map(|channel| self.detach(channel, why)).collect()
    }

    pub(super) fn begin(&mut self, message: u64) {
        self.message = message;
        self.block_bytes = 0;
    }

    /// The payloads of the message that was composed, in the order of its frames.
    pub(super) fn payloads(&mut self) -> Vec<Payload> {
        std::mem::take(&mut self.payloads)
    }

    pub(super) fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    pub(super) fn drained(&mut self) -> Vec<PartitionId> {
        std::mem::take(&mut self.drained)
    }

    /// The peer has everything up to this message. True if there was something in it.
    pub(super) fn acknowledged(&mut self, through: u64) -> bool {
        let mut any = false;
        while let Some(sent) = self.unacknowledged.pop_front_if(|sent| sent.message <= through) {
            any = true;
            if sent.is_last() {
                self.ended.remove(&sent.channel);
            }
        }
        self.dropped &= !any;
        any
    }

    /// Whether the peer has not acknowledged something.
    pub(super) fn waits(&self) -> bool {
        !self.unacknowledged.is_empty() || !self.replay.is_empty() || self.dropped
    }

    /// The link is gone. What is not acknowledged may have to go out again, in front of what already had to.
    pub(super) fn link_lost(&mut self) {
        for sent in self.unacknowledged.drain(..).rev() {
            let last = sent.is_last();
            let Sent { channel, sequence, item, .. } = sent;
            let outgoing = self.channels.get(&channel).or_else(|| self.ended.get(&channel));
            if outgoing.is_some_and(Outgoing::is_retained) {
                self.dropped = true;
                continue;
            }
            // Looked at from the end, a channel that is over shows its last item first. One that is not here and has
            // none was cancelled: nobody will ask for it.
            if last || self.replay.contains_key(&channel) || self.channels.contains_key(&channel) {
                self.replay.entry(channel).or_default().push_front((sequence, item));
            }
        }
    }

    /// On the next link the peer wants everything of a channel from this sequence number on.
    pub(super) fn rewind(&mut self, channel: ChannelId, sequence: u64) -> Rewound {
        if let Some(kept) = self.replay.get_mut(&channel) {
            while kept.pop_front_if(|(sent, _)| *sent < sequence).is_some() {}
            match kept.front() {
                Some((first, _)) if *first == sequence => return Rewound::GoesOn,
                Some(_) => return Rewound::Impossible,
                None => drop(self.replay.remove(&channel)),
            }
        }
        match (self.channels.get(&channel), self.ended.get(&channel)) {
            (Some(outgoing), _) if outgoing.sequence == sequence || outgoing.released => Rewound::GoesOn,
            (Some(outgoing), _) | (None, Some(outgoing)) if outgoing.is_retained() && sequence < outgoing.sequence => {
                Rewound::ReadsAgain
            }
            _ => Rewound::Impossible,
        }
    }

    /// Gives up the reader of a channel that is to be read again. Says what it read.
    pub(super) fn give_up_reader(&mut self, channel: ChannelId) -> Option<(Arc<BlockLog>, u32)> {
        let outgoing = self.channels.remove(&channel).or_else(|| self.ended.remove(&channel))?;
        outgoing.partition.consumer_gone(outgoing.reader, "its link was lost");
        Some((outgoing.partition, outgoing.subpartition))
    }

    /// What waits in a channel's replay behind its first item.
    fn behind_replayed(&self, channel: ChannelId) -> Backlog {
        let kept = self.replay.get(&channel).into_iter().flatten().skip(1).map(|(_, item)| item);
        let shown = self.channels.get(&channel).and_then(|outgoing| outgoing.shown.as_ref());
        let blocks = kept.chain(shown.map(|(item, _)| item)).filter_map(|item| match item {
            Item::Block(block) => Some(block.bytes()),
            _ => None,
        });
        let mut behind = shown.map_or_else(Backlog::default, |(_, behind)| *behind);
        for (index, bytes) in blocks.enumerate() {
            behind.bytes = behind.bytes.saturating_add(bytes);
            behind.blocks = behind.blocks.saturating_add(1);
            if index == 0 {
                behind.next = bytes;
            }
        }
        behind
    }
}

impl Outgoing {
    /// Whether what it has sent can be read again.
    fn is_retained(&self) -> bool {
        self.partition.kind().is_retained()
    }
}

impl Sent {
    /// Whether nothing comes behind it.
    fn is_last(&self) -> bool {
        matches!(self.item, Item::End { .. } | Item::Failed(_))
    }
}

impl Source for SessionSource {
    fn peek(&mut self, channel: ChannelId) -> Option<Next<'_>> {
        if self.replay.contains_key(&channel) {
            let behind = self.behind_replayed(channel);
            let (_, item) = self.replay.get(&channel)?.front()?;
            return Some(next(item, behind));
        }
        let outgoing = self.channels.get_mut(&channel)?;
        // What was shown and could not go waits behind a priority event that has come since; but of two of those the
        // first one stays the first.
        let overtakable = matches!(&outgoing.shown, Some((item, _)) if !matches!(item, Item::PriorityEvent { .. }));
        if overtakable
            && outgoing.partition.overtaking(outgoing.reader)
            && let Some((item, _)) = outgoing.shown.take()
        {
            outgoing.partition.put_back(outgoing.reader, item);
        }
        if outgoing.shown.is_none() {
            let popped = outgoing.partition.pop(outgoing.reader);
            if popped.drained {
                self.drained.push(outgoing.partition.id());
            }
            let absent = popped.upcoming.map(|Upcoming { bytes, behind }| Next::Absent { bytes, behind });
            let Some(item) = popped.item else { return absent };
            let item = match item {
                Item::Block(block) if block.bytes() > self.block_bytes_max => {
                    let (bytes, limit) = (block.bytes(), self.block_bytes_max);
                    let text =
                        format!("a block of {bytes} bytes, but the peer takes at most {limit}: use smaller buffers");
                    let drained = outgoing.partition.consumer_gone(outgoing.reader, &text);
                    self.drained.extend(drained.then(|| outgoing.partition.id()));
                    Item::Failed(Failure { code: ReasonCode::BlockTooLong, text: text.into() })
                }
                item => item,
            };
            outgoing.shown = Some((item, popped.behind));
        }
        let (item, behind) = outgoing.shown.as_ref()?;
        Some(next(item, *behind))
    }

    fn fetch(&mut self, channel: ChannelId, credit_bytes: u64) {
        if let Some(outgoing) = self.channels.get(&channel) {
            outgoing.partition.fetch(outgoing.reader, credit_bytes);
        }
    }

    fn take(&mut self, channel: ChannelId, sequence: u64, place: Place) {
        let item = match self.replay.get_mut(&channel) {
            Some(kept) => {
                let (first, item) = kept.pop_front().expect("an item that was just shown");
                debug_assert_eq!(first, sequence, "a replay begins where the peer stopped");
                if kept.is_empty() {
                    self.replay.remove(&channel);
                }
                item
            }
            None => {
                let outgoing = self.channels.get_mut(&channel).expect("a channel that was just shown");
                outgoing.sequence = sequence + 1;
                let (item, _) = outgoing.shown.take().expect("an item that was just shown");
                item
            }
        };
        match &item {
            Item::Block(block) => {
                self.block_bytes += u64::from(block.bytes());
                match place {
                    Place::Head => {}
                    Place::Body => self.payloads.push(Payload { buffer: block.buffer.clone(), slot: None }),
                    Place::Slot(slot) => self.payloads.push(Payload { buffer: block.buffer.clone(), slot: Some(slot) }),
                }
            }
            // Its partition has nothing more to give; the item itself stays until it is acknowledged.
            Item::End { .. } | Item::Failed(_) => {
                if let Some(outgoing) = self.channels.remove(&channel).filter(Outgoing::is_retained) {
                    self.ended.insert(channel, outgoing);
                }
            }
            Item::Event(_) | Item::PriorityEvent { .. } => {}
        }
        if defect::is(Defect::ForgetUnacknowledged) {
            return;
        }
        self.unacknowledged.push_back(Sent { message: self.message, channel, sequence, item });
    }
}

fn next(item: &Item, behind: Backlog) -> Next<'_> {
    match item {
        Item::Block(block) => Next::Block { payload: &block.buffer, crc: block.crc, behind },
        Item::Event(event) => Next::Event { kind: event.kind, overtook: None, payload: &event.payload },
        Item::PriorityEvent { event, overtook } => {
            Next::Event { kind: event.kind, overtook: Some(*overtook), payload: &event.payload }
        }
        Item::End { blocks, bytes } => Next::End { blocks: *blocks, bytes: *bytes },
        Item::Failed(failure) => Next::Failed { code: failure.code, text: &failure.text },
    }
}
