//! A UDP socket over IPv6: whatever the CRC covers is known or masked, so no rights are needed.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

// The macro names these two.
use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::SockRef;

use super::port::{refuse_unspecified, set_buffers};
use crate::packet::{Envelope, IpHeader};

sockopt_impl!(
    /// Takes datagrams without a checksum over IPv6. RoCEv2 allows them (the invariant CRC is better), and the kernel's
    /// endpoint and RNICs send nothing else.
    NoCheck6Rx, SetOnly, UDP_LEVEL, UDP_NO_CHECK6_RX, bool);

/// `IPPROTO_UDP` and the option's number in `linux/udp.h`.
const UDP_LEVEL: i32 = 17;
const UDP_NO_CHECK6_RX: i32 = 102;

/// Datagrams that one call can bring, each of them as many as the kernel has put together.
const RECEIVE_BUFFERS: usize = 8;
const RECEIVE_BUFFER_BYTES: usize = 1 << 16;

#[derive(Debug)]
pub(crate) struct UdpPort {
    socket: UdpSocket,
    state: UdpSocketState,
    address: SocketAddrV6,
    received: Vec<u8>,
}

impl UdpPort {
    pub(super) fn open(address: SocketAddrV6, buffer_bytes: usize) -> io::Result<UdpPort> {
        refuse_unspecified((*address.ip()).into())?;
        let socket = UdpSocket::bind(address)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        setsockopt(&socket, NoCheck6Rx, &true)?;
        set_buffers(socket.as_fd(), buffer_bytes)?;
        let SocketAddr::V6(address) = socket.local_addr()? else {
            return Err(io::Error::other("a socket bound to IPv6 has an IPv6 address"));
        };
        Ok(UdpPort { socket, state, address, received: vec![0; RECEIVE_BUFFERS * RECEIVE_BUFFER_BYTES] })
    }

    pub(super) fn address(&self) -> SocketAddrV6 {
        self.address
    }

    pub(super) fn receive_buffer_bytes(&self) -> io::Result<usize> {
        SockRef::from(&self.socket).recv_buffer_size()
    }

    pub(super) fn envelope(&self, to: SocketAddr) -> Envelope {
        let destination = match to.ip() {
            IpAddr::V6(ip) => ip,
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        };
        let ip = IpHeader::V6 { source: *self.address.ip(), destination };
        Envelope { ip, source_port: self.address.port(), destination_port: to.port() }
    }

    pub(super) fn batch_packets_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    pub(super) fn send(&self, to: SocketAddr, packets: &[u8], packet_bytes: usize) -> io::Result<()> {
        let segment_size = (packets.len() > packet_bytes).then_some(packet_bytes);
        let transmit = Transmit { destination: to, ecn: None, contents: packets, segment_size, src_ip: None };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    pub(super) fn receive(&mut self, mut take: impl FnMut(Envelope, &[u8])) -> io::Result<bool> {
        let mut meta = [RecvMeta::default(); RECEIVE_BUFFERS];
        let filled = {
            let mut buffers = self.received.chunks_mut(RECEIVE_BUFFER_BYTES).map(IoSliceMut::new);
            let mut buffers: [IoSliceMut<'_>; RECEIVE_BUFFERS] =
                std::array::from_fn(|_| buffers.next().expect("there is memory for each"));
            self.state.recv(UdpSockRef::from(&self.socket), &mut buffers, &mut meta)?
        };
        for (meta, buffer) in meta[..filled].iter().zip(self.received.chunks(RECEIVE_BUFFER_BYTES)) {
            let SocketAddr::V6(source) = meta.addr else { continue };
            let ip = IpHeader::V6 { source: *source.ip(), destination: *self.address.ip() };
            let (source_port, destination_port) = (source.port(), self.address.port());
            let envelope = Envelope { ip, source_port, destination_port };
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                take(envelope, datagram);
            }
            if meta.len == 0 {
                // An empty datagram has no chunks.
                take(envelope, &[]);
            }
        }
        Ok(filled == RECEIVE_BUFFERS)
    }
}

impl AsFd for UdpPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
