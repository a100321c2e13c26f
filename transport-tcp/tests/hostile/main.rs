//! What a peer may do to a worker: its own link closes with a reason, and nobody else notices.

#[path = "../certificates/mod.rs"]
mod certificates;
mod flood;
mod observed;
mod refused;
mod reload;
mod stage;
mod tls;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use sluice_memory::SizeClass;
use sluice_plugin::{CloseCause, Message, Payload, Transport, TransportEvent};
use sluice_protocol::wire::{Backlog, Block, DecodeError, Frame, HeadBuilder, Placement};
use sluice_protocol::{ChannelId, LinkEpoch, ReasonCode};
use sluice_transport_tcp::{Engine, Tcp, TcpConfig};

use stage::{Neighbours, Worker, config, engines, head, setup};

/// A peer that has introduced itself sends these bytes: what closes its link.
fn cause_of(bytes: &[u8]) -> Vec<DecodeError> {
    let on_engine = |engine| {
        let mut stage = Neighbours::new(config(engine));
        let (mut peer, _) = stage.worker.introduced();
        peer.write_all(bytes).expect("fits the socket");
        let cause = stage.worker.closed();
        stage.assert_alive();
        match cause {
            CloseCause::Decode(error) => error,
            cause => panic!("closed with {cause:?}"),
        }
    };
    engines().into_iter().map(on_engine).collect()
}

fn data_head(bytes: u32) -> Vec<u8> {
    let mut head = HeadBuilder::new(Vec::new());
    let block = Block { sequence: 0, length: bytes, crc: 0, codec: 0, backlog: Backlog::default() };
    head.push(&Frame::Data(ChannelId(1), block, Placement::Body));
    head.finish(LinkEpoch(1), 1, 0, false)
}

#[test]
fn who_speaks_something_else_is_told_apart_at_its_first_bytes() {
    for engine in engines() {
        let mut stage = Neighbours::new(config(engine));
        let mut peer = stage.worker.knock();
        peer.write_all(b"GET / HTTP/1.1\r\nHost: sluice\r\n\r\n").expect("fits the socket");
        match stage.worker.closed() {
            CloseCause::Refused { text, .. } => assert!(text.contains("not a Sluice port"), "{text}"),
            cause => panic!("closed with {cause:?}"),
        }
        stage.assert_alive();
    }
}

#[test]
fn random_bytes_close_only_their_own_link() {
    for engine in engines() {
        let mut stage = Neighbours::new(config(engine));
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20 {
            let mut peer = stage.worker.knock();
            let bytes: Vec<u8> = (0..500)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            // The worker may have hung up in the middle.
            let _ = peer.write_all(&bytes);
            let cause = stage.worker.closed();
            assert!(matches!(cause, CloseCause::Refused { .. }), "{cause:?}");
        }
        stage.assert_alive();
    }
}

#[test]
fn a_peer_that_falls_silent_in_its_hello_is_closed_at_its_deadline() {
    for engine in engines() {
        let mut stage = Neighbours::new(config(engine));
        let mut peer = stage.worker.knock();
        peer.write_all(&sluice_handshake::MAGIC[..2]).expect("fits the socket");
        stage.worker.turn();
        let begun = stage.worker.now;
        stage.worker.skip_to_timeout();
        assert_eq!(stage.worker.now.since(begun), Duration::from_secs(3));
        let cause = stage.worker.closed();
        assert!(matches!(cause, CloseCause::Refused { code: ReasonCode::Silent, .. }), "{cause:?}");
        assert_eq!(stage.worker.transport.poll_timeout(), None);
        assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0, "hung up");
        stage.assert_alive();
    }
}

#[test]
fn a_wrong_magic_behind_the_hello_closes_the_link() {
    let mut bytes = head();
    bytes[0] ^= 1;
    for cause in cause_of(&bytes) {
        assert!(matches!(cause, DecodeError::Magic { .. }), "{cause:?}");
    }
}

#[test]
fn an_altered_bit_of_a_frame_closes_the_link() {
    let mut bytes = head();
    *bytes.last_mut().expect("a head has frames") ^= 1;
    for cause in cause_of(&bytes) {
        assert!(matches!(cause, DecodeError::Checksum { part: "frames", .. }), "{cause:?}");
    }
}

#[test]
fn an_altered_length_is_noticed_before_it_is_used() {
    let mut bytes = head();
    bytes[12] ^= 1;
    // Nothing comes behind it: who believed the length would wait.
    for cause in cause_of(&bytes) {
        assert!(matches!(cause, DecodeError::Checksum { part: "prefix", .. }), "{cause:?}");
    }
}

#[test]
fn a_message_over_the_agreed_size_closes_the_link() {
    for cause in cause_of(&data_head(10 << 20)) {
        assert!(matches!(cause, DecodeError::Limit { what: "bodies", .. }), "{cause:?}");
    }
}

#[test]
fn a_peer_killed_in_mid_message_returns_what_was_posted() {
    for engine in engines() {
        let mut stage = Neighbours::new(config(engine));
        let (mut peer, link) = stage.worker.introduced();
        let buffer = stage.worker.pool.try_acquire(SizeClass::MAX).expect("the arena is empty");
        stage.worker.transport.post_receive(link, ChannelId(1), buffer);
        peer.write_all(&data_head(100_000)).expect("fits the socket");
        peer.write_all(&[1; 30_000]).expect("fits the socket");
        stage.worker.turn();
        assert!(stage.worker.pool.in_use_bytes() > 0);
        drop(peer);
        let cause = stage.worker.closed();
        assert!(matches!(cause, CloseCause::PeerClosed), "{cause:?}");
        stage.worker.poll();
        assert_eq!(stage.worker.pool.in_use_bytes(), 0);
        stage.assert_alive();
    }
}

#[test]
fn a_peer_that_takes_nothing_does_not_hold_up_a_close_for_longer_than_its_deadline() {
    for engine in engines() {
        let mut stage = Neighbours::new(config(engine));
        let (_peer, link) = stage.worker.introduced();
        let worker = &mut stage.worker;
        let buffer = worker.pool.try_acquire(SizeClass::MAX).expect("the arena is empty").freeze();
        loop {
            let payloads = vec![Payload { buffer: buffer.clone(), slot: None }];
            if worker.transport.send(link, Message { head: head(), payloads }).is_err() {
                break;
            }
        }
        drop(buffer);
        worker.transport.close(link);
        worker.poll();
        let begun = worker.now;
        worker.skip_to_timeout();
        assert_eq!(worker.now.since(begun), TcpConfig::default().close_timeout);
        let closed = worker.next();
        assert!(matches!(closed, TransportEvent::Closed { cause: CloseCause::Local, .. }), "{closed:?}");
        assert_eq!(worker.pool.in_use_bytes(), 0);
        stage.assert_alive();
    }
}

#[test]
fn a_port_in_use_is_named_together_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("bound").to_string();
    let tcp = Tcp::new(TcpConfig { listen: address.clone(), ..TcpConfig::default() });
    let error = tcp.build_tcp(setup(1).0).err().expect("the port is taken").to_string();
    assert!(error.contains(&address) && error.contains("another port"), "{error}");
}

#[test]
fn an_address_that_nobody_can_connect_to_is_not_told_to_peers() {
    let listen = "0.0.0.0:0".to_owned();
    let tcp = Tcp::new(TcpConfig { listen: listen.clone(), ..TcpConfig::default() });
    let error = tcp.build_tcp(setup(1).0).err().expect("no address for peers").to_string();
    assert!(error.contains("advertise"), "{error}");

    let advertise = Some("127.0.0.1:0".to_owned());
    let worker = Worker::new(1, TcpConfig { listen, advertise, ..TcpConfig::default() });
    assert!(worker.transport.address().0.starts_with("127.0.0.1:"), "{}", worker.transport.address());
    assert!(!worker.transport.address().0.ends_with(":0"));
}

#[test]
fn the_engine_is_io_uring_where_the_host_has_it_and_can_be_asked_for() {
    let tcp = Tcp::default();
    assert_eq!(tcp.engine_in_use(), None);
    let transport = tcp.build_tcp(setup(1).0).expect("builds on every host");
    let expected = if sluice_uring::probe().is_ok() { Engine::IoUring } else { Engine::Epoll };
    assert_eq!((transport.engine(), tcp.engine_in_use()), (expected, Some(expected)));
}
