//! Sockets as a link wants them.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::TcpConfig;

/// Peers that may wait for an accept; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Binds and listens; the error says where and what to do.
pub(crate) fn listen(config: &TcpConfig) -> Result<(TcpListener, SocketAddr), String> {
    let address = resolve("listen", &config.listen)?;
    let listener = listen_on(config, address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{address} is in use: another worker may be running there; stop it, or let `listen` name another port \
             (0 lets the system choose)"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is no address of this machine: let `listen` name one that is (see `ip address`)")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{address} may not be listened on: let `listen` name a port from 1024 on")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })?;
    let bound = listener.local_addr().map_err(|error| format!("{address} has no local address: {error}"))?;
    Ok((listener, bound))
}

/// What peers are told to connect to.
pub(crate) fn advertised(config: &TcpConfig, bound: SocketAddr) -> Result<SocketAddr, String> {
    if let Some(advertise) = &config.advertise {
        let mut address = resolve("advertise", advertise)?;
        if address.port() == 0 {
            address.set_port(bound.port());
        }
        return Ok(address);
    }
    if bound.ip().is_unspecified() {
        return Err(format!("{bound} is listened on, which no peer can connect to: say in `advertise` what they can"));
    }
    Ok(bound)
}

fn resolve(key: &str, text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text.to_socket_addrs().map_err(|error| format!("`{key}` is {text:?}: {error}"))?;
    addresses.next().ok_or_else(|| format!("`{key}` is {text:?}: the name has no address"))
}

fn listen_on(config: &TcpConfig, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new(config, address)?;
    // A worker that starts again must not wait for connections of its last life.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket in blocking mode. Buffer sizes are set before there is a connection: its window scale comes of them, and
/// what is accepted takes them over from the listener.
pub(crate) fn new(config: &TcpConfig, address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(bytes) = config.socket_send_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = config.socket_receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(socket)
}

/// Who is at the other end of an accepted connection.
pub(crate) fn peer(socket: SockRef<'_>) -> io::Result<SocketAddr> {
    let other = || io::Error::other("the peer has no address of the internet");
    socket.peer_addr()?.as_socket().ok_or_else(other)
}

/// Whether this process, or the machine, has as many files open as it may.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Sets what every connection has.
pub(crate) fn adjust(config: &TcpConfig, socket: SockRef<'_>) -> io::Result<()> {
    // Messages are gathered before they are sent; to wait for more would only delay them.
    socket.set_tcp_nodelay(true)?;
    match config.not_sent_low_water {
        Some(bytes) => socket.set_tcp_notsent_lowat(bytes),
        None => Ok(()),
    }
}
