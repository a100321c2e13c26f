//! How to make a socket forget what it still has to send.

use std::io;
use std::os::fd::BorrowedFd;

/// Breaks a TCP connection at once: the peer sees a reset and every byte not yet acknowledged is dropped.
///
/// A zero-copy send completes only when the peer has acknowledged, which a peer that stopped reading never
/// does; a shutdown does not help, as the kernel goes on offering the bytes. This makes such sends complete.
pub fn abort(socket: BorrowedFd<'_>) -> io::Result<()> {
    // connect(2): "Some protocol sockets may dissolve the association by connecting to an address with the
    // sa_family member of sockaddr set to AF_UNSPEC"; the kernel's tcp_disconnect() purges the send queue.
    rustix::net::connect_unspec(socket).map_err(io::Error::from)
}
