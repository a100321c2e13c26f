//! One connection, from its hello to its end: no IO.

mod failure;
mod origin;

use std::mem;
use std::net::SocketAddr;

use sluice_handshake::{Agreed, HANDSHAKE_BYTES_MAX, Handshake, HandshakeError};
use sluice_plugin::{Address, CloseCause, Message, Peer};
use sluice_protocol::Time;

use crate::framing::{Arrived, Framing, ReadPlan};
use crate::posted::Posted;
use crate::send_queue::{SendQueue, WritePlan};
use crate::tls::Tls;

pub(crate) use self::failure::Failure;
pub(crate) use self::origin::Origin;

/// A hello is some hundred bytes.
const HELLO_PLACE: usize = 1024;
/// What a peer still sends on a link that is being closed is thrown away by so much at a time.
const SINK_PLACE: usize = 64 * 1024;
/// What a peer may send before it is known, or without ever becoming so: TLS has its own bound, hellos have 1 KiB.
const UNAUTHENTICATED_BYTES_MAX: usize = HANDSHAKE_BYTES_MAX + 4 * 1024;

pub(crate) struct Link {
    stage: Stage,
    origin: Origin,
    pub(crate) posted: Posted,
    /// What is to be said, before encryption if there is one.
    queue: SendQueue,
    /// Between the messages and the connection.
    tls: Option<Box<Tls>>,
    /// Bytes that came before it is known who the peer is; none once it is.
    unauthenticated_bytes: Option<usize>,
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
    /// Of a link with TLS, for the time of the call: kept for its capacity.
    pub(crate) plaintext: Vec<u8>,
    /// The peer has closed the connection, and this side had before.
    pub(crate) is_over: bool,
}

impl Link {
    /// A link that this side begins.
    pub(crate) fn connecting(address: Address, hello: Handshake, tls: Option<Tls>, send_queue_bytes: usize) -> Self {
        Self::new(Stage::Connecting(Box::new(hello)), Origin::Begun(address), tls, send_queue_bytes)
    }

    /// A link that a peer has begun.
    pub(crate) fn accepted(from: SocketAddr, hello: Handshake, tls: Option<Tls>, send_queue_bytes: usize) -> Self {
        Self::new(Stage::Hello(Box::new(hello)), Origin::Accepted(from), tls, send_queue_bytes)
    }

    fn new(stage: Stage, origin: Origin, tls: Option<Tls>, send_queue_bytes: usize) -> Self {
        Self {
            stage,
            origin,
            posted: Posted::default(),
            queue: SendQueue::new(send_queue_bytes),
            tls: tls.map(Box::new),
            unauthenticated_bytes: Some(0),
            deadline: None,
            is_unsent: false,
        }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where to, if this side began it.
    pub(crate) fn address(&self) -> Option<&Address> {
        match &self.origin {
            Origin::Begun(address) => Some(address),
            Origin::Accepted(_) => None,
        }
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

    // ── What comes ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Where the next bytes go.
    pub(crate) fn plan(&mut self) -> ReadPlan {
        match (&mut self.stage, &mut self.tls) {
            (Stage::Closing { .. }, _) => ReadPlan::bytes(vec![0; SINK_PLACE]),
            (stage, Some(tls)) => tls.read_plan(matches!(stage, Stage::Up(_))),
            (Stage::Up(framing), None) => framing.plan(),
            (Stage::Connecting(_) | Stage::Hello(_) | Stage::Ended(_), None) => ReadPlan::bytes(vec![0; HELLO_PLACE]),
        }
    }

    /// Takes a plan back with the bytes that arrived; none is the end of the stream.
    pub(crate) fn received(&mut self, plan: ReadPlan, bytes: usize, out: &mut Received) -> Result<(), Failure> {
        let heard_enough = self.unauthenticated_bytes.as_mut().is_some_and(|heard| {
            *heard += bytes;
            *heard > UNAUTHENTICATED_BYTES_MAX
        });
        if self.is_closing() {
            // Who was refused is listened to no longer than it takes to tell it why.
            out.is_over = bytes == 0 || heard_enough;
            return Ok(());
        }
        if bytes == 0 {
            // With TLS too: what ends in the middle is noticed by whoever waits for the rest, as messages and
            // partitions say where they end.
            return Err(Failure::Broken(CloseCause::PeerClosed));
        }
        if let (Stage::Up(framing), None) = (&mut self.stage, &self.tls) {
            return Ok(framing.arrived(plan, bytes, &mut self.posted, &mut out.messages)?);
        }
        match &mut self.tls {
            Some(tls) => {
                // What stood before a mistake counts, and so does what is to be said about it.
                let opened = tls.open(plan, bytes, &mut out.plaintext);
                let plaintext = mem::take(&mut out.plaintext);
                let taken = self.take_in(&plaintext, out);
                out.plaintext = plaintext;
                taken?;
                self.check_opened(opened)?;
            }
            None => {
                let mut plan = plan;
                let place = plan.pop_bytes().expect("the plan of a hello is of bytes");
                self.take_in(&place[..bytes], out)?;
            }
        }
        if heard_enough && !self.is_up() {
            let text =
                format!("more than {UNAUTHENTICATED_BYTES_MAX} bytes, and it is still not known who the peer is");
            return Err(Failure::Refused { reason: "too_long", text });
        }
        Ok(())
    }

    /// Takes bytes of the stream that are not in their place yet.
    fn take_in(&mut self, mut bytes: &[u8], out: &mut Received) -> Result<(), Failure> {
        if let Stage::Hello(_) = self.stage {
            bytes = self.hear(bytes, out)?;
        }
        if let Stage::Up(framing) = &mut self.stage {
            framing.feed(bytes, &mut self.posted, &mut out.messages)?;
        }
        Ok(())
    }

    /// Goes on with the hello; gives what follows it.
    fn hear<'a>(&mut self, mut bytes: &'a [u8], out: &mut Received) -> Result<&'a [u8], Failure> {
        let Stage::Hello(hello) = &mut self.stage else { unreachable!("the caller has looked") };
        let heard = loop {
            if bytes.is_empty() || hello.bytes_wanted() == 0 {
                break Ok(());
            }
            match hello.handle_bytes(bytes) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) => break Err(error),
            }
        };
        // Also after an error: the refusal that tells the peer why.
        transmit(hello, &mut self.queue);
        heard?;
        if let Some(agreed) = hello.outcome().cloned() {
            self.stage = Stage::Up(Box::new(Framing::new(agreed.limits)));
            self.unauthenticated_bytes = None;
            out.peer = Some(peer(agreed));
        }
        Ok(bytes)
    }

    /// What was decrypted is taken in; how did that end?
    fn check_opened(&mut self, opened: Result<(), HandshakeError>) -> Result<(), Failure> {
        match (opened, &self.tls) {
            (Ok(()), Some(tls)) if tls.peer_has_closed() => Err(Failure::Broken(CloseCause::PeerClosed)),
            (Ok(()), _) => Ok(()),
            (Err(error), _) => {
                // Nothing more can be said but what TLS itself says of it.
                self.queue.end();
                Err(if self.is_up() { Failure::of_running_tls(error) } else { error.into() })
            }
        }
    }

    // ── What goes ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Accepts the message, or hands it back if there is too much already.
    pub(crate) fn push(&mut self, message: Message) -> Result<(), Message> {
        self.queue.push(message)
    }

    /// The next submission; none if there is nothing to send or one is out.
    pub(crate) fn write_plan(&mut self) -> Option<WritePlan> {
        match &mut self.tls {
            None => self.queue.plan(),
            Some(tls) => tls.write_plan(&mut self.queue, matches!(self.stage, Stage::Closing { .. })),
        }
    }

    /// Takes a submission back of which the kernel has taken so many bytes.
    pub(crate) fn sent(&mut self, plan: WritePlan, bytes: usize) {
        match &mut self.tls {
            None => self.queue.sent(plan, bytes),
            Some(tls) => tls.sent(plan, bytes, &mut self.queue),
        }
    }

    /// Nothing can be sent any more.
    pub(crate) fn end_sending(&mut self) {
        self.queue.end();
        if let Some(tls) = &mut self.tls {
            tls.end_sending();
        }
    }

    /// Bytes of the queue that the kernel has not taken.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Whether there is anything that the kernel has not taken.
    pub(crate) fn has_unsent(&self) -> bool {
        self.queue.bytes() > 0 || self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    /// Whether to tell now that a message would be taken.
    pub(crate) fn take_writable(&mut self) -> bool {
        self.queue.take_writable() && self.is_up()
    }

    // ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Begins to close: what is queued is still to be sent. Until then what is received is thrown away.
    pub(crate) fn begin_closing(&mut self, cause: CloseCause) {
        self.stage = Stage::Closing { cause, shut: false };
        self.posted = Posted::default();
    }

    /// Whether now is the moment to tell the peer that all is sent; it is told once.
    pub(crate) fn take_shut(&mut self) -> bool {
        let all_said = !self.has_unsent() && self.tls.as_ref().is_none_or(|tls| tls.is_closed());
        match &mut self.stage {
            Stage::Closing { shut, .. } if all_said => !mem::replace(shut, true),
            _ => false,
        }
    }

    /// Drops all that is not with the kernel, but for what is posted: payload of messages that came just before may have
    /// to be packed into it. The cause is the first that there was.
    pub(crate) fn end(&mut self, cause: CloseCause) {
        self.queue.end();
        self.tls = None;
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
