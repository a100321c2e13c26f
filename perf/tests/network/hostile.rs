//! Strangers at the data port while a shuffle runs.

use std::io::{Read, Write};
use std::net::TcpStream;

use sluice_core::{Delivery, ShuffleEnvironment};

use crate::stage::{consume, engines, gate, location, partition, produce, start};

/// Says these bytes to a worker's data port and listens until it hangs up.
fn say(worker: &ShuffleEnvironment, bytes: &[u8]) -> Vec<u8> {
    let mut stranger = TcpStream::connect(&worker.location().address.0).expect("the port is open");
    // It may hang up in the middle.
    let _ = stranger.write_all(bytes);
    let _ = stranger.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stranger.read_to_end(&mut answer);
    answer
}

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A piece of the handshake with this version, length and kind; its checksum is right.
fn piece(version: u16, length: u16, kind: u8) -> Vec<u8> {
    let mut bytes = b"SLUH\0\0\0\0".to_vec();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[kind, 1]);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.resize(usize::from(length).clamp(16, 512), 0);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[8..]) as u32;
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn strangers_at_the_data_port_do_not_disturb_a_shuffle() {
    for engine in engines() {
        let (here, there) = (start(1, engine), start(2, engine));
        let writer = here.create_writer(partition(1), 1).expect("there is memory");
        let mut gate = gate(&there, vec![location(&here, 1)]);
        std::thread::scope(|scope| {
            scope.spawn(move || produce(writer, 1000));
            let strangers = scope.spawn(|| {
                for seed in 0..20 {
                    say(&here, &random(seed, 300 + 100 * seed as usize));
                    say(&there, &random(seed, 10));
                }
                say(&here, b"GET / HTTP/1.1\r\n\r\n");
                say(&here, b"");
                say(&here, b"SLUH");
                for length in [0, 15, 16, 513, u16::MAX] {
                    say(&here, &piece(1, length, 1));
                }
                for kind in [0, 2, 3, 9] {
                    say(&here, &piece(1, 64, kind));
                }
            });
            strangers.join().expect("they have had their say");
            assert_eq!(consume(&mut gate), Ok(vec![1000]));
        });
        for worker in [here, there] {
            worker.stop();
            assert_eq!(worker.memory_statistics().outstanding_bytes, 0);
        }
    }
}

#[test]
fn a_peer_of_another_version_is_told_so_in_a_form_that_it_can_read() {
    for engine in engines() {
        let worker = start(1, engine);
        for version in [0, 2, 77, u16::MAX] {
            let answer = say(&worker, &piece(version, 120, 1));
            assert!(answer.starts_with(b"SLUH"), "{:?}", answer.escape_ascii().to_string());
            let text = String::from_utf8_lossy(&answer);
            assert!(text.contains("version"), "{text}");
        }
    }
}

/// Strangers that say nothing hold places of their own and no others.
#[test]
fn silent_strangers_do_not_keep_a_peer_out() {
    for engine in engines() {
        let (here, there) = (start(1, engine), start(2, engine));
        let address = here.location().address.0;
        let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(&address).expect("the port is open")).collect();
        let mut writer = here.create_writer(partition(1), 1).expect("there is memory");
        writer.write(0, b"x").expect("it is written");
        writer.flush().expect("there is memory");
        let mut gate = gate(&there, vec![location(&here, 1)]);
        assert!(matches!(gate.read(), Some(Ok(Delivery::Buffer { .. }))));
        drop(silent);
    }
}
