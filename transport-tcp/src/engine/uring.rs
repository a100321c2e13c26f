//! One io_uring for all sockets of a transport: the kernel has the operations, and what they hold.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::Shutdown;
use sluice_plugin::{LinkId, Wait};
use sluice_uring::{Done, OPERATIONS_MAX, Operation, Ring, RingError, RingOptions, Sleep};

use super::{Completion, Sent, Sockets};
use crate::config::{Engine, TcpConfig};
use crate::framing::ReadPlan;
use crate::send_queue::WritePlan;
use crate::socket;

/// Entries between two submits; a full queue is submitted by itself.
const ENTRIES: u32 = 256;
/// What a turn receives over all links before the reactor has its own again.
const TURN_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct Uring {
    config: TcpConfig,
    ring: Ring,
    listener: Arc<OwnedFd>,
    accepting: bool,
    sockets: HashMap<LinkId, Socket>,
    /// What the ring had no room for.
    waiting: VecDeque<(Token, Operation)>,
    turn_bytes: usize,
    /// Kept for its capacity.
    completions: Vec<sluice_uring::Completion>,
}

struct Socket {
    file: Arc<OwnedFd>,
    /// Operations that the ring has.
    in_flight: u32,
    closing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Accept,
    Connect(LinkId),
    Receive(LinkId),
    Send(LinkId),
}

impl Token {
    fn number(self) -> u64 {
        match self {
            Token::Accept => 0,
            Token::Connect(link) => link.0 << 2 | 1,
            Token::Receive(link) => link.0 << 2 | 2,
            Token::Send(link) => link.0 << 2 | 3,
        }
    }

    fn of(number: u64) -> Self {
        let link = LinkId(number >> 2);
        match number & 3 {
            0 => Token::Accept,
            1 => Token::Connect(link),
            2 => Token::Receive(link),
            _ => Token::Send(link),
        }
    }

    fn link(self) -> Option<LinkId> {
        match self {
            Token::Accept => None,
            Token::Connect(link) | Token::Receive(link) | Token::Send(link) => Some(link),
        }
    }
}

impl Uring {
    /// The listener stays in blocking mode: a ring never blocks in it, and would not wait in the other.
    pub(super) fn new(config: &TcpConfig, listener: &TcpListener) -> Result<Self, RingError> {
        // A receive and a send of each link and of each stranger, and the accept.
        let links = config.links_max.saturating_add(config.links_unauthenticated_max);
        let operations = u32::try_from(links).unwrap_or(u32::MAX).saturating_mul(2).saturating_add(1);
        let ring = Ring::new(RingOptions { entries: ENTRIES, operations_max: operations.min(OPERATIONS_MAX) })?;
        let listener = listener.try_clone().map_err(sluice_uring::Refusal::Other)?;
        tracing::info!(features = %ring.features(), "TCP goes by io_uring");
        Ok(Self {
            config: config.clone(),
            ring,
            listener: Arc::new(listener.into()),
            accepting: false,
            sockets: HashMap::new(),
            waiting: VecDeque::new(),
            turn_bytes: 0,
            completions: Vec::new(),
        })
    }

    fn push(&mut self, token: Token, operation: Operation) {
        if !self.waiting.is_empty() {
            self.waiting.push_back((token, operation));
            return;
        }
        if let Err(operation) = self.ring.push(token.number(), operation) {
            self.waiting.push_back((token, operation));
        }
    }

    fn push_waiting(&mut self) {
        while let Some((token, operation)) = self.waiting.pop_front() {
            if let Err(operation) = self.ring.push(token.number(), operation) {
                self.waiting.push_front((token, operation));
                return;
            }
        }
    }

    fn file(&mut self, link: LinkId) -> Arc<OwnedFd> {
        let socket = self.sockets.get_mut(&link).expect("a link asks for nothing once it is closed");
        socket.in_flight += 1;
        Arc::clone(&socket.file)
    }

    fn insert(&mut self, link: LinkId, file: OwnedFd) {
        self.sockets.insert(link, Socket { file: Arc::new(file), in_flight: 0, closing: false });
    }

    /// What a completion of the ring means; none if its link is being closed and the kernel still has others of it.
    fn translate(&mut self, completion: sluice_uring::Completion) -> Option<Completion> {
        let token = Token::of(completion.token);
        let Some(link) = token.link() else {
            self.accepting = false;
            return Some(Completion::Accepted(completion.result.map(|done| match done {
                Done::Accepted(socket) => socket,
                done => unreachable!("an accept gave {done:?}"),
            })));
        };
        let socket = self.sockets.get_mut(&link).expect("a socket stays until its operations are done");
        socket.in_flight -= 1;
        if socket.closing {
            return self.release(link);
        }
        let result = completion.result.map(|done| match done {
            Done::Received(bytes) | Done::Sent { bytes, .. } => bytes,
            _ => 0,
        });
        Some(match completion.operation {
            Operation::Receive { pieces, skip, .. } => {
                self.turn_bytes += result.as_ref().map_or(0, |bytes| *bytes);
                Completion::Received { link, plan: ReadPlan { pieces, skip }, result }
            }
            Operation::Send { pieces, skip, .. } => {
                Completion::Sent { link, sent: Sent { plan: WritePlan { pieces, skip }, result } }
            }
            _ => Completion::Connected { link, result: result.map(drop) },
        })
    }

    fn release(&mut self, link: LinkId) -> Option<Completion> {
        self.sockets.get(&link).filter(|socket| socket.in_flight == 0)?;
        self.sockets.remove(&link);
        Some(Completion::Released { link })
    }
}

impl Sockets for Uring {
    fn engine(&self) -> Engine {
        Engine::IoUring
    }

    fn accept(&mut self) {
        if !mem::replace(&mut self.accepting, true) {
            let listener = Arc::clone(&self.listener);
            self.push(Token::Accept, Operation::Accept { listener });
        }
    }

    fn connect(&mut self, link: LinkId, address: SocketAddr) -> io::Result<()> {
        let socket = socket::new(&self.config, address)?;
        socket::adjust(&self.config, (&socket).into())?;
        self.insert(link, socket.into());
        let socket = self.file(link);
        self.push(Token::Connect(link), Operation::Connect { socket, address });
        Ok(())
    }

    fn adopt(&mut self, link: LinkId, socket: OwnedFd) -> io::Result<()> {
        socket::adjust(&self.config, (&socket).into())?;
        self.insert(link, socket);
        Ok(())
    }

    fn receive(&mut self, link: LinkId, plan: ReadPlan) {
        let ReadPlan { pieces, skip } = plan;
        let socket = self.file(link);
        self.push(Token::Receive(link), Operation::Receive { socket, pieces, skip, wait_all: false });
    }

    fn send(&mut self, link: LinkId, plan: WritePlan) -> Option<Sent> {
        let WritePlan { pieces, skip } = plan;
        let socket = self.file(link);
        self.push(Token::Send(link), Operation::Send { socket, pieces, skip, zero_copy: false });
        None
    }

    fn shut(&mut self, link: LinkId) {
        if let Some(socket) = self.sockets.get(&link) {
            // A connection that is gone already has nobody to tell.
            let _ = rustix::net::shutdown(&socket.file, Shutdown::Write);
        }
    }

    fn close(&mut self, link: LinkId) -> bool {
        let Some(socket) = self.sockets.get_mut(&link) else { return true };
        socket.closing = true;
        // Wakes what waits in it; to cancel alone would leave a send that is just being executed to go on.
        let _ = rustix::net::shutdown(&socket.file, Shutdown::Both);
        let before = self.waiting.len();
        self.waiting.retain(|(token, _)| token.link() != Some(link));
        socket.in_flight -= (before - self.waiting.len()) as u32;
        if socket.in_flight == 0 {
            self.sockets.remove(&link);
            return true;
        }
        for token in [Token::Connect(link), Token::Receive(link), Token::Send(link)] {
            self.ring.cancel(token.number());
        }
        false
    }

    fn begin_turn(&mut self) -> io::Result<()> {
        self.turn_bytes = 0;
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        if self.turn_bytes >= TURN_BYTES {
            return Ok(());
        }
        self.push_waiting();
        let mut completions = mem::take(&mut self.completions);
        let reaped = self.ring.reap(&mut completions);
        for completion in completions.drain(..) {
            done.extend(self.translate(completion));
        }
        self.completions = completions;
        reaped
    }

    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        self.push_waiting();
        Ok(match self.ring.prepare_to_sleep()? {
            Sleep::Ready => Wait::Ready,
            Sleep::On(file) => Wait::On(file),
        })
    }
}
