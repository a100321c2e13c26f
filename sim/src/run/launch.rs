//! How tasks begin, and how the master ends the job of one that failed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sluice_core::{ChannelLocation, HeldPartition, JobId, PartitionKind, PartitionSpec};

use super::agenda::Act;
use super::{Role, Run, partition_of};
use crate::coverage::Sight;
use crate::journal::Rule;
use crate::plan::{ConsumerPlan, JobPlan, ProducerPlan};
use crate::task::{Ask, Content, Outcome, Places, Reading, Task, Writing, consume, produce};

impl Run {
    pub(super) fn start_task(&mut self, number: usize) {
        if self.tasks[number].outcome.is_some() {
            return;
        }
        let worker = self.tasks[number].worker;
        if self.workers[worker].life.is_none() {
            self.journal.note(&[50, number as u64], || format!("task {number} finds no worker"));
            return self.task_ends(number, Outcome::Killed);
        }
        let Role { job, index, is_producer } = self.roles[number];
        if !is_producer && self.plan.jobs[job].consumers[index].after_producers && !self.have_producers_ended(job) {
            self.held_back.insert(number);
            return;
        }
        self.journal.note(&[51, number as u64], || format!("{} starts", self.tasks[number].name));
        if is_producer {
            self.start_producer(number, job, index);
        } else {
            self.start_consumer(number, job, index);
        }
    }

    fn have_producers_ended(&self, job: usize) -> bool {
        let producers = self.roles.iter().zip(&self.tasks).filter(|(role, _)| role.is_producer && role.job == job);
        producers.fold(true, |ended, (_, task)| ended && task.outcome.is_some())
    }

    fn start_producer(&mut self, number: usize, job: usize, index: usize) {
        let plan = Rc::clone(&self.plan);
        let JobPlan { kind, subpartitions, .. } = plan.jobs[job];
        let ProducerPlan { worker, script, ending, .. } = &plan.jobs[job].producers[index];
        if kind.is_retained() {
            // It may have been planned for an earlier life of its worker.
            self.register(job, index);
        }
        let Some(life) = &self.workers[*worker].life else { return };
        let writing = Writing {
            environment: Arc::clone(&life.environment),
            kind,
            partition: partition_of(&plan, job, index),
            subpartitions,
            script: Rc::new(script.clone()),
            ending: *ending,
            buffer_bytes: plan.cluster.buffer_bytes,
        };
        let desk = self.tasks[number].desk.clone();
        self.tasks[number].start(produce(desk, writing));
    }

    fn start_consumer(&mut self, number: usize, job: usize, index: usize) {
        let plan = Rc::clone(&self.plan);
        let JobPlan { kind, producers, consumers, .. } = &plan.jobs[job];
        let ConsumerPlan { worker, subpartition, pace, cancels_after, probes_from, .. } = consumers[index];
        let places = match kind.is_retained() {
            true => Places::Asked(Ask {
                master: Rc::clone(&self.master.master),
                partitions: (0..producers.len()).map(|producer| partition_of(&plan, job, producer)).collect(),
                subpartition,
                patience: self.plan.healing(),
                given_up: Rc::clone(&self.hopeless[job]),
            }),
            false => {
                let locations = (0..producers.len()).map(|producer| self.location(job, producer, subpartition));
                Places::Told(locations.collect())
            }
        };
        let of_whom = Rc::clone(&plan);
        let contents = move || {
            let job = &of_whom.jobs[job];
            let content =
                |producer: &ProducerPlan| Content::new(&producer.script, subpartition, job.kind, producer.ending);
            job.producers.iter().map(content).collect()
        };
        if producers.iter().any(|producer| producer.worker == worker) {
            self.journal.saw(Sight::Local);
        }
        if producers.iter().any(|producer| consumers[index].starts < producer.starts) {
            self.journal.saw(Sight::Late);
        }
        if probes_from.is_some() {
            self.journal.saw(Sight::Probe);
        }
        let Some(life) = &self.workers[worker].life else { return };
        let reading = Reading {
            name: self.tasks[number].name.clone(),
            environment: Arc::clone(&life.environment),
            places,
            contents: Box::new(contents),
            pace,
            learns: consumers[index].locations,
            cancels_after,
            again: consumers[index].again.clone(),
            probes_from,
        };
        let desk = self.tasks[number].desk.clone();
        self.tasks[number].start(consume(desk, reading));
    }

    /// Where a pipelined partition is.
    fn location(&mut self, job: usize, producer: usize, subpartition: u32) -> ChannelLocation {
        let plan = &self.plan.jobs[job];
        let worker = plan.producers[producer].worker;
        let partition = partition_of(&self.plan, job, producer);
        let spec = PartitionSpec { partition, subpartitions: plan.subpartitions };
        let at = self.workers[worker].location.clone();
        let registered = self.master.act(|master| master.register_partition(spec, at));
        registered.expect("its job is registered").channel(subpartition)
    }

    /// A new life of a worker runs the consumers again that were interrupted.
    pub(super) fn start_again(&mut self, worker: usize) {
        for number in 0..self.tasks.len() {
            let task = &self.tasks[number];
            if task.worker == worker && task.is_interrupted && task.outcome.is_none() {
                self.tasks[number].is_interrupted = false;
                self.start_task(number);
            }
        }
    }

    /// A task is over. Of a job that is not complete the master releases everything, once all others could have heard.
    pub(super) fn task_ends(&mut self, number: usize, outcome: Outcome) {
        self.tasks[number].end(outcome);
        self.task_ended(number);
    }

    pub(super) fn task_ended(&mut self, number: usize) {
        let Some(outcome) = self.tasks[number].outcome.clone() else { return };
        self.tasks[number].ended_at = Some(self.now);
        self.journal.note(&[52, number as u64], || format!("{} has ended: {outcome:?}", self.tasks[number].name));
        let Role { job, index, is_producer } = self.roles[number];
        if is_producer && outcome == Outcome::Finished && self.plan.jobs[job].kind.is_retained() {
            self.tell_finished(number, job, index);
        }
        if is_producer && self.have_producers_ended(job) {
            let of_job = |task: &usize| self.roles[*task].job == job;
            let waiting: Vec<_> = self.held_back.iter().copied().filter(of_job).collect();
            for task in waiting {
                self.held_back.remove(&task);
                // In the next moment: this one is under way.
                self.agenda.add(self.now.after(Duration::from_nanos(1)), Act::Start(task));
            }
        }
        if !matches!(outcome, Outcome::Finished | Outcome::Complete) && self.given_up.insert(job) {
            self.agenda.add(self.now.after(self.plan.healing()), Act::ReleaseJob(job));
        }
    }

    pub(super) fn end_tasks_of(&mut self, worker: usize) {
        for number in 0..self.tasks.len() {
            if self.tasks[number].worker == worker
                && self.tasks[number].future.is_some()
                && self.tasks[number].outcome.is_none()
            {
                let Role { job, is_producer, .. } = self.roles[number];
                let comes_again = self.restarts.get(&worker) == Some(&true) && !self.released_jobs.contains(&job);
                if !is_producer && self.plan.jobs[job].kind.is_retained() && comes_again {
                    self.tasks[number].interrupt();
                } else {
                    self.task_ends(number, Outcome::Killed);
                }
            }
        }
    }

    fn tell_finished(&mut self, number: usize, job: usize, index: usize) {
        let (partition, plan) = (partition_of(&self.plan, job, index), &self.plan.jobs[job]);
        let worker = self.tasks[number].worker;
        let Some(life) = &self.workers[worker].life else { return };
        let Some(statistics) = life.environment.partition_statistics(partition) else {
            if !self.released_jobs.contains(&job) {
                self.journal.fail(Rule::Contract, format!("{partition} is finished, and its worker does not know it"));
            }
            return;
        };
        let records = plan.producers[index].script.records(plan.subpartitions);
        if statistics.records != records {
            let text =
                format!("{}: {:?} records, and {records:?} were written", self.tasks[number].name, statistics.records);
            self.journal.fail(Rule::Contract, text);
        }
        let (kind, subpartitions) = (plan.kind, plan.subpartitions);
        self.journal.saw(if kind == PartitionKind::Hash { Sight::Hash } else { Sight::SortMerge });
        self.finished(worker, HeldPartition { partition, kind, subpartitions, statistics });
    }

    pub(super) fn release_job(&mut self, job: usize) {
        self.journal.note(&[53, job as u64], || format!("the master releases job {}", self.plan.jobs[job].number));
        self.released_jobs.insert(job);
        self.hopeless[job].set(true);
        self.master_forgets(job);
        let number = JobId(self.plan.jobs[job].number);
        for life in self.workers.iter().filter_map(|worker| worker.life.as_ref()) {
            life.environment.release_job(number);
        }
        for worker in &mut self.workers {
            worker.held.retain(|partition, _| partition.job != number);
        }
        for task in 0..self.tasks.len() {
            if self.roles[task].job == job && self.tasks[task].future.is_none() && self.tasks[task].outcome.is_none() {
                self.task_ends(task, Outcome::Killed);
            }
        }
        // A worker that stood still may create what was to be released afterwards.
        let lives = |task: &Task| task.future.is_some();
        if self.tasks.iter().zip(&self.roles).any(|(task, role)| role.job == job && lives(task)) {
            self.agenda.add(self.now.after(self.plan.healing()), Act::ReleaseJob(job));
        }
    }
}
