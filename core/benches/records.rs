//! The per-record path: batches and single records into eight subpartitions of the same worker, read on the same thread.
//!
//! `cargo bench -p sluice-core`

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_core::{
    Delivery, EnvironmentConfig, InputGate, JobId, PartitionId, PartitionWriter, PendingRecord, Reactor, ReactorDrive,
    RecordBatch, ShuffleDescriptor, ShuffleEnvironment,
};
use sluice_plugin::InProcess;

const TARGETS: u32 = 8;
const RECORDS: usize = 640;
const RECORD_BYTES: usize = 100;

struct Worker {
    _environment: ShuffleEnvironment,
    _reactor: Reactor,
    writer: PartitionWriter,
    gates: Vec<InputGate>,
}

impl Worker {
    fn start() -> Self {
        let config = EnvironmentConfig::default();
        let started =
            ShuffleEnvironment::start(config, Arc::new(InProcess::new()), ReactorDrive::Caller).expect("a worker");
        let (environment, mut reactor) = (started.environment, started.reactor.expect("this thread drives it"));
        let partition = PartitionId { job: JobId(1), partition: 0, attempt: 0 };
        let writer = environment.create_writer(partition, TARGETS).expect("there is memory");
        let descriptor = ShuffleDescriptor { partition, subpartitions: TARGETS, producer: environment.location() };
        let gate = |target| {
            environment.create_gate("a bench", 1, &[(0, descriptor.channel(target))]).expect("there is memory")
        };
        let gates = (0..TARGETS).map(gate).collect();
        while reactor.turn() {}
        Self { _environment: environment, _reactor: reactor, writer, gates }
    }

    fn drain(&mut self) -> usize {
        let mut bytes = 0;
        for gate in &mut self.gates {
            while let Poll::Ready(Some(delivery)) = gate.poll_next(&mut Context::from_waker(Waker::noop())) {
                if let Delivery::Buffer { buffer, .. } = delivery.expect("nothing fails here") {
                    bytes += buffer.len();
                }
            }
        }
        bytes
    }
}

fn records(criterion: &mut Criterion) {
    let block: Vec<u8> = (0..RECORD_BYTES * RECORDS).map(|byte| byte as u8).collect();
    let batch: Vec<&[u8]> = block.chunks(RECORD_BYTES).collect();
    let targets: Vec<u32> = (0..RECORDS as u32).map(|number| number.wrapping_mul(2_654_435_761) >> 16 & 7).collect();
    let mut group = criterion.benchmark_group("records");
    group.throughput(Throughput::Elements(RECORDS as u64));

    let mut worker = Worker::start();
    group.bench_function("write_batch_100_bytes_8_targets", |bencher| {
        bencher.iter(|| {
            let mut pending = RecordBatch::new(&batch, &targets);
            while worker.writer.poll_write_batch(&mut Context::from_waker(Waker::noop()), &mut pending).is_pending() {
                worker.drain();
            }
            worker.drain()
        });
    });

    let mut worker = Worker::start();
    group.bench_function("write_100_bytes_8_targets", |bencher| {
        bencher.iter(|| {
            for (record, target) in batch.iter().zip(&targets) {
                let mut pending = PendingRecord::new(record);
                while worker
                    .writer
                    .poll_write(&mut Context::from_waker(Waker::noop()), *target, &mut pending)
                    .is_pending()
                {
                    worker.drain();
                }
            }
            worker.drain()
        });
    });
    group.finish();
}

criterion_group!(benches, records);
criterion_main!(benches);
