//! How tasks begin, and how the master ends the job of one that failed.

use std::rc::Rc;
use std::sync::Arc;

use sluice_core::{ChannelLocation, JobId, PartitionSpec};

use super::agenda::Act;
use super::{Role, Run, partition_of};
use crate::coverage::Sight;
use crate::plan::{ConsumerPlan, ProducerPlan};
use crate::task::{Content, Outcome, Reading, Task, Writing, consume, produce};

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
        self.journal.note(&[51, number as u64], || format!("{} starts", self.tasks[number].name));
        if is_producer {
            self.start_producer(number, job, index);
        } else {
            self.start_consumer(number, job, index);
        }
    }

    fn start_producer(&mut self, number: usize, job: usize, index: usize) {
        let plan = Rc::clone(&self.plan);
        let ProducerPlan { worker, script, ending, .. } = &plan.jobs[job].producers[index];
        let Some(life) = &self.workers[*worker].life else { return };
        let writing = Writing {
            environment: Arc::clone(&life.environment),
            partition: partition_of(&plan, job, index),
            subpartitions: plan.jobs[job].consumers.len() as u32,
            script: Rc::new(script.clone()),
            ending: *ending,
            buffer_bytes: plan.cluster.buffer_bytes,
        };
        let desk = self.tasks[number].desk.clone();
        self.tasks[number].start(produce(desk, writing));
    }

    fn start_consumer(&mut self, number: usize, job: usize, index: usize) {
        let plan = Rc::clone(&self.plan);
        let ConsumerPlan { worker, pace, locations: learns, cancels_after, .. } = &plan.jobs[job].consumers[index];
        let producers = &plan.jobs[job].producers;
        let locations = (0..producers.len()).map(|producer| self.location(job, producer, index as u32)).collect();
        let contents = producers.iter().map(|producer| {
            let script = Rc::new(producer.script.clone());
            Content::new(&script, index as u32, producer.ending)
        });
        if producers.iter().any(|producer| producer.worker == *worker) {
            self.journal.saw(Sight::Local);
        }
        if producers.iter().any(|producer| self.plan.jobs[job].consumers[index].starts < producer.starts) {
            self.journal.saw(Sight::Late);
        }
        let Some(life) = &self.workers[*worker].life else { return };
        let reading = Reading {
            name: self.tasks[number].name.clone(),
            environment: Arc::clone(&life.environment),
            locations,
            contents: contents.collect(),
            pace: *pace,
            learns: *learns,
            cancels_after: *cancels_after,
        };
        let desk = self.tasks[number].desk.clone();
        self.tasks[number].start(consume(desk, reading));
    }

    fn location(&mut self, job: usize, producer: usize, subpartition: u32) -> ChannelLocation {
        let plan = &self.plan.jobs[job];
        let worker = plan.producers[producer].worker;
        let partition = partition_of(&self.plan, job, producer);
        let spec = PartitionSpec { partition, subpartitions: plan.consumers.len() as u32 };
        let at = self.workers[worker].location.clone();
        self.master.register_partition(spec, at).expect("its job is registered").channel(subpartition)
    }

    /// A task is over. Of a job that is not complete the master releases everything, once all others could have heard.
    pub(super) fn task_ends(&mut self, number: usize, outcome: Outcome) {
        self.tasks[number].end(outcome);
        self.task_ended(number);
    }

    pub(super) fn task_ended(&mut self, number: usize) {
        let Some(outcome) = self.tasks[number].outcome.clone() else { return };
        self.journal.note(&[52, number as u64], || format!("{} has ended: {outcome:?}", self.tasks[number].name));
        let job = self.roles[number].job;
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
                self.task_ends(number, Outcome::Killed);
            }
        }
    }

    pub(super) fn release_job(&mut self, job: usize) {
        self.journal.note(&[53, job as u64], || format!("the master releases job {}", self.plan.jobs[job].number));
        self.released_jobs.insert(job);
        let number = JobId(self.plan.jobs[job].number);
        for life in self.workers.iter().filter_map(|worker| worker.life.as_ref()) {
            life.environment.release_job(number);
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
