//! The shared secret: who knows it gets in, and nothing else does.

use std::fs;

use proptest::prelude::*;
use sluice_protocol::{Lane, LinkEpoch, NodeId};

use super::{accept, carry, connect, never_holds_more_than_a_piece, node, run};
use crate::piece::{self, Hello};
use crate::{
    Handshake, HandshakeError, LocalNode, Nonce, RefusalCode, Role, SECRET_BYTES_MAX, SharedSecret, Trust, TrustError,
};

const SECRET: &[u8] = b"correct horse battery staple";
const NOT_PROVED: &str = "the peer does not prove that it knows the shared secret: compare trust.secret_file on both; \
                          if they are the same, somebody alters or repeats what others say";

fn knowing(id: u64, secret: &[u8]) -> LocalNode {
    node(id).with_trust(Trust::Secret(SharedSecret::from_bytes(secret).unwrap()))
}

/// The three pieces of a handshake between nodes 1 and 2.
fn recorded() -> [Vec<u8>; 3] {
    let (mut connecting, mut accepting) = (connect(&knowing(1, SECRET), Some(2)), accept(&knowing(2, SECRET)));
    let question = connecting.poll_transmit().unwrap();
    accepting.handle_bytes(&question).unwrap();
    let answer = accepting.poll_transmit().unwrap();
    connecting.handle_bytes(&answer).unwrap();
    let ready = connecting.poll_transmit().unwrap();
    accepting.handle_bytes(&ready).unwrap();
    assert!(connecting.outcome().is_some() && accepting.outcome().is_some());
    [question, answer, ready]
}

#[test]
fn two_that_know_the_secret_agree_whatever_the_pieces_they_read() {
    for step in [1, 2, 7, 16, 64, 512] {
        let (there, back) = run(connect(&knowing(1, SECRET), Some(2)), accept(&knowing(2, SECRET)), step);
        assert_eq!((there.unwrap().peer, back.unwrap().peer), (NodeId(2), NodeId(1)));
    }
}

#[test]
fn another_secret_is_refused_by_both_sides_and_the_connecting_one_has_proved_nothing() {
    let (mut connecting, mut accepting) =
        (connect(&knowing(1, SECRET), None), accept(&knowing(2, b"another long secret")));
    carry(&mut connecting, &mut accepting, 64).unwrap();
    let error = carry(&mut accepting, &mut connecting, 64).unwrap_err();
    assert_eq!((&error, error.to_string().as_str()), (&HandshakeError::Secret, NOT_PROVED));
    let told = connecting.poll_transmit().unwrap();
    let refusal = piece::encode_refused(Role::Connecting, &(1..=1), RefusalCode::Secret, NOT_PROVED);
    assert_eq!((told, connecting.poll_transmit()), (refusal.clone(), None), "a refusal, and no proof");
    let heard = HandshakeError::Refused { code: RefusalCode::Secret, text: NOT_PROVED.into() };
    assert_eq!(accepting.handle_bytes(&refusal).unwrap_err(), heard);
    assert_eq!((error.metric(), heard.metric(), accepting.outcome()), ("secret", "secret", None));
}

#[test]
fn a_connecting_side_that_does_not_prove_the_secret_is_refused_and_told() {
    let [question, answer, ready] = recorded();
    let proof_of_answer = Hello::decode(&answer[piece::PREFIX_BYTES..]).unwrap().challenge.proof;
    let versions = 1..=1;
    let forged = [
        piece::encode_ready(Role::Connecting, &versions, None),
        piece::encode_ready(Role::Connecting, &versions, Some([0; 32])),
        // The accepting side's own proof, sent back to it.
        piece::encode_ready(Role::Connecting, &versions, Some(proof_of_answer)),
    ];
    for forged in forged {
        let mut accepting = accept(&knowing(2, SECRET));
        accepting.handle_bytes(&question).unwrap();
        assert_eq!(accepting.poll_transmit().as_ref(), Some(&answer));
        assert_eq!(accepting.handle_bytes(&forged), Err(HandshakeError::Secret));
        assert_eq!(accepting.outcome(), None);
        let told = accepting.poll_transmit().unwrap();
        assert_eq!(told, piece::encode_refused(Role::Accepting, &versions, RefusalCode::Secret, NOT_PROVED));
    }
    assert!(!ready.is_empty());
}

#[test]
fn a_handshake_that_was_recorded_is_worth_nothing_the_second_time() {
    let [question, answer, ready] = recorded();
    let mut accepting = Handshake::accept(&knowing(2, SECRET), Nonce([99; 32]));
    accepting.handle_bytes(&question).unwrap();
    assert_eq!(accepting.handle_bytes(&ready), Err(HandshakeError::Secret));
    assert_eq!(accepting.outcome(), None);

    let fresh = |nonce| Handshake::connect(&knowing(1, SECRET), Some(NodeId(2)), 77, LinkEpoch(3), Lane(1), nonce);
    assert_eq!(fresh(Nonce([99; 32])).handle_bytes(&answer), Err(HandshakeError::Secret));
    assert!(fresh(Nonce([1; 32])).handle_bytes(&answer).is_ok(), "only the nonce was another");
}

#[test]
fn a_proof_is_worth_nothing_for_another_session_epoch_lane_or_node() {
    let [_, answer, _] = recorded();
    let local = knowing(1, SECRET);
    let other = |session, epoch, lane| {
        Handshake::connect(&local, Some(NodeId(2)), session, LinkEpoch(epoch), Lane(lane), Nonce([1; 32]))
    };
    for mut connecting in [other(78, 3, 1), other(77, 4, 1), other(77, 3, 2), connect(&knowing(3, SECRET), Some(2))] {
        assert_eq!(connecting.handle_bytes(&answer), Err(HandshakeError::Secret));
    }
}

/// Somebody between the two changes a byte and makes the checksum right again.
fn altered(piece: &[u8], at: usize, by: u8) -> Vec<u8> {
    let mut bytes = piece.to_vec();
    bytes[at] ^= by;
    let length = [bytes[8], bytes[9]];
    let mut sealed = piece::seal(bytes);
    if (8..10).contains(&at) {
        sealed[8..10].copy_from_slice(&length);
    }
    sealed
}

#[test]
fn a_byte_altered_on_the_way_is_found_wherever_it_is() {
    let [question, answer, ready] = recorded();
    let local = (knowing(1, SECRET), knowing(2, SECRET));
    // From the kind on: magic, checksum and length are tried without a right checksum elsewhere.
    for (which, piece) in [&question, &answer, &ready].into_iter().enumerate() {
        for (at, by) in (10..piece.len()).flat_map(|at| [1, 0x80, 0xff].map(|by| (at, by))) {
            let (mut connecting, mut accepting) = (connect(&local.0, Some(2)), accept(&local.1));
            let _question = connecting.poll_transmit();
            let sent = |index, piece: &[u8]| if index == which { altered(piece, at, by) } else { piece.to_vec() };
            let asked = accepting.handle_bytes(&sent(0, &question));
            let answered = asked.and_then(|_| {
                let answer = accepting.poll_transmit().expect("a hello was answered");
                connecting.handle_bytes(&sent(1, &answer))
            });
            if answered.is_ok() {
                let ready = connecting.poll_transmit().unwrap();
                let last = accepting.handle_bytes(&sent(2, &ready));
                // The versions in `Ready` say nothing that was not agreed before; nor does its role.
                assert!(last.is_err() || (which == 2 && at < piece::PREFIX_BYTES), "piece {which}, byte {at}");
            } else {
                assert_eq!((connecting.outcome(), accepting.outcome()), (None, None));
            }
            assert!(which == 2 || accepting.outcome().is_none(), "piece {which}, byte {at}");
        }
    }
}

/// Kept as bytes: both sides have to reckon the same in every version. The proofs were reckoned with another program.
#[test]
fn proofs_are_these_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let [question, answer, ready] = recorded();
    assert_eq!((question.len(), answer.len(), ready.len()), (173, 173, 48));
    assert_eq!((&question[109..141], &question[141..]), (&[1; 32][..], &[0; 32][..]), "nonce, and room for a proof");
    assert_eq!(&answer[109..141], &[2; 32]);
    assert_eq!(hex(&answer[141..]), "a9e702e08f90d9db414825eed3498b93d3789aaf015990638f604afa84a16094");
    assert_eq!(hex(&ready[16..]), "250097ec9d627eb3ced8e7b9bc10f16017e3040eaf7588d6322ad4be9491434e");
}

#[test]
fn nothing_of_the_secret_is_on_the_wire_or_in_a_text() {
    let mut shown: Vec<Vec<u8>> = recorded().into();
    let (right, wrong) = (knowing(1, SECRET), knowing(2, b"another long secret"));
    let (there, back) = run(connect(&right, None), accept(&wrong), 512);
    for error in [there.unwrap_err(), back.unwrap_err()] {
        shown.push(format!("{error} {error:?}").into_bytes());
    }
    let short = SharedSecret::from_bytes(&SECRET[..12]).unwrap_err();
    shown.push(format!("{short} {short:?} {right:?} {right:#?} {:?}", right.trust()).into_bytes());
    shown.push(format!("{:?}", connect(&right, None)).into_bytes());
    let hex = SECRET[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let decimal = format!("{}, {}, {}", SECRET[0], SECRET[1], SECRET[2]);
    for sign in [&SECRET[..7], &SECRET[8..13], hex.as_bytes(), decimal.as_bytes(), b"another long"] {
        for text in &shown {
            assert!(!text.windows(sign.len()).any(|part| part == sign), "{}", text.escape_ascii());
        }
    }
    assert!(format!("{:?}", right.trust()).contains("SharedSecret(..)"));
}

#[test]
fn a_secret_has_a_possible_length_and_an_end_of_line_does_not_count() {
    let length = |bytes: usize| SharedSecret::from_bytes(&vec![7; bytes]).map_err(|error| error.to_string());
    let refused = |bytes| {
        format!("a shared secret of {bytes} bytes: 16 to 4096 are possible; `openssl rand -hex 32` makes a good one")
    };
    assert!(length(16).is_ok() && length(SECRET_BYTES_MAX).is_ok());
    assert_eq!([length(15).unwrap_err(), length(4097).unwrap_err()], [refused(15), refused(4097)]);

    let path = std::env::temp_dir().join(format!("sluice-secret-{}", std::process::id()));
    for end in ["", "\n", "\r\n"] {
        fs::write(&path, [SECRET, end.as_bytes()].concat()).unwrap();
        let read = node(2).with_trust(Trust::Secret(SharedSecret::from_file(&path).unwrap()));
        let (there, back) = run(connect(&knowing(1, SECRET), None), accept(&read), 512);
        assert!(there.is_ok() && back.is_ok());
    }
    for (content, bytes) in [(vec![b'a'; 15], 15), (b"fifteen bytes..\n".to_vec(), 15), (vec![b'a'; 9999], 4099)] {
        fs::write(&path, content).unwrap();
        assert!(
            matches!(SharedSecret::from_file(&path), Err(TrustError::SecretLength { bytes: found }) if found == bytes)
        );
    }
    fs::remove_file(&path).unwrap();
    let missing = SharedSecret::from_file(&path).unwrap_err().to_string();
    assert!(
        missing.starts_with(path.to_str().unwrap()) && missing.contains("the shared secret cannot be read"),
        "{missing}"
    );
}

proptest! {
    #[test]
    fn random_bytes_behind_a_good_beginning_never_panic_and_never_prove(
        bytes in prop::collection::vec(any::<u8>(), 0..600), keep in 0usize..180, sealed in any::<bool>(),
    ) {
        let [question, answer, ready] = recorded();
        for piece in [question, answer, ready] {
            let mut bytes: Vec<u8> = piece.iter().take(keep).chain(&bytes).copied().collect();
            if sealed && bytes.len() >= piece::PREFIX_BYTES {
                bytes.truncate(crate::PIECE_BYTES_MAX);
                bytes = piece::seal(bytes);
            }
            never_holds_more_than_a_piece(accept(&knowing(2, SECRET)), &bytes);
            never_holds_more_than_a_piece(connect(&knowing(1, SECRET), Some(2)), &bytes);
        }
    }
}
