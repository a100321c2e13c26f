//! A worker, a good neighbour of it, and a peer that is only a socket.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::Waker;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sluice_handshake::{Handshake, LocalNode, Nonce};
use sluice_memory::{Arena, ArenaOptions, BufferPool, HugePages, Memory, PoolSpec, SizeClass};
use sluice_plugin::{Address, CloseCause, Connect, Device, LinkId, Message, Setup, Transport, TransportEvent, Wait};
use sluice_protocol::wire::{Frame, HeadBuilder};
use sluice_protocol::{ChannelId, Incarnation, Lane, Limits, LinkEpoch, NodeId, Time};
use sluice_transport_tcp::{Engine, Tcp, TcpConfig, TcpTransport};

/// How long a sleep may last before the transport counts as one that does not wake. No test waits for it.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// The engines of this host.
pub(crate) fn engines() -> Vec<Engine> {
    match sluice_uring::probe() {
        Ok(_) => vec![Engine::Epoll, Engine::IoUring],
        Err(refusal) => {
            eprintln!("io_uring skipped: {refusal}");
            vec![Engine::Epoll]
        }
    }
}

pub(crate) struct Worker {
    pub(crate) transport: TcpTransport,
    pub(crate) pool: BufferPool,
    pub(crate) now: Time,
    pub(crate) events: VecDeque<TransportEvent>,
}

pub(crate) fn setup(node: u64) -> (Setup, BufferPool) {
    let arena = ArenaOptions { bytes: 4 << 20, huge_pages: HugePages::Never };
    let memory = Memory::new(Arena::map(arena).expect("4 MiB"));
    let spec = PoolSpec { owner: "test".into(), unit: SizeClass::MAX, floor_units: 1, bytes_max: 4 << 20 };
    let pool = memory.pool(spec).expect("an empty arena");
    let setup = Setup {
        node: NodeId(node),
        incarnation: Incarnation(1),
        cluster: "test".into(),
        limits: Limits::default(),
        arena: memory.arena().clone(),
        waker: Waker::noop().clone(),
    };
    (setup, pool)
}

impl Worker {
    pub(crate) fn new(node: u64, config: TcpConfig) -> Self {
        let (setup, pool) = setup(node);
        let transport = Tcp::new(config).build_tcp(setup).expect("builds");
        Self { transport, pool, now: Time(1), events: VecDeque::new() }
    }

    pub(crate) fn poll(&mut self) {
        let mut events = Vec::new();
        self.transport.poll(self.now, &mut events);
        self.events.extend(events);
    }

    /// Polls, but not before there is a reason to.
    pub(crate) fn turn(&mut self) {
        if let Wait::On(file) = self.transport.prepare_to_wait().expect("waits") {
            sleep(&mut [PollFd::from_borrowed_fd(file, PollFlags::IN)]);
        }
        self.poll();
    }

    /// As `turn`, but something on another file is a reason too.
    pub(crate) fn turn_beside(&mut self, other: BorrowedFd<'_>) {
        if let Wait::On(file) = self.transport.prepare_to_wait().expect("waits") {
            sleep(&mut [file, other].map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)));
        }
        self.poll();
    }

    /// As `turn`, of two workers.
    pub(crate) fn turn_with(&mut self, other: &mut Worker) {
        match other.transport.prepare_to_wait().expect("waits") {
            Wait::On(file) => self.turn_beside(file),
            _ => self.poll(),
        }
        other.poll();
    }

    /// Polls for as long as there is a reason to, and leaves the transport ready to sleep.
    pub(crate) fn settle(&mut self) {
        while matches!(self.transport.prepare_to_wait().expect("waits"), Wait::Ready) {
            self.poll();
        }
    }

    pub(crate) fn next(&mut self) -> TransportEvent {
        loop {
            match self.events.pop_front() {
                Some(TransportEvent::Writable { .. }) => {}
                Some(event) => return event,
                None => self.turn(),
            }
        }
    }

    pub(crate) fn accepted(&mut self) -> LinkId {
        match self.next() {
            TransportEvent::Accepted { link, .. } => link,
            event => panic!("Accepted was due, not {event:?}"),
        }
    }

    pub(crate) fn closed(&mut self) -> CloseCause {
        match self.next() {
            TransportEvent::Closed { cause, .. } => cause,
            event => panic!("Closed was due, not {event:?}"),
        }
    }

    /// Lets the clock jump to where the transport wants to be polled.
    pub(crate) fn skip_to_timeout(&mut self) {
        self.now = self.transport.poll_timeout().expect("a deadline runs");
        self.poll();
    }

    /// Polls until what a bare socket has done before is noticed: the next connection begins.
    pub(crate) fn knock(&mut self) -> TcpStream {
        let peer = TcpStream::connect(&self.transport.address().0).expect("connects");
        self.turn();
        peer
    }

    /// A bare socket that has introduced itself as node 7.
    pub(crate) fn introduced(&mut self) -> (TcpStream, LinkId) {
        let mut peer = self.knock();
        peer.set_nonblocking(true).expect("a socket");
        let (setup, _) = setup(7);
        let local = LocalNode::new(setup.node, setup.incarnation, setup.cluster, setup.limits).expect("a node");
        let mut hello = Handshake::connect(&local, Some(NodeId(1)), 70, LinkEpoch(1), Lane(0), Nonce([7; 32]));
        while hello.outcome().is_none() {
            transmit(&mut hello, &mut peer);
            self.turn_beside(peer.as_fd());
            let mut answer = [0; 1024];
            match peer.read(&mut answer) {
                Ok(bytes) => assert_eq!(hello.handle_bytes(&answer[..bytes]), Ok(bytes)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        transmit(&mut hello, &mut peer);
        peer.set_nonblocking(false).expect("a socket");
        let link = self.accepted();
        (peer, link)
    }
}

fn sleep(files: &mut [PollFd<'_>]) {
    assert!(poll(files, Some(&PATIENCE)).expect("polls") > 0, "nothing woke the transport");
}

fn transmit(hello: &mut Handshake, peer: &mut TcpStream) {
    while let Some(bytes) = hello.poll_transmit() {
        peer.write_all(&bytes).expect("a hello fits the socket");
    }
}

/// A worker with a link to a good neighbour.
pub(crate) struct Neighbours {
    pub(crate) worker: Worker,
    neighbour: Worker,
    link: LinkId,
}

impl Neighbours {
    pub(crate) fn new(config: TcpConfig) -> Self {
        let mut worker = Worker::new(1, config.clone());
        let mut neighbour = Worker::new(2, config);
        let address = worker.transport.address().clone();
        let link = neighbour.transport.connect(neighbour.now, wish(address));
        while !matches!(neighbour.events.pop_front(), Some(TransportEvent::Connected { .. })) {
            worker.turn_with(&mut neighbour);
        }
        neighbour.settle();
        worker.accepted();
        Self { worker, neighbour, link }
    }

    /// Whatever a peer did: others are not harmed.
    pub(crate) fn assert_alive(&mut self) {
        let message = Message { head: head(), payloads: Vec::new() };
        self.neighbour.transport.send(self.link, message).expect("the link is up");
        self.neighbour.settle();
        match self.worker.next() {
            TransportEvent::Received { .. } => {}
            event => panic!("the neighbour's message was due, not {event:?}"),
        }
    }
}

/// What a peer of node 1 wants.
pub(crate) fn wish(address: Address) -> Connect {
    Connect { address, node: NodeId(1), session: 1, epoch: LinkEpoch(1), lane: Lane(0) }
}

/// A good head.
pub(crate) fn head() -> Vec<u8> {
    let mut head = HeadBuilder::new(Vec::new());
    head.push(&Frame::Grant { channel: ChannelId(1), granted: 2, events: 3, keep: 4 });
    head.finish(LinkEpoch(1), 1, 0, false)
}

pub(crate) fn config(engine: Engine) -> TcpConfig {
    TcpConfig { engine, handshake_timeout: Duration::from_secs(3), ..TcpConfig::default() }
}
