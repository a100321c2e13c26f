//! Workers on TCP, each with its reactor on a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use sluice_core::{
    ChannelLocation, Delivery, EnvironmentConfig, HugePages, Incarnation, InputGate, JobId, NodeId, PartitionId,
    PartitionWriter, ReactorDrive, ReadError, RecordReader, ShuffleEnvironment, StartError,
};
use sluice_transport_tcp::{Engine, Tcp, TcpConfig};

/// The engines of this host.
pub(crate) fn engines() -> Vec<Engine> {
    let works = |engine: &Engine| match try_start(99, *engine, &config()) {
        Ok(_) => true,
        Err(refusal) => {
            eprintln!("{engine:?} skipped: {refusal}");
            false
        }
    };
    [Engine::Epoll, Engine::IoUring].into_iter().filter(works).collect()
}

/// Little memory, and all other defaults.
pub(crate) fn config() -> EnvironmentConfig {
    EnvironmentConfig {
        memory_bytes: 4 << 20,
        huge_pages: HugePages::Never,
        // Who tests that links come back says so.
        resume_timeout: Duration::ZERO,
        ..EnvironmentConfig::default()
    }
}

pub(crate) fn try_start(
    node: u64,
    engine: Engine,
    config: &EnvironmentConfig,
) -> Result<ShuffleEnvironment, StartError> {
    try_start_with(node, TcpConfig { engine, ..TcpConfig::default() }, config)
}

pub(crate) fn try_start_with(
    node: u64,
    transport: TcpConfig,
    config: &EnvironmentConfig,
) -> Result<ShuffleEnvironment, StartError> {
    let transport = Arc::new(Tcp::new(transport));
    let config = EnvironmentConfig { node: NodeId(node), incarnation: Incarnation(node + 100), ..config.clone() };
    Ok(ShuffleEnvironment::start(config, transport, ReactorDrive::OwnThread)?.environment)
}

pub(crate) fn start(node: u64, engine: Engine) -> ShuffleEnvironment {
    try_start(node, engine, &config()).expect("a worker starts")
}

pub(crate) fn partition(number: u64) -> PartitionId {
    PartitionId { job: JobId(1), partition: number, attempt: 0 }
}

/// Subpartition 0 of a worker's partition.
pub(crate) fn location(worker: &ShuffleEnvironment, number: u64) -> ChannelLocation {
    let at = worker.location();
    ChannelLocation { partition: partition(number), subpartition: 0, node: at.node, address: at.address }
}

pub(crate) fn gate(worker: &ShuffleEnvironment, locations: Vec<ChannelLocation>) -> InputGate {
    let channels = locations.len() as u32;
    let locations: Vec<_> = (0..).zip(locations).collect();
    worker.create_gate("a test", channels, &locations).expect("there is memory")
}

/// Record `number`: 1 to some 5000 bytes, so that some stand in heads and others in bodies.
fn record(number: u64) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + (number * 997 % 5000) as usize, number as u8);
    bytes
}

/// Writes so many records to subpartition 0 and finishes.
pub(crate) fn produce(mut writer: PartitionWriter, records: u64) {
    for number in 0..records {
        writer.write(0, &record(number)).expect("it is written");
    }
    writer.finish().expect("somebody reads");
}

/// Reads all channels to their ends; says how many records each had. Wrong records, and a stream that ends within
/// one, are the test's failure.
pub(crate) fn consume(gate: &mut InputGate) -> Result<Vec<u64>, ReadError> {
    let mut readers: Vec<_> = (0..gate.channels()).map(|_| RecordReader::new(1 << 20)).collect();
    let mut counts = vec![0; gate.channels() as usize];
    while let Some(delivery) = gate.read() {
        match delivery? {
            Delivery::Buffer { channel, buffer } => {
                let count = &mut counts[channel as usize];
                let check = |found: &[u8]| {
                    assert_eq!(found, record(*count), "record {count} of channel {channel}");
                    *count += 1;
                };
                readers[channel as usize].read(&buffer, check).expect("no record is too long");
            }
            Delivery::Event { .. } => panic!("nobody wrote an event"),
            Delivery::End { channel } => {
                assert!(readers[channel as usize].is_between_records(), "channel {channel} ends within a record");
            }
        }
    }
    Ok(counts)
}
