//! What a session tells its engine, and what it asks of it.

use crate::ids::ChannelId;
use crate::reason::ReasonCode;
use crate::wire::{Backlog, Block, Open, Placement};

/// The next thing in a channel's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A sealed block.
    Block {
        /// Its bytes; they are copied only if they stand in the head.
        payload: &'a [u8],
        /// CRC32C from the seal.
        crc: u32,
        /// The blocks that wait behind it.
        behind: Backlog,
    },
    /// A block that is not in memory. It is announced like one that is; once there is credit for it the source is asked to
    /// fetch it.
    Absent {
        /// Its bytes; 0 if it needs no credit.
        bytes: u32,
        /// The blocks that wait behind it, in memory or not.
        behind: Backlog,
    },
    /// An event.
    Event {
        /// The engine's own meaning.
        kind: u16,
        /// Set if it overtook; how many blocks written before it come after it.
        overtook: Option<u32>,
        /// Its content.
        payload: &'a [u8],
    },
    /// The subpartition is complete.
    End {
        /// Blocks written.
        blocks: u64,
        /// Bytes written.
        bytes: u64,
    },
    /// The producer cannot go on.
    Failed {
        /// Why, as a number.
        code: ReasonCode,
        /// Why, for people.
        text: &'a str,
    },
}

/// Where the item that was just shown goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its bytes are copied into the head: keep a block for replay, send nothing.
    Head,
    /// It is the message's next body.
    Body,
    /// It is to be written into this remote memory before the head goes out.
    Slot(crate::wire::Slot),
}

/// The engine's side of the channels that a session sends.
pub trait Source {
    /// What `channel` would send next. Shows the same until `take`, or until a priority event overtakes it.
    fn peek(&mut self, channel: ChannelId) -> Option<Next<'_>>;
    /// There is credit for the absent block that was shown, and for so many bytes in all: who fetches it says
    /// [`Session::data_ready`](crate::Session::data_ready) when it is there. Asked again whenever it is shown as absent.
    fn fetch(&mut self, channel: ChannelId, credit_bytes: u64) {
        let _ = (channel, credit_bytes);
    }
    /// The item shown last goes out in this message, with this sequence number. An end or a failure has the number
    /// behind the last item.
    fn take(&mut self, channel: ChannelId, sequence: u64, place: Place);
}

/// What a message from the peer meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent<'a> {
    /// The peer asks for a subpartition: answer with `serve` or `fail`.
    Opened(ChannelId, Open),
    /// The peer takes nothing more on this channel: drop its reader, and what is kept for sending it again. The session
    /// answers by itself. Also after a reconnect, for a channel whose last frame the peer has had on the old link.
    CancelRequested(ChannelId),
    /// Everything sent in messages up to this number has arrived.
    Acknowledged {
        /// A message's number.
        through: u64,
    },
    /// After a reconnect: send again from this sequence number, the end included. What is older has arrived. A number
    /// that was acknowledged before is the peer's mistake: `fail` the channel.
    Rewind {
        /// The channel.
        channel: ChannelId,
        /// The first one that is missing.
        sequence: u64,
    },
    /// A block of a channel that this side receives. In a slot, its length is the peer's claim: compare it with the
    /// slot's.
    Data(ChannelId, Block, Placement<'a>),
    /// A block of a channel that this side has cancelled or does not know: its body, if any, is to be thrown away.
    Skipped(ChannelId, Placement<'a>),
    /// The producer has this much and no credit for it. It returns what is too little for the next block: grant that
    /// block's bytes at one go, not piecemeal.
    Backlog(ChannelId, Backlog),
    /// An event of a channel that this side receives.
    Event {
        /// The channel.
        channel: ChannelId,
        /// The engine's own meaning.
        kind: u16,
        /// Set if it overtook; how many blocks written before it come after it.
        overtook: Option<u32>,
        /// Its content.
        payload: &'a [u8],
    },
    /// The channel is complete; its totals are right. It is closed.
    End(ChannelId),
    /// The channel ended without being complete. It is closed.
    Failed {
        /// The channel.
        channel: ChannelId,
        /// Why, as a number.
        code: ReasonCode,
        /// Why, for people.
        text: &'a str,
    },
    /// The peer will not touch the channel's memory any more. It is closed.
    Cancelled(ChannelId),
    /// Credit came back: take its memory from the transport. What the producer had announced counts no more; if it still
    /// has something, it says so again.
    Returned {
        /// The channel.
        channel: ChannelId,
        /// Bytes of stream credit.
        bytes: u64,
        /// Slots, counted from the oldest.
        slots: u64,
    },
    /// The peer closes the link.
    Closing {
        /// Why, as a number.
        code: ReasonCode,
        /// Why, for people.
        text: &'a str,
    },
}
