//! Files of captured packets (pcap), and the RoCEv2 datagrams in them.

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::packet::{Envelope, IpHeader};

/// A captured frame.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// When, in nanoseconds since 1970.
    pub nanos: u64,
    /// What was captured of it.
    pub bytes: &'a [u8],
    /// Whether more was sent than was captured.
    pub truncated: bool,
}

/// A UDP datagram in a captured frame.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Its addresses, ports and whatever the invariant CRC covers of them.
    pub envelope: Envelope,
    /// Its content.
    pub content: &'a [u8],
}

/// Why a file cannot be read as a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CaptureError {
    /// It does not begin as a pcap file does.
    #[error("not a pcap file (pcapng is not read: `tcpdump -w` and `editcap -F pcap` write pcap)")]
    NotPcap,
    /// Frames of another link layer.
    #[error("link type {link_type}: only Ethernet (1) is read")]
    LinkType {
        /// The number of the link layer.
        link_type: u32,
    },
}

/// The frames of a pcap file. A frame that is cut off by the end of the file ends it.
#[derive(Debug, Clone)]
pub struct Capture<'a> {
    rest: &'a [u8],
    big_endian: bool,
    nanos_per_tick: u64,
}

const FILE_HEADER_BYTES: usize = 24;
const ETHERNET: u32 = 1;

impl<'a> Capture<'a> {
    /// Of the content of a file.
    ///
    /// # Errors
    ///
    /// If it is no pcap file of Ethernet frames.
    pub fn new(file: &'a [u8]) -> Result<Capture<'a>, CaptureError> {
        let (header, rest) = file.split_first_chunk::<FILE_HEADER_BYTES>().ok_or(CaptureError::NotPcap)?;
        let (big_endian, nanos_per_tick) = match header[..4] {
            [0xD4, 0xC3, 0xB2, 0xA1] => (false, 1000),
            [0xA1, 0xB2, 0xC3, 0xD4] => (true, 1000),
            [0x4D, 0x3C, 0xB2, 0xA1] => (false, 1),
            [0xA1, 0xB2, 0x3C, 0x4D] => (true, 1),
            _ => return Err(CaptureError::NotPcap),
        };
        let link_type = word(big_endian, [header[20], header[21], header[22], header[23]]) & 0x0FFF_FFFF;
        if link_type != ETHERNET {
            return Err(CaptureError::LinkType { link_type });
        }
        Ok(Capture { rest, big_endian, nanos_per_tick })
    }
}

fn word(big_endian: bool, bytes: [u8; 4]) -> u32 {
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

impl<'a> Iterator for Capture<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let (header, rest) = self.rest.split_first_chunk::<16>()?;
        let field = |at: usize| word(self.big_endian, [header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (captured, sent) = (field(8), field(12));
        let (bytes, rest) = rest.split_at_checked(captured as usize)?;
        let nanos = u64::from(field(0)) * 1_000_000_000 + u64::from(field(4)) * self.nanos_per_tick;
        self.rest = rest;
        Some(Frame { nanos, bytes, truncated: sent > captured })
    }
}

const VLAN: [u8; 2] = [0x81, 0x00];
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xDD];
const UDP: u8 = 17;

impl<'a> Datagram<'a> {
    /// The UDP datagram in an Ethernet frame; `None` if there is none, or not all of it.
    pub fn in_frame(frame: &'a [u8]) -> Option<Datagram<'a>> {
        let (kind, rest) = frame.get(12..)?.split_first_chunk::<2>()?;
        let (kind, rest) = if *kind == VLAN { rest.get(2..)?.split_first_chunk::<2>()? } else { (kind, rest) };
        match *kind {
            IPV4 => Datagram::in_ipv4(rest),
            IPV6 => Datagram::in_ipv6(rest),
            _ => None,
        }
    }

    /// The UDP datagram in an IPv4 packet; `None` if it has options, is a fragment, or is not all there.
    pub fn in_ipv4(packet: &'a [u8]) -> Option<Datagram<'a>> {
        let (header, _) = packet.split_first_chunk::<20>()?;
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let fragment = half(6);
        if header[0] != 0x45 || header[9] != UDP || fragment & 0x3FFF != 0 {
            return None;
        }
        let ip = IpHeader::V4 {
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]),
            destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
            identification: half(4),
            fragment,
        };
        // Behind the packet the link layer may have filled up its frame.
        Datagram::in_udp(ip, packet.get(20..usize::from(half(2)))?)
    }

    fn in_ipv6(packet: &'a [u8]) -> Option<Datagram<'a>> {
        let (header, rest) = packet.split_first_chunk::<40>()?;
        if header[0] >> 4 != 6 || header[6] != UDP {
            return None;
        }
        let address = |at: usize| {
            let octets: [u8; 16] = header[at..at + 16].try_into().expect("the range is sixteen bytes long");
            Ipv6Addr::from(octets)
        };
        let ip = IpHeader::V6 { source: address(8), destination: address(24) };
        Datagram::in_udp(ip, rest.get(..usize::from(u16::from_be_bytes([header[4], header[5]])))?)
    }

    /// The UDP datagram in the content of an IP packet.
    pub fn in_udp(ip: IpHeader, packet: &'a [u8]) -> Option<Datagram<'a>> {
        let (header, _) = packet.split_first_chunk::<8>()?;
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let content = packet.get(8..usize::from(half(4)))?;
        Some(Datagram { envelope: Envelope { ip, source_port: half(0), destination_port: half(2) }, content })
    }
}
