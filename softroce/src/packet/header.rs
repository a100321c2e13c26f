//! The headers between UDP and the payload, and their bytes.

use std::fmt;

use super::{Opcode, Psn, Syndrome};

/// The bytes of the base transport header.
pub const BTH_BYTES: usize = 12;
/// The bytes of the RDMA extended transport header.
pub const RETH_BYTES: usize = 16;
/// The bytes of the acknowledge extended transport header.
pub const AETH_BYTES: usize = 4;
/// The bytes of an immediate value.
pub const IMMEDIATE_BYTES: usize = 4;

/// The partition that every port is a full member of.
pub const DEFAULT_PARTITION: u16 = 0xFFFF;

/// The number of a queue pair on its device: 24 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct QueuePairNumber(u32);

impl QueuePairNumber {
    /// The number with the lowest 24 bits of `value`.
    pub const fn new(value: u32) -> QueuePairNumber {
        QueuePairNumber(value & 0x00FF_FFFF)
    }

    /// The number, below 2^24.
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for QueuePairNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#08x}", self.0)
    }
}

impl fmt::Display for QueuePairNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#08x}", self.0)
    }
}

/// The key of a memory region: says which region is meant, and proves that its owner gave it away.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key(pub u32);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// The base transport header (IBTA vol. 1, 9.2), without what is the same in all packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseHeader {
    /// What the packet is.
    pub opcode: Opcode,
    /// Whether the receiver of the message is to be woken (the solicited event).
    pub solicited: bool,
    /// How many bytes after the payload only fill its last word: 0 to 3.
    pub padding: u8,
    /// The key of the partition.
    pub partition: u16,
    /// Whom the packet is for.
    pub destination: QueuePairNumber,
    /// Whether the responder is asked to acknowledge.
    pub acknowledge: bool,
    /// The number of the packet.
    pub psn: Psn,
}

/// Where in the responder's memory to read or write (IBTA vol. 1, 9.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RdmaHeader {
    /// The virtual address of the first byte.
    pub address: u64,
    /// The key of the region.
    pub key: Key,
    /// The bytes of the whole message.
    pub length: u32,
}

/// What a responder says of requests (IBTA vol. 1, 9.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcknowledgeHeader {
    /// Whether they were executed.
    pub syndrome: Syndrome,
    /// How many messages the responder has completed, modulo 2^24.
    pub messages: u32,
}

/// All headers of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// The base header.
    pub base: BaseHeader,
    /// There if [`Opcode::has_reth`].
    pub rdma: Option<RdmaHeader>,
    /// There if [`Opcode::has_aeth`].
    pub acknowledge: Option<AcknowledgeHeader>,
    /// There if [`Opcode::has_immediate`].
    pub immediate: Option<u32>,
}

impl Headers {
    /// Headers with none of the extensions.
    pub const fn new(base: BaseHeader) -> Headers {
        Headers { base, rdma: None, acknowledge: None, immediate: None }
    }

    /// The same packet with a place to read or write.
    pub const fn with_rdma(self, rdma: RdmaHeader) -> Headers {
        Headers { rdma: Some(rdma), ..self }
    }

    /// The same packet with an answer.
    pub const fn with_acknowledge(self, acknowledge: AcknowledgeHeader) -> Headers {
        Headers { acknowledge: Some(acknowledge), ..self }
    }

    /// The same packet with an immediate value.
    pub const fn with_immediate(self, immediate: u32) -> Headers {
        Headers { immediate: Some(immediate), ..self }
    }

    /// Appends the headers to `buffer`. The payload, its padding and the invariant CRC are to follow.
    ///
    /// # Panics
    ///
    /// If an extension is there that the opcode has not, or the other way round: such a packet says something else than
    /// its writer meant.
    pub fn append_to(&self, buffer: &mut Vec<u8>) {
        let opcode = self.base.opcode;
        let extensions = (self.rdma.is_some(), self.acknowledge.is_some(), self.immediate.is_some());
        assert_eq!(extensions, (opcode.has_reth(), opcode.has_aeth(), opcode.has_immediate()), "{opcode:?}");
        self.base.append_to(buffer);
        if let Some(rdma) = &self.rdma {
            buffer.extend_from_slice(&rdma.address.to_be_bytes());
            buffer.extend_from_slice(&rdma.key.0.to_be_bytes());
            buffer.extend_from_slice(&rdma.length.to_be_bytes());
        }
        if let Some(AcknowledgeHeader { syndrome, messages }) = self.acknowledge {
            buffer.extend_from_slice(&(u32::from(syndrome.code()) << 24 | messages & 0x00FF_FFFF).to_be_bytes());
        }
        if let Some(immediate) = self.immediate {
            buffer.extend_from_slice(&immediate.to_be_bytes());
        }
    }
}

/// Alternate paths are not used, so a path is always in the state "migrated" (IBTA vol. 1, 17.2.8).
const MIGRATED: u8 = 0x40;
const SOLICITED: u8 = 0x80;
const ACKNOWLEDGE: u32 = 1 << 31;

impl BaseHeader {
    fn append_to(&self, buffer: &mut Vec<u8>) {
        let flags = if self.solicited { SOLICITED } else { 0 } | MIGRATED | (self.padding & 3) << 4;
        buffer.extend_from_slice(&[self.opcode.code(), flags]);
        buffer.extend_from_slice(&self.partition.to_be_bytes());
        buffer.extend_from_slice(&self.destination.value().to_be_bytes());
        let acknowledge = if self.acknowledge { ACKNOWLEDGE } else { 0 };
        buffer.extend_from_slice(&(acknowledge | self.psn.value()).to_be_bytes());
    }

    /// Of the bytes of a packet of the right class and version.
    pub(super) fn read(bytes: &[u8; BTH_BYTES]) -> BaseHeader {
        let [code, flags, p0, p1, _reserved, q0, q1, q2, acknowledge, s0, s1, s2] = *bytes;
        BaseHeader {
            opcode: Opcode::from_code(code),
            solicited: flags & SOLICITED != 0,
            padding: flags >> 4 & 3,
            partition: u16::from_be_bytes([p0, p1]),
            destination: QueuePairNumber::new(u32::from_be_bytes([0, q0, q1, q2])),
            acknowledge: acknowledge & 0x80 != 0,
            psn: Psn::new(u32::from_be_bytes([0, s0, s1, s2])),
        }
    }
}
