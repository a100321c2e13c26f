//! What the ring promises, over real loopback sockets.
#![expect(clippy::unwrap_used, reason = "in a test it is the failure")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use sluice_uring::{Completion, Done, Incoming, Operation, Outgoing, PIECES_MAX, Ring, RingError, RingOptions, Sleep};

/// A test of a ring, or nothing where there can be none.
macro_rules! ring_or_skip {
    ($entries:expr, $operations_max:expr) => {
        match ring($entries, $operations_max) {
            Some(ring) => ring,
            None => return,
        }
    };
}

mod buffers;
mod connection;
mod lifetime;
mod sleep;
mod transfer;
mod zero_copy;

// Long enough that only a lost wake-up reaches it.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

fn ring(entries: u32, operations_max: u32) -> Option<Ring> {
    match Ring::new(RingOptions { entries, operations_max }) {
        Ok(ring) => Some(ring),
        Err(RingError::Refused(refusal)) => {
            // Not eprintln!: the line of a test that passes would not be shown.
            let mut shown = io::stderr();
            writeln!(shown, "skipped, this host refuses io_uring: {refusal}").unwrap();
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Two ends of one connection: ours for the ring, theirs to play the peer with.
fn connection() -> (Arc<OwnedFd>, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Arc::new(ours.into()), listener.accept().unwrap().0)
}

fn send(socket: &Arc<OwnedFd>, pieces: Vec<Outgoing>) -> Operation {
    Operation::Send { socket: Arc::clone(socket), pieces, skip: 0, zero_copy: false }
}

fn receive(socket: &Arc<OwnedFd>, bytes: usize) -> Operation {
    let pieces = vec![Incoming::Bytes(vec![0; bytes])];
    Operation::Receive { socket: Arc::clone(socket), pieces, skip: 0, wait_all: false }
}

/// The next so many completions.
fn completions(ring: &mut Ring, count: usize) -> Vec<Completion> {
    let mut completions = Vec::new();
    while completions.len() < count {
        ring.wait(None, &mut completions).unwrap();
    }
    assert_eq!(completions.len(), count);
    completions
}

fn completion(ring: &mut Ring) -> Completion {
    completions(ring, 1).pop().unwrap()
}

fn run(ring: &mut Ring, operation: Operation) -> Completion {
    ring.push(0, operation).unwrap();
    completion(ring)
}

fn received(operation: &Operation) -> Vec<u8> {
    let Operation::Receive { pieces, .. } = operation else { panic!("not a receive: {operation:?}") };
    pieces.iter().flat_map(|piece| piece.as_slice()).copied().collect()
}

fn bytes_sent(completion: &Completion) -> usize {
    match completion.result {
        Ok(Done::Sent { bytes, .. }) => bytes,
        ref other => panic!("not sent: {other:?}"),
    }
}

fn errno(completion: &Completion) -> Option<i32> {
    completion.result.as_ref().expect_err("an error").raw_os_error()
}
