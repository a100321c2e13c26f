//! The workers of a run: started, killed, started again.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_core::{
    Clock, Devices, DiskSettings, EnvironmentConfig, HeldPartition, HugePages, Incarnation, JobId, JobToken, NodeId,
    PartitionId, ProducerLocation, Reactor, ReactorDrive, ShuffleEnvironment, Time, Worker,
};

use super::Run;
use super::recovery::Recovery;
use crate::coverage::Sight;
use crate::disk::SimDisk;
use crate::journal::Rule;

/// A worker, dead or alive.
pub(crate) struct WorkerSlot {
    pub(crate) life: Option<Life>,
    /// Which life it is.
    pub(crate) lives: u64,
    /// Where it is, or was.
    pub(crate) location: ProducerLocation,
    pub(super) frozen_until: Time,
    /// Its reactor is still at its last turn.
    pub(super) busy_until: Time,
    /// One of its lives was told to stop.
    pub(crate) stops: bool,
    /// Was killed at least once.
    pub(crate) was_killed: bool,
    /// Its machine was without power when the last of its lives ended.
    pub(crate) lost_power: bool,
    /// The finished partitions that this life has told of.
    pub(crate) held: BTreeMap<PartitionId, HeldPartition>,
    /// Those of the life before.
    pub(crate) lost: BTreeMap<PartitionId, HeldPartition>,
    /// Until it has looked through what earlier lives have left.
    pub(crate) recovery: Option<Recovery>,
}

pub(crate) struct Life {
    pub(crate) environment: Arc<ShuffleEnvironment>,
    pub(super) reactor: Reactor,
}

/// A later life has a greater number.
fn incarnation(worker: usize, lives: u64) -> Incarnation {
    Incarnation(1000 * (worker as u64 + 1) + lives)
}

/// Nodes are numbered as the workers are.
pub(crate) fn node(worker: usize) -> NodeId {
    NodeId(worker as u64)
}

impl Run {
    pub(super) fn start_worker(&mut self, index: usize, lives: u64) -> WorkerSlot {
        let cluster = &self.plan.cluster;
        let disk =
            cluster.disk.as_ref().map(|plan| DiskSettings { boot: self.disks[index].boot(), ..plan.settings.clone() });
        let config = EnvironmentConfig {
            node: node(index),
            incarnation: incarnation(index, lives),
            memory_bytes: cluster.workers[index].memory_bytes,
            floors_bytes: Some(cluster.workers[index].floors_bytes),
            huge_pages: HugePages::Never,
            buffer_bytes: cluster.buffer_bytes,
            writer_bytes_max: 512 << 10,
            window_bytes_max: cluster.window_bytes_max,
            hand_over_bytes: cluster.hand_over_bytes,
            flush: cluster.flush,
            record_bytes_max: 1 << 20,
            partition_deadline: cluster.partition_deadline,
            lanes: cluster.lanes,
            resume_timeout: cluster.resume_timeout,
            limits: cluster.limits,
            disk: disk.unwrap_or_default(),
            clock: Clock::Manual(Arc::clone(&self.nanos)),
            ..EnvironmentConfig::default()
        };
        let disk = self.disks.get(index).map(SimDisk::factory);
        let devices = Devices { transport: self.network.factory(), disk };
        let started = ShuffleEnvironment::start(config, devices, ReactorDrive::Caller);
        let Worker { environment, reactor } = started.expect("a plan's worker starts");
        let location = environment.location();
        for job in &self.plan.jobs {
            if let Some(token) = job.token_of(index) {
                let token = JobToken::new(&token).expect("as long as it has to be");
                environment.set_job_token(JobId(job.number), token);
            }
        }
        let reactor = reactor.expect("this thread drives it");
        let life = Some(Life { environment: Arc::new(environment), reactor });
        let (frozen_until, busy_until) = (Time(0), Time(0));
        let directories = self.disks.get(index).map(SimDisk::directories);
        WorkerSlot {
            life,
            lives,
            location,
            frozen_until,
            busy_until,
            stops: false,
            was_killed: lives > 0,
            lost_power: false,
            held: BTreeMap::new(),
            lost: BTreeMap::new(),
            recovery: directories.map(Recovery::of),
        }
    }

    /// The process of a worker is gone, with its tasks.
    pub(super) fn kill(&mut self, index: usize, silently: bool, power: bool) {
        let Some(life) = self.workers[index].life.take() else { return };
        if silently {
            self.network.vanish(node(index));
        }
        self.workers[index].was_killed = true;
        self.journal.note(&[30, index as u64], || format!("worker {index} is killed"));
        self.end_tasks_of(index);
        let Life { environment, reactor } = life;
        drop(reactor);
        let slot = &mut self.workers[index];
        let held = std::mem::take(&mut slot.held);
        slot.lost.extend(held);
        // What it had not found yet is lost as it was lost before.
        slot.lost_power = power || slot.recovery.take().is_some() && slot.lost_power;
        let left = environment.memory_statistics().outstanding_bytes;
        if left > 0 {
            self.journal.fail(Rule::BuffersBack, format!("worker {index} is gone, and {left} bytes are in use"));
        }
        if power && let Some(disk) = self.disks.get(index) {
            disk.lose_power();
        }
    }

    /// The others on a worker's disk.
    pub(super) fn housemates(&self, index: usize) -> Vec<usize> {
        let homes = self.plan.cluster.disk.as_ref().map_or(&[][..], |disk| &disk.homes);
        (0..homes.len()).filter(|other| *other != index && homes[*other] == homes[index]).collect()
    }

    /// Everybody who lives is told that this life of a worker is over.
    pub(super) fn report(&mut self, index: usize, lives: u64) {
        self.journal.saw(Sight::Reported);
        self.journal.note(&[32, index as u64, lives], || format!("life {lives} of worker {index} is reported lost"));
        for (_, life) in self.lives() {
            life.environment.worker_lost(node(index), incarnation(index, lives));
        }
        self.master_hears_of_the_end(index, incarnation(index, lives));
    }

    pub(super) fn restart(&mut self, index: usize) {
        let lives = self.workers[index].lives + 1;
        self.journal.note(&[31, index as u64, lives], || format!("worker {index} begins its life {lives}"));
        self.master_hears_of_the_end(index, incarnation(index, lives - 1));
        let new = self.start_worker(index, lives);
        let old = &mut self.workers[index];
        let (stops, lost_power, lost) = (old.stops, old.lost_power, std::mem::take(&mut old.lost));
        self.workers[index] = WorkerSlot { stops, lost_power, lost, ..new };
        self.start_again(index);
    }

    /// Whether it can run now.
    pub(super) fn is_awake(&self, index: usize) -> bool {
        let worker = &self.workers[index];
        worker.life.is_some() && worker.frozen_until <= self.now
    }
}
