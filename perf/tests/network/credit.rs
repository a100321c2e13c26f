//! Credit is memory: what stands by for channels that are idle must not be what another task waits for.

use sluice_core::{Delivery, EnvironmentConfig};

use crate::stage::{config, consume, engines, gate, location, partition, produce, start, try_start};

/// The gate's channels may hold the whole memory as credit of producers that have nothing to send yet; then a writer
/// comes to the same worker. It needs what it was admitted with, though no channel moves.
#[test]
fn a_writer_gets_its_memory_although_idle_channels_hold_it_as_credit() {
    for engine in engines() {
        let little = EnvironmentConfig { memory_bytes: 512 << 10, ..config() };
        let here = try_start(1, engine, &little).expect("a worker starts");
        let there = start(2, engine);
        let mut idle: Vec<_> =
            (0..4).map(|number| there.create_writer(partition(number), 1).expect("there is memory")).collect();
        let mut waiting = gate(&here, (0..4).map(|number| location(&there, number)).collect());
        // All channels are open and have their credit once each has given something.
        let mut heard = [false; 4];
        for writer in &mut idle {
            writer.write(0, &[1; 2000]).expect("it is written");
            writer.flush().expect("somebody reads");
        }
        while heard.contains(&false) {
            match waiting.read() {
                Some(Ok(Delivery::Buffer { channel, .. })) => heard[channel as usize] = true,
                other => panic!("data was due, not {other:?}"),
            }
        }
        let writer = here.create_writer(partition(100), 1).expect("its floor is free, or lent");
        let mut back = gate(&there, vec![location(&here, 100)]);
        std::thread::scope(|scope| {
            scope.spawn(move || produce(writer, 500));
            assert_eq!(consume(&mut back), Ok(vec![500]));
        });
    }
}

/// The memory is shared by many gates, then by few: those that remain get more, and everything is read.
#[test]
fn shares_that_shrink_and_grow_lose_nothing() {
    for engine in engines() {
        let little = EnvironmentConfig { memory_bytes: 512 << 10, ..config() };
        let here = try_start(1, engine, &little).expect("a worker starts");
        let there = start(2, engine);
        let writers: Vec<_> =
            (0..12).map(|number| there.create_writer(partition(number), 1).expect("there is memory")).collect();
        let gates: Vec<_> = (0..12).map(|number| gate(&here, vec![location(&there, number)])).collect();
        std::thread::scope(|scope| {
            for (number, writer) in (0..).zip(writers) {
                scope.spawn(move || produce(writer, 20 + number * number * 10));
            }
            for (number, mut gate) in (0..).zip(gates) {
                scope.spawn(move || assert_eq!(consume(&mut gate), Ok(vec![20 + number * number * 10])));
            }
        });
    }
}
