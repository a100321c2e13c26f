//! All to all, with threads: every record is read where it was sent, once, in the order of its channel.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sluice_core::{
    Delivery, EnvironmentConfig, FlushInterval, HugePages, Incarnation, InputGate, NodeId, PartitionWriter,
    ReactorDrive, ReadError, RecordBatch, RecordReader, ShuffleEnvironment,
};
use sluice_plugin::TransportFactory;

use crate::stage::partition;

/// Tasks on each worker, and what each producer writes.
struct Shape {
    workers: u64,
    producers: u64,
    consumers: u64,
    records: u64,
}

/// Record `number` of `producer`, between 8 and some 300 bytes, now and then larger than a buffer.
fn record(producer: u64, number: u64) -> Vec<u8> {
    let length = match number % 97 {
        13 => 70_000,
        rest => 8 + (rest * 31 % 300) as usize,
    };
    let mut bytes = vec![(producer * 7 + number) as u8; length];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Writes `count` records in batches, round robin over the targets, and finishes.
fn produce(mut writer: PartitionWriter, producer: u64, count: u64) {
    let targets = u64::from(writer.subpartitions());
    for first in (0..count).step_by(50) {
        let numbers: Vec<u64> = (first..count.min(first + 50)).collect();
        let records: Vec<Vec<u8>> = numbers.iter().map(|number| record(producer, *number)).collect();
        let slices: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let to: Vec<u32> = numbers.iter().map(|number| (number % targets) as u32).collect();
        writer.write_batch(&mut RecordBatch::new(&slices, &to)).expect("the batch is written");
    }
    writer.finish().expect("the partition is complete");
}

/// Reads a gate to its end; the numbers of the records of each channel, in the order of arrival.
fn consume(gate: &mut InputGate) -> Result<HashMap<u32, Vec<u64>>, ReadError> {
    let mut readers: HashMap<u32, RecordReader> = HashMap::new();
    let mut seen: HashMap<u32, Vec<u64>> = HashMap::new();
    while let Some(delivery) = gate.read() {
        match delivery? {
            Delivery::Buffer { channel, buffer } => {
                let reader = readers.entry(channel).or_insert_with(|| RecordReader::new(1 << 20));
                let numbers = seen.entry(channel).or_default();
                let check = |bytes: &[u8]| {
                    let number = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
                    assert_eq!(bytes, record(channel.into(), number), "record {number} of producer {channel}");
                    numbers.push(number);
                };
                reader.read(&buffer, check).expect("no record is too long");
            }
            Delivery::Event { .. } => {}
            Delivery::End { channel } => {
                assert!(readers.get(&channel).is_none_or(RecordReader::is_between_records), "a record is cut off");
            }
        }
    }
    Ok(seen)
}

fn start(transport: &Arc<dyn TransportFactory>, node: u64, config: &EnvironmentConfig) -> ShuffleEnvironment {
    let config = EnvironmentConfig {
        node: NodeId(node),
        incarnation: Incarnation(node + 100),
        huge_pages: HugePages::Never,
        ..config.clone()
    };
    let transport = Arc::<dyn TransportFactory>::clone(transport);
    ShuffleEnvironment::start(config, transport, ReactorDrive::OwnThread).expect("a worker starts").environment
}

fn all_to_all(shape: &Shape, config: &EnvironmentConfig) {
    let &Shape { workers: count, producers, consumers, records } = shape;
    let transport = crate::transport();
    let workers: Vec<_> = (0..count).map(|node| start(&transport, node, config)).collect();
    let (all_producers, all_consumers) = (count * producers, count * consumers);
    let locations = |consumer: u64| -> Vec<_> {
        let location = |number: u64| {
            let producer = workers[(number / producers) as usize].location();
            let (partition, subpartition) = (partition(number), consumer as u32);
            sluice_core::ChannelLocation { partition, subpartition, node: producer.node, address: producer.address }
        };
        (0..all_producers).map(|number| (number as u32, location(number))).collect()
    };
    thread::scope(|scope| {
        for (index, worker) in workers.iter().enumerate() {
            let first = index as u64 * producers;
            let mine: Vec<_> =
                (first..first + producers).map(|number| (partition(number), all_consumers as u32)).collect();
            for (writer, number) in worker.create_writers(&mine).expect("there is memory").into_iter().zip(first..) {
                scope.spawn(move || produce(writer, number, records));
            }
        }
        for consumer in 0..all_consumers {
            let worker = &workers[(consumer / consumers) as usize];
            let channels = locations(consumer);
            let mut gate = worker.create_gate("a test", all_producers as u32, &channels).expect("there is memory");
            scope.spawn(move || {
                let seen = consume(&mut gate).expect("all channels complete");
                let expected: Vec<u64> = (0..records).filter(|number| number % all_consumers == consumer).collect();
                for channel in 0..all_producers as u32 {
                    let got = seen.get(&channel).map_or(&[][..], Vec::as_slice);
                    assert_eq!(got, expected, "channel {channel} of consumer {consumer}");
                }
            });
        }
    });
    for worker in workers {
        assert_eq!(worker.occupied_partitions(), vec![], "what was read is released");
        worker.stop();
        let statistics = worker.memory_statistics();
        assert_eq!(statistics.outstanding_bytes, 0, "every buffer is back: {statistics:?}");
    }
}

/// Just the floors of `ends` task ends.
fn floors(ends: usize) -> EnvironmentConfig {
    EnvironmentConfig { memory_bytes: ends * (32 << 10), ..EnvironmentConfig::default() }
}

#[test]
fn one_to_one_on_one_worker() {
    all_to_all(&Shape { workers: 1, producers: 1, consumers: 1, records: 5000 }, &EnvironmentConfig::default());
}

#[test]
fn one_to_one_with_floors_only() {
    all_to_all(&Shape { workers: 1, producers: 1, consumers: 1, records: 2000 }, &floors(2));
}

#[test]
fn all_to_all_between_two_workers_with_floors_only() {
    all_to_all(&Shape { workers: 2, producers: 1, consumers: 1, records: 2000 }, &floors(2));
}

#[test]
fn all_to_all_between_three_workers() {
    all_to_all(&Shape { workers: 3, producers: 2, consumers: 2, records: 4000 }, &EnvironmentConfig::default());
}

#[test]
fn eight_to_eight_with_floors_only() {
    all_to_all(&Shape { workers: 2, producers: 8, consumers: 8, records: 2000 }, &floors(16));
}

#[test]
fn sixty_four_to_sixty_four_with_floors_only() {
    all_to_all(&Shape { workers: 2, producers: 32, consumers: 32, records: 400 }, &floors(64));
}

#[test]
fn many_producers_to_one_consumer() {
    all_to_all(&Shape { workers: 1, producers: 16, consumers: 1, records: 400 }, &floors(17));
}

#[test]
fn one_producer_to_many_consumers() {
    all_to_all(&Shape { workers: 1, producers: 1, consumers: 16, records: 3000 }, &floors(17));
}

#[test]
fn all_to_all_over_four_lanes() {
    let config = EnvironmentConfig { lanes: 4, ..EnvironmentConfig::default() };
    all_to_all(&Shape { workers: 3, producers: 2, consumers: 3, records: 2000 }, &config);
}

#[test]
fn all_to_all_with_every_flush_interval() {
    let soon = FlushInterval::After(Duration::from_millis(1));
    for flush in [FlushInterval::Always, FlushInterval::Off, soon] {
        let config = EnvironmentConfig { flush, ..EnvironmentConfig::default() };
        all_to_all(&Shape { workers: 2, producers: 1, consumers: 3, records: 1500 }, &config);
    }
}

#[test]
fn all_to_all_with_every_flush_interval_and_floors_only() {
    let soon = FlushInterval::After(Duration::from_millis(1));
    for flush in [FlushInterval::Always, FlushInterval::Off, soon] {
        let config = EnvironmentConfig { flush, ..floors(8) };
        all_to_all(&Shape { workers: 2, producers: 4, consumers: 4, records: 600 }, &config);
    }
}

#[test]
fn all_to_all_with_the_smallest_and_the_largest_buffers() {
    for buffer_bytes in [4 << 10, 512 << 10] {
        let config = EnvironmentConfig { buffer_bytes, ..EnvironmentConfig::default() };
        all_to_all(&Shape { workers: 2, producers: 2, consumers: 2, records: 1000 }, &config);
    }
}

#[test]
fn nothing_at_all_is_complete_too() {
    all_to_all(&Shape { workers: 2, producers: 2, consumers: 2, records: 0 }, &EnvironmentConfig::default());
}
