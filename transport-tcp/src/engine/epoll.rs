//! Non-blocking sockets and epoll: operations are tried when epoll has said that they may succeed.
//!
//! Sockets are watched edge-triggered, both directions at once and for good: after the first there is no system call
//! to say what is waited for. So what epoll has said is remembered until an operation shows that it is used up: a
//! read that came up short, a write that did (epoll(7), question 9). Only the end of a stream is not announced
//! twice, hence `ended`.

mod socket;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use sluice_plugin::{LinkId, Wait};

use self::socket::{Readiness, Socket};
use super::{Completion, Sent, Sockets};
use crate::config::{Engine, TcpConfig};
use crate::framing::ReadPlan;
use crate::send_queue::WritePlan;

/// In the place of a link: the listener.
const LISTENER: u64 = u64::MAX;
/// Events that one look takes; epoll keeps the others for the next, oldest first.
const EVENTS_MAX: usize = 256;

pub(super) struct Epoll {
    config: TcpConfig,
    epoll: OwnedFd,
    listener: TcpListener,
    accept: Accept,
    sockets: HashMap<LinkId, Socket>,
    /// Sockets on which an operation may succeed; each is in it, or in `later`, at most once.
    ready: VecDeque<LinkId>,
    /// Those that have had their share of this turn.
    later: Vec<LinkId>,
}

#[derive(Default)]
struct Accept {
    wanted: bool,
    /// Epoll has said that there is a connection.
    possible: bool,
}

impl Epoll {
    pub(super) fn new(config: &TcpConfig, listener: TcpListener) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        listener.set_nonblocking(true)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), flags)?;
        Ok(Self {
            config: config.clone(),
            epoll,
            listener,
            accept: Accept::default(),
            sockets: HashMap::new(),
            ready: VecDeque::new(),
            later: Vec::new(),
        })
    }

    fn watch(&mut self, link: LinkId, socket: Socket) -> io::Result<()> {
        use epoll::EventFlags as On;
        let flags = On::IN | On::OUT | On::RDHUP | On::ET;
        epoll::add(&self.epoll, socket.as_fd(), epoll::EventData::new_u64(link.0), flags)?;
        self.sockets.insert(link, socket);
        Ok(())
    }

    fn note(&mut self, event: &epoll::Event) {
        let token = event.data.u64();
        if token == LISTENER {
            self.accept.possible = true;
        } else if let Some(socket) = self.sockets.get_mut(&LinkId(token)) {
            socket.note(Readiness::of(event.flags));
            list(&mut self.ready, LinkId(token), socket);
        }
    }

    fn try_accept(&mut self) -> Option<Completion> {
        if !self.accept.wanted || !self.accept.possible {
            return None;
        }
        match self.listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.accept.possible = false;
                None
            }
            accepted => {
                self.accept.wanted = false;
                Some(Completion::Accepted(accepted.map(|(socket, _)| socket.into())))
            }
        }
    }
}

impl Sockets for Epoll {
    fn engine(&self) -> Engine {
        Engine::Epoll
    }

    fn accept(&mut self) {
        self.accept.wanted = true;
    }

    fn connect(&mut self, link: LinkId, address: SocketAddr) -> io::Result<()> {
        let socket = Socket::connect(&self.config, address)?;
        self.watch(link, socket)
    }

    fn adopt(&mut self, link: LinkId, socket: OwnedFd) -> io::Result<()> {
        let socket = Socket::connected(&self.config, socket)?;
        self.watch(link, socket)
    }

    fn receive(&mut self, link: LinkId, plan: ReadPlan) {
        let socket = self.sockets.get_mut(&link).expect("a link receives until it is closed");
        socket.receive(plan);
        list(&mut self.ready, link, socket);
    }

    fn send(&mut self, link: LinkId, plan: WritePlan) -> Option<Sent> {
        self.sockets.get_mut(&link).expect("a link sends until it is closed").send(plan)
    }

    fn shut(&mut self, link: LinkId) {
        self.sockets.get(&link).expect("a link is shut before it is closed").shut();
    }

    fn close(&mut self, link: LinkId) -> bool {
        // The kernel takes a closed socket out of the epoll set, and touches memory only within a call.
        self.sockets.remove(&link);
        true
    }

    fn begin_turn(&mut self) -> io::Result<()> {
        for link in self.later.drain(..) {
            let Some(socket) = self.sockets.get_mut(&link) else { continue };
            socket.begin_turn();
            self.ready.push_back(link);
        }
        let mut events = [MaybeUninit::uninit(); EVENTS_MAX];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.epoll, &mut events, Some(&at_once)) {
            Ok((events, _)) => events.iter().for_each(|event| self.note(event)),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn poll(&mut self, done: &mut Vec<Completion>) -> io::Result<()> {
        done.extend(self.try_accept());
        for _ in 0..self.ready.len() {
            let link = self.ready.pop_front().expect("counted");
            let Some(socket) = self.sockets.get_mut(&link) else { continue };
            socket.listed = false;
            socket.attend(link, done);
            if socket.has_had_its_share() {
                socket.listed = true;
                self.later.push(link);
            }
        }
        Ok(())
    }

    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        // What epoll has said already makes it readable no more; what it has not said yet does, from before this
        // call too: its ready list is looked at when the sleep begins.
        let known = self.accept.wanted && self.accept.possible || !self.ready.is_empty() || !self.later.is_empty();
        Ok(if known { Wait::Ready } else { Wait::On(self.epoll.as_fd()) })
    }
}

/// Puts a socket on the list if an operation on it may succeed.
fn list(ready: &mut VecDeque<LinkId>, link: LinkId, socket: &mut Socket) {
    if !socket.listed && socket.may_progress() {
        socket.listed = true;
        ready.push_back(link);
    }
}
