//! What moves the bytes: one interface over completion-based and readiness-based sockets.
//!
//! An operation owns its pieces until its [`Completion`] gives them back. Of each link at most one receive and one
//! send are under way.

mod epoll;
mod uring;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use sluice_plugin::{LinkId, Wait};

use crate::config::{Engine, TcpConfig};
use crate::framing::ReadPlan;
use crate::send_queue::WritePlan;

/// Something that was under way is done.
pub(crate) enum Completion {
    /// Of [`Sockets::accept`].
    Accepted(io::Result<OwnedFd>),
    /// Of [`Sockets::connect`].
    Connected { link: LinkId, result: io::Result<()> },
    /// Of [`Sockets::receive`]; no byte is the end of the stream.
    Received { link: LinkId, plan: ReadPlan, result: io::Result<usize> },
    /// Of [`Sockets::send`].
    Sent { link: LinkId, sent: Sent },
    /// Of [`Sockets::close`]: the kernel has let go of everything.
    Released { link: LinkId },
}

/// A submission given back, and how many bytes of it the kernel has taken.
pub(crate) struct Sent {
    pub(crate) plan: WritePlan,
    pub(crate) result: io::Result<usize>,
}

/// The sockets of a transport.
pub(crate) trait Sockets {
    /// Which this is; never [`Engine::Auto`].
    fn engine(&self) -> Engine;

    /// Takes one connection, when there is one.
    fn accept(&mut self);

    /// Begins a connection.
    fn connect(&mut self, link: LinkId, address: SocketAddr) -> io::Result<()>;

    /// Makes an accepted connection a link.
    fn adopt(&mut self, link: LinkId, socket: OwnedFd) -> io::Result<()>;

    /// Receives into the plan.
    fn receive(&mut self, link: LinkId, plan: ReadPlan);

    /// Sends; what can be said at once is said at once.
    fn send(&mut self, link: LinkId, plan: WritePlan) -> Option<Sent>;

    /// Tells the peer that nothing more is sent.
    fn shut(&mut self, link: LinkId);

    /// Ends a link, whatever is under way; says whether the kernel has let go of all, else `Released` follows. No
    /// other completion of the link does.
    fn close(&mut self, link: LinkId) -> bool;

    /// Begins a new turn: what is done in it until the next is bounded.
    fn begin_turn(&mut self) -> io::Result<()>;

    /// What is done. Nothing: there is no more in this turn.
    fn poll(&mut self, done: &mut Vec<Completion>) -> io::Result<()>;

    /// As [`sluice_plugin::Device::prepare_to_wait`].
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>>;
}

/// The engine of the configuration, or why there is none.
pub(crate) fn open(config: &TcpConfig, listener: TcpListener) -> Result<Box<dyn Sockets>, String> {
    if config.engine != Engine::Epoll {
        match uring::Uring::new(config, &listener) {
            Ok(uring) => return Ok(Box::new(uring)),
            Err(refusal) if config.engine == Engine::IoUring => {
                return Err(format!("engine io_uring is asked for: {refusal}; or choose the engine auto or epoll"));
            }
            Err(refusal) => tracing::info!(%refusal, "no io_uring here, TCP goes by epoll"),
        }
    }
    match epoll::Epoll::new(config, listener) {
        Ok(epoll) => Ok(Box::new(epoll)),
        Err(error) => Err(format!("epoll cannot be set up: {error}; is the limit on open files (ulimit -n) reached?")),
    }
}
