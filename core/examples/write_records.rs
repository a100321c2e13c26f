//! Writes records of 100 bytes to eight consumers of the same worker and reads them, all on one thread: the per-record
//! path without network. For counting instructions:
//!
//! ```text
//! cargo build --release -p sluice-core --example write_records
//! valgrind --tool=callgrind target/release/examples/write_records 1000000
//! ```

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sluice_core::{
    Delivery, EnvironmentConfig, JobId, PartitionId, ReactorDrive, RecordBatch, RecordReader, ShuffleDescriptor,
    ShuffleEnvironment,
};
use sluice_plugin::InProcess;

const TARGETS: u32 = 8;
const BATCH: usize = 640;

fn main() {
    let argument = std::env::args().nth(1);
    let records: usize = argument.and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let started =
        ShuffleEnvironment::start(EnvironmentConfig::default(), Arc::new(InProcess::new()), ReactorDrive::Caller)
            .expect("a worker of one process starts");
    let (environment, mut reactor) = (started.environment, started.reactor.expect("this thread drives it"));
    let partition = PartitionId { job: JobId(1), partition: 0, attempt: 0 };
    let mut writer = environment.create_writer(partition, TARGETS).expect("64 MiB are enough");
    let descriptor = ShuffleDescriptor { partition, subpartitions: TARGETS, producer: environment.location() };
    let gate =
        |target| environment.create_gate("a reader", 1, &[(0, descriptor.channel(target))]).expect("64 MiB are enough");
    let mut readers: Vec<_> = (0..TARGETS).map(|target| (gate(target), RecordReader::new(1 << 20))).collect();
    while reactor.turn() {}

    let block: Vec<u8> = (0..100 * BATCH).map(|byte| byte as u8).collect();
    let batch: Vec<&[u8]> = block.chunks(100).collect();
    let targets: Vec<u32> = (0..BATCH as u32).map(|number| number.wrapping_mul(2_654_435_761) >> 16 & 7).collect();
    let mut context = Context::from_waker(Waker::noop());
    let (mut written, mut read, mut sum) = (0, 0u64, 0u64);
    while read < written as u64 || written < records {
        if written < records {
            let mut pending = RecordBatch::new(&batch, &targets);
            while writer.poll_write_batch(&mut context, &mut pending).is_pending() {
                sum += drain(&mut readers, &mut read);
            }
            written += BATCH;
        } else {
            let _ = writer.poll_flush(&mut context);
        }
        sum += drain(&mut readers, &mut read);
    }
    println!("{read} records, {sum} bytes");
}

fn drain(readers: &mut [(sluice_core::InputGate, RecordReader)], read: &mut u64) -> u64 {
    let mut bytes = 0;
    for (gate, records) in readers {
        while let Poll::Ready(Some(delivery)) = gate.poll_next(&mut Context::from_waker(Waker::noop())) {
            if let Delivery::Buffer { buffer, .. } = delivery.expect("nothing fails here") {
                let show = |record: &[u8]| {
                    *read += 1;
                    bytes += record.len() as u64;
                };
                records.read(&buffer, show).expect("no record is too long");
            }
        }
    }
    bytes
}
