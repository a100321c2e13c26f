//! Peers that cannot prove who they are: both sides say why, count it, and tell nothing of a secret.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sluice_handshake::{MAGIC, SharedSecret, TlsFiles, TlsTrust, Trust};
use sluice_plugin::{Address, CloseCause, Transport, TransportEvent};
use sluice_transport_tcp::{Engine, TcpConfig};

use crate::certificates::{Authority, Folder, GOOD, Issued, LOOPBACK};
use crate::observed::{Observed, observe};
use crate::stage::{Worker, config, engines, wish};

const OURS: &[u8] = b"0123456789abcdef known to all of us";
const THEIRS: &[u8] = b"fedcba9876543210 known to all of them";

fn secret(bytes: &[u8]) -> Trust {
    Trust::Secret(SharedSecret::from_bytes(bytes).expect("long enough"))
}

fn tls(issued: &Issued, authority: &Authority) -> Trust {
    let folder = Folder::of(issued, authority);
    // The folder goes, the certificates stay.
    Trust::Tls(TlsTrust::load(folder.files()).expect("good files"))
}

/// The trust of a good worker.
fn good_tls() -> Trust {
    let authority = Authority::new();
    tls(&authority.issue(LOOPBACK, GOOD), &authority)
}

/// Why there is no link, as both sides say it.
struct Ends {
    accepting: String,
    connecting: String,
    seen: Observed,
}

impl Ends {
    /// Both sides have counted it, for this reason, and logged what they say.
    fn assert_seen(&self, reason: &str) {
        let Self { accepting, connecting, seen } = self;
        assert_eq!(seen.refused("accepting", reason), 1, "{accepting}");
        assert_eq!(seen.refused("connecting", reason), 1, "{connecting}");
        for (side, text) in [("accepting", accepting), ("connecting", connecting)] {
            let logged = |line: &str| line.contains("WARN") && line.contains(side) && line.contains(reason);
            let line = seen.log.lines().find(|line| logged(line));
            let line = line.unwrap_or_else(|| panic!("no line of {side} about {reason}: {}", seen.log));
            assert!(line.contains(text) && line.contains("peer=127.0.0.1:"), "{line}");
        }
    }
}

fn text_of(event: Option<TransportEvent>) -> Option<String> {
    match event? {
        TransportEvent::Closed { cause: CloseCause::Refused { text, .. }, .. } => Some(text),
        event => panic!("a refusal was due, not {event:?}"),
    }
}

/// Lets one worker connect to the other, until both have given up.
fn meet(engine: Engine, accepting: Trust, connecting: Trust) -> Ends {
    let of = |node, trust| Worker::new(node, TcpConfig { trust, ..config(engine) });
    let (texts, seen) = observe(|| {
        let (mut accepting, mut connecting) = (of(1, accepting), of(2, connecting));
        let link = wish(accepting.transport.address().clone());
        connecting.transport.connect(connecting.now, link);
        let (mut accepting_says, mut connecting_says) = (None, None);
        while accepting_says.is_none() || connecting_says.is_none() {
            accepting.turn_with(&mut connecting);
            accepting_says = accepting_says.or_else(|| text_of(accepting.events.pop_front()));
            connecting_says = connecting_says.or_else(|| text_of(connecting.events.pop_front()));
        }
        accepting_says.zip(connecting_says)
    });
    let (accepting, connecting) = texts.expect("both have said something");
    Ends { accepting, connecting, seen }
}

#[test]
fn a_wrong_secret_is_named_on_both_sides_and_neither_secret_is() {
    for engine in engines() {
        let ends = meet(engine, secret(OURS), secret(THEIRS));
        ends.assert_seen("secret");
        assert!(ends.accepting.contains("shared secret") && ends.connecting.contains("shared secret"));
        for secret in [OURS, THEIRS] {
            let secret = std::str::from_utf8(secret).expect("text");
            for text in [&ends.accepting, &ends.connecting, &ends.seen.log] {
                assert!(!text.contains(secret) && !text.contains(&secret[..16]), "{text}");
            }
        }
    }
}

#[test]
fn a_secret_at_one_side_only_is_refused() {
    for engine in engines() {
        for (accepting, connecting) in [(secret(OURS), Trust::Off), (Trust::Off, secret(OURS))] {
            let ends = meet(engine, accepting, connecting);
            ends.assert_seen("trust_mode");
            assert!(ends.accepting.contains("trust.mode") && ends.connecting.contains("trust.mode"));
        }
    }
}

#[test]
fn a_plain_client_on_a_tls_port_hears_that_tls_is_spoken_there() {
    for engine in engines() {
        for plain in [Trust::Off, secret(OURS)] {
            let ends = meet(engine, good_tls(), plain);
            ends.assert_seen("wants_tls");
            assert!(ends.connecting.contains("trust.mode = \"tls\""), "{}", ends.connecting);
        }
    }
}

#[test]
fn a_tls_client_on_a_plain_port_hears_that_none_is_spoken_there() {
    for engine in engines() {
        for plain in [Trust::Off, secret(OURS)] {
            let ends = meet(engine, plain, good_tls());
            ends.assert_seen("no_tls");
            assert!(ends.connecting.contains("trust.mode"), "{}", ends.connecting);
        }
    }
}

/// Two workers of one authority, of which one shows this certificate.
fn meet_with(engine: Engine, bad: impl Fn(&Authority) -> Trust, bad_accepts: bool) -> Ends {
    let authority = Authority::new();
    let good = tls(&authority.issue(LOOPBACK, GOOD), &authority);
    let bad = bad(&authority);
    let (accepting, connecting) = if bad_accepts { (bad, good) } else { (good, bad) };
    let ends = meet(engine, accepting, connecting);
    ends.assert_seen("certificate");
    ends
}

#[test]
fn an_expired_certificate_is_refused_whoever_shows_it() {
    for engine in engines() {
        for accepts in [true, false] {
            let expired = |authority: &Authority| tls(&authority.issue(LOOPBACK, 2000..2001), authority);
            let ends = meet_with(engine, expired, accepts);
            assert!(ends.accepting.contains("expired") && ends.connecting.contains("expired"));
        }
    }
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_whoever_shows_it() {
    for engine in engines() {
        for accepts in [true, false] {
            let stranger = |authority: &Authority| tls(&Authority::new().issue(LOOPBACK, GOOD), authority);
            let ends = meet_with(engine, stranger, accepts);
            assert!(ends.accepting.contains("authority") && ends.connecting.contains("authority"));
        }
    }
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    for engine in engines() {
        let elsewhere = |authority: &Authority| tls(&authority.issue("127.0.0.9", GOOD), authority);
        let ends = meet_with(engine, elsewhere, true);
        assert!(ends.connecting.contains("127.0.0.1"), "{}", ends.connecting);
    }
}

#[test]
fn with_a_name_for_all_workers_a_client_of_another_name_is_refused() {
    for engine in engines() {
        let authority = Authority::new();
        let named = |name| {
            let folder = Folder::of(&authority.issue(name, GOOD), &authority);
            let files = TlsFiles { peer_name: Some("worker.sluice".into()), ..folder.files() };
            Trust::Tls(TlsTrust::load(files).expect("good files"))
        };
        meet(engine, named("worker.sluice"), named("printer.sluice")).assert_seen("certificate");
    }
}

/// TLS as a worker speaks it, but without a certificate to show: what it hears.
fn speak_without_certificate(address: &str, authority: CertificateDer<'static>) -> String {
    let mut authorities = RootCertStore::empty();
    authorities.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(authorities);
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols.push(b"sluice/1".to_vec());
    let name = LOOPBACK.try_into().expect("an address");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut socket = TcpStream::connect(address).expect("connects");
    let heard = rustls::Stream::new(&mut client, &mut socket).read(&mut [0; 1]);
    heard.expect_err("nothing is said to strangers").to_string()
}

#[test]
fn a_tls_client_without_a_certificate_is_refused() {
    for engine in engines() {
        let authority = Authority::new();
        let trust = tls(&authority.issue(LOOPBACK, GOOD), &authority);
        let ((cause, heard), seen) = observe(|| {
            let mut worker = Worker::new(1, TcpConfig { trust, ..config(engine) });
            let (address, authority) = (worker.transport.address().0.clone(), authority.certificate.der().clone());
            let client = thread::spawn(move || speak_without_certificate(&address, authority));
            (worker.closed(), client.join().expect("no panic"))
        });
        let text = cause.to_string();
        assert!(text.contains("certificate is missing"), "{text}");
        assert!(heard.contains("CertificateRequired"), "{heard}");
        assert_eq!(seen.refused("accepting", "certificate"), 1);
    }
}

/// What the side that began a connection has said, and the other.
type Said = (Vec<u8>, Vec<u8>);

/// Passes on what two peers say, and keeps it.
fn listen_in(there: &str) -> (Address, thread::JoinHandle<Said>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = Address(listener.local_addr().expect("bound").to_string());
    let there = there.to_owned();
    let listening = thread::spawn(move || {
        let (near, _) = listener.accept().expect("somebody comes");
        let far = TcpStream::connect(there).expect("connects");
        let back = (far.try_clone().expect("a socket"), near.try_clone().expect("a socket"));
        let back = thread::spawn(move || pass_on(back.0, back.1));
        (pass_on(near, far), back.join().expect("no panic"))
    });
    (address, listening)
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) -> Vec<u8> {
    let (mut said, mut bytes) = (Vec::new(), [0; 4096]);
    // Who is gone says no more, and hears no more.
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        said.extend_from_slice(&bytes[..length]);
        let _ = to.write_all(&bytes[..length]);
    }
    let _ = to.shutdown(Shutdown::Write);
    said
}

/// A worker, and what a good peer of it and the worker have said to each other.
fn overheard(config: &TcpConfig) -> (Worker, Said) {
    let (mut worker, mut peer) = (Worker::new(1, config.clone()), Worker::new(2, config.clone()));
    let (address, listening) = listen_in(&worker.transport.address().0);
    let link = peer.transport.connect(peer.now, wish(address));
    while !matches!(peer.events.pop_front(), Some(TransportEvent::Connected { .. })) {
        peer.turn_with(&mut worker);
    }
    peer.transport.close(link);
    while !matches!(worker.events.back(), Some(TransportEvent::Closed { .. })) {
        worker.turn_with(&mut peer);
    }
    worker.events.clear();
    drop(peer);
    (worker, listening.join().expect("no panic"))
}

#[test]
fn what_a_good_peer_has_said_is_worth_nothing_to_who_repeats_it() {
    for engine in engines() {
        for (trust, reason) in [(secret(OURS), "secret"), (good_tls(), "tls")] {
            let (mut worker, (said, _)) = overheard(&TcpConfig { trust, ..config(engine) });
            let (cause, seen) = observe(|| {
                let mut repeater = worker.knock();
                repeater.write_all(&said).expect("fits the socket");
                repeater.shutdown(Shutdown::Write).expect("connected");
                worker.closed()
            });
            assert!(matches!(cause, CloseCause::Refused { .. }), "{cause:?}");
            assert_eq!(seen.refused("accepting", reason), 1, "{cause}");
        }
    }
}

#[test]
fn a_secret_is_never_on_the_wire_and_under_tls_nothing_that_can_be_read_is() {
    let holds = |said: &[u8], text: &[u8]| said.windows(text.len()).any(|window| window == text);
    for engine in engines() {
        let (_, (asked, answered)) = overheard(&TcpConfig { trust: secret(OURS), ..config(engine) });
        for said in [&asked, &answered] {
            assert!(holds(said, &MAGIC) && !holds(said, &OURS[..8]));
        }
        let (_, (asked, answered)) = overheard(&TcpConfig { trust: good_tls(), ..config(engine) });
        for said in [&asked, &answered] {
            assert!(!said.is_empty() && !holds(said, &MAGIC));
        }
    }
}
