//! The parser against bytes that no honest sender wrote, and against packets of every shape. Under `cargo test` each
//! target runs briefly; `cargo bolero test` fuzzes it for as long as one likes.

use std::net::{Ipv4Addr, Ipv6Addr};

use bolero::{TypeGenerator, check};
use sluice_softroce::capture::{Capture, Datagram};
use sluice_softroce::packet::{
    AcknowledgeHeader, BaseHeader, Envelope, Headers, IpHeader, Key, Opcode, Packet, ParseError, Position, Psn,
    QueuePairNumber, RdmaHeader, Syndrome, padding_of, seal,
};

/// A packet of any kind, with whatever numbers.
#[derive(Debug, TypeGenerator)]
struct AnyPacket {
    kind: u8,
    flags: [bool; 2],
    numbers: [u32; 8],
    payload: Vec<u8>,
    ipv6: bool,
}

const OPCODES: [Opcode; 18] = [
    Opcode::Send(Position::First),
    Opcode::Send(Position::Middle),
    Opcode::Send(Position::Last),
    Opcode::SendImmediate(Position::Last),
    Opcode::Send(Position::Only),
    Opcode::SendImmediate(Position::Only),
    Opcode::Write(Position::First),
    Opcode::Write(Position::Middle),
    Opcode::Write(Position::Last),
    Opcode::WriteImmediate(Position::Last),
    Opcode::Write(Position::Only),
    Opcode::WriteImmediate(Position::Only),
    Opcode::ReadRequest,
    Opcode::ReadResponse(Position::First),
    Opcode::ReadResponse(Position::Middle),
    Opcode::ReadResponse(Position::Last),
    Opcode::ReadResponse(Position::Only),
    Opcode::Acknowledge,
];

impl AnyPacket {
    fn headers(&self) -> Headers {
        let [partition, destination, psn, a, b, key, length, messages] = self.numbers;
        let opcode = OPCODES[usize::from(self.kind) % OPCODES.len()];
        let mut headers = Headers::new(BaseHeader {
            opcode,
            solicited: self.flags[0],
            padding: padding_of(self.payload.len()),
            partition: partition as u16,
            destination: QueuePairNumber::new(destination),
            acknowledge: self.flags[1],
            psn: Psn::new(psn),
        });
        if opcode.has_reth() {
            let address = u64::from(a) << 32 | u64::from(b);
            headers = headers.with_rdma(RdmaHeader { address, key: Key(key), length });
        }
        if opcode.has_aeth() {
            let syndrome = Syndrome::from_code(a as u8);
            headers = headers.with_acknowledge(AcknowledgeHeader { syndrome, messages: messages & 0x00FF_FFFF });
        }
        if opcode.has_immediate() {
            headers = headers.with_immediate(b);
        }
        headers
    }

    fn envelope(&self) -> Envelope {
        let [a, b, c, ..] = self.numbers;
        let ip = if self.ipv6 {
            let address = |n: u32| Ipv6Addr::from(u128::from(n) << 96 | 7);
            IpHeader::V6 { source: address(a), destination: address(b) }
        } else {
            let (source, destination) = (Ipv4Addr::from(a), Ipv4Addr::from(b));
            IpHeader::V4 { source, destination, identification: c as u16, fragment: 0x4000 }
        };
        Envelope { ip, source_port: a as u16, destination_port: b as u16 }
    }

    fn written(&self) -> Vec<u8> {
        let mut written = Vec::new();
        self.headers().append_to(&mut written);
        written.extend_from_slice(&self.payload);
        written.resize(written.len() + usize::from(padding_of(self.payload.len())), 0);
        seal(&self.envelope(), &mut written, 0);
        written
    }
}

#[test]
fn any_bytes_are_a_packet_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        if let Ok(packet) = Packet::parse(bytes) {
            assert!(packet.payload.len() < bytes.len());
        }
    });
}

#[test]
fn what_was_written_is_read_as_it_was() {
    check!().with_type::<AnyPacket>().for_each(|any| {
        let written = any.written();
        assert!(any.envelope().verify(&written));
        let packet = Packet::parse(&written).expect("it was written as a packet");
        assert_eq!((packet.headers, packet.payload), (any.headers(), &any.payload[..]));
    });
}

#[test]
fn a_packet_that_ends_early_is_refused() {
    check!().with_type::<(AnyPacket, u16)>().for_each(|(any, cut)| {
        let mut written = any.written();
        written.truncate(usize::from(*cut) % written.len());
        // What is left can be a shorter packet, but never one that passes for whole.
        assert!(!any.envelope().verify(&written) || written.len() < 16);
        let _ = Packet::parse(&written);
    });
}

#[test]
fn the_crc_covers_addresses_and_ports() {
    check!().with_type::<(AnyPacket, u8)>().for_each(|(any, which)| {
        let mut other = any.envelope();
        match (which % 4, &mut other.ip) {
            (0, _) => other.source_port ^= 1,
            (1, _) => other.destination_port ^= 0x100,
            (2, IpHeader::V4 { identification, .. }) => *identification ^= 1,
            (_, IpHeader::V4 { source, .. }) => *source = Ipv4Addr::from(u32::from(*source) ^ 1),
            (_, IpHeader::V6 { destination, .. }) => *destination = Ipv6Addr::from(u128::from(*destination) ^ 1),
        }
        assert!(!other.verify(&any.written()));
    });
}

#[test]
fn any_bytes_are_a_capture_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        let _ = Datagram::in_frame(bytes);
        let mut file = vec![0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
        file.extend_from_slice(bytes);
        assert!(Capture::new(&file).expect("the header is right").count() <= bytes.len() / 16);
    });
}

/// A sound packet without payload, to be spoilt.
fn acknowledgement() -> Vec<u8> {
    let base = BaseHeader {
        opcode: Opcode::Acknowledge,
        solicited: false,
        padding: 0,
        partition: 0xFFFF,
        destination: QueuePairNumber::new(17),
        acknowledge: false,
        psn: Psn::new(5),
    };
    let mut packet = Vec::new();
    Headers::new(base)
        .with_acknowledge(AcknowledgeHeader { syndrome: Syndrome::ACK, messages: 1 })
        .append_to(&mut packet);
    packet.resize(packet.len() + 4, 0);
    packet
}

#[test]
fn a_packet_of_another_version_or_class_is_refused_by_name() {
    let mut version = acknowledgement();
    version[1] |= 3;
    assert_eq!(Packet::parse(&version), Err(ParseError::Version { version: 3 }));
    let mut class = acknowledgement();
    class[0] = 0x64;
    assert_eq!(Packet::parse(&class), Err(ParseError::Class { code: 0x64 }));
}

#[test]
fn a_length_that_no_packet_has_is_refused_by_name() {
    let sound = acknowledgement();
    assert_eq!(Packet::parse(&sound[..16]), Err(ParseError::Short { bytes: 16, needed: 20 }));
    assert_eq!(Packet::parse(&sound[..3]), Err(ParseError::Short { bytes: 3, needed: 16 }));
    assert_eq!(Packet::parse(&sound[..19]), Err(ParseError::Unaligned { bytes: 19 }));
    let mut padded = sound;
    padded[1] |= 3 << 4;
    assert_eq!(Packet::parse(&padded), Err(ParseError::Short { bytes: 20, needed: 23 }));
}
