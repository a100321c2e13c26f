//! The master, what it has stored, and how it begins again from that and from what the workers tell.

use std::cell::RefCell;
use std::rc::Rc;

use sluice_core::{HeldPartition, JobId, JobSpec, PartitionSpec, ProducerLocation, ShuffleMaster};

use super::{Run, cluster::node, partition_of};
use crate::coverage::Sight;
use crate::journal::Rule;
use crate::seed::Random;
use crate::task::Shared;

const TRANSPORT: &str = "sim";

/// The master's process, and its store.
pub(crate) struct MasterSlot {
    pub(crate) master: Shared<ShuffleMaster>,
    snapshot: Option<Vec<u8>>,
    log: Vec<u8>,
    /// Where the last record of the log begins.
    last: usize,
}

impl MasterSlot {
    pub(super) fn new() -> Self {
        let restored = ShuffleMaster::restore(TRANSPORT, None, &[]).expect("nothing is stored");
        Self { master: Rc::new(RefCell::new(restored.master)), snapshot: None, log: Vec::new(), last: 0 }
    }

    /// The master does something, and stores what has changed.
    pub(super) fn act<T>(&mut self, act: impl FnOnce(&mut ShuffleMaster) -> T) -> T {
        let mut master = self.master.borrow_mut();
        let done = act(&mut master);
        let record = master.take_events();
        if !record.is_empty() {
            self.last = self.log.len();
            self.log.extend(record);
        }
        if master.log_bytes_since_snapshot() > 1000 {
            self.snapshot = Some(master.snapshot());
            self.log.clear();
            self.last = 0;
        }
        done
    }

    #[cfg(test)]
    pub(super) fn lose_store(&mut self) {
        (self.snapshot, self.log, self.last) = (None, Vec::new(), 0);
    }

    /// Another master, from the store.
    fn restart(&mut self, forgets: bool, random: &mut Random) -> Result<(), String> {
        if forgets && self.last < self.log.len() {
            let cut = self.last as u64 + random.below((self.log.len() - self.last) as u64);
            self.log.truncate(cut as usize);
        }
        let restored = ShuffleMaster::restore(TRANSPORT, self.snapshot.as_deref(), &self.log);
        let restored = restored.map_err(|error| error.to_string())?;
        self.log.truncate(restored.log_bytes_used as usize);
        let before = self.master.replace(restored.master);
        match forgets || *self.master.borrow() == before {
            true => Ok(()),
            false => Err("it does not know what it knew".into()),
        }
    }
}

impl Run {
    /// Every job and every partition that is to be written.
    pub(super) fn register_all(&mut self) {
        let plan = Rc::clone(&self.plan);
        for (job, plan) in plan.jobs.iter().enumerate() {
            if self.released_jobs.contains(&job) {
                continue;
            }
            let spec = JobSpec { job: JobId(plan.number), transport: None };
            // After a restart it may know.
            let _ = self.master.act(|master| master.register_job(&spec));
            for producer in (0..plan.producers.len()).filter(|_| plan.kind.is_retained()) {
                self.register(job, producer);
            }
        }
    }

    /// Where a partition is going to be written. One that is finished stays where it is.
    pub(super) fn register(&mut self, job: usize, producer: usize) {
        let plan = &self.plan.jobs[job];
        let spec =
            PartitionSpec { partition: partition_of(&self.plan, job, producer), subpartitions: plan.subpartitions };
        let (at, kind) = (self.workers[plan.producers[producer].worker].location.clone(), plan.kind);
        let _ = self.master.act(|master| master.register_partition_as(kind, spec, at));
    }

    /// A worker tells of a partition that it has written to its end.
    pub(super) fn finished(&mut self, worker: usize, held: HeldPartition) {
        let (partition, statistics) = (held.partition, held.statistics.clone());
        if let Err(error) = self.master.act(|master| master.partition_finished(partition, statistics))
            && self
                .plan
                .jobs
                .iter()
                .enumerate()
                .any(|(job, plan)| plan.number == partition.job.0 && !self.released_jobs.contains(&job))
        {
            self.journal
                .fail(Rule::Contract, format!("the master does not take that {partition} is finished: {error}"));
        }
        self.workers[worker].held.insert(partition, held);
    }

    /// A worker tells the master all that it holds; the master says what of it somebody will read.
    pub(super) fn tell_all(&mut self, worker: usize) {
        let Some(life) = &self.workers[worker].life else { return };
        let environment = std::sync::Arc::clone(&life.environment);
        let location: ProducerLocation = self.workers[worker].location.clone();
        let held: Vec<_> = self.workers[worker].held.values().cloned().collect();
        let told = self.master.act(|master| master.relearn(&location, &held));
        for partition in told.kept {
            environment.claim(partition);
            let master = self.master.master.borrow();
            if !master.is_finished(partition) || master.descriptor(partition).map(|at| &at.producer) != Ok(&location) {
                let text =
                    format!("the master was told that {partition} is finished on worker {worker}, and forgot it");
                self.journal.fail(Rule::Recovery, text);
            }
        }
        for partition in told.unknown {
            environment.release_partition(partition);
            self.workers[worker].held.remove(&partition);
        }
    }

    pub(super) fn restart_master(&mut self, forgets: bool) {
        self.journal.saw(Sight::MasterRestart);
        if let Err(problem) = self.master.restart(forgets, &mut self.schedule) {
            self.journal.fail(Rule::Recovery, format!("the master does not come back: {problem}"));
            return;
        }
        self.register_all();
        // One that has been told to stop has nothing any more.
        for worker in (0..self.workers.len()).filter(|worker| !self.workers[*worker].stops).collect::<Vec<_>>() {
            self.tell_all(worker);
        }
    }

    /// The master hears that this life of a worker is over.
    pub(super) fn master_hears_of_the_end(&mut self, worker: usize, incarnation: sluice_core::Incarnation) {
        self.master.act(|master| master.worker_lost(node(worker), incarnation));
    }

    /// A job is over: the master forgets it.
    pub(super) fn master_forgets(&mut self, job: usize) {
        let number = JobId(self.plan.jobs[job].number);
        self.master.act(|master| master.unregister_job(number));
    }
}
