//! Certificates from files: read again without a restart, and refused without a word of their content.

use std::io::IoSlice;

use super::certificates::{Authority, NAME, Worker};
use super::tls::{Pair, refused};
use crate::{TlsFiles, TlsTrust, TrustError};

#[test]
fn new_links_use_new_certificates_and_old_links_stay() {
    let (authority, next) = (Authority::new(), Authority::new());
    let worker = Worker::new(&authority.issue(NAME), &authority);
    let trust = worker.trust();
    let mut old = Pair::new(&trust, &trust);
    old.run(999);
    assert!(!trust.reload().unwrap(), "nothing has changed");

    worker.install(&next.issue(NAME));
    worker.replace("authorities.pem", &next.pem);
    assert!(trust.reload().unwrap());
    assert!(!trust.reload().unwrap());
    let mut new = Pair::new(&trust, &trust);
    assert_eq!((new.run(999), new.is_established()), ([None, None], [true, true]));
    let left_behind = Worker::new(&authority.issue(NAME), &authority).trust();
    assert_eq!(refused(&left_behind, &trust)[0].metric(), "certificate");
    old.connecting.write(&[IoSlice::new(b"still here")]);
    assert_eq!((old.run(999), old.read[1].as_slice()), ([None, None], b"still here".as_slice()));
}

#[test]
fn bad_files_leave_the_old_certificates_in_use_and_are_told_once() {
    let authority = Authority::new();
    let (issued, worker) = (authority.issue(NAME), Worker::new(&authority.issue(NAME), &authority));
    let trust = worker.trust();
    let works = || {
        let mut pair = Pair::new(&trust, &trust);
        pair.run(999) == [None, None] && pair.is_established() == [true, true]
    };
    // The certificate comes first, and its key a moment later.
    worker.replace("worker.pem", &issued.certificate);
    let told = trust.reload().unwrap_err();
    assert!(matches!(told, TrustError::OtherKey { .. }), "{told}");
    assert!(!trust.reload().unwrap() && works());
    worker.replace("worker.key", &issued.key);
    assert!(trust.reload().unwrap() && works());

    worker.replace("authorities.pem", "nothing of the kind");
    assert!(matches!(trust.reload(), Err(TrustError::NotPem { .. })));
    assert!(!trust.reload().unwrap() && works());
    worker.remove("authorities.pem");
    for _ in 0..2 {
        assert!(matches!(trust.reload(), Err(TrustError::Unreadable { .. })), "as long as it is so");
    }
    assert!(works());
    worker.replace("authorities.pem", &authority.pem);
    assert!(trust.reload().unwrap() && works());
}

#[test]
fn files_that_cannot_be_used_are_refused_with_their_name_and_none_of_their_content() {
    let authority = Authority::new();
    let issued = authority.issue(NAME);
    let begins = "-----BEGIN PRIVATE KEY-----\n";
    let contents = [
        (
            "worker.pem",
            issued.key.clone(),
            "no certificate (trust.certificate_file) in PEM format: there is none in the file",
        ),
        (
            "worker.key",
            issued.certificate.clone(),
            "no private key (trust.key_file) in PEM format: there is none in the file",
        ),
        (
            "worker.key",
            format!("{begins}c2VjcmV0"),
            "no private key (trust.key_file) in PEM format: a section has no end",
        ),
        ("worker.key", format!("{begins}c2Vj!cmV0\n-----END PRIVATE KEY-----\n"), "a section is not base64"),
        (
            "worker.key",
            format!("{begins}c2VjcmV0\n-----END PRIVATE KEY-----\n"),
            "the certificate (trust.certificate_file) cannot be used",
        ),
        (
            "authorities.pem",
            String::new(),
            "no authorities (trust.authorities_file) in PEM format: there is none in the file",
        ),
    ];
    for (file, content, expected) in contents {
        let worker = Worker::new(&issued, &authority);
        worker.replace(file, &content);
        let error = TlsTrust::load(worker.files.clone()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("c2V") && !text.contains(&issued.key[60..80]), "{text}");
    }
    let worker = Worker::new(&issued, &authority);
    let named = |name: &str| TlsTrust::load(TlsFiles { peer_name: Some(name.into()), ..worker.files.clone() });
    let text = named("not a name").unwrap_err().to_string();
    assert_eq!(text, "trust.peer_name \"not a name\" is neither a DNS name nor an IP address");
    let shown = format!("{:?} {:?}", worker.trust(), worker.trust().accept());
    assert!(shown.contains("worker.key") && !shown.contains(&issued.key[60..80]), "{shown}");
}
