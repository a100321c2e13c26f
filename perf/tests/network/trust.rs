//! A worker that does not know the secret: what its tasks and those of the others hear.

use sluice_core::ShuffleEnvironment;
use sluice_transport_tcp::{Engine, SharedSecret, TcpConfig, Trust};

use crate::stage::{config, consume, engines, gate, location, partition, produce, try_start_with};

fn start(node: u64, engine: Engine, secret: &str) -> ShuffleEnvironment {
    let trust = Trust::Secret(SharedSecret::from_bytes(secret.as_bytes()).expect("long enough"));
    try_start_with(node, TcpConfig { engine, trust, ..TcpConfig::default() }, &config()).expect("a worker starts")
}

#[test]
fn a_worker_with_another_secret_hears_that_it_has_and_the_others_go_on() {
    for engine in engines() {
        let (here, there) = (start(1, engine, "the secret of all"), start(2, engine, "the secret of all"));
        let stranger = start(3, engine, "another secret of one");
        produce(here.create_writer(partition(1), 1).expect("there is memory"), 50);
        let error = consume(&mut gate(&stranger, vec![location(&here, 1)])).expect_err("it cannot prove who it is");
        let error = error.to_string();
        assert!(error.contains("does not prove that it knows the shared secret"), "{error}");
        assert!(!error.contains("the secret of all") && !error.contains("another secret of one"), "{error}");
        assert_eq!(consume(&mut gate(&there, vec![location(&here, 1)])), Ok(vec![50]));
    }
}
