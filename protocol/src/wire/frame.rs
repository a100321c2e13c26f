//! The frames of a head: what one channel says to its other end.

use super::cursor::Cursor;
use super::{DecodeError, EVENT_BYTES_MAX, SLOTS_MAX, TEXT_BYTES_MAX};
use crate::ids::{ChannelId, JobId, LinkEpoch, PartitionId, SubpartitionIndex, Ticket};
use crate::reason::ReasonCode;

/// Where a block of remote memory is: opaque to everyone but the transport that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Where, in the terms of the link's device.
    pub address: u64,
    /// The right to write there.
    pub key: u32,
    /// How many bytes fit.
    pub bytes: u32,
}

/// What a producer still has for a channel, not counting the block that says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Backlog {
    /// Bytes of all blocks.
    pub bytes: u32,
    /// How many blocks.
    pub blocks: u32,
    /// Bytes of the next block; no smaller credit is of use.
    pub next: u32,
}

/// A consumer's request for one subpartition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// Which partition.
    pub partition: PartitionId,
    /// Which share of it.
    pub subpartition: SubpartitionIndex,
    /// The sequence number that the consumer expects first.
    pub first_sequence: u64,
    /// Credit from the start, in bytes.
    pub granted: u64,
    /// Unspent credit that the producer may keep while it has nothing to send, in bytes.
    pub keep: u32,
    /// How long the producer's side waits for the partition to appear, in milliseconds.
    pub deadline_ms: u32,
    /// Proof that the consumer may read it.
    pub ticket: Ticket,
}

/// After a reconnect: how far the consumer came. The producer's counters are set to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The next sequence number that the consumer expects: everything below is received.
    pub received_through: u64,
    /// Byte credit, absolute.
    pub granted: u64,
    /// Byte credit that arrived as payload, absolute.
    pub spent: u64,
    /// Byte credit that came back unspent, or was void with its link; absolute.
    pub returned: u64,
    /// Events that the producer may have sent in total.
    pub events: u64,
    /// Events that arrived.
    pub events_received: u64,
}

/// Where a block's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement<'a> {
    /// In the head itself.
    Inline(&'a [u8]),
    /// Behind the head, in the order of the frames.
    Body,
    /// Already written into this slot of the channel.
    Slot(u64),
}

/// A sealed block of a channel's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number among blocks and events of the channel, from 0.
    pub sequence: u64,
    /// Bytes of payload.
    pub length: u32,
    /// CRC32C of the payload, computed when the block was sealed.
    pub crc: u32,
    /// 0: as written. Others come with compression.
    pub codec: u8,
    /// What the producer has behind it.
    pub backlog: Backlog,
}

/// One statement about one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Consumer: send me this subpartition.
    Open(ChannelId, Open),
    /// Consumer: credit and event window, absolute.
    Grant {
        /// The channel.
        channel: ChannelId,
        /// Bytes granted since the channel opened.
        granted: u64,
        /// Events that the producer may have sent in total.
        events: u64,
        /// As in [`Open::keep`].
        keep: u32,
    },
    /// Consumer: memory that may be written remotely. Idempotent by slot number, void in another link epoch, where
    /// numbers begin at 0 again.
    GrantSlots {
        /// The channel.
        channel: ChannelId,
        /// Number of the first slot; the others follow.
        first: u64,
        /// The link they are valid on.
        epoch: LinkEpoch,
        /// 16 bytes each; [`Frame::slots`] reads them.
        slots: &'a [u8],
    },
    /// Consumer: return what you have not spent, all but `keep` bytes.
    Reclaim {
        /// The channel.
        channel: ChannelId,
        /// As in [`Open::keep`], from now on.
        keep: u32,
    },
    /// Consumer: send nothing more.
    Cancel {
        /// The channel.
        channel: ChannelId,
    },
    /// Consumer: I never gave out this channel; stop sending to it.
    Reject {
        /// The channel.
        channel: ChannelId,
    },
    /// Consumer, after a reconnect: continue from here.
    Resume(ChannelId, Resume),
    /// Consumer, after a reconnect: every channel that goes on has been named. What the producer still keeps of
    /// others is over.
    Resumed,
    /// Producer: a block.
    Data(ChannelId, Block, Placement<'a>),
    /// Producer: data is waiting and credit is not.
    Backlog(ChannelId, Backlog),
    /// Producer: an event in the stream.
    Event {
        /// The channel.
        channel: ChannelId,
        /// Its number among blocks and events of the channel.
        sequence: u64,
        /// The engine's own meaning.
        kind: u16,
        /// Set if it overtakes what waits; it then counts how many blocks written before it come after it.
        overtook: Option<u32>,
        /// At most [`EVENT_BYTES_MAX`].
        payload: &'a [u8],
    },
    /// Producer: the subpartition is complete.
    End {
        /// The channel.
        channel: ChannelId,
        /// Its number among blocks and events of the channel: the last.
        sequence: u64,
        /// Blocks that the producer wrote.
        blocks: u64,
        /// Bytes that the producer wrote.
        bytes: u64,
    },
    /// Producer: the channel cannot go on.
    Failed {
        /// The channel.
        channel: ChannelId,
        /// Why, as a number.
        code: ReasonCode,
        /// Why, for people.
        text: &'a str,
    },
    /// Producer: the answer to `Cancel` and the channel's last frame.
    Cancelled {
        /// The channel.
        channel: ChannelId,
    },
    /// Producer: credit that was not spent.
    Return {
        /// The channel.
        channel: ChannelId,
        /// Bytes returned since the channel opened.
        returned: u64,
        /// Slots below this number are spent or returned.
        slots_through: u64,
    },
    /// Either side: the link closes, and why.
    Close {
        /// Why, as a number.
        code: ReasonCode,
        /// Why, for people.
        text: &'a str,
    },
}

/// The number of a frame's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the kinds are those of `Frame`")]
pub enum FrameKind {
    Open = 1,
    Grant = 2,
    GrantSlots = 3,
    Reclaim = 4,
    Cancel = 5,
    Reject = 6,
    Resume = 7,
    Resumed = 8,
    DataInline = 16,
    DataBody = 17,
    DataSlot = 18,
    Backlog = 19,
    Event = 20,
    PriorityEvent = 21,
    End = 22,
    Failed = 23,
    Cancelled = 24,
    Return = 25,
    Close = 32,
}

impl FrameKind {
    fn of(number: u8) -> Option<Self> {
        use FrameKind::*;
        const ALL: [FrameKind; 19] = [
            Open,
            Grant,
            GrantSlots,
            Reclaim,
            Cancel,
            Reject,
            Resume,
            Resumed,
            DataInline,
            DataBody,
            DataSlot,
            Backlog,
            Event,
            PriorityEvent,
            End,
            Failed,
            Cancelled,
            Return,
            Close,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

impl<'a> Frame<'a> {
    /// Reads the slots of a [`Frame::GrantSlots`].
    pub fn slots(bytes: &[u8]) -> impl Iterator<Item = Slot> + '_ {
        bytes.chunks_exact(16).filter_map(|chunk| {
            let mut cursor = Cursor::new(chunk);
            Some(Slot { address: cursor.u64()?, key: cursor.u32()?, bytes: cursor.u32()? })
        })
    }

    /// Appends the frame.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        use FrameKind as K;
        match *self {
            Frame::Open(channel, open) => {
                start(out, K::Open, channel);
                out.extend_from_slice(&open.partition.job.0.to_le_bytes());
                out.extend_from_slice(&open.partition.partition.to_le_bytes());
                out.extend_from_slice(&open.partition.attempt.to_le_bytes());
                out.extend_from_slice(&open.subpartition.0.to_le_bytes());
                out.extend_from_slice(&open.first_sequence.to_le_bytes());
                out.extend_from_slice(&open.granted.to_le_bytes());
                out.extend_from_slice(&open.keep.to_le_bytes());
                out.extend_from_slice(&open.deadline_ms.to_le_bytes());
                out.extend_from_slice(&open.ticket.0);
            }
            Frame::Grant { channel, granted, events, keep } => {
                start(out, K::Grant, channel);
                out.extend_from_slice(&granted.to_le_bytes());
                out.extend_from_slice(&events.to_le_bytes());
                out.extend_from_slice(&keep.to_le_bytes());
            }
            Frame::GrantSlots { channel, first, epoch, slots } => {
                assert!(slots.len() <= SLOTS_MAX * 16 && slots.len() % 16 == 0, "{} bytes of slots", slots.len());
                start(out, K::GrantSlots, channel);
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&epoch.0.to_le_bytes());
                out.extend_from_slice(&((slots.len() / 16) as u16).to_le_bytes());
                out.extend_from_slice(slots);
            }
            Frame::Reclaim { channel, keep } => {
                start(out, K::Reclaim, channel);
                out.extend_from_slice(&keep.to_le_bytes());
            }
            Frame::Cancel { channel } => start(out, K::Cancel, channel),
            Frame::Reject { channel } => start(out, K::Reject, channel),
            Frame::Resume(channel, resume) => {
                start(out, K::Resume, channel);
                for number in [
                    resume.received_through,
                    resume.granted,
                    resume.spent,
                    resume.returned,
                    resume.events,
                    resume.events_received,
                ] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Frame::Resumed => out.push(K::Resumed as u8),
            Frame::Data(channel, block, placement) => {
                let kind = match placement {
                    Placement::Inline(_) => K::DataInline,
                    Placement::Body => K::DataBody,
                    Placement::Slot(_) => K::DataSlot,
                };
                start(out, kind, channel);
                out.extend_from_slice(&block.sequence.to_le_bytes());
                out.extend_from_slice(&block.length.to_le_bytes());
                out.extend_from_slice(&block.crc.to_le_bytes());
                out.push(block.codec);
                encode_backlog(out, block.backlog);
                match placement {
                    Placement::Inline(payload) => {
                        assert_eq!(payload.len(), block.length as usize, "an inline payload of its frame's length");
                        out.extend_from_slice(payload);
                    }
                    Placement::Body => {}
                    Placement::Slot(slot) => out.extend_from_slice(&slot.to_le_bytes()),
                }
            }
            Frame::Backlog(channel, backlog) => {
                start(out, K::Backlog, channel);
                encode_backlog(out, backlog);
            }
            Frame::Event { channel, sequence, kind, overtook, payload } => {
                assert!(payload.len() <= EVENT_BYTES_MAX, "an event of {} bytes", payload.len());
                start(out, if overtook.is_some() { K::PriorityEvent } else { K::Event }, channel);
                out.extend_from_slice(&sequence.to_le_bytes());
                out.extend_from_slice(&kind.to_le_bytes());
                if let Some(blocks) = overtook {
                    out.extend_from_slice(&blocks.to_le_bytes());
                }
                out.extend_from_slice(&(payload.len() as u16).to_le_bytes());
                out.extend_from_slice(payload);
            }
            Frame::End { channel, sequence, blocks, bytes } => {
                start(out, K::End, channel);
                out.extend_from_slice(&sequence.to_le_bytes());
                out.extend_from_slice(&blocks.to_le_bytes());
                out.extend_from_slice(&bytes.to_le_bytes());
            }
            Frame::Failed { channel, code, text } => {
                start(out, K::Failed, channel);
                encode_reason(out, code, text);
            }
            Frame::Cancelled { channel } => start(out, K::Cancelled, channel),
            Frame::Return { channel, returned, slots_through } => {
                start(out, K::Return, channel);
                out.extend_from_slice(&returned.to_le_bytes());
                out.extend_from_slice(&slots_through.to_le_bytes());
            }
            Frame::Close { code, text } => {
                out.push(K::Close as u8);
                encode_reason(out, code, text);
            }
        }
    }

    pub(super) fn decode(cursor: &mut Cursor<'a>, index: u16) -> Result<Self, DecodeError> {
        let number = cursor.u8().ok_or(DecodeError::Truncated { index })?;
        let kind = FrameKind::of(number).ok_or(DecodeError::UnknownKind { index, kind: number })?;
        let frame = decode_fields(cursor, kind).ok_or(DecodeError::Truncated { index })?;
        frame.check().map_err(|what| DecodeError::Field { index, what })?;
        Ok(frame)
    }

    /// Refuses values that fit their field but that no sender may write.
    fn check(&self) -> Result<(), &'static str> {
        match *self {
            // Counted up from here, it never wraps.
            Frame::Open(_, open) if open.first_sequence > u64::MAX / 2 => Err("first sequence"),
            Frame::GrantSlots { slots, .. } if slots.is_empty() || slots.len() > SLOTS_MAX * 16 => Err("slot count"),
            Frame::Event { payload, .. } if payload.len() > EVENT_BYTES_MAX => Err("event length"),
            Frame::Data(_, block, _) if block.length == 0 => Err("block length"),
            Frame::Data(_, block, _) if block.codec != 0 => Err("codec"),
            Frame::Failed { text, .. } | Frame::Close { text, .. } if text.len() > TEXT_BYTES_MAX => Err("text length"),
            _ => Ok(()),
        }
    }
}

fn start(out: &mut Vec<u8>, kind: FrameKind, channel: ChannelId) {
    out.push(kind as u8);
    out.extend_from_slice(&channel.0.to_le_bytes());
}

fn encode_backlog(out: &mut Vec<u8>, backlog: Backlog) {
    out.extend_from_slice(&backlog.bytes.to_le_bytes());
    out.extend_from_slice(&backlog.blocks.to_le_bytes());
    out.extend_from_slice(&backlog.next.to_le_bytes());
}

fn encode_reason(out: &mut Vec<u8>, code: ReasonCode, text: &str) {
    let mut length = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    out.extend_from_slice(&code.number().to_le_bytes());
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..length]);
}

fn decode_backlog(cursor: &mut Cursor<'_>) -> Option<Backlog> {
    Some(Backlog { bytes: cursor.u32()?, blocks: cursor.u32()?, next: cursor.u32()? })
}

fn decode_reason<'a>(cursor: &mut Cursor<'a>) -> Option<(ReasonCode, &'a str)> {
    let code = ReasonCode::of(cursor.u16()?);
    let length = cursor.u16()? as usize;
    let bytes = cursor.bytes(length)?;
    // A reason is for people: one that is not text is shown as far as it is.
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    Some((code, text))
}

fn decode_fields<'a>(cursor: &mut Cursor<'a>, kind: FrameKind) -> Option<Frame<'a>> {
    use FrameKind as K;
    if kind == K::Close {
        let (code, text) = decode_reason(cursor)?;
        return Some(Frame::Close { code, text });
    }
    if kind == K::Resumed {
        return Some(Frame::Resumed);
    }
    let channel = ChannelId(cursor.u32()?);
    Some(match kind {
        K::Open => Frame::Open(
            channel,
            Open {
                partition: PartitionId { job: JobId(cursor.u64()?), partition: cursor.u64()?, attempt: cursor.u32()? },
                subpartition: SubpartitionIndex(cursor.u32()?),
                first_sequence: cursor.u64()?,
                granted: cursor.u64()?,
                keep: cursor.u32()?,
                deadline_ms: cursor.u32()?,
                ticket: Ticket(cursor.array()?),
            },
        ),
        K::Grant => Frame::Grant { channel, granted: cursor.u64()?, events: cursor.u64()?, keep: cursor.u32()? },
        K::GrantSlots => {
            let first = cursor.u64()?;
            let epoch = LinkEpoch(cursor.u32()?);
            let count = cursor.u16()? as usize;
            Frame::GrantSlots { channel, first, epoch, slots: cursor.bytes(count * 16)? }
        }
        K::Reclaim => Frame::Reclaim { channel, keep: cursor.u32()? },
        K::Cancel => Frame::Cancel { channel },
        K::Reject => Frame::Reject { channel },
        K::Resume => Frame::Resume(
            channel,
            Resume {
                received_through: cursor.u64()?,
                granted: cursor.u64()?,
                spent: cursor.u64()?,
                returned: cursor.u64()?,
                events: cursor.u64()?,
                events_received: cursor.u64()?,
            },
        ),
        K::DataInline | K::DataBody | K::DataSlot => {
            let block = Block {
                sequence: cursor.u64()?,
                length: cursor.u32()?,
                crc: cursor.u32()?,
                codec: cursor.u8()?,
                backlog: decode_backlog(cursor)?,
            };
            let placement = match kind {
                K::DataInline => Placement::Inline(cursor.bytes(block.length as usize)?),
                K::DataSlot => Placement::Slot(cursor.u64()?),
                _ => Placement::Body,
            };
            Frame::Data(channel, block, placement)
        }
        K::Backlog => Frame::Backlog(channel, decode_backlog(cursor)?),
        K::Event | K::PriorityEvent => {
            let sequence = cursor.u64()?;
            let event_kind = cursor.u16()?;
            let overtook = if kind == K::PriorityEvent { Some(cursor.u32()?) } else { None };
            let length = cursor.u16()? as usize;
            Frame::Event { channel, sequence, kind: event_kind, overtook, payload: cursor.bytes(length)? }
        }
        K::End => Frame::End { channel, sequence: cursor.u64()?, blocks: cursor.u64()?, bytes: cursor.u64()? },
        K::Failed => {
            let (code, text) = decode_reason(cursor)?;
            Frame::Failed { channel, code, text }
        }
        K::Cancelled => Frame::Cancelled { channel },
        K::Return => Frame::Return { channel, returned: cursor.u64()?, slots_through: cursor.u64()? },
        K::Close | K::Resumed => return None,
    })
}
