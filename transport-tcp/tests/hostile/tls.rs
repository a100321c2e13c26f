//! What a peer may do to a worker that speaks TLS, before it is known and after.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::Duration;

use sluice_handshake::{Handshake, LocalNode, Nonce, TlsLink, TlsTrust, Trust};
use sluice_plugin::CloseCause;
use sluice_protocol::{Lane, LinkEpoch, NodeId, ReasonCode};
use sluice_transport_tcp::TcpConfig;

use crate::certificates::{Authority, Folder, GOOD, LOOPBACK};
use crate::observed::observe;
use crate::stage::{Neighbours, engines, setup};

fn trust() -> TlsTrust {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(LOOPBACK, GOOD), &authority);
    TlsTrust::load(folder.files()).expect("good files")
}

/// A good worker, a good neighbour of it, and what both trust, on each engine.
fn on_each_engine(rule: impl Fn(&mut Neighbours, &TlsTrust)) {
    for engine in engines() {
        let trust = trust();
        let config = TcpConfig { trust: Trust::Tls(trust.clone()), ..crate::stage::config(engine) };
        let mut stage = Neighbours::new(config);
        rule(&mut stage, &trust);
        stage.assert_alive();
    }
}

/// A bare socket and its TLS.
struct Peer {
    socket: TcpStream,
    tls: TlsLink,
}

impl Peer {
    /// Shows its certificate.
    fn established(stage: &mut Neighbours, trust: &TlsTrust) -> Self {
        let socket = stage.worker.knock();
        let tls = trust.connect(IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("an address");
        let mut peer = Self { socket, tls };
        while !peer.tls.is_established() {
            peer.transmit();
            stage.worker.turn();
            peer.hear();
        }
        peer.transmit();
        peer
    }

    /// Introduces itself as node 7 as well.
    fn introduced(stage: &mut Neighbours, trust: &TlsTrust) -> Self {
        let mut peer = Self::established(stage, trust);
        let (setup, _) = setup(7);
        let local = LocalNode::new(setup.node, setup.incarnation, setup.cluster, setup.limits).expect("a node");
        let local = local.with_trust(Trust::Tls(trust.clone()));
        let mut hello = Handshake::connect(&local, Some(NodeId(1)), 70, LinkEpoch(1), Lane(0), Nonce([7; 32]));
        peer.say(&hello.poll_transmit().expect("a hello"));
        while hello.outcome().is_none() {
            stage.worker.turn();
            let answer = peer.hear();
            assert_eq!(hello.handle_bytes(&answer), Ok(answer.len()));
        }
        peer.say(&hello.poll_transmit().expect("Ready"));
        stage.worker.accepted();
        peer
    }

    fn say(&mut self, plaintext: &[u8]) {
        self.tls.write(&[std::io::IoSlice::new(plaintext)]);
        self.transmit();
    }

    fn transmit(&mut self) {
        let mut ciphertext = Vec::new();
        self.tls.take_ciphertext(&mut ciphertext);
        self.socket.write_all(&ciphertext).expect("fits the socket");
    }

    /// What has come in the meantime.
    fn hear(&mut self) -> Vec<u8> {
        let (mut ciphertext, mut plaintext) = ([0; 16 << 10], Vec::new());
        self.socket.set_nonblocking(true).expect("a socket");
        if let Ok(bytes) = self.socket.read(&mut ciphertext) {
            self.tls.read(&ciphertext[..bytes], &mut plaintext).expect("the worker speaks TLS");
        }
        self.socket.set_nonblocking(false).expect("a socket");
        plaintext
    }
}

#[test]
fn who_shows_a_certificate_and_says_no_hello_has_no_more_time_than_others() {
    on_each_engine(|stage, trust| {
        let begun = stage.worker.now;
        let mut peer = Peer::established(stage, trust);
        stage.worker.now = begun.after(Duration::from_secs(2));
        peer.say(b"S");
        stage.worker.turn();
        stage.worker.skip_to_timeout();
        assert_eq!(stage.worker.now.since(begun), Duration::from_secs(3));
        let cause = stage.worker.closed();
        assert!(matches!(cause, CloseCause::Refused { code: ReasonCode::Silent, .. }), "{cause:?}");
    });
}

#[test]
fn random_bytes_on_a_tls_port_close_only_their_own_link() {
    on_each_engine(|stage, _| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20 {
            let mut peer = stage.worker.knock();
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            let bytes: Vec<u8> = [22, 3, 1, 1, 200].into_iter().chain((0..500).map(|_| random())).collect();
            peer.write_all(&bytes).expect("fits the socket");
            drop(peer);
            let cause = stage.worker.closed();
            assert!(matches!(cause, CloseCause::Refused { .. }), "{cause:?}");
        }
    });
}

#[test]
fn a_hello_of_tls_that_does_not_end_is_not_waited_for() {
    on_each_engine(|stage, _| {
        let ((), seen) = observe(|| {
            let mut peer = stage.worker.knock();
            // A record of 16 KiB that begins a message of 16 MiB, and more of them.
            let mut record = vec![0; 5 + (16 << 10)];
            record[..9].copy_from_slice(&[22, 3, 1, 64, 0, 1, 0xff, 0xff, 0xff]);
            peer.set_nonblocking(true).expect("a socket");
            let mut sent = 0;
            while stage.worker.events.is_empty() {
                sent += peer.write(&record).unwrap_or(0);
                stage.worker.poll();
            }
            assert!(sent < 1 << 20, "{sent}");
            assert!(matches!(stage.worker.closed(), CloseCause::Refused { .. }));
        });
        assert_eq!(seen.refused("accepting", "tls"), 1);
    });
}

#[test]
fn who_was_refused_is_not_listened_to_for_long() {
    on_each_engine(|stage, _| {
        // A plain hello, where TLS is spoken: there is something to tell the peer. It goes on speaking.
        let mut peer = stage.worker.knock();
        let babble: Vec<u8> = sluice_handshake::MAGIC.into_iter().chain([0; 60_000]).collect();
        peer.set_nonblocking(true).expect("a socket");
        while stage.worker.events.is_empty() {
            let _ = peer.write(&babble);
            stage.worker.poll();
        }
        assert!(matches!(stage.worker.closed(), CloseCause::Refused { code: ReasonCode::Violation, .. }));
    });
}

#[test]
fn a_record_that_was_altered_on_the_way_closes_a_running_link() {
    on_each_engine(|stage, trust| {
        let mut peer = Peer::introduced(stage, trust);
        peer.tls.write(&[std::io::IoSlice::new(b"SLUM")]);
        let mut ciphertext = Vec::new();
        peer.tls.take_ciphertext(&mut ciphertext);
        *ciphertext.last_mut().expect("a record") ^= 1;
        peer.socket.write_all(&ciphertext).expect("fits the socket");
        let cause = stage.worker.closed();
        assert!(matches!(cause, CloseCause::Io { operation: "decryption", .. }), "{cause:?}");
    });
}

#[test]
fn a_link_that_is_cut_and_one_that_is_closed_are_over() {
    on_each_engine(|stage, trust| {
        let peer = Peer::introduced(stage, trust);
        drop(peer);
        assert!(matches!(stage.worker.closed(), CloseCause::PeerClosed));
        let mut peer = Peer::introduced(stage, trust);
        peer.tls.close();
        peer.transmit();
        // The socket is still there.
        assert!(matches!(stage.worker.closed(), CloseCause::PeerClosed));
    });
}
