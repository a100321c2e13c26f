//! A send that lends its pages is over when the peer has acknowledged, not before.

use crate::*;

fn lend(socket: &Arc<OwnedFd>, pieces: Vec<Outgoing>) -> Operation {
    Operation::Send { socket: Arc::clone(socket), pieces, skip: 0, zero_copy: true }
}

#[test]
fn a_send_over_loopback_is_whole_and_says_that_it_was_copied() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    let reader = thread::spawn(move || {
        let mut got = vec![0; 3 << 20];
        theirs.read_exact(&mut got).unwrap();
        got
    });
    let pieces = (1..=3).map(|piece| Outgoing::Bytes(vec![piece; 1 << 20])).collect();
    let done = run(&mut ring, lend(&ours, pieces));
    assert!(matches!(done.result, Ok(Done::Sent { bytes: 3145728, copied: true })), "{:?}", done.result);
    let got = reader.join().unwrap();
    assert!(got.chunks(1 << 20).zip(1..).all(|(chunk, piece)| chunk.iter().all(|byte| *byte == piece)));
}

#[test]
fn a_send_that_fails_completes_once() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, _theirs) = connection();
    rustix::net::shutdown(&ours, rustix::net::Shutdown::Both).unwrap();
    let done = run(&mut ring, lend(&ours, vec![Outgoing::Bytes(vec![1; 4096])]));
    assert_eq!(errno(&done), Some(libc::EPIPE));
    assert_eq!(ring.in_flight(), 0);
}

/// Lends until the peer, which does not read, takes no more: some of it is sent and unacknowledged.
fn lend_to_a_deaf_peer(ring: &mut Ring, ours: &Arc<OwnedFd>) -> Vec<Completion> {
    rustix::net::sockopt::set_socket_send_buffer_size(ours, 4 << 20).unwrap();
    for token in 0..64 {
        ring.push(token, lend(ours, vec![Outgoing::Bytes(vec![1; 64 << 10])])).unwrap();
    }
    let mut done = Vec::new();
    ring.wait(Some(Duration::from_millis(20)), &mut done).unwrap();
    done
}

#[test]
fn a_peer_that_never_reads_keeps_the_buffers_until_the_socket_is_aborted() {
    let mut ring = ring_or_skip!(64, 64);
    if !ring.features().sendmsg_zc {
        return;
    }
    let (ours, never_reads) = connection();
    rustix::net::sockopt::set_socket_recv_buffer_size(&never_reads, 4096).unwrap();
    let mut done = lend_to_a_deaf_peer(&mut ring, &ours);
    ring.cancel(63);
    assert!(ring.in_flight() > 0, "the peer took everything: {}", done.len());
    sluice_uring::abort(ours.as_fd()).unwrap();
    while ring.in_flight() > 0 {
        ring.wait(None, &mut done).unwrap();
    }
    assert_eq!(done.len(), 64);
}

#[test]
fn a_ring_ends_although_a_peer_never_acknowledges() {
    let mut ring = ring_or_skip!(64, 64);
    let (ours, never_reads) = connection();
    rustix::net::sockopt::set_socket_recv_buffer_size(&never_reads, 4096).unwrap();
    lend_to_a_deaf_peer(&mut ring, &ours);
    drop(ring);
    assert!(Arc::into_inner(ours).is_some(), "the ring still holds the socket");
}
