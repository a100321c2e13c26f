//! What the channels of one link send: the partitions behind them, and what is not acknowledged yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sluice_memory::Buffer;
use sluice_plugin::Payload;
use sluice_protocol::wire::Backlog;
use sluice_protocol::{ChannelId, Next, PartitionId, Place, ReasonCode, Source};

use crate::block::{Failure, Item};
use crate::partition::Partition;

/// The outgoing side of a link.
#[derive(Default)]
pub(super) struct LinkSource {
    channels: HashMap<ChannelId, Outgoing>,
    /// Blocks that the peer has not acknowledged, by message, oldest first. Their memory is the writer's: a writer whose
    /// blocks are not acknowledged has less to write with, and that bounds this queue.
    unacknowledged: VecDeque<(u64, Buffer)>,
    /// What the peer takes, in bytes.
    block_bytes_max: u32,
    /// The message that is being composed.
    message: u64,
    payloads: Vec<Payload>,
    /// Partitions that have given their last item to this link.
    drained: Vec<PartitionId>,
    /// Bytes of blocks in the message that is being composed, in whatever place.
    block_bytes: u64,
}

struct Outgoing {
    partition: Arc<Partition>,
    subpartition: u32,
    /// Taken out of the queue and shown, but not sent.
    shown: Option<(Item, Backlog)>,
}

impl LinkSource {
    pub(super) fn new(block_bytes_max: u32) -> Self {
        Self { block_bytes_max, ..Self::default() }
    }

    pub(super) fn attach(&mut self, channel: ChannelId, partition: Arc<Partition>, subpartition: u32) {
        self.channels.insert(channel, Outgoing { partition, subpartition, shown: None });
    }

    /// The consumer is gone.
    pub(super) fn detach(&mut self, channel: ChannelId) -> Option<PartitionId> {
        let outgoing = self.channels.remove(&channel)?;
        outgoing.partition.consumer_gone(outgoing.subpartition).then(|| outgoing.partition.id())
    }

    /// The link is gone, and all its consumers with it.
    pub(super) fn detach_all(&mut self) -> Vec<PartitionId> {
        let channels: Vec<_> = self.channels.keys().copied().collect();
        channels.into_iter().filter_map(|channel| self.detach(channel)).collect()
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

    /// The peer has everything up to this message.
    pub(super) fn acknowledged(&mut self, through: u64) {
        while self.unacknowledged.pop_front_if(|(message, _)| *message <= through).is_some() {}
    }
}

impl Source for LinkSource {
    fn peek(&mut self, channel: ChannelId) -> Option<Next<'_>> {
        let outgoing = self.channels.get_mut(&channel)?;
        // What was shown and could not go waits behind a priority event that has come since; but of two of those the
        // first one stays the first.
        let overtakable = matches!(&outgoing.shown, Some((item, _)) if !matches!(item, Item::PriorityEvent { .. }));
        if overtakable
            && outgoing.partition.overtaking(outgoing.subpartition)
            && let Some((item, _)) = outgoing.shown.take()
        {
            outgoing.partition.put_back(outgoing.subpartition, item);
        }
        if outgoing.shown.is_none() {
            let popped = outgoing.partition.pop(outgoing.subpartition);
            if popped.drained {
                self.drained.push(outgoing.partition.id());
            }
            let item = match popped.item? {
                Item::Block(block) if block.bytes() > self.block_bytes_max => {
                    let drained = outgoing.partition.consumer_gone(outgoing.subpartition);
                    self.drained.extend(drained.then(|| outgoing.partition.id()));
                    let (bytes, limit) = (block.bytes(), self.block_bytes_max);
                    let text =
                        format!("a block of {bytes} bytes, but the peer takes at most {limit}: use smaller buffers");
                    Item::Failed(Failure { code: ReasonCode::BlockTooLong, text: text.into() })
                }
                item => item,
            };
            outgoing.shown = Some((item, popped.behind));
        }
        let (item, behind) = outgoing.shown.as_ref()?;
        Some(match item {
            Item::Block(block) => Next::Block { payload: &block.buffer, crc: block.crc, behind: *behind },
            Item::Event(event) => Next::Event { kind: event.kind, overtook: None, payload: &event.payload },
            Item::PriorityEvent { event, overtook } => {
                Next::Event { kind: event.kind, overtook: Some(*overtook), payload: &event.payload }
            }
            Item::End { blocks, bytes } => Next::End { blocks: *blocks, bytes: *bytes },
            Item::Failed(failure) => Next::Failed { code: failure.code, text: &failure.text },
        })
    }

    fn take(&mut self, channel: ChannelId, _sequence: u64, place: Place) {
        let outgoing = self.channels.get_mut(&channel).expect("a channel that was just shown");
        let (item, _) = outgoing.shown.take().expect("an item that was just shown");
        match item {
            Item::Block(block) => {
                self.block_bytes += u64::from(block.bytes());
                self.unacknowledged.push_back((self.message, block.buffer.clone()));
                match place {
                    Place::Head => {}
                    Place::Body => self.payloads.push(Payload { buffer: block.buffer, slot: None }),
                    Place::Slot(slot) => self.payloads.push(Payload { buffer: block.buffer, slot: Some(slot) }),
                }
            }
            Item::End { .. } | Item::Failed(_) => {
                self.channels.remove(&channel);
            }
            Item::Event(_) | Item::PriorityEvent { .. } => {}
        }
    }
}
