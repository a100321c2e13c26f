//! Mutual TLS, both sides in memory: good certificates, bad ones, and peers that speak something else.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};

use super::certificates::{Authority, NAME, Worker};
use super::{accept, connect, node};
use crate::{CertificateProblem, HandshakeError, TlsFiles, TlsLink, TlsTrust, Trust};

pub(super) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One connection with what has come out at each end.
pub(super) struct Pair {
    pub(super) connecting: TlsLink,
    pub(super) accepting: TlsLink,
    /// What the connecting side has read, and the accepting one.
    pub(super) read: [Vec<u8>; 2],
    /// Everything that was on the wire.
    wire: Vec<u8>,
}

impl Pair {
    pub(super) fn new(connecting: &TlsTrust, accepting: &TlsTrust) -> Self {
        let connecting = connecting.connect(ADDRESS).unwrap();
        Self { connecting, accepting: accepting.accept(), read: [Vec::new(), Vec::new()], wire: Vec::new() }
    }

    /// Two workers of one authority.
    pub(super) fn good() -> Self {
        let authority = Authority::new();
        let [one, two] = [0, 1].map(|_| Worker::new(&authority.issue(NAME), &authority).trust());
        Self::new(&one, &two)
    }

    /// Hands over in pieces of `step` bytes until nothing moves: the first error of each side, connecting first.
    pub(super) fn run(&mut self, step: usize) -> [Option<HandshakeError>; 2] {
        let mut errors = [None, None];
        loop {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            self.connecting.take_ciphertext(&mut there);
            self.accepting.take_ciphertext(&mut back);
            assert!(!self.connecting.has_ciphertext() && !self.accepting.has_ciphertext());
            if there.is_empty() && back.is_empty() {
                return errors;
            }
            for (link, bytes, end) in [(&mut self.accepting, &there, 1), (&mut self.connecting, &back, 0)] {
                self.wire.extend_from_slice(bytes);
                for part in bytes.chunks(step) {
                    if let Err(error) = link.read(part, &mut self.read[end]) {
                        assert_eq!(link.read(b"more", &mut Vec::new()), Err(error.clone()), "an error is final");
                        errors[end] = errors[end].take().or(Some(error));
                    }
                }
            }
        }
    }

    pub(super) fn is_established(&self) -> [bool; 2] {
        [self.connecting.is_established(), self.accepting.is_established()]
    }
}

/// What both sides say of certificates that one of them does not accept. Nothing that is written gets through.
pub(super) fn refused(connecting: &TlsTrust, accepting: &TlsTrust) -> [HandshakeError; 2] {
    let errors = [1, 9999].map(|step| {
        let mut pair = Pair::new(connecting, accepting);
        let errors = pair.run(step).map(|error| error.expect("both sides hear of it"));
        assert_eq!((pair.is_established(), pair.read), ([false, false], [vec![], vec![]]));
        errors
    });
    let [bytewise, whole] = errors;
    assert_eq!(bytewise, whole);
    assert_eq!(whole.each_ref().map(HandshakeError::metric), ["certificate"; 2]);
    whole
}

fn texts(errors: [HandshakeError; 2]) -> [String; 2] {
    errors.map(|error| error.to_string())
}

#[test]
fn two_workers_of_one_authority_agree_inside_tls_whatever_the_pieces_they_read() {
    for step in [1, 2, 7, 100, 20_000] {
        let authority = Authority::new();
        let [one, two] = [0, 1].map(|_| Worker::new(&authority.issue(NAME), &authority).trust());
        let mut pair = Pair::new(&one, &two);
        assert_eq!(pair.run(step), [None, None]);
        assert_eq!(pair.is_established(), [true, true]);
        let mut connecting = connect(&node(1).with_trust(Trust::Tls(one)), Some(2));
        let mut accepting = accept(&node(2).with_trust(Trust::Tls(two)));
        for _ in 0..2 {
            while let Some(piece) = connecting.poll_transmit() {
                pair.connecting.write(&[IoSlice::new(&piece)]);
            }
            while let Some(piece) = accepting.poll_transmit() {
                pair.accepting.write(&[IoSlice::new(&piece)]);
            }
            assert_eq!(pair.run(step), [None, None]);
            for (end, side) in pair.read.iter_mut().zip([&mut connecting, &mut accepting]) {
                assert_eq!(side.handle_bytes(end), Ok(end.len()));
                end.clear();
            }
        }
        while let Some(piece) = connecting.poll_transmit() {
            pair.connecting.write(&[IoSlice::new(&piece)]);
        }
        pair.run(step);
        accepting.handle_bytes(&pair.read[1]).unwrap();
        assert!(connecting.outcome().is_some() && accepting.outcome().is_some());
    }
}

#[test]
fn what_is_written_arrives_in_order_and_is_not_legible_on_the_way() {
    let mut pair = Pair::good();
    pair.run(5000);
    let text: Vec<u8> = (0..100_000u32).flat_map(|number| format!("{number} legible ").into_bytes()).collect();
    let (one, rest) = text.split_at(3);
    pair.connecting.write(&[IoSlice::new(one), IoSlice::new(&[]), IoSlice::new(rest)]);
    pair.accepting.write(&[IoSlice::new(rest)]);
    assert_eq!(pair.run(5000), [None, None]);
    assert!(pair.read[0] == rest && pair.read[1] == text);
    for sign in [b"legible ".as_slice(), NAME.as_bytes()] {
        assert!(!pair.wire.windows(sign.len()).any(|part| part == sign), "{}", sign.escape_ascii());
    }
}

#[test]
fn an_end_is_told_from_a_cut() {
    let mut pair = Pair::good();
    pair.run(512);
    pair.connecting.write(&[IoSlice::new(b"the last words")]);
    pair.run(512);
    assert!(!pair.accepting.peer_has_closed());
    pair.connecting.close();
    assert_eq!(pair.run(1), [None, None]);
    assert!(pair.accepting.peer_has_closed() && !pair.connecting.peer_has_closed());
    assert_eq!(pair.read[1], b"the last words");
    assert_eq!(pair.accepting.read(b"anything behind the end", &mut Vec::new()), Ok(()));
}

#[test]
fn an_expired_certificate_is_refused_and_both_sides_say_so() {
    let authority = Authority::new();
    let good = Worker::new(&authority.issue(NAME), &authority).trust();
    let expired = Worker::new(&authority.issue_for(NAME, 2001, 2002), &authority).trust();
    let finds = "the peer's certificate has expired: renew it";
    let hears = "the peer refuses this node's certificate: it has expired: renew it";
    assert_eq!(texts(refused(&good, &expired)), [finds, hears]);
    assert_eq!(texts(refused(&expired, &good)), [hears, finds]);
}

#[test]
fn a_certificate_of_the_future_is_refused_and_points_to_the_clocks() {
    let authority = Authority::new();
    let good = Worker::new(&authority.issue(NAME), &authority).trust();
    let early = Worker::new(&authority.issue_for(NAME, 4000, 4001), &authority).trust();
    let finds = "the peer's certificate is not valid yet: compare the clocks of both machines";
    assert_eq!(texts(refused(&good, &early))[0], finds);
    assert_eq!(texts(refused(&early, &good))[1], finds);
}

#[test]
fn a_certificate_of_another_authority_is_refused_and_both_sides_say_so() {
    let (authority, other) = (Authority::new(), Authority::named("another"));
    let good = Worker::new(&authority.issue(NAME), &authority).trust();
    let stranger = Worker::new(&other.issue(NAME), &authority).trust();
    let why = "is signed by nobody in trust.authorities_file of the side that refuses it: both sides have to believe \
               the authority that signs the workers' certificates";
    let (finds, hears) =
        (format!("the peer's certificate {why}"), format!("the peer refuses this node's certificate: it {why}"));
    assert_eq!(texts(refused(&good, &stranger)), [finds.clone(), hears.clone()]);
    assert_eq!(texts(refused(&stranger, &good)), [hears, finds]);
}

#[test]
fn a_certificate_of_an_authority_that_was_made_anew_is_refused_and_both_sides_say_so() {
    let (authority, again) = (Authority::new(), Authority::new());
    let good = Worker::new(&authority.issue(NAME), &authority).trust();
    let stranger = Worker::new(&again.issue(NAME), &authority).trust();
    let why = "has a wrong signature: another authority of the same name has signed it, or it belongs to somebody else";
    let (finds, hears) =
        (format!("the peer's certificate {why}"), format!("the peer refuses this node's certificate: it {why}"));
    assert_eq!(texts(refused(&good, &stranger)), [finds.clone(), hears.clone()]);
    assert_eq!(texts(refused(&stranger, &good)), [hears, finds]);
}

#[test]
fn a_certificate_for_another_name_is_refused_on_both_sides() {
    let authority = Authority::new();
    let good = Worker::new(&authority.issue(NAME), &authority).trust();
    let web = Worker::new(&authority.issue("shop.example"), &authority).trust();
    let finds = "the peer's certificate does not carry the name workers.example: issue it for that name, or set \
                 trust.peer_name to one that all workers' certificates carry";
    let hears = "the peer refuses this node's certificate: it is not accepted: the peer says BadCertificate; its log has \
                 the reason";
    assert_eq!(texts(refused(&good, &web)), [finds, hears]);
    assert_eq!(texts(refused(&web, &good)), [hears, finds], "a client's name counts as well");
}

#[test]
fn without_a_name_for_all_the_address_that_was_asked_for_has_to_be_in_the_certificate() {
    let authority = Authority::new();
    let trust = |address: &str| {
        let worker = Worker::new(&authority.issue(address), &authority);
        TlsTrust::load(TlsFiles { peer_name: None, ..worker.files.clone() }).unwrap()
    };
    let (here, elsewhere) = (trust("127.0.0.1"), trust("10.1.2.3"));
    let mut pair = Pair::new(&elsewhere, &here);
    assert_eq!((pair.run(999), pair.is_established()), ([None, None], [true, true]));
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().into();
    let mut pair = Pair { connecting: here.connect(mapped).unwrap(), ..Pair::new(&here, &here) };
    assert_eq!((pair.run(999), pair.is_established()), ([None, None], [true, true]));
    let [finds, _] = refused(&here, &elsewhere);
    assert_eq!(finds, HandshakeError::Certificate(CertificateProblem::WrongName { expected: "127.0.0.1".into() }));
}

#[test]
fn a_record_that_was_altered_ends_the_link_and_an_alert_tells_the_peer() {
    let mut pair = Pair::good();
    pair.run(999);
    assert!(pair.connecting.read(&[0x17, 3, 3, 0, 3, 1, 2, 3], &mut Vec::new()).is_err());
    assert!(!pair.connecting.is_established() && pair.connecting.has_ciphertext(), "an alert tells the peer");
    let [_, heard] = pair.run(999);
    assert_eq!(heard.unwrap().metric(), "tls");
}
