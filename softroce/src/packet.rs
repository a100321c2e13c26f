//! The packets of RoCEv2: headers, payload and invariant CRC inside a UDP datagram.
//!
//! ```text
//! UDP │ base transport header │ extensions, by opcode │ payload │ padding 0–3 │ invariant CRC
//!     │          12           │   RETH 16, AETH 4,    │         │             │      4
//!     │                       │   immediate 4         │         │             │
//! ```

mod header;
mod icrc;
mod opcode;
mod psn;
mod syndrome;

pub use header::{
    AETH_BYTES, AcknowledgeHeader, BTH_BYTES, BaseHeader, DEFAULT_PARTITION, Headers, IMMEDIATE_BYTES, Key,
    QueuePairNumber, RETH_BYTES, RdmaHeader,
};
pub use icrc::{Envelope, ICRC_BYTES, IpHeader};
pub use opcode::{Opcode, Position};
pub use psn::Psn;
pub use syndrome::{Nak, RnrTimer, Syndrome};

use thiserror::Error;

/// The UDP port of RoCEv2.
pub const ROCE_PORT: u16 = 4791;

/// The most bytes of headers, padding and CRC around a payload.
pub const OVERHEAD_BYTES_MAX: usize = BTH_BYTES + RETH_BYTES + IMMEDIATE_BYTES + 3 + ICRC_BYTES;

/// A packet as it stands in a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// All headers.
    pub headers: Headers,
    /// What is carried, without its padding.
    pub payload: &'a [u8],
}

/// Why a datagram is no packet of a reliable connection. Such a datagram is dropped without an answer
/// (IBTA vol. 1, 9.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The headers that its opcode asks for, the padding or the CRC have no room in it.
    #[error("{bytes} bytes are too few for this packet: it needs {needed}")]
    Short {
        /// The bytes there are.
        bytes: usize,
        /// The fewest that it could have.
        needed: usize,
    },
    /// All parts of a packet are words of four bytes.
    #[error("{bytes} bytes are no multiple of four")]
    Unaligned {
        /// The bytes there are.
        bytes: usize,
    },
    /// The version of the transport header; there is only 0.
    #[error("version {version} of the transport header")]
    Version {
        /// The version it has.
        version: u8,
    },
    /// A packet of another service than the reliable connection.
    #[error("opcode {code:#04x} is not of the reliable connection class")]
    Class {
        /// The code it has.
        code: u8,
    },
}

impl<'a> Packet<'a> {
    /// Reads the content of a datagram, CRC included; does not check the CRC ([`Envelope::verify`] does).
    ///
    /// # Errors
    ///
    /// If it is no packet of a reliable connection.
    pub fn parse(datagram: &'a [u8]) -> Result<Packet<'a>, ParseError> {
        let bytes = datagram.len();
        let short = |needed| ParseError::Short { bytes, needed };
        let minimum = BTH_BYTES + ICRC_BYTES;
        let (packet, _icrc) = datagram.split_last_chunk::<ICRC_BYTES>().ok_or(short(minimum))?;
        let (first, mut rest) = packet.split_first_chunk::<BTH_BYTES>().ok_or(short(minimum))?;
        if !bytes.is_multiple_of(4) {
            return Err(ParseError::Unaligned { bytes });
        }
        let version = first[1] & 0x0F;
        if version != 0 {
            return Err(ParseError::Version { version });
        }
        if first[0] & opcode::CLASS_MASK != 0 {
            return Err(ParseError::Class { code: first[0] });
        }
        let base = BaseHeader::read(first);
        let needed = minimum + extension_bytes(base.opcode) + usize::from(base.padding);
        if bytes < needed {
            return Err(short(needed));
        }
        let mut headers = Headers::new(base);
        if base.opcode.has_reth() {
            let address = u64::from_be_bytes(take(&mut rest));
            let key = Key(u32::from_be_bytes(take(&mut rest)));
            headers.rdma = Some(RdmaHeader { address, key, length: u32::from_be_bytes(take(&mut rest)) });
        }
        if base.opcode.has_aeth() {
            let [syndrome, m0, m1, m2] = take(&mut rest);
            let messages = u32::from_be_bytes([0, m0, m1, m2]);
            headers.acknowledge = Some(AcknowledgeHeader { syndrome: Syndrome::from_code(syndrome), messages });
        }
        if base.opcode.has_immediate() {
            headers.immediate = Some(u32::from_be_bytes(take(&mut rest)));
        }
        Ok(Packet { headers, payload: &rest[..rest.len() - usize::from(base.padding)] })
    }

    /// The base header.
    pub fn base(&self) -> &BaseHeader {
        &self.headers.base
    }
}

fn extension_bytes(opcode: Opcode) -> usize {
    let reth = if opcode.has_reth() { RETH_BYTES } else { 0 };
    let aeth = if opcode.has_aeth() { AETH_BYTES } else { 0 };
    reth + aeth + if opcode.has_immediate() { IMMEDIATE_BYTES } else { 0 }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, left) = rest.split_first_chunk::<N>().expect("parse compared the length with what the opcode needs");
    *rest = left;
    *taken
}

/// The bytes that fill the last word of a payload: 0 to 3.
pub const fn padding_of(payload_bytes: usize) -> u8 {
    (payload_bytes.wrapping_neg() & 3) as u8
}

/// Appends the invariant CRC to the packet that begins at `start` in `buffer` and ends with it, padding included.
pub fn seal(envelope: &Envelope, buffer: &mut Vec<u8>, start: usize) {
    let icrc = envelope.icrc(&buffer[start..]);
    buffer.extend_from_slice(&icrc);
}
