//! A raw socket over IPv4: the CRC covers the identification in the IP header, which no UDP socket shows or sets.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{RecvFlags, SendFlags, recv, sendto};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::port::{refuse_unspecified, set_buffers};
use crate::capture::Datagram;
use crate::packet::{Envelope, IpHeader};

const IP_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
const UDP: u8 = 17;
const HOPS: u8 = 64;
/// Not to be cut: a fragment has no CRC of its own.
const DO_NOT_FRAGMENT: u16 = 0x4000;
/// Datagrams that one call of `receive` takes.
const RECEIVED_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct RawPort {
    socket: Socket,
    /// Holds the port, and keeps the kernel from answering that nobody listens there. Nothing is read from it.
    _holder: UdpSocket,
    address: SocketAddrV4,
    /// The identification of the next packet that gets a CRC.
    identification: u16,
    /// The identification of the next packet that is sent: packets are sent in the order that they got one.
    sending: u16,
    packet: Vec<u8>,
    received: Vec<u8>,
}

impl RawPort {
    pub(super) fn open(address: SocketAddrV4, buffer_bytes: usize) -> io::Result<RawPort> {
        refuse_unspecified((*address.ip()).into())?;
        let holder = UdpSocket::bind(address)?;
        SockRef::from(&holder).set_recv_buffer_size(1)?;
        let SocketAddr::V4(address) = holder.local_addr()? else {
            return Err(io::Error::other("a socket bound to IPv4 has an IPv4 address"));
        };
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
        socket.set_header_included_v4(true)?;
        socket.set_nonblocking(true)?;
        set_buffers(socket.as_fd(), buffer_bytes)?;
        socket.bind(&SocketAddr::from((*address.ip(), 0)).into())?;
        let (packet, received) = (Vec::new(), vec![0; 1 << 16]);
        Ok(RawPort { socket, _holder: holder, address, identification: 1, sending: 1, packet, received })
    }

    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(super) fn receive_buffer_bytes(&self) -> io::Result<usize> {
        self.socket.recv_buffer_size()
    }

    pub(super) fn envelope(&mut self, to: SocketAddr) -> Envelope {
        let identification = self.identification;
        self.identification = next_identification(identification);
        self.envelope_of(to, identification)
    }

    fn envelope_of(&self, to: SocketAddr, identification: u16) -> Envelope {
        let destination = match to {
            SocketAddr::V4(to) => *to.ip(),
            SocketAddr::V6(to) => to.ip().to_ipv4_mapped().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
        };
        let ip = IpHeader::V4 { source: *self.address.ip(), destination, identification, fragment: DO_NOT_FRAGMENT };
        Envelope { ip, source_port: self.address.port(), destination_port: to.port() }
    }

    pub(super) fn send(&mut self, to: SocketAddr, content: &[u8]) -> io::Result<()> {
        let Envelope { ip, source_port, destination_port } = self.envelope_of(to, self.sending);
        let IpHeader::V4 { source, destination, identification, fragment } = ip else {
            return Err(io::Error::other("an IPv4 port makes IPv4 headers"));
        };
        let udp_bytes = UDP_HEADER_BYTES + content.len();
        self.packet.clear();
        self.packet.extend_from_slice(&[0x45, 0]);
        self.packet.extend_from_slice(&((IP_HEADER_BYTES + udp_bytes) as u16).to_be_bytes());
        self.packet.extend_from_slice(&identification.to_be_bytes());
        self.packet.extend_from_slice(&fragment.to_be_bytes());
        // The kernel fills in the header's checksum.
        self.packet.extend_from_slice(&[HOPS, UDP, 0, 0]);
        self.packet.extend_from_slice(&source.octets());
        self.packet.extend_from_slice(&destination.octets());
        self.packet.extend_from_slice(&source_port.to_be_bytes());
        self.packet.extend_from_slice(&destination_port.to_be_bytes());
        self.packet.extend_from_slice(&(udp_bytes as u16).to_be_bytes());
        // No checksum of UDP, as the kernel's endpoint: the CRC covers more.
        self.packet.extend_from_slice(&[0, 0]);
        self.packet.extend_from_slice(content);
        let sent = sendto(&self.socket, &self.packet, SendFlags::empty(), &SocketAddrV4::new(destination, 0));
        if sent != Err(rustix::io::Errno::AGAIN) {
            // Sent or lost; one that waits is sent again as it is.
            self.sending = next_identification(self.sending);
        }
        sent.map(|_bytes| ()).map_err(io::Error::from)
    }

    pub(super) fn receive(&mut self, mut take: impl FnMut(Envelope, &[u8])) -> io::Result<bool> {
        for datagrams in 0..RECEIVED_MAX {
            let bytes = match recv(&self.socket, &mut self.received[..], RecvFlags::empty()) {
                Ok((bytes, _)) => bytes,
                Err(rustix::io::Errno::AGAIN) if datagrams > 0 => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            // The socket sees every UDP datagram to its address.
            if let Some(Datagram { envelope, content }) = Datagram::in_ipv4(&self.received[..bytes])
                && envelope.destination_port == self.address.port()
            {
                take(envelope, content);
            }
        }
        Ok(true)
    }
}

/// Zero would be filled in by the kernel.
fn next_identification(identification: u16) -> u16 {
    identification.checked_add(1).unwrap_or(1)
}

impl AsFd for RawPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
