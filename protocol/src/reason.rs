//! Why a channel or a link ended, as a number that both sides know. The text beside it is for people.

use std::fmt;

/// The cause of a failed channel or a closed link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReasonCode {
    /// The side stops in good order.
    Shutdown,
    /// The partition did not appear before the consumer's deadline.
    PartitionNotFound,
    /// The partition was here and is released.
    PartitionGone,
    /// The task that writes the partition failed.
    ProducerFailed,
    /// The subpartition is being read by another consumer, or was read already.
    AlreadyConsumed,
    /// The partition has no such subpartition.
    NoSuchSubpartition,
    /// A block arrived with other bytes than were sealed.
    CorruptBlock,
    /// The peer broke the protocol.
    Violation,
    /// The peer said nothing for too long.
    Silent,
    /// A channel that the receiving side never gave out.
    UnknownChannel,
    /// The worker that had it is gone, or another incarnation has taken its place.
    WorkerLost,
    /// Two nodes connected to each other at once; the connection that the lower one began is kept.
    DuplicateLink,
    /// The partition has blocks that are longer than the consumer's side takes.
    BlockTooLong,
    /// The link carries as many channels as both sides have agreed on.
    TooManyChannels,
    /// The peer does not know the session that the link is for: it gave it up, or has forgotten it.
    UnknownSession,
    /// A consumer did not show the job's token.
    NotAuthorized,
    /// The partition was finished, and some of its data cannot be read any more where it lay: its producer has to run again.
    PartitionLost,
    /// A code of a later version.
    Other(u16),
}

impl ReasonCode {
    const NAMED: [(ReasonCode, u16, &'static str); 17] = [
        (ReasonCode::Shutdown, 1, "the peer shut down"),
        (ReasonCode::PartitionNotFound, 2, "the partition did not appear in time"),
        (ReasonCode::PartitionGone, 3, "the partition is released"),
        (ReasonCode::ProducerFailed, 4, "the producer failed"),
        (ReasonCode::AlreadyConsumed, 5, "the subpartition has another consumer"),
        (ReasonCode::NoSuchSubpartition, 6, "no such subpartition"),
        (ReasonCode::CorruptBlock, 7, "a block is corrupt"),
        (ReasonCode::Violation, 8, "protocol violation"),
        (ReasonCode::Silent, 9, "the peer is silent"),
        (ReasonCode::UnknownChannel, 10, "unknown channel"),
        (ReasonCode::WorkerLost, 11, "the worker is lost"),
        (ReasonCode::DuplicateLink, 12, "another connection is kept"),
        (ReasonCode::BlockTooLong, 13, "a block is too long for the peer"),
        (ReasonCode::TooManyChannels, 14, "too many channels on the link"),
        (ReasonCode::UnknownSession, 15, "the peer does not know the session"),
        (ReasonCode::NotAuthorized, 16, "the consumer did not show the job's token"),
        (ReasonCode::PartitionLost, 17, "the partition's data is lost"),
    ];

    /// The number on the wire.
    pub fn number(self) -> u16 {
        if let ReasonCode::Other(number) = self {
            return number;
        }
        Self::NAMED.iter().find(|(code, ..)| *code == self).map_or(0, |(_, number, _)| *number)
    }

    /// The code of a number; unknown ones are kept as they are.
    pub fn of(number: u16) -> Self {
        let named = Self::NAMED.iter().find(|(_, known, _)| *known == number);
        named.map_or(ReasonCode::Other(number), |(code, ..)| *code)
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ReasonCode::Other(number) = self {
            return write!(f, "reason {number}");
        }
        let text = Self::NAMED.iter().find(|(code, ..)| code == self).map_or("", |(.., text)| text);
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_comes_back_from_its_number_and_numbers_are_never_reassigned() {
        for (index, (code, number, _)) in ReasonCode::NAMED.into_iter().enumerate() {
            assert_eq!((code.number(), ReasonCode::of(number)), (index as u16 + 1, code));
        }
        assert_eq!((ReasonCode::UnknownSession.number(), ReasonCode::NotAuthorized.number()), (15, 16));
        assert_eq!(ReasonCode::of(999).number(), 999, "a later version's code is kept");
    }
}
