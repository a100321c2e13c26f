//! Both sides in memory, byte by byte: what they agree on, and what each of them refuses.

use std::time::Duration;

use proptest::prelude::*;
use sluice_protocol::{Incarnation, Lane, Limits, LinkEpoch, NodeId};

use crate::piece::{self, Hello};
use crate::{
    Agreed, Features, Handshake, HandshakeError, LocalNode, LocalNodeError, Nonce, PIECE_BYTES_MAX, RefusalCode, Role,
};

mod certificates;
mod files;
mod modes;
mod secret;
mod strangers;
mod tls;

fn node(id: u64) -> LocalNode {
    LocalNode::new(NodeId(id), Incarnation(id * 100), "test", Limits::default()).unwrap()
}

fn connect(local: &LocalNode, expected: Option<u64>) -> Handshake {
    Handshake::connect(local, expected.map(NodeId), 77, LinkEpoch(3), Lane(1), Nonce([local.node().0 as u8; 32]))
}

fn accept(local: &LocalNode) -> Handshake {
    Handshake::accept(local, Nonce([local.node().0 as u8; 32]))
}

/// Hands over everything that `from` has to send, in pieces of `step` bytes; gives back the first error.
fn carry(from: &mut Handshake, to: &mut Handshake, step: usize) -> Result<bool, HandshakeError> {
    let mut moved = false;
    while let Some(bytes) = from.poll_transmit() {
        assert!(bytes.len() <= PIECE_BYTES_MAX);
        moved = true;
        for part in bytes.chunks(step) {
            assert_eq!(to.handle_bytes(part)?, part.len());
        }
    }
    Ok(moved)
}

type Ends = (Result<Agreed, HandshakeError>, Result<Agreed, HandshakeError>);

/// Runs both sides to their ends: connecting, accepting.
fn run(mut connecting: Handshake, mut accepting: Handshake, step: usize) -> Ends {
    let (mut at_connecting, mut at_accepting) = (None, None);
    loop {
        let there = carry(&mut connecting, &mut accepting, step);
        let back = carry(&mut accepting, &mut connecting, step);
        let idle = !matches!(there, Ok(true)) && !matches!(back, Ok(true));
        at_accepting = at_accepting.or(there.err());
        at_connecting = at_connecting.or(back.err());
        if idle {
            break;
        }
    }
    let end = |side: &Handshake, error: Option<HandshakeError>| match (side.outcome(), error) {
        (Some(agreed), None) => Ok(agreed.clone()),
        (None, Some(error)) => Err(error),
        other => panic!("neither an outcome nor an error: {other:?}"),
    };
    (end(&connecting, at_connecting), end(&accepting, at_accepting))
}

/// The accepting side refuses with `code`, and the connecting side is told.
fn refused_by_acceptor(connecting: Handshake, accepting: Handshake, code: RefusalCode) -> HandshakeError {
    let (at_connecting, at_accepting) = run(connecting, accepting, 5);
    let error = at_accepting.unwrap_err();
    let told = HandshakeError::Refused { code, text: error.to_string() };
    assert_eq!(at_connecting, Err(told));
    error
}

/// What the connecting side makes of an answer that a broken acceptor gives.
fn refused_by_connector(local: &LocalNode, expected: Option<u64>, bend: impl FnOnce(&mut Hello)) -> HandshakeError {
    let mut connecting = connect(local, expected);
    let mut accepting = accept(&node(2));
    carry(&mut connecting, &mut accepting, 64).unwrap();
    let mut hello = Hello::decode(&accepting.poll_transmit().unwrap()[piece::PREFIX_BYTES..]).unwrap();
    bend(&mut hello);
    let error = connecting.handle_bytes(&hello.encode(Role::Accepting, &(1..=1))).unwrap_err();
    assert_eq!(connecting.outcome(), None);
    let told = carry(&mut connecting, &mut accepting, 64).unwrap_err();
    assert!(matches!(&told, HandshakeError::Refused { text, .. } if *text == error.to_string()), "{told}");
    assert_eq!(accepting.outcome(), None, "the accepting side never takes the link for a good one");
    error
}

#[test]
fn both_sides_agree_whatever_the_pieces_they_read() {
    let small = Limits {
        head_bytes_max: 16 * 1024,
        control_window: 8,
        heartbeat: Duration::from_millis(500),
        silence_max: Duration::from_secs(30),
        ..Limits::default()
    };
    let accepting = LocalNode::new(NodeId(2), Incarnation(200), "test", small).unwrap();
    for step in [1, 2, 7, 16, 64, 512] {
        let (there, back) = run(connect(&node(1), Some(2)), accept(&accepting), step);
        let (there, back) = (there.unwrap(), back.unwrap());
        assert_eq!((there.peer, there.peer_incarnation), (NodeId(2), Incarnation(200)));
        assert_eq!((back.peer, back.peer_incarnation), (NodeId(1), Incarnation(100)));
        for agreed in [&there, &back] {
            assert_eq!((agreed.session, agreed.epoch, agreed.lane), (77, LinkEpoch(3), Lane(1)));
            assert_eq!((agreed.version, agreed.features), (1, 0));
            assert_eq!(agreed.limits, Limits::default().both(small));
        }
    }
}

#[test]
fn bytes_behind_the_handshake_belong_to_the_first_message() {
    let (mut connecting, mut accepting) = (connect(&node(1), None), accept(&node(2)));
    carry(&mut connecting, &mut accepting, 512).unwrap();
    assert!(accepting.proposal().is_some() && accepting.outcome().is_none(), "the peer may still refuse");
    carry(&mut accepting, &mut connecting, 512).unwrap();
    let mut bytes = connecting.poll_transmit().unwrap();
    let ready = bytes.len();
    bytes.extend_from_slice(b"SLU1 the first message");
    assert_eq!(accepting.bytes_wanted(), ready);
    assert_eq!(accepting.handle_bytes(&bytes), Ok(ready));
    assert_eq!((accepting.bytes_wanted(), accepting.handle_bytes(&bytes[ready..])), (0, Ok(0)));
    assert!(accepting.outcome().is_some());
}

#[test]
fn the_highest_common_version_is_agreed() {
    let speaking = |id, versions| LocalNode { versions, ..node(id) };
    for (connecting, accepting, expected) in
        [(1..=1, 1..=1, 1), (1..=3, 2..=5, 3), (2..=5, 1..=3, 3), (1..=9, 4..=4, 4), (7..=7, 1..=7, 7)]
    {
        let (connecting, accepting) = (speaking(1, connecting), speaking(2, accepting));
        let (there, back) = run(connect(&connecting, None), accept(&accepting), 9);
        assert_eq!((there.unwrap().version, back.unwrap().version), (expected, expected));
    }
}

#[test]
fn a_peer_of_another_version_is_refused_and_both_name_both_ranges() {
    for (connecting, accepting) in [(1..=1, 2..=4), (2..=4, 1..=1)] {
        let local = LocalNode { versions: connecting.clone(), ..node(1) };
        let peer = LocalNode { versions: accepting.clone(), ..node(2) };
        let (there, back) = run(connect(&local, None), accept(&peer), 3);
        let there = there.unwrap_err();
        assert_eq!(there, HandshakeError::Version { local: connecting.clone(), peer: accepting.clone() });
        assert_eq!(back.unwrap_err(), HandshakeError::Version { local: accepting, peer: connecting });
        let text = there.to_string();
        assert!(text.contains("1 to 1") && text.contains("2 to 4"), "{text}");
    }
}

#[test]
fn another_protocol_is_refused_at_its_first_wrong_byte_and_not_answered() {
    for garbage in [&b"GET / HTTP/1.1\r\n"[..], b"SLU1", b"S\0", b"\x16\x04", b"\x17\x03"] {
        for mut side in [accept(&node(2)), connect(&node(1), None)] {
            while side.poll_transmit().is_some() {}
            let error = side.handle_bytes(garbage).unwrap_err();
            assert!(error.to_string().starts_with("not a Sluice port"), "{error}");
            assert_eq!((side.poll_transmit(), side.bytes_wanted()), (None, 0));
            assert_eq!(side.handle_bytes(b"SLUH"), Err(error), "an error is final");
        }
    }
}

#[test]
fn another_cluster_is_refused_by_both_sides() {
    let other = LocalNode::new(NodeId(2), Incarnation(1), "other", Limits::default()).unwrap();
    let error = refused_by_acceptor(connect(&node(1), None), accept(&other), RefusalCode::Cluster);
    assert_eq!(error, HandshakeError::Cluster { local: "other".into(), peer: "test".into() });
    let error = refused_by_connector(&node(1), None, |hello| hello.cluster = "other".into());
    assert_eq!(error, HandshakeError::Cluster { local: "test".into(), peer: "other".into() });
}

#[test]
fn another_node_than_expected_is_refused_by_both_sides() {
    let accepting = accept(&node(2));
    let error = refused_by_acceptor(connect(&node(1), Some(9)), accepting, RefusalCode::UnexpectedNode);
    assert_eq!(error, HandshakeError::UnexpectedNode { expected: NodeId(9), found: NodeId(2) });
    let error = refused_by_connector(&node(1), Some(2), |hello| hello.node = NodeId(5));
    assert_eq!(error, HandshakeError::UnexpectedNode { expected: NodeId(2), found: NodeId(5) });
}

#[test]
fn features_are_agreed_and_missing_ones_refused_by_both_sides() {
    let with = |id, required, offered| node(id).with_features(Features { required, offered });
    let (there, back) = run(connect(&with(1, 1, 6), None), accept(&with(2, 2, 9)), 50);
    assert_eq!((there.unwrap().features, back.unwrap().features), (3, 3));
    for (connecting, accepting) in [(with(1, 4, 0), with(2, 0, 3)), (with(1, 0, 3), with(2, 4, 0))] {
        let (connecting, accepting) = (connect(&connecting, None), accept(&accepting));
        let error = refused_by_acceptor(connecting, accepting, RefusalCode::Features);
        assert_eq!(error, HandshakeError::Features { missing: 4 });
    }
    let error = refused_by_connector(&node(1), None, |hello| hello.features.required = 8);
    assert_eq!(error, HandshakeError::Features { missing: 8 });
    let error = refused_by_connector(&node(1), None, |hello| hello.features.offered = 8);
    assert_eq!(error, HandshakeError::Answer { what: "features" });
}

#[test]
fn impossible_limits_are_refused_by_both_sides() {
    let impossible: [fn(&mut Limits); 7] = [
        |limits| limits.control_window = 7,
        |limits| limits.head_bytes_max = 4095,
        |limits| limits.block_bytes_max = limits.body_bytes_max + 1,
        |limits| limits.inline_bytes_max = limits.head_bytes_max,
        |limits| limits.channels_max = 0,
        |limits| limits.heartbeat = Duration::ZERO,
        |limits| limits.silence_max = limits.heartbeat,
    ];
    for bend in impossible {
        let mut limits = Limits::default();
        bend(&mut limits);
        let local = LocalNode::new(NodeId(1), Incarnation(1), "test", limits);
        assert!(matches!(local, Err(LocalNodeError::Limits(_))), "refused before there is a connection");
        assert!(matches!(bent_question(|hello| bend(&mut hello.limits)), HandshakeError::Limits(_)));
        let error = refused_by_connector(&node(1), None, |hello| bend(&mut hello.limits));
        assert!(matches!(error, HandshakeError::Limits(_)));
    }
    let looser = |hello: &mut Hello| hello.limits.control_window = 65;
    assert_eq!(refused_by_connector(&node(1), None, looser), HandshakeError::Answer { what: "limits" });
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let answer = |bend: fn(&mut Hello)| refused_by_connector(&node(1), None, bend);
    assert_eq!(answer(|hello| hello.session += 1), HandshakeError::Answer { what: "session" });
    assert_eq!(answer(|hello| hello.epoch.0 += 1), HandshakeError::Answer { what: "link epoch" });
    assert_eq!(answer(|hello| hello.lane.0 += 1), HandshakeError::Answer { what: "lane" });
    assert_eq!(answer(|hello| hello.expected = None), HandshakeError::Answer { what: "node" });
    assert!(matches!(bent_question(|hello| hello.epoch.0 = 0), HandshakeError::Epoch { .. }));
}

#[test]
fn two_sides_of_the_same_role_are_refused() {
    let (mut one, mut two) = (connect(&node(1), None), connect(&node(2), None));
    assert_eq!(carry(&mut one, &mut two, 512), Err(HandshakeError::Role));
    let (mut accepting, mut connecting) = (accept(&node(1)), connect(&node(2), None));
    carry(&mut connecting, &mut accepting, 512).unwrap();
    assert_eq!(carry(&mut accepting, &mut accept(&node(3)), 512), Err(HandshakeError::Role));
}

#[test]
fn a_length_over_the_bound_is_refused_before_anything_behind_it_is_read() {
    let mut accepting = accept(&node(2));
    let mut bytes = connect(&node(1), None).poll_transmit().unwrap();
    bytes[8..10].copy_from_slice(&513u16.to_le_bytes());
    let error = accepting.handle_bytes(&bytes).unwrap_err();
    assert_eq!(error, HandshakeError::TooLong { bytes: 513 });
    let told = carry(&mut accepting, &mut connect(&node(1), None), 512).unwrap_err();
    assert_eq!(told, HandshakeError::Refused { code: RefusalCode::TooLong, text: error.to_string() });
}

#[test]
fn a_flipped_bit_anywhere_is_detected_in_every_piece() {
    let (mut connecting, mut accepting) = (connect(&node(1), None), accept(&node(2)));
    let mut pieces = vec![connecting.poll_transmit().unwrap()];
    accepting.handle_bytes(&pieces[0]).unwrap();
    pieces.push(accepting.poll_transmit().unwrap());
    connecting.handle_bytes(&pieces[1]).unwrap();
    pieces.push(connecting.poll_transmit().unwrap());
    pieces.push(piece::encode_refused(Role::Accepting, &(1..=1), RefusalCode::Declined, "no"));
    for (index, bytes) in pieces.iter().enumerate() {
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let mut reader = if index == 1 { connect(&node(1), None) } else { accept(&node(2)) };
            if index == 2 {
                reader.handle_bytes(&pieces[0]).unwrap();
            }
            let before = reader.proposal().cloned();
            let answer = reader.handle_bytes(&bent);
            let waits = answer.is_ok() && reader.bytes_wanted() > 0 && reader.proposal() == before.as_ref();
            let corrupt = matches!(
                answer,
                Err(HandshakeError::Corrupt { .. } | HandshakeError::NotSluice { .. } | HandshakeError::TooLong { .. })
            );
            assert!(waits || corrupt, "piece {index}, bit {bit}: {answer:?}");
        }
    }
}

#[test]
fn an_engine_may_decline_before_the_answer_is_sent() {
    let (mut connecting, mut accepting) = (connect(&node(1), None), accept(&node(2)));
    carry(&mut connecting, &mut accepting, 512).unwrap();
    assert_eq!(accepting.proposal().unwrap().peer, NodeId(1));
    accepting.decline("shutting down");
    let told = carry(&mut accepting, &mut connecting, 512).unwrap_err();
    assert_eq!(told, HandshakeError::Refused { code: RefusalCode::Declined, text: "shutting down".into() });
    assert!(accepting.handle_bytes(&[]).is_err() && accepting.outcome().is_none());
}

#[test]
fn what_a_peer_says_is_printable_before_it_gets_into_a_log() {
    let mut connecting = connect(&node(1), None);
    let text = "\"é\" go away\n2026-01-01 all is well \u{1b}[2J\u{9b}\u{202e}\u{2028}";
    let refusal = piece::encode_refused(Role::Accepting, &(1..=1), RefusalCode::Declined, text);
    let told = connecting.handle_bytes(&refusal).unwrap_err().to_string();
    assert!(
        told.ends_with("\"é\" go away\u{fffd}2026-01-01 all is well \u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}"),
        "{told}"
    );
    let error = bent_question(|hello| hello.cluster = "a\nb".into());
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
}

#[test]
fn fields_of_a_later_version_are_ignored_and_names_are_bounded() {
    let mut connecting = connect(&node(1), None);
    let hello = Hello::decode(&connecting.poll_transmit().unwrap()[piece::PREFIX_BYTES..]).unwrap();
    let mut longer = hello.encode(Role::Connecting, &(1..=2));
    longer.extend_from_slice(b"fields of version 2");
    let bytes = piece::seal(longer);
    let mut accepting = accept(&node(2));
    assert_eq!(accepting.handle_bytes(&bytes), Ok(bytes.len()));
    assert_eq!(accepting.proposal().unwrap().version, 1);

    let long = "x".repeat(65);
    let refused = LocalNode::new(NodeId(1), Incarnation(1), long, Limits::default());
    assert_eq!(refused.unwrap_err(), LocalNodeError::ClusterName { bytes: 65 });
    let longest = "é".repeat(32);
    let local = |id| LocalNode::new(NodeId(id), Incarnation(1), longest.clone(), Limits::default()).unwrap();
    let (there, back) = run(connect(&local(1), None), accept(&local(2)), 11);
    assert!(there.is_ok() && back.is_ok());
}

/// What the accepting side makes of a question that a broken connector asks; the connector is told the same.
fn bent_question(bend: impl FnOnce(&mut Hello)) -> HandshakeError {
    let mut connecting = connect(&node(1), None);
    let mut hello = Hello::decode(&connecting.poll_transmit().unwrap()[piece::PREFIX_BYTES..]).unwrap();
    bend(&mut hello);
    let mut accepting = accept(&node(2));
    let error = accepting.handle_bytes(&hello.encode(Role::Connecting, &(1..=1))).unwrap_err();
    let told = carry(&mut accepting, &mut connecting, 64).unwrap_err();
    assert!(matches!(&told, HandshakeError::Refused { text, .. } if *text == error.to_string()), "{told}");
    error
}

fn never_holds_more_than_a_piece(mut side: Handshake, mut bytes: &[u8]) {
    while side.bytes_wanted() > 0 && !bytes.is_empty() {
        assert!(side.bytes_wanted() <= PIECE_BYTES_MAX);
        match side.handle_bytes(bytes) {
            Ok(consumed) => {
                assert!(consumed > 0 && consumed <= PIECE_BYTES_MAX);
                bytes = &bytes[consumed..];
            }
            Err(error) => {
                assert_eq!(side.handle_bytes(bytes), Err(error));
                return;
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100), sealed in 0..3) {
        let mut bytes = bytes;
        if sealed > 0 {
            // Past the magic, and past the checksum.
            bytes.splice(0..bytes.len().min(4), *b"SLUH");
        }
        if sealed > 1 && bytes.len() >= piece::PREFIX_BYTES {
            bytes.truncate(PIECE_BYTES_MAX);
            bytes[10] %= 4;
            bytes = piece::seal(bytes);
        }
        never_holds_more_than_a_piece(accept(&node(2)), &bytes);
        never_holds_more_than_a_piece(connect(&node(1), Some(2)), &bytes);
    }

    #[test]
    fn random_fields_never_panic_and_what_is_agreed_can_run(
        fields in prop::collection::vec(any::<u8>(), 104), versions in (0u16..3, 0u16..3), name in 0u8..70,
    ) {
        let mut bytes = piece::encode_ready(Role::Connecting, &(versions.0..=versions.1), None);
        bytes[10] = 1;
        bytes.extend_from_slice(&fields[16..]);
        bytes.push(name);
        bytes.extend_from_slice(b"test");
        let mut accepting = accept(&node(2));
        if accepting.handle_bytes(&piece::seal(bytes)).is_ok() {
            prop_assert_eq!(accepting.proposal().unwrap().limits.check(), Ok(()));
        }
    }
}
