//! One worker's shuffle: its memory, its reactor, its writers and gates.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sluice_memory::{Arena, ArenaOptions, BufferPool, HugePages, Memory, MemoryStatistics, PoolSpec, SizeClass};
use sluice_plugin::{Address, Setup, TransportFactory};
use sluice_protocol::{Incarnation, JobId, Limits, NodeId, PartitionId};

use super::master::ProducerLocation;
use crate::clock::Clock;
use crate::error::{CreateError, StartError};
use crate::gate::{ChannelLocation, GateId, GateMemory, Inbox, InputGate};
use crate::job_token::{JobToken, JobTokens};
use crate::mailbox::{Command, Mailbox, mailbox};
use crate::memory_need::MemoryNeed;
use crate::partition::{FlushInterval, Partition, PartitionManager, PartitionWriter, WriterSettings};
use crate::reactor::{Reactor, ReactorSettings};
use crate::stats::{Counters, Traffic};
use crate::sync::lock;

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
    thread: Mutex<Option<JoinHandle<std::io::Result<()>>>>,
}

impl ShuffleEnvironment {
    /// Maps the memory, builds the transport and starts the reactor.
    pub fn start(
        config: EnvironmentConfig,
        transport: Arc<dyn TransportFactory>,
        drive: ReactorDrive,
    ) -> Result<Worker, StartError> {
        config.limits.check()?;
        if SizeClass::fitting(config.buffer_bytes).is_none_or(|class| class.bytes() != config.buffer_bytes) {
            return Err(StartError::BufferBytes { bytes: config.buffer_bytes });
        }
        let arena = Arena::map(ArenaOptions { bytes: config.memory_bytes, huge_pages: config.huge_pages })?;
        let unit = MemoryNeed { writers: 1, gates: 0, buffer_bytes: config.buffer_bytes }.unit();
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
            arena,
            waker: mailbox.waker(),
        };
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
                Ok(Reactor::new(settings, clock, mail, mailbox, transport, manager, counters))
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
        let environment = Self { config, memory, mailbox, manager, counters, tokens, address, gates, thread };
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

    /// Creates a partition and the writer that fills it. Consumers may read at once.
    pub fn create_writer(&self, partition: PartitionId, subpartitions: u32) -> Result<PartitionWriter, CreateError> {
        if subpartitions == 0 {
            return Err(CreateError::Empty { what: "a partition", of: "subpartition" });
        }
        let pool = self.pool(format!("writer of {partition}"), self.config.writer_bytes_max)?;
        self.writer(partition, subpartitions, pool)
    }

    /// Creates the partitions of several writers at once, so that each knows its final share of the memory.
    pub fn create_writers(&self, partitions: &[(PartitionId, u32)]) -> Result<Vec<PartitionWriter>, CreateError> {
        let pools: Result<Vec<_>, _> = partitions
            .iter()
            .map(|(partition, _)| self.pool(format!("writer of {partition}"), self.config.writer_bytes_max))
            .collect();
        let mut writers = Vec::with_capacity(partitions.len());
        for ((partition, subpartitions), pool) in partitions.iter().zip(pools?) {
            match self.writer(*partition, *subpartitions, pool) {
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

    fn writer(&self, id: PartitionId, subpartitions: u32, pool: BufferPool) -> Result<PartitionWriter, CreateError> {
        if subpartitions == 0 {
            return Err(CreateError::Empty { what: "a partition", of: "subpartition" });
        }
        let partition = Arc::new(Partition::new(id, subpartitions, self.mailbox.clone()));
        if !self.manager.register(Arc::clone(&partition)) {
            return Err(CreateError::PartitionExists(id));
        }
        if self.mailbox.is_closed() {
            self.manager.remove(id);
            return Err(CreateError::Stopped);
        }
        self.mailbox.send(Command::Registered(id));
        let settings = WriterSettings {
            pool,
            buffer_bytes: self.config.buffer_bytes,
            hand_over_bytes: self.config.hand_over_bytes,
            flush: self.config.flush,
            record_bytes_max: self.config.record_bytes_max,
            clock: self.config.clock.clone(),
            mailbox: self.mailbox.clone(),
        };
        Ok(PartitionWriter::new(partition, settings))
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

    /// What so many writers and gates need of the arena.
    pub fn memory_need(&self, writers: u32, gates: u32) -> MemoryNeed {
        MemoryNeed { writers, gates, buffer_bytes: self.config.buffer_bytes }
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
