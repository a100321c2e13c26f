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
    /// Read from a file into the pieces in order. One that is open for direct IO (`O_DIRECT`) takes only offsets,
    /// lengths and places in memory that are multiples of what its device wants, else the result is `EINVAL`.
    ///
    /// If all of it is memory of the [registered](crate::Ring::register) arena, the kernel neither looks it up nor
    /// pins it anew. Once begun, a direct read or write cannot be cancelled.
    Read {
        /// The file.
        file: Arc<OwnedFd>,
        /// Where the first piece's first byte is in the file, in bytes; the end is at most at `i64::MAX`.
        offset: u64,
        /// Where the bytes go.
        pieces: Vec<Incoming>,
        /// Bytes at the start of the pieces that are filled already; less than they hold. To go on after a short
        /// read, add what came to it.
        skip: usize,
    },
    /// Write the pieces to a file in order. As for [`Operation::Read`], and a short write is as rare as it is legal.
    Write {
        /// The file.
        file: Arc<OwnedFd>,
        /// Where the first piece's first byte is to be in the file, in bytes; the end is at most at `i64::MAX`.
        offset: u64,
        /// What to write.
        pieces: Vec<Outgoing>,
        /// Bytes at the start of the pieces that are written already; less than they hold.
        skip: usize,
    },
    /// Have what was written to the file survive a loss of power: the writes that are complete by now. Those still in
    /// flight may or may not be among it.
    Sync {
        /// The file.
        file: Arc<OwnedFd>,
        /// Only what is needed to read the bytes again: not the file's times (`fdatasync`).
        data_only: bool,
    },
    /// Complete once when the file is readable, hung up or in error.
    Watch {
        /// The file: an eventfd, a socket, another ring.
        file: Arc<OwnedFd>,
    },
}

impl Operation {
    /// Panics if there is no byte to move: a receive of no bytes cannot be told from the end of the stream. Or if the
    /// place in the file is one that the kernel takes for another: from `i64::MAX` on offsets are negative, and −1 is
    /// wherever the file's position is.
    pub(crate) fn assert_moves_bytes(&self) {
        let (bytes, skip) = match self {
            Operation::Send { pieces, skip, .. } => (length(pieces, Outgoing::as_slice), *skip),
            Operation::Receive { pieces, skip, .. } => (length(pieces, Incoming::as_slice), *skip),
            Operation::Read { pieces, skip, .. } => (length(pieces, Incoming::as_slice), *skip),
            Operation::Write { pieces, skip, .. } => (length(pieces, Outgoing::as_slice), *skip),
            Operation::Accept { .. } | Operation::Connect { .. } | Operation::Sync { .. } | Operation::Watch { .. } => {
                return;
            }
        };
        assert!(skip < bytes, "an operation skips {skip} of its {bytes} bytes: nothing is left to move");
        if let Operation::Read { offset, .. } | Operation::Write { offset, .. } = self {
            let fits = offset.checked_add(bytes as u64).is_some_and(|end| end <= i64::MAX as u64);
            assert!(fits, "{bytes} bytes at {offset} of a file: no file is longer than {} bytes", i64::MAX);
        }
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
    /// So many bytes were read, from `skip` on; none is the end of the file.
    Read(usize),
    /// So many bytes were written, from `skip` on.
    Written(usize),
    /// What had been written is on the medium.
    Synced,
    /// The watched file is readable, hung up or in error.
    Ready,
}
