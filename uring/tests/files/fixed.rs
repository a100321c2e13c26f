//! Registered memory: of one arena, for as long as the ring lives.

use crate::*;

#[test]
fn memory_of_a_second_arena_goes_beside_that_of_the_registered_one() {
    let mut ring = ring_or_skip!();
    let (arena, pool) = memory(1 << 20);
    let (_other_arena, other) = memory(1 << 20);
    ring.register(&arena).unwrap();
    assert!(ring.is_registered());
    let folder = folder();
    let file = file_of(&folder, &numbered_pages(6));
    // The kernel would refuse a fixed buffer's number with memory that is not in it (EFAULT).
    let of_other = read(&file, PAGE, vec![Incoming::Buffer(pages(&other, 1))]);
    assert_eq!(content(&run(&mut ring, of_other).operation), [1; PAGE]);
    let of_both = vec![Incoming::Buffer(pages(&pool, 1)), Incoming::Buffer(pages(&other, 1))];
    assert_eq!(content(&run(&mut ring, read(&file, 2 * PAGE, of_both)).operation), numbered_pages(4)[2 * PAGE..]);
}

#[test]
fn memory_that_was_given_back_and_taken_again_is_registered_still() {
    let mut ring = ring_or_skip!();
    let (arena, pool) = memory(1 << 20);
    ring.register(&arena).unwrap();
    let folder = folder();
    let file = file_of(&folder, &numbered_pages(64));
    for round in 0..64 {
        let done = run(&mut ring, read(&file, round * PAGE, vec![Incoming::Buffer(pages(&pool, 1))]));
        assert_eq!(content(&done.operation), [round as u8; PAGE]);
    }
}

#[test]
fn an_arena_of_several_regions_is_registered_as_several_buffers() {
    let mut ring = ring_or_skip!();
    // More than the 1 GiB that the kernel takes as one: all of it becomes resident for a moment.
    let bytes = (1 << 30) + (1 << 20);
    let (arena, pool) = memory(bytes);
    assert_eq!(arena.regions().len(), 2);
    if let Err(error) = ring.register(&arena) {
        let mut shown = io::stderr();
        return writeln!(shown, "skipped: {error}").unwrap();
    }
    let folder = folder();
    let file = file_of(&folder, &numbered_pages(2));
    let mut last = None;
    while last.as_ref().is_none_or(|buffer: &BufferMut| buffer.location().region.0 == 0) {
        // Kept, so that the next is another one.
        let next = pool.try_acquire(SizeClass::MAX).expect("the second region comes when the first is used up");
        std::mem::forget(last.replace(next));
    }
    let mut first_and_last = last.unwrap();
    first_and_last.truncate(PAGE);
    let done = run(&mut ring, read(&file, PAGE, vec![Incoming::Buffer(first_and_last)]));
    assert_eq!(content(&done.operation), [1; PAGE]);
}

#[test]
fn an_arena_outlives_all_but_its_ring() {
    let mut ring = ring_or_skip!();
    let (arena, pool) = memory(1 << 20);
    ring.register(&arena).unwrap();
    let folder = folder();
    let file = file_of(&folder, &numbered_pages(2));
    ring.push(0, read(&file, PAGE, vec![Incoming::Buffer(pages(&pool, 1))])).unwrap();
    drop((arena, pool));
    let done = completions(&mut ring, 1).pop().unwrap();
    drop(ring);
    // The memory is the buffer's still.
    assert_eq!(content(&done.operation), [1; PAGE]);
}

#[test]
#[should_panic(expected = "a ring registers one arena, once")]
fn a_second_arena_is_a_mistake() {
    let Some(mut ring) = ring(RingOptions { entries: 1, operations_max: 1 }) else {
        panic!("a ring registers one arena, once (skipped)")
    };
    let (arena, _pool) = memory(1 << 20);
    ring.register(&arena).unwrap();
    let _ = ring.register(&arena);
}
