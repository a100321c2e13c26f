//! One worker's shuffle: its memory, its reactor, its writers and gates.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use sluice_memory::{Arena, ArenaOptions, BufferPool, HugePages, Memory, MemoryStatistics, PoolSpec, SizeClass};
use sluice_plugin::{Address, DiskCapabilities, DiskFactory, DiskSetup, Setup, TransportFactory};
use sluice_protocol::{Incarnation, JobId, Limits, NodeId, PartitionId, SubpartitionIndex};

use super::master::ProducerLocation;
use crate::clock::Clock;
use crate::disk_settings::{Compression, DiskSettings};
use crate::error::{CreateError, StartError};
use crate::gate::{ChannelLocation, GateId, GateMemory, Inbox, InputGate};
use crate::job_token::{JobToken, JobTokens};
use crate::mailbox::{Command, Mailbox, mailbox};
use crate::memory_need::MemoryNeed;
use crate::partition::{
    Bench, BlockLog, FlushInterval, Found, HeldPartition, PartitionKind, PartitionManager, PartitionStatistics,
    PartitionWriter, PipelinedWriter, SortedSettings, SortedWriter, Spill, SpillSettings, WriterSettings,
};
use crate::reactor::{Reactor, ReactorDevices, ReactorSettings, ReadPools, Recovered, StorageSettings};
use crate::spill::{Codec, FileSet, Layout};
use crate::stats::{Counters, DiskStatistics, Traffic};
use crate::sync::lock;
use crate::task::block_on;

/// Everything that a worker's environment can be told. `Default` has a reason for each figure.
#[derive(Clone, Debug)]
pub struct EnvironmentConfig {
    /// The cluster; workers of another one are refused.
    pub cluster: String,
    /// This worker.
    pub node: NodeId,
    /// This life of it; another one has forgotten everything, and a later one has a greater number. The default is the
    /// time of day in nanoseconds.
    pub incarnation: Incarnation,
    /// Shuffle memory, in bytes.
    pub memory_bytes: usize,
    /// Of that, what is for floors only, those that there are and those to come: never lent, so a writer or gate that is
    /// created while others are at work finds its floor at once. [`ShuffleEnvironment::memory_need`] says how much that
    /// is. With less, who comes late may wait for what was lent, for ever if its holder waits for it. `None`: 12 of
    /// 100.
    pub floors_bytes: Option<usize>,
    /// Whether to ask for huge pages.
    pub huge_pages: HugePages,
    /// The size of a buffer while there is enough memory, in bytes: a power of two from 4 KiB to 512 KiB.
    pub buffer_bytes: usize,
    /// The most that one writer takes, in bytes.
    pub writer_bytes_max: usize,
    /// The most that is set aside for one channel of a gate, in bytes.
    pub window_bytes_max: usize,
    /// How much a writer collects before it hands over, in bytes.
    pub hand_over_bytes: usize,
    /// When written records become visible although their buffer is not full.
    pub flush: FlushInterval,
    /// The longest record, in bytes.
    pub record_bytes_max: usize,
    /// How long a consumer waits for a partition to appear.
    pub partition_deadline: Duration,
    /// Parallel links to each peer.
    pub lanes: u16,
    /// How long a session whose link is lost tries to get another one before its channels fail.
    pub resume_timeout: Duration,
    /// The bounds that this worker offers on its links.
    pub limits: Limits,
    /// How blocking partitions are written, read and recovered.
    pub disk: DiskSettings,
    /// Where time comes from.
    pub clock: Clock,
}

impl EnvironmentConfig {
    /// Of the memory, by default, what is for floors only: two hundred ends of tasks with the default's.
    pub(crate) const FLOORS_PERCENT: u8 = 12;
}

impl Default for EnvironmentConfig {
    fn default() -> Self {
        Self {
            cluster: "sluice".into(),
            node: NodeId(0),
            incarnation: Clock::life(),
            memory_bytes: 64 << 20,
            floors_bytes: None,
            // Registering and copying are cheaper with them, and nothing is lost where there are none.
            huge_pages: HugePages::Try,
            // As small as a disk still likes, as large as thousands of channels can afford.
            buffer_bytes: 32 << 10,
            // What a writer has on its way, acknowledgements included, should stay near the caches; more only moves the
            // wait (docs/decisions/0001).
            writer_bytes_max: 2 << 20,
            window_bytes_max: 512 << 10,
            // Below it the hand-over is the largest cost that the engine adds (docs/decisions/0001).
            hand_over_bytes: 256 << 10,
            // A tenth of what people call at once.
            flush: FlushInterval::After(Duration::from_millis(10)),
            record_bytes_max: 64 << 20,
            partition_deadline: Duration::from_secs(30),
            lanes: 1,
            // A switch that restarts or a network that heals; longer than that, the work is better done elsewhere.
            resume_timeout: Duration::from_secs(30),
            limits: Limits::default(),
            disk: DiskSettings::default(),
            clock: Clock::real(),
        }
    }
}

/// Who drives the reactor.
pub enum ReactorDrive {
    /// A thread of its own, which ends with the environment.
    OwnThread,
    /// The caller: with [`Reactor::turn`] and [`Reactor::park`], on the thread that runs its tasks.
    Caller,
}

/// What a worker does its IO with.
#[derive(Clone)]
pub struct Devices {
    /// To and from other workers.
    pub transport: Arc<dyn TransportFactory>,
    /// To and from its disks; without it there are only pipelined partitions.
    pub disk: Option<Arc<dyn DiskFactory>>,
}

impl From<Arc<dyn TransportFactory>> for Devices {
    fn from(transport: Arc<dyn TransportFactory>) -> Self {
        Self { transport, disk: None }
    }
}

impl<T: TransportFactory + 'static> From<Arc<T>> for Devices {
    fn from(transport: Arc<T>) -> Self {
        Self { transport, disk: None }
    }
}

/// A started environment, and its reactor if the caller drives it.
pub struct Worker {
    /// The environment; share it with the tasks.
    pub environment: ShuffleEnvironment,
    /// To be driven on this thread; `None` if it has its own.
    pub reactor: Option<Reactor>,
}

/// A worker's shuffle. `Send` and `Sync`; dropping it stops the reactor.
pub struct ShuffleEnvironment {
    config: EnvironmentConfig,
    memory: Memory,
    mailbox: Mailbox,
    manager: Arc<PartitionManager>,
    counters: Arc<Counters>,
    tokens: Arc<JobTokens>,
    address: Address,
    gates: AtomicU64,
    /// What goes to the disk, if there is one.
    spilling: Option<Spilling>,
    thread: Mutex<Option<JoinHandle<std::io::Result<()>>>>,
}

impl ShuffleEnvironment {
    /// Maps the memory, builds the devices and starts the reactor.
    pub fn start(
        config: EnvironmentConfig,
        devices: impl Into<Devices>,
        drive: ReactorDrive,
    ) -> Result<Worker, StartError> {
        let Devices { transport, disk } = devices.into();
        config.limits.check()?;
        if SizeClass::fitting(config.buffer_bytes).is_none_or(|class| class.bytes() != config.buffer_bytes) {
            return Err(StartError::BufferBytes { bytes: config.buffer_bytes });
        }
        let arena = Arena::map(ArenaOptions { bytes: config.memory_bytes, huge_pages: config.huge_pages })?;
        let unit = MemoryNeed { writers: 1, gates: 0, buffer_bytes: config.buffer_bytes, disk: false }.unit();
        let share = config.memory_bytes / 100 * usize::from(EnvironmentConfig::FLOORS_PERCENT);
        let floors_bytes = config.floors_bytes.unwrap_or(share);
        let memory = Memory::with_reserve(arena.clone(), unit, floors_bytes / unit.bytes());
        let (mailbox, mail) =
            mailbox().map_err(|source| StartError::System { what: "creating the wake-up of a reactor", source })?;
        let manager = Arc::new(PartitionManager::default());
        let counters = Arc::new(Counters::default());
        let tokens = Arc::new(JobTokens::default());
        let setup = Setup {
            node: config.node,
            incarnation: config.incarnation,
            cluster: config.cluster.clone(),
            limits: config.limits,
            arena: arena.clone(),
            waker: mailbox.waker(),
        };
        let spilling = match &disk {
            Some(_) => Some(Spilling::start(&config, &memory, &mailbox)?),
            None => None,
        };
        let disk = disk.zip(spilling.as_ref()).map(|(factory, spilling)| {
            let setup = DiskSetup {
                node: config.node,
                incarnation: config.incarnation,
                cluster: config.cluster.clone(),
                arena,
                waker: mailbox.waker(),
            };
            let settings = StorageSettings {
                owner: setup.owner(),
                disk: config.disk.clone(),
                pools: spilling.pools.clone(),
                mailbox: mailbox.clone(),
                manager: Arc::clone(&manager),
                counters: Arc::clone(&counters),
                recovered: Arc::clone(&spilling.recovered),
            };
            (factory, setup, settings)
        });
        let build = {
            let settings = ReactorSettings {
                node: config.node,
                incarnation: config.incarnation,
                tokens: Arc::clone(&tokens),
                memory: memory.clone(),
                lanes: config.lanes.max(1),
                partition_deadline: config.partition_deadline,
                resume_timeout: config.resume_timeout,
            };
            let (clock, mailbox) = (config.clock.clone(), mailbox.clone());
            let (manager, counters) = (Arc::clone(&manager), Arc::clone(&counters));
            move || -> Result<Reactor, StartError> {
                let transport = transport.build(setup)?;
                let disk = match disk {
                    Some((factory, setup, settings)) => {
                        let disk = factory.build(setup)?;
                        settings.recovered.set_disk(disk.capabilities().clone());
                        Some((settings, disk))
                    }
                    None => None,
                };
                let devices = ReactorDevices { transport, disk };
                Ok(Reactor::new(settings, clock, mail, mailbox, devices, manager, counters))
            }
        };
        let (reactor, thread, address) = match drive {
            ReactorDrive::Caller => {
                let reactor = build()?;
                let address = reactor.address();
                (Some(reactor), None, address)
            }
            ReactorDrive::OwnThread => {
                let (thread, address) = spawn(config.node, build)?;
                (None, Some(thread), address)
            }
        };
        let (gates, thread) = (AtomicU64::new(0), Mutex::new(thread));
        let environment = Self { config, memory, mailbox, manager, counters, tokens, address, gates, spilling, thread };
        Ok(Worker { environment, reactor })
    }

    /// Where this worker's partitions are found: for the master.
    pub fn location(&self) -> ProducerLocation {
        let (node, incarnation) = (self.config.node, self.config.incarnation);
        ProducerLocation { node, incarnation, address: self.address.clone() }
    }

    /// From now on this worker serves partitions of the job only to consumers whose workers know its token, and shows
    /// that it knows it when its own gates ask for some. Before the job's first writer and gate; all workers of the job
    /// have to be told. Forgotten with [`Self::release_job`].
    pub fn set_job_token(&self, job: JobId, token: JobToken) {
        self.tokens.set(job, token);
    }

    /// Creates a pipelined partition and the writer that fills it. Consumers may read at once.
    pub fn create_writer(&self, partition: PartitionId, subpartitions: u32) -> Result<PartitionWriter, CreateError> {
        self.create_writer_of(PartitionKind::Pipelined, partition, subpartitions)
    }

    /// Creates a partition of any kind and the writer that fills it.
    ///
    /// # Errors
    /// Also if it would go to the disk and the worker has none, or if it would take more files than a process may open.
    pub fn create_writer_of(
        &self,
        kind: PartitionKind,
        partition: PartitionId,
        subpartitions: u32,
    ) -> Result<PartitionWriter, CreateError> {
        let mut writers = self.create_writers_of(kind, &[(partition, subpartitions)])?;
        Ok(writers.pop().expect("one was asked for"))
    }

    /// Creates pipelined partitions for several writers at once, so that each knows its final share of the memory.
    pub fn create_writers(&self, partitions: &[(PartitionId, u32)]) -> Result<Vec<PartitionWriter>, CreateError> {
        self.create_writers_of(PartitionKind::Pipelined, partitions)
    }

    /// As [`Self::create_writers`], of any kind.
    pub fn create_writers_of(
        &self,
        kind: PartitionKind,
        partitions: &[(PartitionId, u32)],
    ) -> Result<Vec<PartitionWriter>, CreateError> {
        let mut pools = Vec::with_capacity(partitions.len());
        for (partition, subpartitions) in partitions {
            if *subpartitions == 0 {
                return Err(CreateError::Empty { what: "a partition", of: "subpartition" });
            }
            pools.push(self.writer_pools(kind, *partition, *subpartitions)?);
        }
        let mut writers = Vec::with_capacity(partitions.len());
        for ((partition, subpartitions), pools) in partitions.iter().zip(pools) {
            match self.writer(kind, *partition, *subpartitions, pools) {
                Ok(writer) => writers.push(writer),
                Err(error) => {
                    // All or none.
                    for writer in writers {
                        self.release_partition(writer.partition());
                    }
                    return Err(error);
                }
            }
        }
        Ok(writers)
    }

    fn writer_pools(
        &self,
        kind: PartitionKind,
        partition: PartitionId,
        subpartitions: u32,
    ) -> Result<(BufferPool, Option<BufferPool>), CreateError> {
        let owner = format!("writer of {partition}");
        if !kind.is_retained() {
            return Ok((self.pool(owner, self.config.writer_bytes_max)?, None));
        }
        if self.spilling.is_none() {
            return Err(CreateError::NoDisk { kind: kind.name() });
        }
        if kind == PartitionKind::Hash {
            check_files(subpartitions)?;
        }
        let floor = self.pool(owner.clone(), 0)?;
        let bytes_max = self.config.disk.sort_bytes_max.saturating_sub(floor.floor_bytes());
        let spec = PoolSpec { owner, unit: SizeClass::MAX, floor_units: 0, bytes_max };
        Ok((floor, Some(self.memory.pool(spec)?)))
    }

    fn writer(
        &self,
        kind: PartitionKind,
        id: PartitionId,
        subpartitions: u32,
        (pool, elastic): (BufferPool, Option<BufferPool>),
    ) -> Result<PartitionWriter, CreateError> {
        let log = Arc::new(BlockLog::new(id, kind, subpartitions, self.mailbox.clone()));
        if !self.manager.register(Arc::clone(&log)) {
            return Err(CreateError::PartitionExists(id));
        }
        if self.mailbox.is_closed() {
            self.manager.remove(id);
            return Err(CreateError::Stopped);
        }
        if !kind.is_retained() {
            self.mailbox.send(Command::Registered(id));
        }
        let (record_bytes_max, clock) = (self.config.record_bytes_max, self.config.clock.clone());
        if let (Some(elastic), Some(spilling)) = (elastic, &self.spilling) {
            let settings = SpillSettings {
                sets: self.file_sets(kind, id, subpartitions),
                elastic: elastic.clone(),
                bench: spilling.bench.clone(),
                block_bytes_max: MemoryNeed::disk_block_bytes_max(self.config.buffer_bytes),
                codec: codec(self.config.disk.compression),
            };
            let spill = Arc::new(Spill::new(Arc::clone(&log), self.mailbox.clone(), settings));
            log.set_spill(&spill);
            let settings = SortedSettings { spill, floor: pool, elastic, record_bytes_max, clock };
            return Ok(PartitionWriter::sorted(SortedWriter::new(settings)));
        }
        let settings = WriterSettings {
            pool,
            buffer_bytes: self.config.buffer_bytes,
            hand_over_bytes: self.config.hand_over_bytes,
            flush: self.config.flush,
            record_bytes_max,
            clock,
            mailbox: self.mailbox.clone(),
        };
        Ok(PartitionWriter::pipelined(PipelinedWriter::new(log, settings)))
    }

    /// One for all subpartitions, or one for each.
    fn file_sets(&self, kind: PartitionKind, partition: PartitionId, subpartitions: u32) -> Vec<FileSet> {
        let (node, incarnation) = (self.config.node, self.config.incarnation);
        let set = |layout, first, count| {
            let first = SubpartitionIndex(first);
            FileSet { layout, partition, subpartitions, first, count, node, incarnation }
        };
        match kind {
            PartitionKind::Hash => (0..subpartitions).map(|first| set(Layout::Hash, first, 1)).collect(),
            _ => vec![set(Layout::SortMerge, 0, subpartitions)],
        }
    }

    /// Creates a gate with this many channels. Their locations may be known now or later: [`InputGate::set_location`].
    pub fn create_gate(
        &self,
        owner: &str,
        channels: u32,
        locations: &[(u32, ChannelLocation)],
    ) -> Result<InputGate, CreateError> {
        let mut gate = self.open_gate(owner, channels)?;
        for (channel, location) in locations {
            gate.set_location(*channel, location.clone())?;
        }
        Ok(gate)
    }

    fn open_gate(&self, owner: &str, channels: u32) -> Result<InputGate, CreateError> {
        if channels == 0 {
            return Err(CreateError::Empty { what: "a gate", of: "channel" });
        }
        let wanted =
            self.config.window_bytes_max.saturating_mul(channels as usize).saturating_add(self.config.buffer_bytes);
        let pool = self.pool(format!("gate of {owner}"), wanted)?;
        let gate = GateId(self.gates.fetch_add(1, Ordering::Relaxed));
        let inbox = Arc::new(Inbox::new(gate, channels, self.mailbox.clone()));
        let memory = GateMemory {
            pool,
            window_bytes_max: self.config.window_bytes_max as u64,
            buffer_bytes: self.config.buffer_bytes,
        };
        self.mailbox.send(Command::OpenGate { gate, inbox: Arc::clone(&inbox), memory, channels });
        if self.mailbox.is_closed() {
            return Err(CreateError::Stopped);
        }
        Ok(InputGate::new(inbox, channels, self.mailbox.clone(), Arc::clone(&self.manager)))
    }

    fn pool(&self, owner: String, wanted: usize) -> Result<BufferPool, CreateError> {
        let need = self.memory_need(1, 0);
        let spec = PoolSpec { owner, unit: need.unit(), floor_units: 1, bytes_max: wanted.max(need.floor()) };
        Ok(self.memory.pool(spec)?)
    }

    /// What so many writers and gates need of the arena, with what reading from the disk needs if there is one.
    pub fn memory_need(&self, writers: u32, gates: u32) -> MemoryNeed {
        let (buffer_bytes, disk) = (self.config.buffer_bytes, self.spilling.is_some());
        MemoryNeed { writers, gates, buffer_bytes, disk }
    }

    /// Drops a partition: its memory is free, and who still reads it is told that it is gone.
    pub fn release_partition(&self, partition: PartitionId) -> bool {
        let found = self.manager.remove(partition);
        if let Some(found) = &found {
            found.release();
        }
        self.mailbox.send(Command::Released(partition));
        found.is_some()
    }

    /// This life of a worker is gone, as whoever watches the workers knows: channels from it fail now and do not wait for
    /// `resume_timeout`.
    pub fn worker_lost(&self, node: NodeId, incarnation: Incarnation) {
        self.mailbox.send(Command::WorkerLost(node, incarnation));
    }

    /// Drops all partitions of a job, and its token; says which.
    pub fn release_job(&self, job: JobId) -> Vec<PartitionId> {
        self.tokens.forget(job);
        let mut partitions = self.manager.of_job(job);
        partitions.retain(|partition| self.release_partition(*partition));
        partitions
    }

    /// The finished partitions that earlier lives of this worker have left in one of its directories; they are served
    /// again. Ready when all has been looked at, which begins by itself at the start. What nobody claims within
    /// `disk.recover_timeout`, by [`Self::claim`] or by reading it, is removed.
    ///
    /// # Errors
    /// If the directory is none of the worker's.
    pub fn poll_recover(
        &self,
        context: &mut Context<'_>,
        directory: &Path,
    ) -> Poll<Result<Vec<HeldPartition>, CreateError>> {
        match self.spilling.as_ref().filter(|spilling| spilling.recovered.knows(directory)) {
            Some(spilling) => spilling.recovered.poll(context, directory).map(Ok),
            None => Poll::Ready(Err(CreateError::NoSuchDirectory { directory: directory.to_path_buf() })),
        }
    }

    /// As [`Self::poll_recover`]; blocks the thread. Not on a thread that drives a reactor.
    pub fn recover(&self, directory: &Path) -> Result<Vec<HeldPartition>, CreateError> {
        block_on(|context| self.poll_recover(context, directory))
    }

    /// Keeps a recovered partition beyond `disk.recover_timeout`.
    pub fn claim(&self, partition: PartitionId) {
        self.mailbox.send(Command::Claim(partition));
    }

    /// How much each subpartition has, of a partition that goes to the disk: exact once it is finished, before that what
    /// has been sorted so far. `None` if it is not here, or goes nowhere.
    pub fn partition_statistics(&self, partition: PartitionId) -> Option<PartitionStatistics> {
        match self.manager.find(partition) {
            Found::Here(log) => log.statistics(),
            Found::Gone | Found::Unknown => None,
        }
    }

    /// What does the IO with the disks, and where they are; `None` without any.
    pub fn disk(&self) -> Option<DiskCapabilities> {
        self.spilling.as_ref()?.recovered.capabilities()
    }

    /// What went to and from the disks.
    pub fn disk_statistics(&self) -> DiskStatistics {
        self.counters.read_disk()
    }

    /// The partitions that this worker holds.
    pub fn occupied_partitions(&self) -> Vec<PartitionId> {
        self.manager.present()
    }

    /// Who has how much memory, and who waited for it.
    pub fn memory_statistics(&self) -> MemoryStatistics {
        self.memory.statistics()
    }

    /// What went over the links.
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    /// Wakes the reactor when called: for an executor on the thread that drives it.
    pub fn waker(&self) -> std::task::Waker {
        self.mailbox.waker()
    }

    /// Says goodbye to the peers and ends the reactor. With a thread of its own, waits for its end.
    pub fn stop(&self) {
        self.mailbox.send(Command::Stop);
        if let Some(thread) = lock(&self.thread).take()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for ShuffleEnvironment {
    fn drop(&mut self) {
        self.mailbox.send(Command::Stop);
        if let Some(thread) = lock(&self.thread).take() {
            // Its panic was reported by the thread itself, and this may be part of another one.
            let _ = thread.join();
        }
    }
}

/// One part in so many of the memory is for reading ahead from the disk only, as far as it makes whole requests.
const READ_SHARE: usize = 8;

/// What partitions that go to the disk share.
struct Spilling {
    bench: Bench,
    pools: ReadPools,
    recovered: Arc<Recovered>,
}

impl Spilling {
    fn start(config: &EnvironmentConfig, memory: &Memory, mailbox: &Mailbox) -> Result<Self, StartError> {
        let unit = MemoryNeed::read_unit(config.buffer_bytes);
        let pool = |owner: &str, unit: SizeClass, floor_units: usize, bytes_max: usize| {
            memory.pool(PoolSpec { owner: owner.into(), unit, floor_units, bytes_max })
        };
        // Reading ahead serves all consumers of the worker's partitions, and shares what is left equally with each gate
        // and writer: so that it is not starved by many, a part of the memory is its own.
        let own = (config.memory_bytes / READ_SHARE).min(config.disk.read_bytes_max) / SizeClass::MAX.bytes();
        let floor = pool("reading from the disk", unit, 1, unit.bytes())?;
        let raw = pool("decompressing what was read", unit, 1, unit.bytes())?;
        let elastic = pool("reading ahead from the disk", SizeClass::MAX, own, config.disk.read_bytes_max)?;
        let bench = Bench::start(config.disk.sort_threads, &config.node.to_string(), mailbox)
            .map_err(|source| StartError::System { what: "starting a thread that sorts", source })?;
        Ok(Self { bench, pools: ReadPools { floor, raw, elastic }, recovered: Arc::default() })
    }
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

/// Whether so many files can be open beside all else that a process has open.
fn check_files(files: u32) -> Result<(), CreateError> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = limit / 4;
    if u64::from(files) <= most { Ok(()) } else { Err(CreateError::TooManyFiles { files, most, limit }) }
}

type ReactorThread = (JoinHandle<std::io::Result<()>>, Address);

fn spawn<F>(node: NodeId, build: F) -> Result<ReactorThread, StartError>
where
    F: FnOnce() -> Result<Reactor, StartError> + Send + 'static,
{
    let (tell, told) = crossbeam_channel::bounded(1);
    let thread = std::thread::Builder::new().name(format!("sluice-reactor-{node}")).spawn(move || {
        // Devices belong to the thread that builds them.
        let reactor = match build() {
            Ok(reactor) => reactor,
            Err(error) => {
                let _ = tell.send(Err(error));
                return Ok(());
            }
        };
        let _ = tell.send(Ok(reactor.address()));
        reactor.run()
    });
    let thread = thread.map_err(|source| StartError::System { what: "starting the reactor's thread", source })?;
    let address = told.recv().unwrap_or_else(|_| {
        let source = std::io::Error::other("the reactor's thread ended before it was ready");
        Err(StartError::System { what: "starting the reactor", source })
    })?;
    Ok((thread, address))
}
