//! What a queue pair is asked to do, and what it says when it is done.

use crate::memory::{Key, Segment};
use crate::packet::QueuePairNumber;

/// A request for the send queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRequest {
    /// Whatever the caller likes; its completion says it again.
    pub id: u64,
    /// What to do.
    pub operation: Operation,
    /// The local memory: sent from for SEND and WRITE, put to for READ. Its bytes must stay as they are until the
    /// completion; what is sent again is read again.
    pub local: Vec<Segment>,
    /// Whether success is told. Failure always is (IBTA vol. 1, 10.7.3.1).
    pub signaled: bool,
    /// Whether the receiver's completion is a solicited one. No meaning for READ, nor for WRITE without immediate.
    pub solicited: bool,
}

/// What a request of the send queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Sends a message into the peer's next receive, with an immediate value if there is one.
    Send {
        /// Handed to the peer with the completion of its receive.
        immediate: Option<u32>,
    },
    /// Writes to the peer's memory. With an immediate value it also completes the peer's next receive.
    Write {
        /// Where to.
        remote: RemoteAddress,
        /// Handed to the peer with the completion of its receive.
        immediate: Option<u32>,
    },
    /// Reads from the peer's memory.
    Read {
        /// Where from.
        remote: RemoteAddress,
    },
}

/// A place in the peer's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddress {
    /// The virtual address of the first byte.
    pub address: u64,
    /// The key that the peer gave for it.
    pub key: Key,
}

/// A request for the receive queue: room for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiveRequest {
    /// Whatever the caller likes; its completion says it again.
    pub id: u64,
    /// Where the message is put to.
    pub local: Vec<Segment>,
}

/// That a request is done. In each queue they come in the order of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The id of the request.
    pub id: u64,
    /// Whether it was done.
    pub status: Status,
    /// What it was. Valid even if it failed.
    pub kind: CompletionKind,
    /// For what was received or read: the bytes of the message. Else the bytes of the request.
    pub bytes: u32,
    /// The immediate value of what was received.
    pub immediate: Option<u32>,
    /// Whether the peer asked to wake the receiver.
    pub solicited: bool,
    /// The queue pair that it is of.
    pub queue_pair: QueuePairNumber,
}

/// What kind of request is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompletionKind {
    /// A SEND of this side.
    Send,
    /// A WRITE of this side.
    Write,
    /// A READ of this side.
    Read,
    /// A SEND of the peer was received.
    Receive,
    /// A WRITE with immediate value of the peer used up a receive; the bytes are where the peer has put them.
    ReceiveWrite,
}

/// Whether a request was done (IBTA vol. 1, 11.6.2). Everything but [`Success`](Status::Success) leaves the queue pair
/// in the error state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Done.
    Success,
    /// The message is longer than the room of the receive.
    LocalLength,
    /// Local memory of the request may not be used for it.
    LocalProtection,
    /// Not done, because the queue pair is in the error state.
    Flushed,
    /// The peer's answer makes no sense.
    BadResponse,
    /// The peer could not make sense of the request, or does not allow it.
    RemoteInvalidRequest,
    /// The peer's key, range or rights forbid it.
    RemoteAccess,
    /// The peer had trouble of its own.
    RemoteOperation,
    /// The peer has not answered, however often it was sent.
    RetryExceeded,
    /// The peer had no receive for it, however often it was sent.
    RnrRetryExceeded,
}

/// The most bytes of a message (IBTA vol. 1, 9.7.4.1).
pub const MESSAGE_BYTES_MAX: u64 = 1 << 31;
