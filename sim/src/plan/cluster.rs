//! The workers of a run, what they have agreed on, and the ways between them.

use std::fmt;
use std::time::Duration;

use sluice_core::{DiskSettings, FlushInterval, Limits, MemoryNeed};
use sluice_plugin::PayloadPlacement;

use super::workload::JobPlan;
use crate::disk::Drive;
use crate::network::Path;
use crate::seed::Random;

/// Workers and network.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// The workers, by node number.
    pub workers: Vec<WorkerPlan>,
    /// Where payload goes.
    pub placement: PayloadPlacement,
    /// What every worker offers.
    pub limits: Limits,
    /// Parallel links between two workers.
    pub lanes: u16,
    /// The engine's buffers.
    pub buffer_bytes: usize,
    /// When what is written becomes visible.
    pub flush: FlushInterval,
    /// How much a writer collects.
    pub hand_over_bytes: usize,
    /// The most that one channel has set aside.
    pub window_bytes_max: usize,
    /// How long a consumer waits for a partition.
    pub partition_deadline: Duration,
    /// How long a session without a link lives.
    pub resume_timeout: Duration,
    /// How long a connect waits.
    pub connect_deadline: Duration,
    /// The ways between each two workers, the lower first.
    pub paths: Vec<(usize, usize, Path)>,
    /// What the workers' disks are told, if some job needs them.
    pub disk: Option<DiskPlan>,
}

/// The disks of the workers.
#[derive(Clone, Debug)]
pub struct DiskPlan {
    /// How they are used; the boot is each worker's own.
    pub settings: DiskSettings,
    /// What they are like, by worker.
    pub drives: Vec<Drive>,
    /// On whose disk each worker is: its own, or that of one before it.
    pub homes: Vec<usize>,
    /// Who is dead in the end, and has neighbours, does not come again: they have to remove what it has left.
    pub leaves_the_dead: bool,
}

/// One worker.
#[derive(Clone, Debug)]
pub struct WorkerPlan {
    /// Its arena.
    pub memory_bytes: usize,
    /// What all tasks that it ever has need of it.
    pub floors_bytes: usize,
    /// How long a turn of its reactor takes that does something.
    pub turn: Duration,
}

/// Whether remote placement is among what is drawn: as soon as the engine grants slots.
const REMOTE_PLACEMENT: bool = true;

impl ClusterPlan {
    pub(super) fn draw(random: &mut Random) -> Self {
        let count = if random.chance(60) { random.within(2..=3) } else { random.within(1..=8) };
        let heartbeat = random.time(Duration::from_millis(40)..=Duration::from_millis(250));
        let limits = Limits {
            heartbeat,
            silence_max: heartbeat * random.within(2..=4) as u32,
            control_window: *random.pick(&[8, 8, 16, 64]),
            head_bytes_max: *random.pick(&[8 << 10, 16 << 10, 64 << 10]),
            body_bytes_max: *random.pick(&[64 << 10, 128 << 10, 512 << 10]),
            block_bytes_max: 64 << 10,
            inline_bytes_max: *random.pick(&[0, 256, 1024]),
            ..Limits::default()
        };
        let remote = random.chance(35);
        let mut plan = Self {
            workers: Vec::new(),
            placement: match REMOTE_PLACEMENT && remote {
                true => PayloadPlacement::Remote,
                false => PayloadPlacement::Stream,
            },
            limits,
            lanes: if random.chance(25) { 2 } else { 1 },
            buffer_bytes: *random.pick(&[4 << 10, 8 << 10, 32 << 10, 32 << 10, 64 << 10]),
            flush: match random.below(4) {
                0 => FlushInterval::Off,
                1 => FlushInterval::Always,
                _ => FlushInterval::After(random.time(Duration::from_micros(200)..=Duration::from_millis(20))),
            },
            hand_over_bytes: *random.pick(&[1, 16 << 10, 256 << 10]),
            window_bytes_max: *random.pick(&[32 << 10, 128 << 10, 512 << 10]),
            partition_deadline: Duration::from_secs(random.within(8..=15)),
            resume_timeout: Duration::from_secs(random.within(10..=20)),
            connect_deadline: random.time(Duration::from_millis(300)..=Duration::from_millis(1500)),
            paths: Vec::new(),
            disk: None,
        };
        let slow = random.chance(30);
        for _ in 0..count {
            let turn = match slow {
                true => random.time(Duration::from_nanos(100)..=Duration::from_micros(300)),
                false => Duration::ZERO,
            };
            plan.workers.push(WorkerPlan { memory_bytes: 0, floors_bytes: 0, turn });
        }
        let far = random.chance(25);
        for lower in 0..count as usize {
            for higher in lower + 1..count as usize {
                plan.paths.push((lower, higher, path(random, far)));
            }
        }
        plan
    }

    /// Gives each worker at least what its tasks need, and often no more.
    pub(super) fn size_memory(&mut self, jobs: &[JobPlan], random: &mut Random) {
        let floor = self.buffer_bytes.next_power_of_two().max(32 << 10);
        let disk = self.disk.is_some();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let ends: usize = jobs.iter().map(|job| job.task_ends_on(index)).sum();
            let need = MemoryNeed { writers: ends.max(1) as u32, gates: 0, buffer_bytes: self.buffer_bytes, disk };
            let need = need.total();
            worker.floors_bytes = need;
            worker.memory_bytes = match random.below(4) {
                0 => need,
                1 => need + random.within(1..=4) as usize * floor,
                _ => need + (random.magnitude(128 << 10..=4 << 20) as usize).next_multiple_of(floor),
            };
        }
    }
}

fn path(random: &mut Random, far: bool) -> Path {
    let latency_max = if far { Duration::from_millis(30) } else { Duration::from_micros(500) };
    let latency = random.time(Duration::from_micros(5)..=latency_max);
    let jitter = if random.chance(50) { latency / random.within(1..=4) as u32 } else { Duration::ZERO };
    let mut path = Path::default();
    (path.latency, path.jitter) = (latency, jitter);
    path.nanos_per_byte = *random.pick(&[0, 1, 1, 8, 80]);
    path.queue_bytes_max = random.magnitude(16 << 10..=2 << 20);
    path.queue_messages_max = random.magnitude(1..=32) as usize;
    path
}

impl fmt::Display for ClusterPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} workers, {:?} placement, {} lanes, buffers of {} KiB, window {} KiB, hand over {} bytes, flush {:?}",
            self.workers.len(),
            self.placement,
            self.lanes,
            self.buffer_bytes >> 10,
            self.window_bytes_max >> 10,
            self.hand_over_bytes,
            self.flush
        )?;
        let Limits { head_bytes_max, body_bytes_max, inline_bytes_max, control_window, .. } = self.limits;
        writeln!(
            f,
            "heads {head_bytes_max} bodies {body_bytes_max} inline {inline_bytes_max} control window {control_window}; \
             heartbeat {:?} silence {:?} resume {:?} partition {:?} connect {:?}",
            self.limits.heartbeat,
            self.limits.silence_max,
            self.resume_timeout,
            self.partition_deadline,
            self.connect_deadline
        )?;
        for (index, worker) in self.workers.iter().enumerate() {
            let WorkerPlan { memory_bytes, floors_bytes, turn } = worker;
            let (all, floors) = (memory_bytes >> 10, floors_bytes >> 10);
            writeln!(f, "  worker {index}: {all} KiB, {floors} of them for floors, a turn takes {turn:?}")?;
        }
        for (lower, higher, path) in &self.paths {
            writeln!(
                f,
                "  {lower} – {higher}: latency {:?} + {:?}, {} ns a byte, takes {} KiB or {} messages",
                path.latency,
                path.jitter,
                path.nanos_per_byte,
                path.queue_bytes_max >> 10,
                path.queue_messages_max
            )?;
        }
        let Some(DiskPlan { settings, drives, homes, leaves_the_dead }) = &self.disk else { return Ok(()) };
        let DiskSettings { durability, compression, merge, sort_bytes_max, read_bytes_max, recover_timeout, .. } =
            settings;
        writeln!(
            f,
            "partitions on disk: durability {durability:?}, compression {compression:?}, merge {merge:?}, sorted in {} \
             KiB, read in {} KiB, recovery waits {recover_timeout:?}",
            sort_bytes_max >> 10,
            read_bytes_max >> 10
        )?;
        for (index, drive) in drives.iter().enumerate() {
            match homes[index] {
                home if home == index => writeln!(f, "  worker {index}: {drive}")?,
                home => writeln!(f, "  worker {index}: on the disk of worker {home}")?,
            }
        }
        if *leaves_the_dead {
            writeln!(f, "  who is dead in the end is left to its neighbours")?;
        }
        Ok(())
    }
}
