//! Packets that the Linux kernel's `rdma_rxe` has sent, captured on the wire: its invariant CRCs against a routine that
//! shares nothing with the crate's, and the crate's against the same packets.
//!
//! `captures/` was written by `testbed/capture`: each kind of packet of the reliable connection, between two kernel endpoints,
//! over IPv4 and IPv6.

use std::fs;
use std::path::PathBuf;

use sluice_softroce::capture::{Capture, Datagram};
use sluice_softroce::packet::{Opcode, Packet, ParseError, ROCE_PORT};

/// The files with their names.
fn captures() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let entries = fs::read_dir(folder).expect("the captures are part of the repository");
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read(entry.path()).expect("a capture can be read"))
    };
    let files = entries.map(|entry| entry.expect("the folder can be read"));
    files.filter(|file| file.path().extension().is_some_and(|kind| kind == "pcap")).map(read).collect()
}

/// The frames of a file that go to the port of RoCEv2.
fn roce_frames(file: &[u8]) -> Vec<&[u8]> {
    let frames = Capture::new(file).expect("tcpdump has written it").map(|frame| frame.bytes);
    let to_roce = |frame: &&[u8]| {
        Datagram::in_frame(frame).is_some_and(|datagram| datagram.envelope.destination_port == ROCE_PORT)
    };
    frames.filter(to_roce).collect()
}

/// The invariant CRC of an Ethernet frame, bit by bit, from the frame alone: it masks a copy of what is on the wire
/// where the crate builds headers from fields.
fn icrc_bit_by_bit(frame: &[u8]) -> [u8; 4] {
    let ip_at = 14;
    let mut masked = frame[ip_at..frame.len() - 4].to_vec();
    let udp_at = match masked[0] >> 4 {
        4 => {
            for at in [1, 8, 10, 11] {
                masked[at] = 0xFF;
            }
            20
        }
        _ => {
            masked[0] |= 0x0F;
            for at in [1, 2, 3, 7] {
                masked[at] = 0xFF;
            }
            40
        }
    };
    for at in [udp_at + 6, udp_at + 7, udp_at + 8 + 4] {
        masked[at] = 0xFF;
    }
    let mut remainder = u32::MAX;
    for byte in [0xFF; 8].into_iter().chain(masked) {
        for bit in 0..8 {
            let out = remainder & 1 ^ u32::from(byte >> bit & 1);
            remainder = remainder >> 1 ^ if out == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    (!remainder).to_le_bytes()
}

#[test]
fn the_kernels_crcs_are_right_by_an_independent_routine() {
    for (name, file) in captures() {
        let frames = roce_frames(&file);
        assert!(frames.len() >= 10, "{name} has {} packets", frames.len());
        for frame in frames {
            assert_eq!(frame[frame.len() - 4..], icrc_bit_by_bit(frame), "{name}");
        }
    }
}

#[test]
fn the_kernels_crcs_are_right_by_ours() {
    for (name, file) in captures() {
        for frame in roce_frames(&file) {
            let Datagram { envelope, content } = Datagram::in_frame(frame).expect("roce_frames chose it");
            assert!(envelope.verify(content), "{name}");
        }
    }
}

#[test]
fn a_bit_that_flips_anywhere_under_the_crc_is_noticed() {
    let (_, file) = captures().pop().expect("there are captures");
    let frame = roce_frames(&file)[0];
    let Datagram { envelope, content } = Datagram::in_frame(frame).expect("roce_frames chose it");
    for bit in (0..content.len() * 8).filter(|bit| bit / 8 != 4) {
        let mut damaged = content.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(!envelope.verify(&damaged), "bit {bit}");
    }
}

#[test]
fn every_packet_of_the_kernel_is_understood_and_written_back_as_it_was() {
    let mut kinds = Vec::new();
    for (name, file) in captures() {
        for frame in roce_frames(&file) {
            let content = Datagram::in_frame(frame).expect("roce_frames chose it").content;
            let packet = match Packet::parse(content) {
                Ok(packet) => packet,
                // The connection manager's datagrams.
                Err(ParseError::Class { .. }) => continue,
                Err(error) => panic!("{name}: {error}"),
            };
            kinds.push(packet.base().opcode);
            let mut written = Vec::new();
            packet.headers.append_to(&mut written);
            written.extend_from_slice(packet.payload);
            written.resize(content.len() - 4, 0);
            // The kernel leaves the bit of the migration state clear.
            written[1] &= !0x40;
            assert_eq!(written, content[..content.len() - 4], "{name}");
        }
    }
    let has = |wanted: fn(&Opcode) -> bool| kinds.iter().any(wanted);
    assert!(has(|kind| matches!(kind, Opcode::Send(_))));
    assert!(has(|kind| matches!(kind, Opcode::Write(_))));
    assert!(has(|kind| matches!(kind, Opcode::ReadRequest)));
    assert!(has(|kind| matches!(kind, Opcode::ReadResponse(_))));
    assert!(has(|kind| matches!(kind, Opcode::Acknowledge)));
}
