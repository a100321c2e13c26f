//! Peers of a TLS port, and of a plain one, that speak something else, too much, or what another has said.

use std::io::IoSlice;
use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::certificates::{Authority, Issued, NAME, Worker};
use super::tls::{ADDRESS, Pair};
use super::{accept, connect, node};
use crate::{CertificateProblem, HANDSHAKE_BYTES_MAX, HandshakeError, RefusalCode};

/// A client that is no Sluice worker, and what the accepting side makes of it.
fn stranger(authority: &Authority, shows: Option<&Issued>, alpn: &[&[u8]]) -> HandshakeError {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shows {
        None => config.with_no_client_auth(),
        Some(issued) => {
            let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(NAME).unwrap()).unwrap();
    let mut accepting = Worker::new(&authority.issue(NAME), authority).trust().accept();
    loop {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there).unwrap();
        }
        assert!(!there.is_empty(), "the accepting side was content");
        if let Err(error) = accepting.read(&there, &mut Vec::new()) {
            assert!(!accepting.is_established());
            return error;
        }
        accepting.take_ciphertext(&mut back);
        client.read_tls(&mut back.as_slice()).unwrap();
        let _ = client.process_new_packets();
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let error = stranger(&Authority::new(), None, &[b"sluice/1"]);
    assert_eq!(error, HandshakeError::Certificate(CertificateProblem::Missing));
    let text = "the peer's certificate is missing: set trust.certificate_file and trust.key_file";
    assert_eq!((error.to_string().as_str(), error.metric()), (text, "certificate"));
}

#[test]
fn a_program_with_a_good_certificate_that_is_no_worker_is_refused() {
    let authority = Authority::new();
    let issued = authority.issue(NAME);
    for alpn in [&[][..], &[b"h2".as_slice()]] {
        let error = stranger(&authority, Some(&issued), alpn);
        assert_eq!((&error, error.metric()), (&HandshakeError::NotWorker, "not_sluice"));
    }
}

#[test]
fn a_plain_client_on_a_tls_port_is_refused_with_a_reason_on_both_sides() {
    let authority = Authority::new();
    for step in [1, 3, 512] {
        let mut accepting = Worker::new(&authority.issue(NAME), &authority).trust().accept();
        let mut plain = connect(&node(1), None);
        let question = plain.poll_transmit().unwrap();
        let mut read = Vec::new();
        let error = question.chunks(step).find_map(|part| accepting.read(part, &mut read).err()).unwrap();
        assert_eq!((&error, error.metric(), read.len()), (&HandshakeError::WantsTls, "wants_tls", 0));
        let text = "this node speaks TLS and the peer does not: set trust.mode = \"tls\" at the peer";
        assert_eq!(error.to_string(), text);
        let mut answer = Vec::new();
        accepting.take_ciphertext(&mut answer);
        assert!(!accepting.has_ciphertext());
        let told = plain.handle_bytes(&answer).unwrap_err();
        assert_eq!(told, HandshakeError::Refused { code: RefusalCode::WantsTls, text: text.into() });
        assert_eq!(told.metric(), "wants_tls");
    }
}

#[test]
fn a_tls_client_on_a_plain_port_is_refused_with_a_reason_on_both_sides() {
    let authority = Authority::new();
    for step in [1, 3, 9999] {
        let mut connecting = Worker::new(&authority.issue(NAME), &authority).trust().connect(ADDRESS).unwrap();
        let mut plain = accept(&node(2));
        let mut hello = Vec::new();
        connecting.take_ciphertext(&mut hello);
        let error = hello.chunks(step).find_map(|part| plain.handle_bytes(part).err()).unwrap();
        assert_eq!((&error, error.metric()), (&HandshakeError::NoTls, "no_tls"));
        let text = "the peer speaks TLS and this node does not: set trust.mode to the same on both";
        assert_eq!(error.to_string(), text);
        let (answer, mut read) = (plain.poll_transmit().unwrap(), Vec::new());
        let told = answer.chunks(step).find_map(|part| connecting.read(part, &mut read).err()).unwrap();
        assert_eq!(told, HandshakeError::Refused { code: RefusalCode::NoTls, text: text.into() });
        assert_eq!((told.metric(), connecting.has_ciphertext()), ("no_tls", false), "a plain peer gets no alert");
    }
}

#[test]
fn another_protocol_on_a_tls_port_is_refused_and_not_answered() {
    let authority = Authority::new();
    let trust = Worker::new(&authority.issue(NAME), &authority).trust();
    for garbage in [&b"GET / HTTP/1.1\r\n"[..], b"\0", b"SSH-2.0-x"] {
        let mut accepting = trust.accept();
        let error = accepting.read(garbage, &mut Vec::new()).unwrap_err();
        assert_eq!((error.metric(), accepting.has_ciphertext()), ("not_sluice", false), "{error}");
    }
}

#[test]
fn what_a_peer_sends_before_it_has_shown_its_certificate_is_bounded() {
    let authority = Authority::new();
    let mut accepting = Worker::new(&authority.issue(NAME), &authority).trust().accept();
    // A hello of 65279 bytes, one byte in each record.
    let hello = [1, 0, 0xfe, 0xff].into_iter().chain(std::iter::repeat_n(0, 0xfeff));
    let mut sent = 0;
    let error = hello.map(|byte| [0x16, 3, 3, 0, 1, byte]).find_map(|record| {
        sent += record.len();
        accepting.read(&record, &mut Vec::new()).err()
    });
    assert_eq!(error.unwrap(), HandshakeError::TlsTooLong);
    assert!(sent < HANDSHAKE_BYTES_MAX + 6, "{sent}");
}

#[test]
fn a_handshake_that_was_recorded_is_worth_nothing_the_second_time() {
    let authority = Authority::new();
    let [one, two] = [0, 1].map(|_| Worker::new(&authority.issue(NAME), &authority).trust());
    let (mut connecting, mut accepting) = (one.connect(ADDRESS).unwrap(), two.accept());
    let (mut recorded, mut read) = (Vec::new(), Vec::new());
    while !(connecting.is_established() && accepting.is_established()) {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        connecting.take_ciphertext(&mut there);
        accepting.read(&there, &mut read).unwrap();
        recorded.extend_from_slice(&there);
        accepting.take_ciphertext(&mut back);
        connecting.read(&back, &mut read).unwrap();
    }
    let mut again = two.accept();
    let error = again.read(&recorded, &mut read).unwrap_err();
    assert_eq!((error.metric(), again.is_established(), read.len()), ("tls", false, 0), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_never_panic_and_never_establish(
        bytes in prop::collection::vec(any::<u8>(), 0..2000), kind in 0u8..3, step in 1usize..400,
    ) {
        let mut bytes = bytes;
        if kind > 0 && bytes.len() > 8 {
            let length = bytes.len() as u16 - 5;
            bytes[..5].copy_from_slice(&[0x16, 3, 3, (length >> 8) as u8, length as u8]);
            // A client's hello, or a server's.
            bytes[5] = kind;
            bytes[6] = 0;
        }
        let pair = Pair::good();
        for mut link in [pair.connecting, pair.accepting] {
            let mut read = Vec::new();
            let _ = bytes.chunks(step).find_map(|part| link.read(part, &mut read).err());
            link.take_ciphertext(&mut Vec::new());
            prop_assert!(!link.is_established() && read.is_empty());
        }
    }

    #[test]
    fn only_what_was_written_is_read_whatever_is_altered_on_the_way(at in 0usize..3500, by in 1u8..=255, end in 0..2usize) {
        let (mut pair, text) = (Pair::good(), b"only what was written".repeat(20));
        let (mut passed, mut written) = (0, [false; 2]);
        for _ in 0..6 {
            let mut wire = [Vec::new(), Vec::new()];
            for (end, link) in [&mut pair.connecting, &mut pair.accepting].into_iter().enumerate() {
                if link.is_established() && !std::mem::replace(&mut written[end], true) {
                    link.write(&[IoSlice::new(&text)]);
                }
                link.take_ciphertext(&mut wire[end]);
            }
            if let Some(byte) = at.checked_sub(passed).and_then(|at| wire[end].get_mut(at)) {
                *byte ^= by;
            }
            passed += wire[end].len();
            let [there, back] = wire;
            let _ = pair.accepting.read(&there, &mut pair.read[1]);
            let _ = pair.connecting.read(&back, &mut pair.read[0]);
        }
        for read in &pair.read {
            prop_assert!(text.starts_with(read));
        }
    }
}
