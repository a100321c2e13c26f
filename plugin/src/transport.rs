//! The transport seam: messages between nodes, payload straight into memory that the consumer has set aside.

use std::collections::VecDeque;
use std::task::Waker;

use sluice_memory::{Arena, Buffer, BufferMut};
use sluice_protocol::wire::{Head, Slot};
use sluice_protocol::{ChannelId, Incarnation, Limits, NodeId, Time};

use crate::device::Device;
use crate::link::{Address, CloseCause, Connect, LinkId, Peer};

/// Moves messages between nodes. Belongs to one reactor.
///
/// Messages of a link arrive whole, in order and once, or the link closes.
pub trait Transport: Device {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Where peers reach it.
    fn address(&self) -> &Address;

    /// Begins a link; `Connected` or `Closed` follows, the latter at the latest after the transport's own deadline.
    fn connect(&mut self, now: Time, connect: Connect) -> LinkId;

    /// Owns the message until the hardware is done with it. A full or closed link hands it back, the latter from the
    /// call of `close` on; on a full one `Writable` follows.
    fn send(&mut self, link: LinkId, message: Message) -> Result<(), Message>;

    /// Sets memory aside for a channel: this is the credit that the channel's consumer then grants. Payload lands in
    /// the order in which memory was posted; one block may fill the rest of one buffer and go on in the next, except
    /// with remote placement, where each buffer is a slot of its own and the slot is for the peer. A channel is known
    /// to the transport from its first `post_receive` to its `forget_channel`. On a link that is over the buffer is
    /// dropped, and there is no slot.
    ///
    /// The slots of a channel are numbered from 0 on each link. The number in a data frame says which slot was
    /// written; those before it, and those below the number in a `Return`, came back unspent and wait to be withdrawn:
    /// by the time of `poll` the engine may not have heard of them.
    ///
    /// # Panics
    /// With hand-over: nothing is posted.
    fn post_receive(&mut self, link: LinkId, channel: ChannelId, buffer: BufferMut) -> Option<Slot>;

    /// Takes back memory that the peer returned: with a stream `bytes` from the end of what is posted (what was posted
    /// last); with remote placement the `slots` oldest that are not spent. Only after the protocol's `Returned`.
    fn withdraw_receives(&mut self, link: LinkId, channel: ChannelId, bytes: u64, slots: u64) -> Vec<BufferMut>;

    /// The channel is over: gives all its posted memory back. With remote placement only after the protocol's
    /// `Cancelled`, `End` or `Failed`: until then the peer may write. Payload that still comes is discarded (with
    /// hand-over it arrives: the engine drops it).
    fn forget_channel(&mut self, link: LinkId, channel: ChannelId) -> Vec<BufferMut>;

    /// What has happened since the last call. `now` drives the deadlines of connects and handshakes.
    fn poll(&mut self, now: Time, events: &mut Vec<TransportEvent>);

    /// When `poll` wants to be called even if nothing happens.
    fn poll_timeout(&self) -> Option<Time>;

    /// Sends what was accepted, as far as the peer takes it within a bounded time, then closes; `Closed` follows. What
    /// the peer has sent meanwhile may still be received, or be lost. Without effect on a link that is over.
    fn close(&mut self, link: LinkId);
}

/// What a transport can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Where payload goes.
    pub placement: PayloadPlacement,
    /// Payloads up to this stand in the head. The transport lowers the limits of its [`Setup`] to it before it offers
    /// them, so what both sides agree on is never more.
    pub inline_bytes_max: u32,
}

/// Where payload goes on a kind of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadPlacement {
    /// Behind the head, into memory that the receiving side posted.
    Stream,
    /// Written by the sender into slots that the receiving side granted.
    Remote,
    /// The sender's buffer itself arrives; credit only counts.
    HandOver,
}

/// A head and the payloads that go with it, in the order of its data frames.
#[derive(Debug)]
pub struct Message {
    /// The encoded head.
    pub head: Vec<u8>,
    /// Bodies, or writes into slots; payloads that stand in the head are not here.
    pub payloads: Vec<Payload>,
}

/// One payload on its way out.
#[derive(Debug)]
pub struct Payload {
    /// The bytes.
    pub buffer: Buffer,
    /// Where to, on a link with remote placement.
    pub slot: Option<Slot>,
}

/// One payload that arrived.
#[derive(Debug)]
pub enum Landed {
    /// In one piece.
    Whole(Buffer),
    /// In the pieces in which memory was posted.
    Pieces(Vec<Buffer>),
    /// Nothing, or too little, was posted for the channel: the bytes are gone. What was posted stays posted.
    Discarded,
}

/// What has happened on a transport.
#[derive(Debug)]
pub enum TransportEvent {
    /// A peer has connected.
    Accepted {
        /// The new link.
        link: LinkId,
        /// Who it is.
        peer: Peer,
    },
    /// A link that this side began is up.
    Connected {
        /// The link.
        link: LinkId,
        /// Who it is.
        peer: Peer,
    },
    /// A whole message.
    Received {
        /// From where.
        link: LinkId,
        /// Its head, checked.
        head: Head,
        /// One entry for each data frame whose payload does not stand in the head, in their order.
        payloads: VecDeque<Landed>,
    },
    /// A link that refused a message would take one now.
    Writable {
        /// Which.
        link: LinkId,
    },
    /// The link is over. Nothing of the hardware touches what was posted or sent on it any more; it is dropped (what was
    /// handed over is the peer's to drop). Only what is posted for a stream stays until the next `poll`: messages that
    /// came in the same one may have payload in their heads, which is to be packed into it.
    ///
    /// Also for a link that was never `Accepted`: a peer was refused during set-up, or refused this side, or spoke
    /// no sense. There is nothing to undo; the cause is for the log.
    Closed {
        /// Which.
        link: LinkId,
        /// Why.
        cause: CloseCause,
    },
}

/// What a transport needs to know of the worker that it serves.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This worker.
    pub node: NodeId,
    /// This life of it.
    pub incarnation: Incarnation,
    /// Workers of another cluster are refused.
    pub cluster: String,
    /// What this side offers.
    pub limits: Limits,
    /// The memory to register.
    pub arena: Arena,
    /// Wakes the reactor; for devices that have no file to wait on.
    pub waker: Waker,
}

/// Builds the transport on the reactor's own thread.
pub trait TransportFactory: Send + Sync {
    /// The name by which `sluice.toml` chooses it.
    fn name(&self) -> &'static str;

    /// Binds, registers, probes.
    fn build(&self, setup: Setup) -> Result<Box<dyn Transport>, BuildError>;
}

/// Why a transport cannot start.
#[derive(Debug, thiserror::Error)]
#[error("transport {transport}: {problem}")]
pub struct BuildError {
    /// Which transport.
    pub transport: &'static str,
    /// What is wrong, with what, and what to do about it.
    pub problem: String,
}
