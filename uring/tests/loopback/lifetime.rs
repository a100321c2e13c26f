//! What an operation holds is the ring's until the operation is over.

use crate::*;

#[test]
fn a_cancelled_operation_comes_back_whole() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, theirs) = connection();
    ring.push(1, receive(&ours, 10)).unwrap();
    ring.submit().unwrap();
    ring.cancel(1);
    ring.cancel(1);
    let done = completion(&mut ring);
    assert_eq!((done.token, errno(&done)), (1, Some(libc::ECANCELED)));
    assert_eq!(received(&done.operation), [0; 10]);
    assert_eq!(ring.in_flight(), 0);
    drop(theirs);
}

#[test]
fn a_cancel_touches_only_its_token() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, _theirs) = connection();
    let (others, mut peer) = connection();
    ring.push(1, receive(&ours, 10)).unwrap();
    ring.push(2, receive(&others, 10)).unwrap();
    ring.cancel(1);
    ring.cancel(3);
    assert_eq!(completion(&mut ring).token, 1);
    peer.write_all(b"x").unwrap();
    let done = completion(&mut ring);
    assert!(done.token == 2 && done.result.is_ok(), "{done:?}");
}

#[test]
fn more_cancels_than_the_queue_holds_all_arrive() {
    let mut ring = ring_or_skip!(2, 64);
    let connections: Vec<_> = (0..64).map(|_| connection()).collect();
    for (ours, _theirs) in &connections {
        ring.push(9, receive(ours, 10)).unwrap();
    }
    ring.cancel(9);
    for done in completions(&mut ring, 64) {
        assert_eq!(errno(&done), Some(libc::ECANCELED));
    }
    assert_eq!((ring.in_flight(), ring.queued()), (0, 0));
}

#[test]
fn a_full_table_hands_the_operation_back() {
    let mut ring = ring_or_skip!(2, 3);
    let (ours, mut theirs) = connection();
    for token in 0..3 {
        ring.push(token, receive(&ours, 1)).unwrap();
    }
    let refused = ring.push(3, receive(&ours, 1)).unwrap_err();
    assert_eq!(received(&refused), [0]);

    theirs.write_all(b"x").unwrap();
    completion(&mut ring);
    ring.push(3, refused).unwrap();
    assert_eq!(ring.in_flight(), 3);
}

#[test]
fn every_completion_of_a_full_ring_is_there() {
    let mut ring = ring_or_skip!(1, 1000);
    let event = Arc::new(eventfd(0, EventfdFlags::empty()).unwrap());
    for token in 0..1000 {
        ring.push(token, Operation::Watch { file: Arc::clone(&event) }).unwrap();
    }
    ring.submit().unwrap();
    rustix::io::write(&event, &1_u64.to_ne_bytes()).unwrap();
    let mut tokens: Vec<u64> = completions(&mut ring, 1000).iter().map(|done| done.token).collect();
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..1000));
}

#[test]
fn a_slot_is_used_again_and_again() {
    let mut ring = ring_or_skip!(1, 1);
    let (ours, mut theirs) = connection();
    for round in 0..1000_u64 {
        theirs.write_all(&[round as u8]).unwrap();
        ring.push(round, receive(&ours, 2)).unwrap();
        let done = completion(&mut ring);
        assert_eq!((done.token, received(&done.operation)[0]), (round, round as u8));
    }
}

#[test]
fn what_was_not_submitted_is_never_begun() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    ring.push(0, send(&ours, vec![Outgoing::Bytes(b"never".to_vec())])).unwrap();
    assert_eq!(ring.queued(), 1);
    drop(ring);
    // The ring let go of its share of the socket.
    drop(Arc::into_inner(ours).expect("only ours is left"));
    assert_eq!(theirs.read(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn a_ring_ends_with_every_kind_of_operation_in_flight() {
    let mut ring = ring_or_skip!(8, 16);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (ours, _theirs) = connection();
    let (full, _never_reads) = connection();
    let event = Arc::new(eventfd(0, EventfdFlags::empty()).unwrap());
    ring.push(0, Operation::Accept { listener: Arc::new(listener.into()) }).unwrap();
    ring.push(1, receive(&ours, 10)).unwrap();
    ring.push(2, send(&full, vec![Outgoing::Bytes(vec![0; 64 << 20])])).unwrap();
    ring.push(3, Operation::Watch { file: Arc::clone(&event) }).unwrap();
    ring.submit().unwrap();
    ring.push(4, receive(&ours, 10)).unwrap();
    drop(ring);
    for file in [ours, full, event] {
        assert!(Arc::into_inner(file).is_some(), "the ring still holds a file");
    }
}

#[test]
fn the_largest_ring_can_be_had() {
    let mut ring = ring_or_skip!(32 * 1024, sluice_uring::OPERATIONS_MAX);
    let (ours, mut theirs) = connection();
    theirs.write_all(b"x").unwrap();
    assert_eq!(received(&run(&mut ring, receive(&ours, 1)).operation), b"x");
}
