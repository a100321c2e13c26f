//! What can be asked of the ring, and what comes back: an operation carries all it needs, both ways.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use sluice_memory::{Buffer, BufferMut};

/// The most pieces one submission moves (the kernel's `IOV_MAX`); more make a short transfer.
pub const PIECES_MAX: usize = 1024;

/// Something the kernel is to do. The ring owns it, and all that it holds, until its completion.
///
/// The ring never blocks in a socket, and its operations wait for it in blocking and non-blocking mode alike
/// (seen on 6.18).
#[derive(Debug)]
pub enum Operation {
    /// Take one connection from a listening socket. It is close-on-exec and in blocking mode.
    Accept {
        /// The listening socket.
        listener: Arc<OwnedFd>,
    },
    /// Connect a socket. If it fails or is cancelled, the socket is of no more use.
    Connect {
        /// The socket, of the address's family.
        socket: Arc<OwnedFd>,
        /// The peer.
        address: SocketAddr,
    },
    /// Send the pieces in order. The kernel goes on after a partial send, so a short result means more than
    /// [`PIECES_MAX`] pieces, or that an error or a cancel came after some bytes had left.
    Send {
        /// A connected socket. One send at a time: the kernel does not order two of them.
        socket: Arc<OwnedFd>,
        /// What to send.
        pieces: Vec<Outgoing>,
        /// Bytes at the start of the pieces that have been sent already; less than they hold.
        skip: usize,
        /// Lend the pages to the network card instead of copying. The completion then waits for the peer's
        /// acknowledgement: see [`abort`](crate::abort) for a peer that never gives it. Where the kernel
        /// has no zero-copy send this is a plain one. `ENOMEM` means the limit on locked memory: send plainly.
        zero_copy: bool,
    },
    /// Receive into the pieces in order.
    Receive {
        /// A connected socket. One receive at a time: the kernel does not order two of them.
        socket: Arc<OwnedFd>,
        /// Where the bytes go.
        pieces: Vec<Incoming>,
        /// Bytes at the start of the pieces that are filled already; less than they hold.
        skip: usize,
        /// Complete only when the pieces (the first [`PIECES_MAX`]) are full or the stream has ended.
        wait_all: bool,
    },
    /// Complete once when the file is readable, hung up or in error.
    Watch {
        /// The file: an eventfd, a socket, another ring.
        file: Arc<OwnedFd>,
    },
}

impl Operation {
    /// Panics if there is no byte to move: a receive of no bytes cannot be told from the end of the stream.
    pub(crate) fn assert_moves_bytes(&self) {
        let (bytes, skip) = match self {
            Operation::Send { pieces, skip, .. } => (length(pieces, Outgoing::as_slice), *skip),
            Operation::Receive { pieces, skip, .. } => (length(pieces, Incoming::as_slice), *skip),
            Operation::Accept { .. } | Operation::Connect { .. } | Operation::Watch { .. } => return,
        };
        assert!(skip < bytes, "an operation skips {skip} of its {bytes} bytes: nothing is left to move");
    }
}

fn length<P>(pieces: &[P], as_slice: impl Fn(&P) -> &[u8]) -> usize {
    pieces.iter().map(|piece| as_slice(piece).len()).sum()
}

/// A piece to send.
#[derive(Debug)]
pub enum Outgoing {
    /// Bytes of no pool: heads, handshakes.
    Bytes(Vec<u8>),
    /// A range of shuffle memory.
    Buffer(Buffer),
}

impl Outgoing {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Outgoing::Bytes(bytes) => bytes,
            Outgoing::Buffer(buffer) => buffer,
        }
    }
}

/// A piece to receive into. Its length, not its capacity, is what it takes.
#[derive(Debug)]
pub enum Incoming {
    /// Bytes of no pool: heads, handshakes.
    Bytes(Vec<u8>),
    /// A range of shuffle memory.
    Buffer(BufferMut),
}

impl Incoming {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Incoming::Bytes(bytes) => bytes,
            Incoming::Buffer(buffer) => buffer,
        }
    }

    /// The bytes, to write into.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Incoming::Bytes(bytes) => bytes,
            Incoming::Buffer(buffer) => buffer,
        }
    }
}

/// An operation the kernel has finished with.
#[derive(Debug)]
pub struct Completion {
    /// As it was pushed.
    pub token: u64,
    /// What was done. A cancelled operation has the error `ECANCELED`, if it had not yet moved anything.
    pub result: io::Result<Done>,
    /// The operation, given back with all it holds.
    pub operation: Operation,
}

/// What an operation did.
#[derive(Debug)]
pub enum Done {
    /// The connection taken by an accept.
    Accepted(OwnedFd),
    /// The socket is connected.
    Connected,
    /// Bytes left the pieces.
    Sent {
        /// How many, from `skip` on.
        bytes: usize,
        /// The kernel copied them. After a zero-copy send: stop asking for it on this link.
        copied: bool,
    },
    /// So many bytes came, from `skip` on; none is the end of the stream.
    Received(usize),
    /// The watched file is readable, hung up or in error.
    Ready,
}
