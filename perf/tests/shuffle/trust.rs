//! Workers that prove who they are: the shuffle is the same, and the report says how.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::program::{engines, failure, report, sluice_perf};

const SHUFFLE: &str = "--no-ceiling --generate random --bytes 3MB --placement split";

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("the folder can be written to");
    path
}

/// A configuration with this table.
fn config(folder: &Path, trust: &str) -> String {
    write(folder, "sluice.toml", &format!("[trust]\n{trust}\n")).display().to_string()
}

fn with_secret(folder: &Path) -> String {
    let secret = write(folder, "secret", "a secret of these workers\n");
    config(folder, &format!("mode = \"secret\"\nsecret_file = {secret:?}"))
}

fn with_tls(folder: &Path) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&authority_key).expect("an authority").pem();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
    let certificate = write(folder, "worker.crt", &certificate);
    let key = write(folder, "worker.key", &key.serialize_pem());
    let authorities = write(folder, "authorities.crt", &authority);
    config(
        folder,
        &format!(
            "mode = \"tls\"\ncertificate_file = {certificate:?}\nkey_file = {key:?}\nauthorities_file = {authorities:?}"
        ),
    )
}

#[test]
fn workers_with_a_secret_and_workers_with_tls_shuffle_and_the_report_says_so() {
    for engine in engines() {
        for (config, name) in [(with_secret as fn(&Path) -> String, "with a secret"), (with_tls, "with TLS")] {
            let folder = tempfile::tempdir().expect("a folder");
            let words = format!("{SHUFFLE} --engine {engine} --config {}", config(folder.path()));
            let report = report(&mut sluice_perf(&words), folder.path());
            assert_eq!(report["host"]["engine"], format!("tcp by {engine} {name}"), "{report:#}");
        }
    }
}

#[test]
fn a_secret_that_is_too_short_is_refused_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = write(folder.path(), "secret", "tooshort");
    let config = config(folder.path(), &format!("mode = \"secret\"\nsecret_file = {secret:?}"));
    let said = failure(&mut sluice_perf(&format!("{SHUFFLE} --config {config}")), 1);
    assert!(said.contains("16 to 4096") && !said.contains("tooshort"), "{said}");
}
