//! A ring that ends waits for what the device has; what it holds comes back after that.

use crate::*;

/// 64 writes of 512 KiB each, in the kernel when it returns.
fn begin_writes(ring: &mut Ring, pool: &BufferPool, file: &Arc<OwnedFd>) {
    for at in 0..64 {
        let piece = filled(pool, at as u8, 128);
        ring.push(at as u64, write(file, at * 128 * PAGE, vec![piece])).unwrap();
    }
    ring.submit().unwrap();
}

/// A file of which the page cache has nothing that a direct read or write would wait for.
fn file_on_disk(folder: &TempDir, bytes: &[u8]) -> Arc<OwnedFd> {
    let file = file_of(folder, bytes);
    rustix::fs::fsync(&file).unwrap();
    file
}

/// All of the memory that 64 requests had, at once with this last byte each: before the disk could be through.
fn marked_again(pool: &BufferPool, byte: u8) -> Vec<BufferMut> {
    let marked = |_| {
        let mut buffer = pages(pool, 128);
        *buffer.last_mut().unwrap() = byte;
        buffer
    };
    (0..64).map(marked).collect()
}

#[test]
fn a_ring_dropped_with_writes_in_flight_gives_all_memory_back() {
    for registered in [true, false] {
        let mut ring = ring_or_skip!();
        let (arena, pool) = memory(32 << 20);
        if registered {
            ring.register(&arena).unwrap();
        }
        let folder = folder();
        let file = file_on_disk(&folder, &vec![0; 32 << 20]);
        begin_writes(&mut ring, &pool, &file);
        drop(ring);
        let again = marked_again(&pool, 255);
        assert!(Arc::into_inner(file).is_some(), "the ring still holds the file");
        // Each block is there or not: none has what the memory was used for later.
        let written = fs::read(folder.path().join("file")).unwrap();
        for (at, block) in written.chunks(128 * PAGE).enumerate() {
            assert!(block.iter().all(|byte| *byte == at as u8 || *byte == 0), "block {at} has other bytes");
        }
        drop(again);
        assert_eq!(pool.in_use_bytes(), 0);
    }
}

#[test]
fn a_ring_dropped_with_reads_in_flight_lets_nothing_be_written_later() {
    let mut ring = ring_or_skip!();
    let (arena, pool) = memory(32 << 20);
    ring.register(&arena).unwrap();
    let folder = folder();
    let file = file_on_disk(&folder, &vec![7; 32 << 20]);
    for at in 0..64 {
        ring.push(0, read(&file, at * 128 * PAGE, vec![Incoming::Buffer(pages(&pool, 128))])).unwrap();
    }
    ring.submit().unwrap();
    drop(ring);
    let all = marked_again(&pool, 1);
    // This takes longer than the reads would.
    assert!(fs::read(folder.path().join("file")).unwrap().iter().all(|byte| *byte == 7));
    let marks = all.iter().filter(|buffer| buffer.last() == Some(&1)).count();
    assert_eq!(marks, 64, "a read came after its ring was gone");
}

#[test]
fn a_cancelled_write_comes_back_once_done_or_not() {
    let mut ring = ring_or_skip!();
    let (_, pool) = memory(32 << 20);
    let folder = folder();
    let file = file_of(&folder, &[]);
    begin_writes(&mut ring, &pool, &file);
    (0..64).for_each(|token| ring.cancel(token));
    for done in completions(&mut ring, 64) {
        if done.result.is_err() {
            assert_eq!(errno(&done), Some(rustix::io::Errno::CANCELED.raw_os_error()));
        }
    }
    assert_eq!((ring.in_flight(), pool.in_use_bytes()), (0, 0));
}
