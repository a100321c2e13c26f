//! Workers whose reactors and clock are moved by hand: nothing happens but what the test does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sluice_core::{
    ChannelLocation, Clock, Delivery, Devices, EnvironmentConfig, Event, FlushInterval, HugePages, Incarnation,
    InputGate, JobId, NodeId, PartitionId, PartitionSpec, PartitionWriter, PendingRecord, Reactor, ReactorDrive,
    ReadError, RecordBatch, RecordReader, ShuffleEnvironment, ShuffleMaster, WriteError,
};
use sluice_plugin::TransportFactory;

/// Where the producer and the consumer of a test are: on one worker, or on two.
pub(crate) const PLACES: [usize; 2] = [0, 1];

/// Partition `number` of job 1.
pub(crate) fn partition(number: u64) -> PartitionId {
    PartitionId { job: JobId(1), partition: number, attempt: 0 }
}

/// Little memory, no timers but those that the test moves, and only buffers that are full or flushed.
pub(crate) fn config() -> EnvironmentConfig {
    EnvironmentConfig {
        memory_bytes: 4 << 20,
        huge_pages: HugePages::Never,
        flush: FlushInterval::Off,
        // A link that is lost stays lost; who tests that it does not says so.
        resume_timeout: Duration::ZERO,
        ..EnvironmentConfig::default()
    }
}

/// Workers on one thread.
pub(crate) struct Stage {
    clock: Arc<AtomicU64>,
    workers: Vec<(ShuffleEnvironment, Option<Reactor>)>,
    master: ShuffleMaster,
    /// How many workers were started again.
    lives: u64,
}

/// What a gate gave, with records put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Record(u32, Vec<u8>),
    Event(u32, u16, Option<u32>),
    End(u32),
}

impl Stage {
    pub(crate) fn new(count: u64) -> Self {
        Self::with(count, &config())
    }

    pub(crate) fn with(count: u64, config: &EnvironmentConfig) -> Self {
        Self::each(count, |_| config.clone())
    }

    pub(crate) fn each(count: u64, config: impl Fn(u64) -> EnvironmentConfig) -> Self {
        Self::over(crate::transport(), count, config)
    }

    pub(crate) fn over(
        transport: Arc<dyn TransportFactory>,
        count: u64,
        config: impl Fn(u64) -> EnvironmentConfig,
    ) -> Self {
        Self::on(Devices::from(transport), count, config)
    }

    /// Workers that share these devices.
    pub(crate) fn on(devices: Devices, count: u64, config: impl Fn(u64) -> EnvironmentConfig) -> Self {
        let clock = Arc::new(AtomicU64::new(1));
        let mut workers = Vec::new();
        for node in 0..count {
            let config = EnvironmentConfig {
                node: NodeId(node),
                incarnation: Incarnation(node + 100),
                clock: Clock::Manual(Arc::clone(&clock)),
                ..config(node)
            };
            let worker = ShuffleEnvironment::start(config, devices.clone(), ReactorDrive::Caller);
            let worker = worker.expect("a worker starts");
            workers.push((worker.environment, worker.reactor));
        }
        let mut master = ShuffleMaster::new("in-process");
        master.register_job(&sluice_core::JobSpec { job: JobId(1), transport: None }).expect("the first job");
        Self { clock, workers, master, lives: 0 }
    }

    pub(crate) fn worker(&self, index: usize) -> &ShuffleEnvironment {
        &self.workers[index].0
    }

    /// Turns all reactors until none has anything to do.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut busy = false;
            for reactor in self.workers.iter_mut().filter_map(|(_, reactor)| reactor.as_mut()) {
                busy |= reactor.turn();
            }
            if !busy {
                return;
            }
        }
    }

    /// Turns each reactor once: what they have sent is under way.
    pub(crate) fn turn(&mut self) {
        for reactor in self.workers.iter_mut().filter_map(|(_, reactor)| reactor.as_mut()) {
            reactor.turn();
        }
    }

    /// A worker dies, and its node is started again: another life of it, with this index.
    pub(crate) fn restart(&mut self, index: usize, devices: impl Into<Devices>, config: EnvironmentConfig) {
        let (node, clock) = (NodeId(index as u64), Clock::Manual(Arc::clone(&self.clock)));
        self.lives += 1;
        let config = EnvironmentConfig { node, incarnation: Incarnation(1000 + self.lives), clock, ..config };
        let worker = ShuffleEnvironment::start(config, devices, ReactorDrive::Caller).expect("a worker starts");
        self.workers[index] = (worker.environment, worker.reactor);
    }

    /// Takes a worker's reactor away: it does nothing more.
    pub(crate) fn take_reactor(&mut self, index: usize) -> Reactor {
        self.workers[index].1.take().expect("it is there")
    }

    pub(crate) fn has_stopped(&self, index: usize) -> bool {
        self.workers[index].1.as_ref().is_some_and(Reactor::has_stopped)
    }

    /// Lets time pass, and what it brings.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.clock.fetch_add(time.as_nanos() as u64, Ordering::Release);
        self.settle();
    }

    /// Registers partition `number` of a worker and says where its subpartition is read.
    pub(crate) fn location(&mut self, worker: usize, number: u64, subpartition: u32) -> ChannelLocation {
        let spec = PartitionSpec { partition: partition(number), subpartitions: subpartition + 1 };
        let producer = self.worker(worker).location();
        self.master.register_partition(spec, producer).expect("its job is registered").channel(subpartition)
    }

    pub(crate) fn writer(&self, worker: usize, number: u64, subpartitions: u32) -> PartitionWriter {
        self.worker(worker).create_writer(partition(number), subpartitions).expect("there is memory")
    }

    /// A gate that reads these (worker, partition, subpartition).
    pub(crate) fn gate(&mut self, worker: usize, channels: &[(usize, u64, u32)]) -> InputGate {
        let locations: Vec<_> =
            channels.iter().map(|(worker, number, s)| self.location(*worker, *number, *s)).collect();
        let locations: Vec<_> = locations.into_iter().enumerate().map(|(index, l)| (index as u32, l)).collect();
        self.worker(worker).create_gate("a test", locations.len() as u32, &locations).expect("there is memory")
    }

    /// Polls until it is ready, with all reactors at work in between; `None` if that leads nowhere.
    pub(crate) fn until<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
        for _ in 0..2 {
            if let Poll::Ready(ready) = poll(&mut Context::from_waker(Waker::noop())) {
                return Some(ready);
            }
            self.settle();
        }
        match poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => Some(ready),
            Poll::Pending => None,
        }
    }

    pub(crate) fn try_write(
        &mut self,
        writer: &mut PartitionWriter,
        target: u32,
        record: &[u8],
    ) -> Option<Result<(), WriteError>> {
        let mut record = PendingRecord::new(record);
        self.until(|context| writer.poll_write(context, target, &mut record))
    }

    pub(crate) fn write(&mut self, writer: &mut PartitionWriter, target: u32, record: &[u8]) {
        self.try_write(writer, target, record).expect("there is memory").expect("it is written");
    }

    pub(crate) fn write_batch(&mut self, writer: &mut PartitionWriter, records: &[&[u8]], targets: &[u32]) {
        let mut batch = RecordBatch::new(records, targets);
        let written = self.until(|context| writer.poll_write_batch(context, &mut batch));
        written.expect("there is memory").expect("it is written");
    }

    pub(crate) fn broadcast(&mut self, writer: &mut PartitionWriter, record: &[u8]) {
        let written = self.until(|context| writer.poll_broadcast(context, record));
        written.expect("there is memory").expect("it is written");
    }

    pub(crate) fn event(&mut self, writer: &mut PartitionWriter, target: Option<u32>, kind: u16, priority: bool) {
        let event = Event { kind, payload: kind.to_le_bytes().into() };
        let written = self.until(|context| writer.poll_event(context, target, &event, priority));
        written.expect("there is memory").expect("it is written");
    }

    pub(crate) fn flush(&mut self, writer: &mut PartitionWriter) {
        self.until(|context| writer.poll_flush(context)).expect("there is memory").expect("somebody reads");
        self.settle();
    }

    pub(crate) fn finish(&mut self, mut writer: PartitionWriter) {
        self.until(|context| writer.poll_finish(context)).expect("there is memory").expect("somebody reads");
        self.settle();
    }

    /// The next delivery; `None` if there is nothing to come by itself.
    pub(crate) fn poll(&mut self, gate: &mut InputGate) -> Option<Option<Result<Delivery, ReadError>>> {
        self.until(|context| gate.poll_next(context))
    }

    /// Whether a gate has nothing to give for now.
    pub(crate) fn is_waiting(&mut self, gate: &mut InputGate) -> bool {
        match self.poll(gate) {
            None => true,
            Some(got) => panic!("nothing was due, not {got:?}"),
        }
    }

    pub(crate) fn next(&mut self, gate: &mut InputGate) -> Delivery {
        let delivery = self.poll(gate).expect("a delivery was due").expect("the gate is not complete");
        delivery.expect("nothing failed")
    }

    /// Reads until the gate fails.
    pub(crate) fn failure(&mut self, gate: &mut InputGate) -> ReadError {
        loop {
            match self.poll(gate).expect("an error was due") {
                Some(Ok(Delivery::End { channel })) => panic!("channel {channel} is not complete"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("the gate is not complete"),
            }
        }
    }

    /// Everything that comes until the gate is complete or has nothing more for now.
    pub(crate) fn seen(&mut self, gate: &mut InputGate) -> Vec<Seen> {
        let mut readers: Vec<_> = (0..gate.channels()).map(|_| RecordReader::new(16 << 20)).collect();
        let mut seen = Vec::new();
        while let Some(Some(delivery)) = self.poll(gate) {
            match delivery.expect("nothing failed") {
                Delivery::Buffer { channel, buffer } => readers[channel as usize]
                    .read(&buffer, |record| seen.push(Seen::Record(channel, record.to_vec())))
                    .expect("no record is too long"),
                Delivery::Event { channel, event, overtook } => seen.push(Seen::Event(channel, event.kind, overtook)),
                Delivery::End { channel } => seen.push(Seen::End(channel)),
            }
        }
        seen
    }

    /// Bytes of a worker's memory that are in anybody's hands.
    pub(crate) fn bytes_in_use(&self, worker: usize) -> usize {
        self.worker(worker).memory_statistics().outstanding_bytes
    }

    pub(crate) fn assert_all_memory_is_back(&mut self) {
        self.settle();
        for index in 0..self.workers.len() {
            let statistics = self.worker(index).memory_statistics();
            assert_eq!(statistics.outstanding_bytes, 0, "worker {index}: {statistics:?}");
        }
    }
}

/// What a task writes as `text`.
pub(crate) fn record(channel: u32, text: &str) -> Seen {
    Seen::Record(channel, text.as_bytes().to_vec())
}
