//! A non-blocking socket, what epoll has said of it, and what is to be done on it.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown};
use sluice_plugin::LinkId;

use super::super::{Completion, Sent};
use crate::config::TcpConfig;
use crate::framing::ReadPlan;
use crate::send_queue::WritePlan;
use crate::socket;

/// What one link may receive in a turn, so that a fast peer does not starve the others.
const TURN_BYTES: usize = 1024 * 1024;

/// What epoll says.
#[derive(Clone, Copy, Default)]
pub(super) struct Readiness {
    readable: bool,
    writable: bool,
    /// The stream has an end, or the connection an error: a read that comes up short does not use that up.
    ended: bool,
}

pub(super) struct Socket {
    socket: socket2::Socket,
    readiness: Readiness,
    connecting: bool,
    incoming: Option<ReadPlan>,
    outgoing: Option<WritePlan>,
    turn_bytes: usize,
    /// For its engine: it is on a list.
    pub(super) listed: bool,
}

impl Readiness {
    pub(super) fn of(flags: EventFlags) -> Self {
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        Self {
            readable: ended || flags.contains(EventFlags::IN),
            writable: flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR),
            ended,
        }
    }
}

impl Socket {
    /// Begins a connection.
    pub(super) fn connect(config: &TcpConfig, address: SocketAddr) -> io::Result<Self> {
        let socket = socket::new(config, address)?;
        let mut socket = Self::connected(config, socket.into())?;
        socket.connecting = true;
        match socket.socket.connect(&address.into()) {
            Ok(()) => Ok(socket),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Ok(socket),
            Err(error) => Err(error),
        }
    }

    pub(super) fn connected(config: &TcpConfig, socket: OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(socket);
        socket.set_nonblocking(true)?;
        socket::adjust(config, (&socket).into())?;
        Ok(Self {
            socket,
            readiness: Readiness::default(),
            connecting: false,
            incoming: None,
            outgoing: None,
            turn_bytes: 0,
            listed: false,
        })
    }

    pub(super) fn note(&mut self, readiness: Readiness) {
        self.readiness.readable |= readiness.readable;
        self.readiness.writable |= readiness.writable;
        self.readiness.ended |= readiness.ended;
    }

    pub(super) fn may_progress(&self) -> bool {
        let Readiness { readable, writable, .. } = self.readiness;
        writable && (self.connecting || self.outgoing.is_some()) || readable && self.incoming.is_some()
    }

    /// Something is left for the next turn.
    pub(super) fn has_had_its_share(&self) -> bool {
        self.turn_bytes >= TURN_BYTES
    }

    pub(super) fn begin_turn(&mut self) {
        self.turn_bytes = 0;
    }

    pub(super) fn receive(&mut self, plan: ReadPlan) {
        assert!(self.incoming.replace(plan).is_none(), "one receive at a time");
    }

    /// Tries at once, unless epoll has yet to say that there is room.
    pub(super) fn send(&mut self, plan: WritePlan) -> Option<Sent> {
        assert!(self.outgoing.replace(plan).is_none(), "one send at a time");
        self.try_send()
    }

    pub(super) fn shut(&self) {
        // A connection that is gone already has nobody to tell.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    /// Does what may be done.
    pub(super) fn attend(&mut self, link: LinkId, done: &mut Vec<Completion>) {
        if self.connecting && self.readiness.writable {
            self.connecting = false;
            let result = self.socket.take_error().and_then(|error| error.map_or(Ok(()), Err));
            done.push(Completion::Connected { link, result });
        }
        if let Some(sent) = self.try_send() {
            done.push(Completion::Sent { link, sent });
        }
        if let Some((plan, result)) = self.try_receive() {
            done.push(Completion::Received { link, plan, result });
        }
    }

    fn try_send(&mut self) -> Option<Sent> {
        if !self.readiness.writable || self.connecting {
            return None;
        }
        let plan = self.outgoing.take()?;
        let result = send(&self.socket, &plan);
        if would_block(&result) {
            self.readiness.writable = false;
            self.outgoing = Some(plan);
            return None;
        }
        if let Ok(bytes) = result {
            self.readiness.writable = bytes == plan.bytes();
        }
        Some(Sent { plan, result })
    }

    fn try_receive(&mut self) -> Option<(ReadPlan, io::Result<usize>)> {
        if !self.readiness.readable || self.has_had_its_share() {
            return None;
        }
        let mut plan = self.incoming.take()?;
        let result = receive(&mut self.socket, &mut plan);
        if would_block(&result) {
            self.readiness.readable = false;
            self.incoming = Some(plan);
            return None;
        }
        if let Ok(bytes) = result {
            self.turn_bytes += bytes;
            self.readiness.readable = bytes == plan.room() || self.readiness.ended;
        }
        Some((plan, result))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn send(socket: &socket2::Socket, plan: &WritePlan) -> io::Result<usize> {
    let mut slices: Vec<IoSlice<'_>> = plan.pieces.iter().map(|piece| IoSlice::new(piece.as_slice())).collect();
    slices[0].advance(plan.skip);
    // NOSIGNAL: in a process that is not Rust's own a write to a closed connection would end it.
    let send = || rustix::net::sendmsg(socket, &slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL);
    Ok(rustix::io::retry_on_intr(send)?)
}

fn receive(socket: &mut socket2::Socket, plan: &mut ReadPlan) -> io::Result<usize> {
    let mut skip = plan.skip;
    let slices = plan.pieces.iter_mut().map(|piece| IoSliceMut::new(&mut piece.as_mut_slice()[mem::take(&mut skip)..]));
    let mut slices: Vec<_> = slices.collect();
    loop {
        match socket.read_vectored(&mut slices) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => return received,
        }
    }
}

fn would_block(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
