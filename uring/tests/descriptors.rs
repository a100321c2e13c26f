//! Descriptors are as many after a ring as before it. Alone in its process: others would open some meanwhile.
#![expect(clippy::unwrap_used, reason = "in a test it is the failure")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use sluice_uring::{Incoming, Operation, Ring, RingError, RingOptions, probe};

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_ring_leaves_no_descriptor_behind() {
    let before = open_descriptors();
    for _ in 0..20 {
        let mut ring = match Ring::new(RingOptions { entries: 8, operations_max: 8 }) {
            Ok(ring) => ring,
            Err(RingError::Refused(refusal)) => {
                let mut shown = io::stderr();
                return writeln!(shown, "skipped, this host refuses io_uring: {refusal}").unwrap();
            }
            Err(error) => panic!("{error}"),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Arc::new(listener.into());
        let accept = || Operation::Accept { listener: Arc::clone(&listener) };
        // One accept whose connection is reaped, …
        let mut first = TcpStream::connect(address).unwrap();
        ring.push(0, accept()).unwrap();
        let mut done = Vec::new();
        ring.wait(None, &mut done).unwrap();
        drop(done);
        // … one whose connection is never taken from the ring, one without a connection, …
        let mut second = TcpStream::connect(address).unwrap();
        ring.push(1, accept()).unwrap();
        ring.submit().unwrap();
        ring.push(2, accept()).unwrap();
        // … and a receive whose caller has gone.
        let socket = Arc::new(TcpStream::connect(address).unwrap().into());
        let pieces = vec![Incoming::Bytes(vec![0; 8])];
        ring.push(3, Operation::Receive { socket, pieces, skip: 0, wait_all: false }).unwrap();
        ring.submit().unwrap();
        drop(ring);
        // The ends that the ring had are closed, and the peers see it.
        assert_eq!(first.read(&mut [0]).unwrap(), 0);
        assert_eq!(second.read(&mut [0]).unwrap(), 0);
        probe().unwrap();
    }
    assert_eq!(open_descriptors(), before);
}
