//! Shuffle memory under a device: it comes back to its pool when the kernel has let go, and not before.

use sluice_memory::{Arena, ArenaOptions, BufferMut, BufferPool, HugePages, Memory, PoolSpec, SizeClass};

use crate::*;

fn pool() -> BufferPool {
    let arena = Arena::map(ArenaOptions { bytes: 8 << 20, huge_pages: HugePages::Never }).unwrap();
    let spec = PoolSpec { owner: "test".into(), unit: SizeClass::UNIT, floor_units: 8, bytes_max: 4 << 20 };
    Memory::new(arena).pool(spec).unwrap()
}

fn segment(pool: &BufferPool) -> BufferMut {
    pool.try_acquire(SizeClass::UNIT).expect("far below the maximum")
}

fn receive_into(socket: &Arc<OwnedFd>, pieces: Vec<Incoming>) -> Operation {
    Operation::Receive { socket: Arc::clone(socket), pieces, skip: 0, wait_all: true }
}

#[test]
fn a_frame_goes_from_pool_to_pool_without_another_copy() {
    let mut ring = ring_or_skip!(8, 8);
    let pool = pool();
    let (ours, theirs) = connection();
    let theirs = Arc::new(OwnedFd::from(theirs));
    let mut filled = segment(&pool);
    filled.iter_mut().zip(0..).for_each(|(byte, at): (_, u32)| *byte = (at % 251) as u8);
    let payload = filled.freeze();
    // Two slices of one segment, as two subpartitions have them, behind their heads.
    let (first, second) = (payload.slice(..1000), payload.slice(1000..));
    let pieces = vec![
        Outgoing::Bytes(b"head 1".to_vec()),
        Outgoing::Buffer(first),
        Outgoing::Bytes(b"head 2".to_vec()),
        Outgoing::Buffer(second),
    ];
    let into = vec![
        Incoming::Bytes(vec![0; 6]),
        Incoming::Buffer({
            let mut head = segment(&pool);
            head.truncate(1000);
            head
        }),
        Incoming::Bytes(vec![0; 6]),
        Incoming::Buffer({
            let mut rest = segment(&pool);
            rest.truncate(payload.len() - 1000);
            rest
        }),
    ];
    ring.push(1, send(&ours, pieces)).unwrap();
    ring.push(2, receive_into(&theirs, into)).unwrap();
    let mut done = completions(&mut ring, 2);
    done.sort_by_key(|done| done.token);
    assert_eq!(bytes_sent(&done[0]), 12 + payload.len());
    let expected = [b"head 1", &payload[..1000], b"head 2", &payload[1000..]].concat();
    assert!(received(&done[1].operation) == expected);

    drop((done, payload));
    assert_eq!(pool.in_use_bytes(), 0);
}

#[test]
fn a_buffer_in_flight_is_in_use_until_its_completion() {
    let mut ring = ring_or_skip!(8, 8);
    let pool = pool();
    let (ours, _theirs) = connection();
    ring.push(7, receive_into(&ours, vec![Incoming::Buffer(segment(&pool))])).unwrap();
    ring.submit().unwrap();
    let in_use = pool.in_use_bytes();
    assert!(in_use > 0);
    ring.cancel(7);
    // The cancel is not the end; its completion is.
    assert_eq!(pool.in_use_bytes(), in_use);
    let done = completion(&mut ring);
    assert_eq!(pool.in_use_bytes(), in_use);
    drop(done);
    assert_eq!(pool.in_use_bytes(), 0);
}

#[test]
fn a_ring_that_ends_returns_its_buffers_after_the_kernel_let_go() {
    let mut ring = ring_or_skip!(8, 8);
    let pool = pool();
    let (ours, theirs) = connection();
    // Submitted, and only queued.
    ring.push(0, receive_into(&ours, vec![Incoming::Buffer(segment(&pool))])).unwrap();
    ring.submit().unwrap();
    ring.push(1, send(&ours, vec![Outgoing::Buffer(segment(&pool).freeze())])).unwrap();
    assert!(pool.in_use_bytes() > 0);
    drop(ring);
    assert_eq!(pool.in_use_bytes(), 0);

    // Had the kernel kept a pointer, it would now write into memory that is somebody else's.
    let again: Vec<BufferMut> = (0..8).map(|_| segment(&pool)).collect();
    assert!(again.iter().all(|buffer| buffer.iter().all(|byte| *byte == 0)));
    let mut theirs = theirs;
    theirs.write_all(&[0xff; 64 << 10]).unwrap();
    assert!(again.iter().all(|buffer| buffer.iter().all(|byte| *byte == 0)));
}

#[test]
fn the_last_handle_may_be_the_rings() {
    let mut ring = ring_or_skip!(8, 8);
    let pool = pool();
    let (ours, mut theirs) = connection();
    let buffer = segment(&pool).freeze();
    let bytes = buffer.len();
    ring.push(0, send(&ours, vec![Outgoing::Buffer(buffer.clone()), Outgoing::Buffer(buffer)])).unwrap();
    drop(pool);
    assert_eq!(bytes_sent(&completion(&mut ring)), 2 * bytes);
    theirs.read_exact(&mut vec![0; 2 * bytes]).unwrap();
}
