//! A run: the plan's cluster, stepped on this thread until everybody has ended, with the checkers looking on.

mod agenda;
mod cluster;
mod finish;
mod incidents;
mod launch;
mod master;
mod recovery;
mod step;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sluice_core::{Clock, JobId, PartitionId, Time};

use crate::check;
use crate::coverage::{Coverage, Sight};
use crate::disk::SimDisk;
use crate::journal::{Failure, Journal, Rule};
use crate::network::Network;
use crate::plan::Plan;
use crate::seed::{Purpose, Random, Seed};
use crate::task::{Desk, Outcome, Shared, Task, Timers};
use agenda::{Act, Agenda};
pub(crate) use cluster::{Life, WorkerSlot, node};
pub(crate) use master::MasterSlot;
pub(crate) use recovery::Recovery;

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: Seed,
    /// Rules that did not hold; none if all is well.
    pub failures: Vec<Failure>,
    /// Of everything that happened.
    pub hash: u64,
    /// What it has met.
    pub coverage: Coverage,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
    /// How long it took by its own clock.
    pub lasted: Time,
}

/// Runs a seed.
pub fn run(seed: Seed, traced: bool) -> Report {
    run_plan(Plan::of(seed), traced)
}

/// Runs a plan, drawn or made up.
pub fn run_plan(plan: Plan, traced: bool) -> Report {
    let seed = plan.seed;
    let journal = Journal::new(traced);
    // A panic of the engine's is a finding like any other: the seed is to be told, and the others are to be run.
    let went = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::begin(plan, journal.clone());
        run.go_to_the_end();
        check::justify(&run);
        run.now
    }));
    let lasted = went.unwrap_or_else(|panic| {
        journal.fail(Rule::Sound, format!("it panicked: {}", words_of(&*panic)));
        Time::default()
    });
    let hash = journal.hash();
    let (failures, coverage, trace) = journal.close();
    Report { seed, failures, hash, coverage, trace, lasted }
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

/// What a task is in its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) job: usize,
    pub(crate) index: usize,
    pub(crate) is_producer: bool,
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) plan: Rc<Plan>,
    pub(crate) journal: Journal,
    pub(crate) network: Network,
    /// By worker, some of which may be on the same; none if no job needs them.
    pub(crate) disks: Vec<SimDisk>,
    pub(crate) now: Time,
    pub(crate) began: Time,
    nanos: Arc<AtomicU64>,
    pub(crate) workers: Vec<WorkerSlot>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) roles: Vec<Role>,
    pub(crate) master: MasterSlot,
    timers: Timers,
    agenda: Agenda,
    schedule: Random,
    /// Jobs of which the master has released all partitions.
    pub(crate) released_jobs: BTreeSet<usize>,
    /// Jobs whose release is on the agenda.
    given_up: BTreeSet<usize>,
    /// The same for who waits for partitions of a job, by job.
    hopeless: Vec<Rc<Cell<bool>>>,
    /// Whether a worker that is killed comes again.
    restarts: BTreeMap<usize, bool>,
    /// Consumers that start when all producers of their job have ended.
    held_back: BTreeSet<usize>,
    /// Rounds so far.
    pub(crate) rounds: u64,
}

impl Run {
    /// Everything is there, and nothing has happened yet.
    pub(crate) fn begin(plan: Plan, journal: Journal) -> Self {
        let seed = plan.seed;
        let network = Network::new(plan.cluster.placement, seed.stream(Purpose::Network), journal.clone());
        network.set_connect_deadline(plan.cluster.connect_deadline);
        for (lower, higher, path) in &plan.cluster.paths {
            network.set_path(node(*lower), node(*higher), path.clone());
        }
        if plan.cluster.placement == sluice_plugin::PayloadPlacement::Remote {
            journal.saw(Sight::RemotePlacement);
        }
        let mut draws = seed.stream(Purpose::Disk);
        let drives = plan.cluster.disk.iter().flat_map(|disk| &disk.drives).enumerate();
        let disks = drives.map(|(worker, drive)| {
            let random = Seed(draws.bits()).stream(Purpose::Disk);
            SimDisk::new(format!("disk-{worker}"), drive.clone(), random, journal.clone())
        });
        let own: Vec<SimDisk> = disks.collect();
        let homes = plan.cluster.disk.iter().flat_map(|disk| &disk.homes);
        let disks: Vec<_> = homes.map(|home| own[*home].clone()).collect();
        if plan.cluster.disk.as_ref().is_some_and(|disk| disk.homes.iter().enumerate().any(|(who, home)| who != *home))
        {
            journal.saw(Sight::Shared);
        }
        let hopeless = plan.jobs.iter().map(|_| Rc::default()).collect();
        let mut run = Self {
            plan: Rc::new(plan),
            journal,
            network,
            disks,
            // Not from zero: nobody must take the origin for a moment.
            now: Time(1_000_000_000),
            began: Time(1_000_000_000),
            nanos: Arc::new(AtomicU64::new(0)),
            workers: Vec::new(),
            tasks: Vec::new(),
            roles: Vec::new(),
            master: MasterSlot::new(),
            timers: Timers::default(),
            agenda: Agenda::default(),
            schedule: seed.stream(Purpose::Schedule),
            released_jobs: BTreeSet::new(),
            given_up: BTreeSet::new(),
            hopeless,
            restarts: BTreeMap::new(),
            held_back: BTreeSet::new(),
            rounds: 0,
        };
        run.advance(run.now);
        for index in 0..run.plan.cluster.workers.len() {
            let slot = run.start_worker(index, 0);
            run.workers.push(slot);
        }
        run.register_all();
        run.prepare_tasks();
        for (index, incident) in Rc::clone(&run.plan).incidents.iter().enumerate() {
            run.agenda.add(run.now.after(incident.at), Act::Incident(index));
        }
        run
    }

    fn prepare_tasks(&mut self) {
        let whims: Shared<Random> = Rc::new(RefCell::new(self.plan.seed.stream(Purpose::Schedule)));
        for (job, plan) in Rc::clone(&self.plan).jobs.iter().enumerate() {
            if plan.has_token {
                self.journal.saw(if plan.stranger.is_some() { Sight::NotAuthorized } else { Sight::Token });
            }
            let producers = plan.producers.iter().map(|producer| (true, producer.worker, producer.starts));
            let consumers = plan.consumers.iter().map(|consumer| (false, consumer.worker, consumer.starts));
            let mut counts = [0, 0];
            for (is_producer, worker, starts) in producers.chain(consumers) {
                let index = counts[usize::from(is_producer)];
                counts[usize::from(is_producer)] += 1;
                let number = self.tasks.len();
                let what = if is_producer { "producer" } else { "consumer" };
                let name = format!("{what} {index} of job {}", plan.number);
                let clock = Clock::Manual(Arc::clone(&self.nanos));
                let (journal, timers) = (self.journal.clone(), self.timers.clone());
                let desk = Desk::new(number as u64, journal, clock, timers, Rc::clone(&whims));
                self.tasks.push(Task::new(name, worker, desk));
                self.roles.push(Role { job, index, is_producer });
                self.agenda.add(self.now.after(starts), Act::Start(number));
            }
        }
    }

    /// The workers that live.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (usize, &Life)> {
        self.workers.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.life.as_ref()?)))
    }

    pub(crate) fn outcome(&self, task: usize) -> Option<&Outcome> {
        self.tasks[task].outcome.as_ref()
    }

    pub(crate) fn find_task(&self, role: Role) -> Option<usize> {
        self.roles.iter().position(|other| *other == role)
    }
}

/// The partition of a producer.
pub(crate) fn partition_of(plan: &Plan, job: usize, producer: usize) -> PartitionId {
    PartitionId { job: JobId(plan.jobs[job].number), partition: producer as u64, attempt: 0 }
}
