//! The consuming task's end: reads its channels fairly, and believes no byte that it has not checked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use sluice_memory::Buffer;
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::{NodeId, PartitionId, ReasonCode};

use super::inbox::{Arrived, Found, Inbox};
use super::{ChannelLocation, GateId};
use crate::block::{Event, Item, checksum_of_pieces};
use crate::error::{CreateError, ReadError};
use crate::mailbox::{Command, Mailbox};
use crate::partition::{BlockLog, PartitionManager, ReaderId};
use crate::task::block_on;

/// What a producer of the same worker is told when its consumer's gate is dropped.
pub(crate) const GONE_HERE: &str = "its task, on the same worker, has dropped its gate";

/// Something that a gate delivers.
#[derive(Debug)]
pub enum Delivery {
    /// The next bytes of a channel. Dropping the buffer is what lets the channel's producer send more.
    Buffer {
        /// The channel's index in the gate.
        channel: u32,
        /// The bytes; records may span buffers ([`crate::RecordReader`]).
        buffer: Buffer,
    },
    /// An event of a channel, in its place in the stream unless it overtook.
    Event {
        /// The channel's index in the gate.
        channel: u32,
        /// The event.
        event: Event,
        /// `Some` for a priority event: how many blocks written before it are delivered after it by the producer's
        /// side. What this gate had not delivered yet comes after it as well.
        overtook: Option<u32>,
    },
    /// A channel is complete.
    End {
        /// The channel's index in the gate.
        channel: u32,
    },
}

/// Reads the channels of one task. One task owns it; dropping it cancels what is not read.
pub struct InputGate {
    inbox: Arc<Inbox>,
    mailbox: Mailbox,
    manager: Arc<PartitionManager>,
    channels: Vec<Channel>,
    /// Further pieces of the block that is being delivered.
    pieces: VecDeque<(u32, Buffer)>,
    open: u32,
    failed: Option<ReadError>,
}

#[derive(Clone, Copy, Default)]
struct Channel {
    partition: PartitionId,
    node: NodeId,
    known: bool,
    blocks: u64,
}

impl InputGate {
    pub(crate) fn new(inbox: Arc<Inbox>, channels: u32, mailbox: Mailbox, manager: Arc<PartitionManager>) -> Self {
        let list = vec![Channel::default(); channels as usize];
        Self { inbox, mailbox, manager, channels: list, pieces: VecDeque::new(), open: channels, failed: None }
    }

    pub(crate) fn id(&self) -> GateId {
        self.inbox.gate()
    }

    /// How many channels it has.
    pub fn channels(&self) -> u32 {
        self.channels.len() as u32
    }

    /// Tells the gate where a channel that was not known reads from. Reading of the others has gone on meanwhile.
    pub fn set_location(&mut self, channel: u32, location: ChannelLocation) -> Result<(), CreateError> {
        let channels = self.channels();
        let Some(known) = self.channels.get_mut(channel as usize) else {
            return Err(CreateError::NoSuchChannel { channel, channels });
        };
        if known.known {
            return Err(CreateError::AlreadyKnown { channel });
        }
        *known = Channel { partition: location.partition, node: location.node, known: true, blocks: 0 };
        self.mailbox.send(Command::Subscribe { gate: self.id(), channel, location });
        Ok(())
    }

    /// The next delivery of any channel, fairly; `None` when all channels are complete. After an error it has nothing
    /// more to give.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Delivery, ReadError>>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Some(Err(error.clone())));
        }
        loop {
            if let Some((channel, buffer)) = self.pieces.pop_front() {
                return Poll::Ready(Some(Ok(Delivery::Buffer { channel, buffer })));
            }
            if self.open == 0 {
                return Poll::Ready(None);
            }
            let result = match self.inbox.find(context) {
                Found::Nothing => return Poll::Pending,
                Found::Stopped => Err(ReadError::Stopped),
                Found::Remote(channel, arrived) => self.open(channel, arrived),
                Found::Local(channel, partition, reader) => match self.pop(channel, &partition, reader) {
                    Some(arrived) => self.open(channel, arrived),
                    None => continue,
                },
            };
            match result {
                Ok(Some(delivery)) => return Poll::Ready(Some(Ok(delivery))),
                Ok(None) => {}
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    /// As [`Self::poll_next`]; blocks the thread. Not on a thread that drives a reactor.
    pub fn read(&mut self) -> Option<Result<Delivery, ReadError>> {
        block_on(|context| self.poll_next(context))
    }

    /// The next item of a partition of this worker.
    fn pop(&self, channel: u32, partition: &BlockLog, reader: ReaderId) -> Option<Arrived> {
        let popped = partition.pop(reader);
        if popped.drained {
            self.manager.remove(partition.id());
        }
        let item = popped.item?;
        // There may be more; the queue says so itself only after it was found empty.
        self.inbox.local_ready(channel);
        Some(match item {
            Item::Block(block) => Arrived::Block { pieces: vec![block.buffer], crc: block.crc },
            Item::Event(event) => Arrived::Event(event),
            Item::PriorityEvent { event, overtook } => Arrived::PriorityEvent { event, overtook },
            Item::End { .. } => Arrived::End,
            Item::Failed(failure) => Arrived::Failed { code: failure.code, text: failure.text },
        })
    }

    fn open(&mut self, channel: u32, arrived: Arrived) -> Result<Option<Delivery>, ReadError> {
        match arrived {
            Arrived::Block { pieces, crc } => {
                self.check(channel, &pieces, crc)?;
                self.pieces.extend(pieces.into_iter().map(|piece| (channel, piece)));
                Ok(None)
            }
            Arrived::Event(event) => Ok(Some(Delivery::Event { channel, event, overtook: None })),
            Arrived::PriorityEvent { event, overtook } => {
                Ok(Some(Delivery::Event { channel, event, overtook: Some(overtook) }))
            }
            Arrived::End => {
                self.open -= 1;
                Ok(Some(Delivery::End { channel }))
            }
            Arrived::Failed { .. } if defect::is(Defect::AcceptMissingEnd) => {
                self.open -= 1;
                Ok(Some(Delivery::End { channel }))
            }
            Arrived::Failed { code, text } => Err(self.failure(channel, code, text.into())),
        }
    }

    fn check(&mut self, channel: u32, pieces: &[Buffer], sealed: u32) -> Result<(), ReadError> {
        let found = checksum_of_pieces(pieces);
        let known = &mut self.channels[channel as usize];
        if found != sealed {
            let Channel { partition, node, blocks: block, .. } = *known;
            return Err(ReadError::Corrupt { channel, partition, node, block, found, sealed });
        }
        known.blocks += 1;
        Ok(())
    }

    fn failure(&self, channel: u32, code: ReasonCode, text: String) -> ReadError {
        let Channel { partition, node, .. } = self.channels[channel as usize];
        ReadError::Channel { channel, partition, node, code, text }
    }
}

impl Drop for InputGate {
    fn drop(&mut self) {
        self.pieces.clear();
        self.mailbox.send(Command::CloseGate(self.id()));
        for (partition, reader) in self.inbox.close() {
            if partition.consumer_gone(reader, GONE_HERE) {
                self.manager.remove(partition.id());
            }
        }
    }
}
