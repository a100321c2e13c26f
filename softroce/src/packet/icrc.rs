//! The invariant CRC: covers all that no router may change, from the IP header to the last byte of the payload.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crc_fast::{CrcAlgorithm, Digest};

use super::header::BTH_BYTES;

/// The bytes of the invariant CRC.
pub const ICRC_BYTES: usize = 4;

const UDP: u8 = 17;
const UDP_HEADER_BYTES: usize = 8;

/// What the invariant CRC covers of the headers in front of the base transport header (IBTA vol. 1, annex A17).
///
/// What routers change is masked out: traffic class, flow label and hop limit; or type of service, time to live and
/// header checksum; and the checksum of UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The IP header.
    pub ip: IpHeader,
    /// The UDP port that the packet comes from.
    pub source_port: u16,
    /// The UDP port that the packet goes to.
    pub destination_port: u16,
}

/// An IP header as far as it is invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpHeader {
    /// IPv4 without options.
    V4 {
        /// Whom the packet is from.
        source: Ipv4Addr,
        /// Whom it is for.
        destination: Ipv4Addr,
        /// The identification. No UDP socket shows it, hence IPv4 takes a raw one.
        identification: u16,
        /// The three flags and the offset of the fragment, as they stand in the header.
        fragment: u16,
    },
    /// IPv6 without extension headers.
    V6 {
        /// Whom the packet is from.
        source: Ipv6Addr,
        /// Whom it is for.
        destination: Ipv6Addr,
    },
}

impl IpHeader {
    /// Whom the packet is from.
    pub fn source(&self) -> IpAddr {
        match *self {
            IpHeader::V4 { source, .. } => IpAddr::V4(source),
            IpHeader::V6 { source, .. } => IpAddr::V6(source),
        }
    }

    /// Whom the packet is for.
    pub fn destination(&self) -> IpAddr {
        match *self {
            IpHeader::V4 { destination, .. } => IpAddr::V4(destination),
            IpHeader::V6 { destination, .. } => IpAddr::V6(destination),
        }
    }
}

impl Envelope {
    /// The CRC of a packet, from its base transport header to its padding. The bytes of the result stand on the wire as
    /// they stand here.
    ///
    /// # Panics
    ///
    /// If `packet` is shorter than a base transport header.
    pub fn icrc(&self, packet: &[u8]) -> [u8; ICRC_BYTES] {
        let (base, rest) = packet.split_first_chunk::<BTH_BYTES>().expect("a packet begins with its base header");
        let mut base = *base;
        // The byte that holds the congestion bits.
        base[4] = 0xFF;
        let mut covered = Covered::new();
        // In place of InfiniBand's local route header, which Ethernet has not.
        covered.push(&[0xFF; 8]);
        self.cover(packet.len() + ICRC_BYTES, &mut covered);
        covered.push(&base);
        let mut digest = Digest::new(CrcAlgorithm::Crc32IsoHdlc);
        digest.update(covered.bytes());
        digest.update(rest);
        (digest.finalize() as u32).to_le_bytes()
    }

    /// Whether the last four bytes of a datagram's content are the CRC of what is in front of them.
    pub fn verify(&self, datagram: &[u8]) -> bool {
        match datagram.split_last_chunk::<ICRC_BYTES>() {
            Some((packet, icrc)) if packet.len() >= BTH_BYTES => self.icrc(packet) == *icrc,
            _ => false,
        }
    }

    /// The headers in front of a datagram's content, masked.
    fn cover(&self, content_bytes: usize, covered: &mut Covered) {
        let udp_bytes = (UDP_HEADER_BYTES + content_bytes) as u16;
        match self.ip {
            IpHeader::V4 { source, destination, identification, fragment } => {
                covered.push(&[0x45, 0xFF]);
                covered.push(&(20 + udp_bytes).to_be_bytes());
                covered.push(&identification.to_be_bytes());
                covered.push(&fragment.to_be_bytes());
                covered.push(&[0xFF, UDP, 0xFF, 0xFF]);
                covered.push(&source.octets());
                covered.push(&destination.octets());
            }
            IpHeader::V6 { source, destination } => {
                covered.push(&[0x6F, 0xFF, 0xFF, 0xFF]);
                covered.push(&udp_bytes.to_be_bytes());
                covered.push(&[UDP, 0xFF]);
                covered.push(&source.octets());
                covered.push(&destination.octets());
            }
        }
        covered.push(&self.source_port.to_be_bytes());
        covered.push(&self.destination_port.to_be_bytes());
        covered.push(&udp_bytes.to_be_bytes());
        covered.push(&[0xFF, 0xFF]);
    }
}

/// The masked headers in one piece: one call of the CRC for all of them.
struct Covered {
    bytes: [u8; 8 + 40 + UDP_HEADER_BYTES + BTH_BYTES],
    filled: usize,
}

impl Covered {
    fn new() -> Covered {
        Covered { bytes: [0; 8 + 40 + UDP_HEADER_BYTES + BTH_BYTES], filled: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.filled..][..bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}
