//! Bytes go and come whole, in order, and are counted right.

use crate::*;

#[test]
fn pieces_are_sent_in_order_from_the_skipped_bytes_on() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    let pieces = [&b"gone"[..], b"", b"left, ", b"right"].map(|piece| Outgoing::Bytes(piece.to_vec())).into();
    let done = run(&mut ring, Operation::Send { socket: ours, pieces, skip: 5, zero_copy: false });
    assert_eq!(bytes_sent(&done), 10);
    let mut got = [0; 10];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"eft, right");
}

#[test]
fn pieces_are_filled_in_order_from_the_skipped_bytes_on() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    theirs.write_all(b"eft, right").unwrap();
    let pieces = [&b"head"[..], b"l....", b"......"].map(|piece| Incoming::Bytes(piece.to_vec())).into();
    let done = run(&mut ring, Operation::Receive { socket: ours, pieces, skip: 5, wait_all: true });
    assert!(matches!(done.result, Ok(Done::Received(10))), "{:?}", done.result);
    assert_eq!(received(&done.operation), b"headleft, right");
}

#[test]
fn a_receive_takes_what_is_there() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    theirs.write_all(b"abc").unwrap();
    let done = run(&mut ring, receive(&ours, 100));
    assert!(matches!(done.result, Ok(Done::Received(3))), "{:?}", done.result);
}

#[test]
fn a_receive_that_waits_for_all_is_short_only_at_the_end() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    let pieces = vec![Incoming::Bytes(vec![0; 4]), Incoming::Bytes(vec![0; 4])];
    ring.push(1, Operation::Receive { socket: ours, pieces, skip: 0, wait_all: true }).unwrap();
    let mut done = Vec::new();
    for half in [b"abc", b"def"] {
        theirs.write_all(half).unwrap();
        ring.wait(Some(Duration::from_millis(5)), &mut done).unwrap();
        assert!(done.is_empty(), "not full yet: {done:?}");
    }
    drop(theirs);
    let done = completion(&mut ring);
    assert!(matches!(done.result, Ok(Done::Received(6))), "{:?}", done.result);
    assert_eq!(received(&done.operation), b"abcdef\0\0");
}

#[test]
fn the_kernel_finishes_a_send_larger_than_the_socket_holds() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    let bytes = 16 << 20;
    let pieces = (0..16).map(|piece| Outgoing::Bytes(vec![piece; bytes / 16])).collect();
    ring.push(0, send(&ours, pieces)).unwrap();
    ring.submit().unwrap();
    let reader = thread::spawn(move || {
        let mut got = vec![0; bytes];
        theirs.read_exact(&mut got).unwrap();
        got.chunks(bytes / 16).enumerate().all(|(piece, chunk)| chunk.iter().all(|byte| *byte == piece as u8))
    });
    assert_eq!(bytes_sent(&completion(&mut ring)), bytes);
    assert!(reader.join().unwrap());
}

#[test]
fn more_pieces_than_the_kernel_takes_make_a_short_transfer() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    let pieces = (0..PIECES_MAX + 3).map(|_| Outgoing::Bytes(vec![7; 2])).collect();
    let done = run(&mut ring, send(&ours, pieces));
    assert_eq!(bytes_sent(&done), 2 * PIECES_MAX);

    let Operation::Send { pieces, .. } = done.operation else { panic!("a send") };
    let rest = Operation::Send { socket: ours, pieces, skip: 2 * PIECES_MAX, zero_copy: false };
    assert_eq!(bytes_sent(&run(&mut ring, rest)), 6);
    theirs.read_exact(&mut vec![0; 2 * (PIECES_MAX + 3)]).unwrap();
}

#[test]
#[should_panic(expected = "an operation skips 3 of its 3 bytes")]
fn a_receive_of_nothing_is_a_mistake() {
    let Some(mut ring) = ring(8, 8) else { panic!("an operation skips 3 of its 3 bytes (skipped)") };
    let (socket, _theirs) = connection();
    let pieces = vec![Incoming::Bytes(vec![0; 3])];
    ring.push(0, Operation::Receive { socket, pieces, skip: 3, wait_all: false }).unwrap();
}

#[test]
fn a_socket_in_nonblocking_mode_waits_all_the_same() {
    let mut ring = ring_or_skip!(8, 8);
    let (ours, mut theirs) = connection();
    rustix::io::ioctl_fionbio(&ours, true).unwrap();
    ring.push(0, receive(&ours, 1)).unwrap();
    let mut done = Vec::new();
    ring.wait(Some(Duration::from_millis(1)), &mut done).unwrap();
    assert!(done.is_empty(), "{done:?}");
    theirs.write_all(b"x").unwrap();
    assert_eq!(received(&completion(&mut ring).operation), b"x");
}
