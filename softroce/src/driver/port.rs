//! The socket of a device: an ordinary one for IPv6, a raw one for IPv4.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::SockRef;

use super::raw::RawPort;
use super::udp::UdpPort;
use crate::packet::Envelope;

/// Where packets come from and go to.
#[derive(Debug)]
pub(crate) enum Port {
    Udp(UdpPort),
    Raw(RawPort),
}

impl Port {
    /// A port at this address; with the port 0 any that is free.
    pub(crate) fn open(address: SocketAddr, buffer_bytes: usize) -> io::Result<Port> {
        match address {
            SocketAddr::V6(address) => UdpPort::open(address, buffer_bytes).map(Port::Udp),
            SocketAddr::V4(address) => RawPort::open(address, buffer_bytes).map(Port::Raw),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Port::Udp(port) => port.address().into(),
            Port::Raw(port) => port.address().into(),
        }
    }

    /// How much the socket can hold for its reader, as the kernel counts.
    pub(crate) fn receive_buffer_bytes(&self) -> io::Result<usize> {
        match self {
            Port::Udp(port) => port.receive_buffer_bytes(),
            Port::Raw(port) => port.receive_buffer_bytes(),
        }
    }

    /// What the CRC of the next packet to this address covers. For each packet it is to be asked once, in the order of
    /// sending.
    pub(super) fn envelope(&mut self, to: SocketAddr) -> Envelope {
        match self {
            Port::Udp(port) => port.envelope(to),
            Port::Raw(port) => port.envelope(to),
        }
    }

    /// How many packets a call can send.
    pub(super) fn batch_packets_max(&self) -> usize {
        match self {
            Port::Udp(port) => port.batch_packets_max(),
            Port::Raw(_) => 1,
        }
    }

    /// Sends packets of `packet_bytes` each; the last may be shorter.
    pub(super) fn send(&mut self, to: SocketAddr, packets: &[u8], packet_bytes: usize) -> io::Result<()> {
        match self {
            Port::Udp(port) => port.send(to, packets, packet_bytes),
            Port::Raw(port) => port.send(to, packets),
        }
    }

    /// Hands what one call of the socket brings to `take`; says whether there may be more.
    pub(super) fn receive(&mut self, take: impl FnMut(Envelope, &[u8])) -> io::Result<bool> {
        match self {
            Port::Udp(port) => port.receive(take),
            Port::Raw(port) => port.receive(take),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Port::Udp(port) => port.as_fd(),
            Port::Raw(port) => port.as_fd(),
        }
    }
}

/// Asks for so much room in a socket, for its reader and for the network: past the system's limits if the process may,
/// else the kernel gives what they allow.
pub(super) fn set_buffers(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        SockRef::from(&socket).set_recv_buffer_size(bytes)?;
    }
    SockRef::from(&socket).set_send_buffer_size(bytes)
}

/// Refuses addresses that stand for all of a machine's: the CRC covers the one that a packet goes to.
pub(super) fn refuse_unspecified(address: IpAddr) -> io::Result<()> {
    if address.is_unspecified() {
        let message = "a device needs one address of its own: the CRC of its packets covers it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}
