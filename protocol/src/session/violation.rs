//! What a peer can do wrong. The link closes with it; other links live.

use crate::ids::{ChannelId, LinkEpoch};

/// A peer's breach of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A message of another connection.
    #[error("message of {found:?} on a link of {expected:?}")]
    Epoch {
        /// What the message says.
        found: LinkEpoch,
        /// What the link is.
        expected: LinkEpoch,
    },
    /// Messages are lost or repeated although the link keeps order.
    #[error("message {found} where {expected} was due")]
    MessageOrder {
        /// What the message says.
        found: u64,
        /// What was due.
        expected: u64,
    },
    /// The peer acknowledges what was never sent.
    #[error("{found} messages acknowledged of {sent} sent")]
    Acknowledged {
        /// What it acknowledges.
        found: u64,
        /// What was sent.
        sent: u64,
    },
    /// More heads under way than there are control buffers.
    #[error("{outstanding} heads under way, the window is {window}")]
    ControlWindow {
        /// Heads not acknowledged.
        outstanding: u64,
        /// What was agreed.
        window: u32,
    },
    /// A gap or a repetition in a channel.
    #[error("channel {channel}: sequence {found} where {expected} was due")]
    Sequence {
        /// The channel.
        channel: ChannelId,
        /// What the frame says.
        found: u64,
        /// What was due.
        expected: u64,
    },
    /// More payload than was granted.
    #[error("channel {channel}: a block of {length} bytes with a credit of {credit}")]
    Overdraft {
        /// The channel.
        channel: ChannelId,
        /// The block.
        length: u32,
        /// What was left.
        credit: u64,
    },
    /// A slot that was not the next one granted.
    #[error("channel {channel}: slot {found} where {expected} was due, of {granted}")]
    Slot {
        /// The channel.
        channel: ChannelId,
        /// What the frame says.
        found: u64,
        /// What was due.
        expected: u64,
        /// Slots granted in total.
        granted: u64,
    },
    /// Slots that do not follow the known ones.
    #[error("channel {channel}: slots granted from {found} on where {expected} was due")]
    SlotsGranted {
        /// The channel.
        channel: ChannelId,
        /// What the frame says.
        found: u64,
        /// What was due at the latest.
        expected: u64,
    },
    /// More slots than anybody needs: they are this side's memory.
    #[error("channel {channel}: {granted} unspent slots granted, at most {limit} are allowed")]
    TooManySlots {
        /// The channel.
        channel: ChannelId,
        /// With those of the frame.
        granted: u64,
        /// [`crate::Limits::SLOTS_MAX`].
        limit: u64,
    },
    /// A body where the link has slots, or a slot where it has none.
    #[error("channel {channel}: a payload placed as this kind of link cannot")]
    Placement {
        /// The channel.
        channel: ChannelId,
    },
    /// More channels than were agreed on.
    #[error("channel {channel}: opened over the agreed {limit} channels")]
    Channels {
        /// The channel.
        channel: ChannelId,
        /// What was agreed.
        limit: u32,
    },
    /// A message after the link was declared lost.
    #[error("a message of a link that is lost")]
    NotLinked,
    /// More returned than was outstanding.
    #[error("channel {channel}: more credit returned than was granted")]
    Returned {
        /// The channel.
        channel: ChannelId,
    },
    /// More events than there is room for.
    #[error("channel {channel}: event {sent} with room for {window}")]
    EventWindow {
        /// The channel.
        channel: ChannelId,
        /// Events sent.
        sent: u64,
        /// Events allowed.
        window: u64,
    },
    /// The id of a channel that is open is used again.
    #[error("channel {channel} is opened twice")]
    OpenedTwice {
        /// The channel.
        channel: ChannelId,
    },
    /// The peer continues at a place that was never sent, or with counters that contradict each other.
    #[error("channel {channel}: cannot resume at {sequence}")]
    Resume {
        /// The channel.
        channel: ChannelId,
        /// Where the peer wants to go on.
        sequence: u64,
    },
    /// Nothing was heard for too long.
    #[error("nothing heard for {silence:?}")]
    Silent {
        /// For how long.
        silence: std::time::Duration,
    },
}
