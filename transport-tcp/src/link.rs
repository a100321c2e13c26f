//! One connection, from its hello to its end: no IO.

use std::mem;

use sluice_handshake::{Agreed, Handshake, HandshakeError};
use sluice_plugin::{Address, CloseCause, Peer};
use sluice_protocol::{ReasonCode, Time};

use crate::framing::{Arrived, Framing, ReadPlan};
use crate::posted::Posted;
use crate::send_queue::SendQueue;

/// A hello is some hundred bytes.
const HELLO_PLACE: usize = 1024;
/// What a peer still sends on a link that is being closed is thrown away by so much at a time.
const SINK_PLACE: usize = 64 * 1024;

pub(crate) struct Link {
    stage: Stage,
    /// Where to, if this side began it.
    address: Option<Address>,
    pub(crate) posted: Posted,
    pub(crate) queue: SendQueue,
    /// When the current stage has taken too long.
    pub(crate) deadline: Option<Time>,
    /// On the transport's list of links with something to send.
    pub(crate) is_unsent: bool,
}

enum Stage {
    /// There is no connection yet; the hello waits for it.
    Connecting(Box<Handshake>),
    Hello(Box<Handshake>),
    Up(Box<Framing>),
    /// Sends what is queued, says that this was all, and waits until the peer has said so too: to close a socket
    /// with bytes unread would destroy those on their way to the peer.
    Closing {
        cause: CloseCause,
        shut: bool,
    },
    /// Over, but the kernel still holds some of its memory.
    Ended(CloseCause),
}

/// What came of received bytes.
#[derive(Default)]
pub(crate) struct Received {
    /// The hello is over: this is who is there. Before all messages.
    pub(crate) peer: Option<Peer>,
    pub(crate) messages: Vec<Arrived>,
    /// The peer has closed the connection, and this side had before.
    pub(crate) is_over: bool,
}

impl Link {
    /// A link that this side begins.
    pub(crate) fn connecting(address: Address, hello: Handshake, send_queue_bytes: usize) -> Self {
        Self::new(Stage::Connecting(Box::new(hello)), Some(address), send_queue_bytes)
    }

    /// A link that a peer has begun.
    pub(crate) fn accepted(hello: Handshake, send_queue_bytes: usize) -> Self {
        Self::new(Stage::Hello(Box::new(hello)), None, send_queue_bytes)
    }

    fn new(stage: Stage, address: Option<Address>, send_queue_bytes: usize) -> Self {
        let (posted, queue) = (Posted::default(), SendQueue::new(send_queue_bytes));
        Self { stage, address, posted, queue, deadline: None, is_unsent: false }
    }

    /// Where to, if this side began it.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up(_))
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting(_))
    }

    /// What is queued is being sent, or the end of the peer's stream is waited for.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Closing { .. })
    }

    /// Only the kernel's letting go is waited for.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// There is a connection: the hello may go.
    pub(crate) fn connected(&mut self) {
        let Stage::Connecting(hello) = &mut self.stage else { unreachable!("a link connects once") };
        transmit(hello, &mut self.queue);
        let stage = mem::replace(&mut self.stage, Stage::Ended(CloseCause::Local));
        let Stage::Connecting(hello) = stage else { unreachable!("looked at above") };
        self.stage = Stage::Hello(hello);
    }

    /// Where the next bytes go.
    pub(crate) fn plan(&mut self) -> ReadPlan {
        match &mut self.stage {
            Stage::Up(framing) => framing.plan(),
            Stage::Closing { .. } => ReadPlan::bytes(vec![0; SINK_PLACE]),
            Stage::Connecting(_) | Stage::Hello(_) | Stage::Ended(_) => ReadPlan::bytes(vec![0; HELLO_PLACE]),
        }
    }

    /// Takes a plan back with the bytes that arrived; none is the end of the stream.
    pub(crate) fn received(&mut self, plan: ReadPlan, bytes: usize, out: &mut Received) -> Result<(), CloseCause> {
        match &mut self.stage {
            Stage::Closing { .. } => out.is_over = bytes == 0,
            _ if bytes == 0 => return Err(CloseCause::PeerClosed),
            Stage::Up(framing) => framing.arrived(plan, bytes, &mut self.posted, &mut out.messages)?,
            Stage::Hello(_) => {
                let mut plan = plan;
                let place = plan.pop_bytes().expect("the plan of a hello is of bytes");
                self.hear(&place[..bytes], out)?;
            }
            Stage::Connecting(_) | Stage::Ended(_) => unreachable!("nothing is received then"),
        }
        Ok(())
    }

    fn hear(&mut self, mut bytes: &[u8], out: &mut Received) -> Result<(), CloseCause> {
        let Stage::Hello(hello) = &mut self.stage else { unreachable!("the caller has looked") };
        let heard = loop {
            if bytes.is_empty() || hello.bytes_wanted() == 0 {
                break Ok(());
            }
            match hello.handle_bytes(bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) => break Err(refused(&error)),
            }
        };
        // Also after an error: the refusal that tells the peer why.
        transmit(hello, &mut self.queue);
        heard?;
        let Some(agreed) = hello.outcome().cloned() else { return Ok(()) };
        let mut framing = Box::new(Framing::new(agreed.limits));
        out.peer = Some(peer(agreed));
        let fed = framing.feed(bytes, &mut self.posted, &mut out.messages);
        self.stage = Stage::Up(framing);
        Ok(fed?)
    }

    /// Begins to close: what is queued is still to be sent. Until then what is received is thrown away.
    pub(crate) fn begin_closing(&mut self, cause: CloseCause) {
        self.stage = Stage::Closing { cause, shut: false };
        self.posted = Posted::default();
    }

    /// Whether now is the moment to tell the peer that all is sent; it is told once.
    pub(crate) fn take_shut(&mut self) -> bool {
        match &mut self.stage {
            Stage::Closing { shut, .. } if self.queue.bytes() == 0 => !mem::replace(shut, true),
            _ => false,
        }
    }

    /// Drops all that is not with the kernel. The cause is the first that there was.
    pub(crate) fn end(&mut self, cause: CloseCause) {
        self.queue.end();
        self.posted = Posted::default();
        let stage = mem::replace(&mut self.stage, Stage::Ended(CloseCause::Local));
        self.stage = Stage::Ended(match stage {
            Stage::Closing { cause: first, .. } | Stage::Ended(first) => first,
            _ => cause,
        });
    }

    /// Why the link is over.
    pub(crate) fn into_cause(self) -> CloseCause {
        match self.stage {
            Stage::Closing { cause, .. } | Stage::Ended(cause) => cause,
            _ => CloseCause::Local,
        }
    }
}

fn transmit(hello: &mut Handshake, queue: &mut SendQueue) {
    while let Some(bytes) = hello.poll_transmit() {
        queue.push_bytes(bytes);
    }
}

fn refused(error: &HandshakeError) -> CloseCause {
    CloseCause::Refused { code: ReasonCode::Violation, text: error.to_string() }
}

fn peer(agreed: Agreed) -> Peer {
    Peer {
        node: agreed.peer,
        incarnation: agreed.peer_incarnation,
        session: agreed.session,
        epoch: agreed.epoch,
        lane: agreed.lane,
        limits: agreed.limits,
    }
}
