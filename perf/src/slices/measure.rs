//! One partition: written, read by some consumers at a time, compared with what was written, and looked into.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use sluice_core::{
    ChannelLocation, CreateError, Delivery, Devices, DiskSettings, EnvironmentConfig, Incarnation, InputGate, JobId,
    NodeId, PartitionId, PartitionKind, PartitionStatistics, ReactorDrive, ReadError, RecordBatch, RecordReader,
    RecordTooLong, ShuffleEnvironment, StartError, Worker, WriteError,
};
use sluice_plugin::InProcess;

use super::{Layout, SlicesSpec};
use crate::disk::local_disks;
use crate::inspect::{InspectError, slices_of};

/// Records that are written with one call.
const BATCH: usize = 256;
/// Payload is cut out of so many random bytes.
const NOISE_BYTES: usize = 1 << 20;

/// What came of one partition.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// From the first record until the partition can be read, merging included, in seconds.
    pub write_seconds: f64,
    /// Of these, from the last record on.
    pub finish_seconds: f64,
    /// Until all subpartitions were read, in seconds.
    pub read_seconds: f64,
    /// User and system time of reading.
    pub read_cpu_seconds: f64,
    /// Payload that was read, with the records' lengths.
    pub bytes: u64,
    /// What the disk was asked for meanwhile, in bytes.
    pub disk_read_bytes: u64,
    /// Half of the slices are smaller, in bytes.
    pub slice_bytes: u64,
    /// How many slices there are.
    pub slices: u64,
    /// What did the IO.
    pub engine: String,
    /// Whether past the page cache.
    pub is_direct: bool,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum SlicesError {
    /// The engine does not start.
    #[error("the engine does not start")]
    Start(#[from] StartError),
    /// There is no memory for a task end.
    #[error("a task cannot begin")]
    Create(#[from] CreateError),
    /// It could not be written.
    #[error("the partition cannot be written")]
    Write(#[from] WriteError),
    /// It could not be read.
    #[error("the partition cannot be read")]
    Read(#[from] ReadError),
    /// Records are not whole.
    #[error("NOT VERIFIED: what was read are no records")]
    Record(#[from] RecordTooLong),
    /// A subpartition is not what was written.
    #[error("NOT VERIFIED: subpartition {subpartition} has {found} bytes of records, and {expected} were written")]
    Changed {
        /// Which.
        subpartition: u32,
        /// What was read.
        found: u64,
        /// What was written.
        expected: u64,
    },
    /// The reactor stopped.
    #[error("the engine's thread has stopped")]
    Reactor(#[from] io::Error),
    /// Its files could not be looked into.
    #[error(transparent)]
    Inspect(#[from] InspectError),
}

/// A worker of its own, on this thread.
struct Bench {
    environment: ShuffleEnvironment,
    reactor: sluice_core::Reactor,
}

/// Writes and reads one partition in a directory of the run.
pub(super) fn measure(spec: &SlicesSpec, layout: Layout, subpartitions: u32) -> Result<Measurement, SlicesError> {
    let mut bench = Bench::start(spec, layout)?;
    let disk = bench.environment.disk();
    let partition = PartitionId { job: JobId(1), partition: 0, attempt: 0 };
    let began = Instant::now();
    let (expected, finish_seconds) = bench.write(spec, partition, subpartitions)?;
    let write_seconds = began.elapsed().as_secs_f64();
    let disk_before = bench.environment.disk_statistics().read_bytes;
    let (began, cpu) = (Instant::now(), crate::host::cpu_time());
    let bytes = bench.read(spec, partition, &expected)?;
    let read_seconds = began.elapsed().as_secs_f64();
    let read_cpu_seconds = (crate::host::cpu_time() - cpu).as_secs_f64();
    let disk_read_bytes = bench.environment.disk_statistics().read_bytes - disk_before;
    let slices = slices_of(&files(spec)?)?;
    bench.end(partition)?;
    Ok(Measurement {
        write_seconds,
        finish_seconds,
        read_seconds,
        read_cpu_seconds,
        bytes,
        disk_read_bytes,
        slice_bytes: slices.median,
        slices: slices.count,
        is_direct: disk.iter().flat_map(|disk| &disk.directories).all(|directory| directory.is_direct),
        engine: disk.map(|disk| disk.engine).unwrap_or_default(),
    })
}

/// What the partition has left in the directories, which nobody else uses.
fn files(spec: &SlicesSpec) -> Result<Vec<PathBuf>, SlicesError> {
    let mut files = Vec::new();
    for directory in &spec.disk.directories {
        files.extend(spills(directory)?);
    }
    Ok(files)
}

fn spills(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let all = std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let all = all.collect::<io::Result<Vec<_>>>()?;
    Ok(all.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "spill")).collect())
}

impl Bench {
    fn start(spec: &SlicesSpec, layout: Layout) -> Result<Self, SlicesError> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let config = EnvironmentConfig {
            node: NodeId(std::process::id().into()),
            incarnation: Incarnation(since.as_nanos() as u64),
            memory_bytes: spec.memory_bytes,
            disk: DiskSettings {
                merge: layout.merge(),
                sort_bytes_max: layout.sort_bytes_max(spec.memory_bytes),
                ..DiskSettings::default()
            },
            ..EnvironmentConfig::default()
        };
        let devices =
            Devices { transport: Arc::new(InProcess::copying()), disk: Some(Arc::new(local_disks(&spec.disk))) };
        let Worker { environment, reactor } = ShuffleEnvironment::start(config, devices, ReactorDrive::Caller)?;
        Ok(Self { environment, reactor: reactor.expect("this thread asked to drive it") })
    }

    /// Drives the reactor until it is ready.
    fn until<T>(&mut self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> io::Result<T> {
        let waker = self.environment.waker();
        loop {
            if let Poll::Ready(ready) = poll(&mut Context::from_waker(&waker)) {
                return Ok(ready);
            }
            self.turn_or_park()?;
        }
    }

    fn turn_or_park(&mut self) -> io::Result<()> {
        if !self.reactor.turn() {
            self.reactor.park(None)?;
        }
        Ok(())
    }

    /// The figures of what was written, and how long its end took.
    fn write(
        &mut self,
        spec: &SlicesSpec,
        partition: PartitionId,
        subpartitions: u32,
    ) -> Result<(PartitionStatistics, f64), SlicesError> {
        let mut writer = self.environment.create_writer_of(PartitionKind::SortMerge, partition, subpartitions)?;
        let mut draw = Draw(1);
        let noise: Vec<u8> = (0..NOISE_BYTES / 8).flat_map(|_| draw.next().to_le_bytes()).collect();
        for _ in 0..spec.bytes.div_ceil((BATCH * spec.record_bytes) as u64) {
            let at = |draw: &mut Draw| draw.next() as usize % (NOISE_BYTES - spec.record_bytes);
            let from: Vec<usize> = (0..BATCH).map(|_| at(&mut draw)).collect();
            let records: Vec<&[u8]> = from.iter().map(|from| &noise[*from..from + spec.record_bytes]).collect();
            let targets: Vec<u32> = (0..BATCH).map(|_| (draw.next() >> 32) as u32 % subpartitions).collect();
            let mut batch = RecordBatch::new(&records, &targets);
            self.until(|context| writer.poll_write_batch(context, &mut batch))??;
            self.reactor.turn();
        }
        let began = Instant::now();
        self.until(|context| writer.poll_finish(context))??;
        let finish_seconds = began.elapsed().as_secs_f64();
        let statistics = self.environment.partition_statistics(partition);
        Ok((statistics.expect("it has just been finished"), finish_seconds))
    }

    /// Reads all subpartitions, some at a time, which are far from each other: tasks of one worker are seldom neighbours.
    fn read(
        &mut self,
        spec: &SlicesSpec,
        partition: PartitionId,
        expected: &PartitionStatistics,
    ) -> Result<u64, SlicesError> {
        let subpartitions = expected.bytes.len() as u32;
        let consumers = spec.consumers.min(subpartitions);
        let stride = subpartitions.div_ceil(consumers);
        let order = (0..stride).flat_map(|step| (0..consumers).map(move |consumer| consumer * stride + step));
        let mut waiting = order.filter(|subpartition| *subpartition < subpartitions);
        let mut open: Vec<Reading> = Vec::new();
        let mut all = 0;
        let waker = self.environment.waker();
        loop {
            while open.len() < consumers as usize
                && let Some(subpartition) = waiting.next()
            {
                open.push(Reading::new(&self.environment, partition, subpartition)?);
            }
            if open.is_empty() {
                return Ok(all);
            }
            let (mut busy, mut index) = (false, 0);
            while index < open.len() {
                let context = &mut Context::from_waker(&waker);
                match open[index].poll(context, spec.record_bytes)? {
                    Step::Read => busy = true,
                    Step::Waits => {}
                    Step::Ended => {
                        let Reading { subpartition, bytes, .. } = open.swap_remove(index);
                        let expected = expected.bytes[subpartition as usize];
                        if bytes != expected {
                            return Err(SlicesError::Changed { subpartition, found: bytes, expected });
                        }
                        all += bytes;
                        busy = true;
                        continue;
                    }
                }
                index += 1;
            }
            if busy {
                self.reactor.turn();
            } else {
                self.turn_or_park()?;
            }
        }
    }

    /// Until its files are gone.
    fn end(mut self, partition: PartitionId) -> Result<(), SlicesError> {
        self.environment.release_partition(partition);
        self.environment.stop();
        while !self.reactor.has_stopped() {
            if !self.reactor.turn() {
                self.reactor.park(Some(Duration::from_millis(10)))?;
            }
        }
        Ok(())
    }
}

/// A consumer.
struct Reading {
    subpartition: u32,
    gate: InputGate,
    records: RecordReader,
    bytes: u64,
}

/// What a consumer has done.
enum Step {
    Read,
    Waits,
    Ended,
}

impl Reading {
    fn new(environment: &ShuffleEnvironment, partition: PartitionId, subpartition: u32) -> Result<Self, SlicesError> {
        let at = environment.location();
        let channel = ChannelLocation { partition, subpartition, node: at.node, address: at.address };
        let gate = environment.create_gate(&format!("reader of {subpartition}"), 1, &[(0, channel)])?;
        Ok(Self { subpartition, gate, records: RecordReader::new(64 << 20), bytes: 0 })
    }

    /// One buffer, if there is one; the gate checks it, this its records' lengths.
    fn poll(&mut self, context: &mut Context<'_>, record_bytes: usize) -> Result<Step, SlicesError> {
        match self.gate.poll_next(context) {
            Poll::Pending => Ok(Step::Waits),
            Poll::Ready(None) => Ok(Step::Ended),
            Poll::Ready(Some(delivery)) => {
                if let Delivery::Buffer { buffer, .. } = delivery? {
                    let mut bytes = 0;
                    self.records.read(&buffer, |record| {
                        bytes += if record.len() == record_bytes { 4 + record.len() as u64 } else { 0 };
                    })?;
                    self.bytes += bytes;
                }
                Ok(Step::Read)
            }
        }
    }
}

/// SplitMix64: the same partition each time.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_layouts_are_read_back_and_merging_makes_one_slice_of_each() {
        let folder = tempfile::tempdir().unwrap();
        let disk = sluice_core::DiskConfig {
            directories: vec![folder.path().to_owned()],
            ..sluice_core::DiskConfig::default()
        };
        let spec = SlicesSpec {
            disk,
            bytes: 20 << 20,
            record_bytes: 500,
            subpartitions: vec![5],
            layouts: Layout::ALL.to_vec(),
            consumers: 2,
            memory_bytes: 8 << 20,
            pairs: 1,
        };
        for layout in Layout::ALL {
            let Measurement { slices, bytes, .. } = measure(&spec, layout, 5).unwrap();
            assert!(bytes >= 20 << 20);
            assert_eq!(slices <= 2 * 5, layout == Layout::Merged, "{layout:?}: {slices}");
            assert_eq!(spills(folder.path()).unwrap(), Vec::<PathBuf>::new());
        }
    }
}
