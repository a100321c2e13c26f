//! Ports that are taken, and peers that are not there.

use std::net::TcpListener;
use std::sync::Arc;

use sluice_core::{Address, EnvironmentConfig, NodeId, ReactorDrive, ReadError, ReasonCode, ShuffleEnvironment};
use sluice_transport_tcp::{Tcp, TcpConfig};

use crate::stage::{config, consume, engines, gate, location, partition, produce, start, try_start};

#[test]
fn a_port_that_is_in_use_is_named() {
    for engine in engines() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let listen = taken.local_addr().expect("it listens").to_string();
        let tcp = Arc::new(Tcp::new(TcpConfig { engine, listen: listen.clone(), ..TcpConfig::default() }));
        for drive in [ReactorDrive::OwnThread, ReactorDrive::Caller] {
            let tcp = Arc::<Tcp>::clone(&tcp);
            let error = ShuffleEnvironment::start(config(), tcp, drive).map(drop).expect_err("it is taken");
            assert!(error.to_string().contains(&listen), "{error}");
        }
    }
}

#[test]
fn a_peer_that_is_not_there_is_said_to_be_lost_and_where_it_was_looked_for() {
    for engine in engines() {
        let worker = start(1, engine);
        let other = start(2, engine);
        let nobody = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port is free");
        let mut nowhere = location(&other, 1);
        nowhere.address = Address(nobody.to_string());
        nowhere.node = NodeId(9);
        let mut unharmed = gate(&worker, vec![location(&other, 2)]);
        let error = consume(&mut gate(&worker, vec![nowhere])).expect_err("nobody is there");
        assert!(matches!(error, ReadError::Channel { code: ReasonCode::WorkerLost, .. }), "{error}");
        assert!(error.to_string().contains(&nobody.to_string()), "{error}");
        produce(other.create_writer(partition(2), 1).expect("there is memory"), 50);
        assert_eq!(consume(&mut unharmed), Ok(vec![50]));
    }
}

#[test]
fn an_address_that_is_none_is_an_error_of_its_channel() {
    for engine in engines() {
        let worker = start(1, engine);
        for address in ["", "nonsense", "127.0.0.1", "127.0.0.1:99999", "no.such.host.invalid:1"] {
            let mut nowhere = location(&worker, 1);
            nowhere.address = Address(address.into());
            nowhere.node = NodeId(9);
            let error = consume(&mut gate(&worker, vec![nowhere])).expect_err("nobody is there");
            assert!(matches!(error, ReadError::Channel { code: ReasonCode::WorkerLost, .. }), "{error}");
        }
    }
}

#[test]
fn a_worker_of_another_cluster_is_refused() {
    for engine in engines() {
        let ours = start(1, engine);
        let theirs =
            try_start(2, engine, &EnvironmentConfig { cluster: "another".into(), ..config() }).expect("starts");
        let error = consume(&mut gate(&ours, vec![location(&theirs, 1)])).expect_err("another cluster");
        assert!(error.to_string().contains("another"), "{error}");
    }
}
