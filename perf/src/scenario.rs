//! The command line, checked: what one run shuffles, and how. Plain data, so that worker processes
//! can be told, and the report repeats it.
use std::{net::SocketAddr, ops::Range, path::PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sluice_core::PartitionKind;

use crate::{input::InputSpec, settings::Settings};

/// Everything a run depends on but the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Processes, or threads of one process if the transport is in-process.
    pub workers: u32,
    /// Producers in each worker that produces.
    pub producers_per_worker: u32,
    /// Consumers in each worker that consumes.
    pub consumers_per_worker: u32,
    /// Which workers do which.
    pub placement: Placement,
    /// What carries the bytes between workers.
    pub transport: Transport,
    /// Where the engine's configuration comes from.
    pub settings: Settings,
    /// How partitions are kept between producers and consumers.
    #[serde(default)]
    pub partition: PartitionKind,
    /// Where blocking partitions are kept: what the engine's configuration says, or a temporary directory.
    #[serde(default)]
    pub directories: Vec<PathBuf>,
    /// How many tasks of a worker run at the same time; all if absent.
    #[serde(default)]
    pub slots: Option<u32>,
    /// Which worker is killed in the middle of it, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<Kill>,
    /// The engine's configuration, every key of it: for who reads the report.
    pub config: serde_json::Value,
    /// The records.
    pub input: InputSpec,
    /// Who says where workers are to be looked for, if something stands between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<SocketAddr>,
    /// What the engine calls the shuffle: a number of its own, so that nothing an earlier one has left is taken for its.
    #[serde(default)]
    pub job: u64,
    /// Where each consumer's records are written, if they are.
    pub output: Option<PathBuf>,
    /// How often is shuffled, by turns with the ceilings.
    pub pairs: u32,
    /// Whether the ceilings are left out.
    pub no_ceiling: bool,
}

/// Each is a process with memory of its own and connections to all others, on one machine.
pub const WORKERS_MAX: u32 = 1024;

/// Where producers and consumers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Each worker has both, so some channels are local
    Spread,
    /// The first half of the workers produces and the others consume, so every byte crosses the transport
    Split,
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Worker processes, connected over the loopback interface
    Tcp,
    /// Threads of one process, which hand buffers over
    InProcess,
}

/// Chaos of the harness: which worker is killed, as a machine that fails, and starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kill {
    /// The last worker, when it has read about half; another process in its place reads again
    Consumer,
    /// The first worker, when all producers have finished; another process in its place recovers what it wrote
    Producer,
}

/// Settings that no run can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// There is nothing to shuffle between.
    #[error("--{0} is 0: at least one is needed")]
    Zero(&'static str),
    /// One worker has no half.
    #[error(
        "--placement split needs at least two workers, and there is 1: the first half produces, the others consume"
    )]
    NothingToSplit,
    /// More than a machine can start.
    #[error("--workers is {0}: at most {WORKERS_MAX} run on one machine; give each more --producers and --consumers")]
    TooManyWorkers(u32),
    /// Tasks that wait for each other, and some that cannot run meanwhile.
    #[error(
        "--slots {slots} with pipelined partitions could wait for ever: a worker has {tasks} tasks, and its producers wait for consumers that may have no slot; give --slots {tasks}, leave it out, or take --partition sort-merge"
    )]
    SlotsOfPipelined {
        /// As many run at a time.
        slots: u32,
        /// As many there are in a worker.
        tasks: u64,
    },
    /// Nobody could read again.
    #[error("--kill needs partitions that can be read again: take --partition sort-merge or hash")]
    KillOfPipelined,
    /// The victim would have other tasks, too.
    #[error("--kill needs --placement split: the victim either produces or consumes")]
    KillOfSpread,
    /// There are no processes.
    #[error("--kill needs --transport tcp: the in-process transport has threads, which cannot be killed")]
    KillInProcess,
    /// More tasks than ids.
    #[error("{workers} workers with {each} {tasks} each are more than can be numbered (4 294 967 295)")]
    TooMany {
        /// How many workers.
        workers: u32,
        /// How many in each.
        each: u32,
        /// Producers or consumers.
        tasks: &'static str,
    },
}

impl Scenario {
    /// Refuses what cannot run, before any process starts.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let counts = [
            ("workers", self.workers),
            ("producers", self.producers_per_worker),
            ("consumers", self.consumers_per_worker),
            ("slots", self.slots.unwrap_or(u32::MAX)),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(ScenarioError::Zero(name));
        }
        if self.workers > WORKERS_MAX {
            return Err(ScenarioError::TooManyWorkers(self.workers));
        }
        if self.placement == Placement::Split && self.workers < 2 {
            return Err(ScenarioError::NothingToSplit);
        }
        for (tasks, each) in [("producers", self.producers_per_worker), ("consumers", self.consumers_per_worker)] {
            let workers = self.workers;
            workers.checked_mul(each).ok_or(ScenarioError::TooMany { workers, each, tasks })?;
        }
        self.check_slots()?;
        match self.kill {
            None => Ok(()),
            Some(_) if !self.partition.is_retained() => Err(ScenarioError::KillOfPipelined),
            Some(_) if self.placement == Placement::Spread => Err(ScenarioError::KillOfSpread),
            Some(_) if self.transport == Transport::InProcess => Err(ScenarioError::KillInProcess),
            Some(_) => Ok(()),
        }
    }

    /// Tasks of pipelined partitions wait for each other, so all of them have to run.
    fn check_slots(&self) -> Result<(), ScenarioError> {
        let Some(slots) = self.slots.filter(|_| !self.partition.is_retained()) else { return Ok(()) };
        let of = |worker| self.producers_of(worker).len() + self.consumers_of(worker).len();
        let tasks = (0..self.workers).map(of).max().unwrap_or(0) as u64;
        if u64::from(slots) < tasks { Err(ScenarioError::SlotsOfPipelined { slots, tasks }) } else { Ok(()) }
    }

    /// The numbers of the producers that a worker has, out of those of all workers.
    pub fn producers_of(&self, worker: u32) -> Range<u32> {
        tasks_of(worker, 0..self.consuming_from_or(self.workers), self.producers_per_worker)
    }

    /// The numbers of the consumers that a worker has, out of those of all workers.
    pub fn consumers_of(&self, worker: u32) -> Range<u32> {
        tasks_of(worker, self.consuming_from_or(0)..self.workers, self.consumers_per_worker)
    }

    /// How many producers there are in all workers.
    pub fn producers(&self) -> u32 {
        self.consuming_from_or(self.workers) * self.producers_per_worker
    }

    /// How many consumers there are in all workers.
    pub fn consumers(&self) -> u32 {
        (self.workers - self.consuming_from_or(0)) * self.consumers_per_worker
    }

    /// How many writers and gates a worker has at most at the same time. With blocking partitions the two are not there
    /// together, and the larger of both needs is that of each.
    pub fn ends_at_once(&self, worker: u32) -> (u32, u32) {
        let (producers, consumers) = (self.producers_of(worker).len() as u32, self.consumers_of(worker).len() as u32);
        let slots = self.slots.unwrap_or(u32::MAX);
        match self.partition.is_retained() {
            false => (producers, consumers),
            true if producers >= consumers => (producers.min(slots), 0),
            true => (0, consumers.min(slots)),
        }
    }

    /// The first worker that only consumes, where there is such.
    fn consuming_from_or(&self, spread: u32) -> u32 {
        match self.placement {
            Placement::Spread => spread,
            Placement::Split => self.workers / 2,
        }
    }
}

/// The tasks of one of the workers that have such tasks at all.
fn tasks_of(worker: u32, workers: Range<u32>, each: u32) -> Range<u32> {
    if !workers.contains(&worker) {
        return 0..0;
    }
    let first = (worker - workers.start) * each;
    first..first + each
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(workers: u32, placement: Placement) -> Scenario {
        Scenario {
            workers,
            producers_per_worker: 3,
            consumers_per_worker: 2,
            placement,
            transport: Transport::Tcp,
            settings: Settings::default(),
            partition: PartitionKind::Pipelined,
            directories: Vec::new(),
            slots: None,
            kill: None,
            config: serde_json::Value::Null,
            input: InputSpec::Lineitem { scale_factor: 1.0 },
            relay: None,
            job: 0,
            output: None,
            pairs: 1,
            no_ceiling: true,
        }
    }

    #[test]
    fn spread_workers_have_producers_and_consumers() {
        let scenario = scenario(2, Placement::Spread);
        assert_eq!((scenario.producers(), scenario.consumers()), (6, 4));
        assert_eq!((scenario.producers_of(1), scenario.consumers_of(1)), (3..6, 2..4));
    }

    #[test]
    fn split_workers_have_one_or_the_other() {
        let scenario = scenario(3, Placement::Split);
        assert_eq!((scenario.producers(), scenario.consumers()), (3, 4));
        assert_eq!((scenario.producers_of(0), scenario.consumers_of(0)), (0..3, 0..0));
        assert_eq!((scenario.producers_of(2), scenario.consumers_of(2)), (0..0, 2..4));
    }

    #[test]
    fn impossible_counts_are_refused() {
        let mut impossible = scenario(1, Placement::Split);
        assert_eq!(impossible.check(), Err(ScenarioError::NothingToSplit));
        impossible.workers = 0;
        assert_eq!(impossible.check(), Err(ScenarioError::Zero("workers")));
        impossible.workers = WORKERS_MAX + 1;
        assert_eq!(impossible.check(), Err(ScenarioError::TooManyWorkers(1025)));
        impossible.workers = WORKERS_MAX;
        assert_eq!(impossible.check(), Ok(()));
        impossible.producers_per_worker = u32::MAX;
        assert!(matches!(impossible.check(), Err(ScenarioError::TooMany { tasks: "producers", .. })));
    }

    #[test]
    fn fewer_slots_than_tasks_are_for_blocking_partitions_only() {
        let mut some = Scenario { slots: Some(4), ..scenario(2, Placement::Spread) };
        assert_eq!(some.check(), Err(ScenarioError::SlotsOfPipelined { slots: 4, tasks: 5 }));
        some.slots = Some(5);
        assert_eq!(some.check(), Ok(()));
        (some.slots, some.partition) = (Some(1), PartitionKind::SortMerge);
        assert_eq!(some.check(), Ok(()));
        some.slots = Some(0);
        assert_eq!(some.check(), Err(ScenarioError::Zero("slots")));
    }

    #[test]
    fn only_processes_that_either_produce_or_consume_what_can_be_read_again_are_killed() {
        let mut killing = Scenario { kill: Some(Kill::Consumer), ..scenario(2, Placement::Split) };
        assert_eq!(killing.check(), Err(ScenarioError::KillOfPipelined));
        killing.partition = PartitionKind::SortMerge;
        assert_eq!(killing.check(), Ok(()));
        killing.transport = Transport::InProcess;
        assert_eq!(killing.check(), Err(ScenarioError::KillInProcess));
        killing.placement = Placement::Spread;
        assert_eq!(killing.check(), Err(ScenarioError::KillOfSpread));
    }

    #[test]
    fn a_scenario_reaches_a_worker_unchanged() {
        let told = scenario(2, Placement::Spread);
        let json = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), told);
    }
}
