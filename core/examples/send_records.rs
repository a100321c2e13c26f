//! Writes records to eight consumers of another worker and reads them, both workers on one thread and linked within the
//! process: the path through sessions, without a network. For counting instructions; the clock stands still, so two runs
//! count the same.
//!
//! ```text
//! cargo build --release -p sluice-core --example send_records
//! valgrind --tool=callgrind target/release/examples/send_records 1000000 100
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};

use sluice_core::{
    Clock, Delivery, EnvironmentConfig, FlushInterval, Incarnation, InputGate, JobId, NodeId, PartitionId, Reactor,
    ReactorDrive, RecordBatch, RecordReader, ShuffleDescriptor, ShuffleEnvironment,
};
use sluice_plugin::InProcess;

const TARGETS: u32 = 8;
const BATCH_BYTES: usize = 64 * 1024;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut next = |default| arguments.next().map_or(default, |number| number.expect("a number"));
    let (records, record_bytes) = (next(1_000_000), next(100));
    let hub = InProcess::new();
    let (producing, mut producing_reactor) = start(&hub, 1);
    let (consuming, mut consuming_reactor) = start(&hub, 2);
    let partition = PartitionId { job: JobId(1), partition: 0, attempt: 0 };
    let mut writer = producing.create_writer(partition, TARGETS).expect("64 MiB are enough");
    let descriptor = ShuffleDescriptor { partition, subpartitions: TARGETS, producer: producing.location() };
    let gate =
        |target| consuming.create_gate("a reader", 1, &[(0, descriptor.channel(target))]).expect("64 MiB are enough");
    let mut readers: Vec<_> = (0..TARGETS).map(|target| (gate(target), RecordReader::new(1 << 20))).collect();

    let record = vec![7; record_bytes];
    let batch_records = (BATCH_BYTES / record_bytes).max(1);
    let batch: Vec<&[u8]> = vec![&record; batch_records];
    let targets: Vec<u32> =
        (0..batch_records as u32).map(|number| number.wrapping_mul(2_654_435_761) >> 16 & 7).collect();
    let mut context = Context::from_waker(Waker::noop());
    let (mut written, mut read) = (0, (0u64, 0u64));
    while read.0 < written as u64 || written < records {
        let pending = if written < records {
            let mut pending = RecordBatch::new(&batch, &targets);
            let mut turns = || {
                turn(&mut producing_reactor, &mut consuming_reactor);
                drain(&mut readers, &mut read);
            };
            while writer.poll_write_batch(&mut context, &mut pending).is_pending() {
                turns();
            }
            written += batch_records;
            written % 64 == 0
        } else {
            writer.poll_flush(&mut context).is_pending()
        };
        if pending || written >= records {
            turn(&mut producing_reactor, &mut consuming_reactor);
            drain(&mut readers, &mut read);
        }
    }
    println!("{} records, {} bytes", read.0, read.1);
}

fn start(hub: &InProcess, node: u64) -> (ShuffleEnvironment, Reactor) {
    let config = EnvironmentConfig {
        node: NodeId(node),
        incarnation: Incarnation(1),
        clock: Clock::Manual(Arc::new(AtomicU64::new(1))),
        flush: FlushInterval::Off,
        ..EnvironmentConfig::default()
    };
    let worker =
        ShuffleEnvironment::start(config, Arc::new(hub.clone()), ReactorDrive::Caller).expect("a worker starts");
    (worker.environment, worker.reactor.expect("this thread drives it"))
}

fn turn(producing: &mut Reactor, consuming: &mut Reactor) {
    while producing.turn() | consuming.turn() {}
}

fn drain(readers: &mut [(InputGate, RecordReader)], read: &mut (u64, u64)) {
    for (gate, records) in readers {
        while let Poll::Ready(Some(delivery)) = gate.poll_next(&mut Context::from_waker(Waker::noop())) {
            if let Delivery::Buffer { buffer, .. } = delivery.expect("nothing fails here") {
                let count = |record: &[u8]| {
                    read.0 += 1;
                    read.1 += record.len() as u64;
                };
                records.read(&buffer, count).expect("no record is too long");
            }
        }
    }
}
