//! Workers that connect to each other at the same moment: one connection is kept, and nobody loses a record.

use std::sync::Barrier;

use crate::stage::{consume, engines, gate, location, partition, produce, start};

#[test]
fn two_workers_that_connect_to_each_other_at_once_both_read_everything() {
    for engine in engines() {
        for round in 0..60 {
            let workers = [start(1, engine), start(2, engine)];
            let barrier = Barrier::new(2);
            std::thread::scope(|scope| {
                for (me, other) in [(0, 1), (1, 0)] {
                    let (workers, barrier) = (&workers, &barrier);
                    scope.spawn(move || {
                        let (mine, theirs) = (&workers[me], &workers[other]);
                        for number in 0..4 {
                            let writer = mine.create_writer(partition(number), 1).expect("there is memory");
                            // Local tasks of their own, so that each finishes whatever the others do.
                            scope.spawn(move || produce(writer, 30));
                        }
                        barrier.wait();
                        // Channels come one by one while the connections come and go.
                        for number in 0..4 {
                            let mut gate = gate(mine, vec![location(theirs, number)]);
                            let read = consume(&mut gate);
                            assert_eq!(read, Ok(vec![30]), "{engine:?}, round {round}, worker {me}, gate {number}");
                        }
                    });
                }
            });
            for worker in workers {
                worker.stop();
                let statistics = worker.memory_statistics();
                assert_eq!(statistics.outstanding_bytes, 0, "{statistics:?}");
            }
        }
    }
}

#[test]
fn many_workers_that_all_connect_at_once_read_everything() {
    for engine in engines() {
        for _ in 0..8 {
            let workers: Vec<_> = (0..5).map(|node| start(node, engine)).collect();
            let barrier = Barrier::new(workers.len());
            std::thread::scope(|scope| {
                for worker in &workers {
                    let (workers, barrier) = (&workers, &barrier);
                    let writer = worker.create_writer(partition(worker.location().node.0), 1);
                    let writer = writer.expect("there is memory");
                    scope.spawn(move || produce(writer, 50));
                    scope.spawn(move || {
                        let me = worker.location().node.0;
                        // Each is read by its neighbour before and asked, in vain, for more by all others.
                        let before = (me as usize + workers.len() - 1) % workers.len();
                        let after = (me as usize + 1) % workers.len();
                        barrier.wait();
                        let unknown = gate(worker, vec![location(&workers[after], 1000 + me)]);
                        let mut gate = gate(worker, vec![location(&workers[before], before as u64)]);
                        assert_eq!(consume(&mut gate), Ok(vec![50]));
                        drop(unknown);
                    });
                }
            });
        }
    }
}
