//! One worker's shuffle: its memory, its reactor, its writers and gates.

mod config;
mod gates;
mod recovering;
mod spilling;
mod starting;
mod writers;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sluice_memory::{BufferPool, Memory, MemoryStatistics, PoolSpec};
use sluice_plugin::{Address, DiskCapabilities};
use sluice_protocol::{Incarnation, JobId, NodeId, PartitionId};

pub use config::{Devices, EnvironmentConfig, ReactorDrive};
use spilling::Spilling;

use super::master::ProducerLocation;
use crate::error::CreateError;
use crate::job_token::{JobToken, JobTokens};
use crate::mailbox::{Command, Mailbox};
use crate::memory_need::MemoryNeed;
use crate::partition::{Found, PartitionManager, PartitionStatistics};
use crate::reactor::Reactor;
use crate::stats::{Counters, DiskStatistics, Traffic};
use crate::sync::lock;

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
        for unread in self.spilling.iter().flat_map(|spilling| spilling.recovered.unread_of_job(job)) {
            self.mailbox.send(Command::Released(unread));
        }
        partitions
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
        self.counters.disk.read()
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
