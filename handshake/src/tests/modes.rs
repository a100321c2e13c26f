//! Two nodes that do not agree on how to prove who they are, and what metrics call it.

use super::certificates::{Authority, NAME, Worker};
use super::{accept, bent_question, connect, node, refused_by_acceptor, refused_by_connector, run};
use crate::{CertificateProblem, HandshakeError, LocalNode, RefusalCode, SharedSecret, Trust, TrustMode};

fn nodes(id: u64) -> [LocalNode; 3] {
    let authority = Authority::new();
    let tls = Worker::new(&authority.issue(NAME), &authority).trust();
    let secret = SharedSecret::from_bytes(b"sixteen bytes or more").unwrap();
    [Trust::Off, Trust::Secret(secret), Trust::Tls(tls)].map(|trust| node(id).with_trust(trust))
}

#[test]
fn two_modes_are_refused_by_both_sides_which_name_the_key_to_set() {
    for connecting in &nodes(1) {
        for accepting in &nodes(2) {
            let (local, peer) = (accepting.trust().mode(), connecting.trust().mode());
            let (there, back) = (connect(connecting, Some(2)), accept(accepting));
            if local == peer && local != TrustMode::Secret {
                let (there, back) = run(there, back, 7);
                assert!(there.is_ok() && back.is_ok());
            } else if local != peer {
                let error = refused_by_acceptor(there, back, RefusalCode::Authentication);
                assert_eq!(error, HandshakeError::Authentication { local, peer });
                let text =
                    format!("the peer has trust.mode = {peer}, this node {local}: set trust.mode to the same on both");
                assert_eq!(error.to_string(), text);
            }
        }
    }
    assert_eq!(
        [TrustMode::Off, TrustMode::Secret, TrustMode::Tls].map(|mode| mode.to_string()).concat(),
        "\"off\"\"secret\"\"tls\""
    );
}

#[test]
fn a_mode_of_a_later_version_is_refused_by_both_sides() {
    let (local, peer) = (TrustMode::Off, TrustMode::Other(9));
    let refused = HandshakeError::Authentication { local, peer };
    assert_eq!(bent_question(|hello| hello.trust = peer), refused);
    assert_eq!(refused_by_connector(&node(1), None, |hello| hello.trust = peer), refused);
}

#[test]
fn an_answer_without_the_proof_that_was_asked_for_is_refused() {
    let [_, secret, _] = nodes(1);
    let mut connecting = connect(&secret, Some(2));
    let mut answer = accept(&node(2));
    let mut question = connect(&node(1), Some(2));
    answer.handle_bytes(&question.poll_transmit().unwrap()).unwrap();
    let error = connecting.handle_bytes(&answer.poll_transmit().unwrap()).unwrap_err();
    assert_eq!(error, HandshakeError::Authentication { local: TrustMode::Secret, peer: TrustMode::Off });
}

#[test]
fn a_refusal_has_the_same_label_on_both_sides() {
    let labels = [
        (HandshakeError::Authentication { local: TrustMode::Off, peer: TrustMode::Tls }, "trust_mode"),
        (HandshakeError::Secret, "secret"),
        (HandshakeError::WantsTls, "wants_tls"),
        (HandshakeError::NoTls, "no_tls"),
        (HandshakeError::Role, "role"),
    ];
    for (error, label) in labels {
        assert_eq!(error.metric(), label);
        let code = error.refusal().unwrap();
        assert_eq!(RefusalCode::of(code.number()), code);
        assert_eq!(HandshakeError::Refused { code, text: String::new() }.metric(), label);
    }
    for problem in [CertificateProblem::Expired, CertificateProblem::Missing] {
        assert_eq!(HandshakeError::Certificate(problem.clone()).metric(), "certificate");
        assert_eq!(HandshakeError::CertificateRefused(problem).metric(), "certificate");
    }
    let later = HandshakeError::Refused { code: RefusalCode::of(99), text: String::new() };
    assert_eq!((later.metric(), RefusalCode::of(99).number()), ("other", 99));
}
