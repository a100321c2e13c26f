//! From the first moment to the last: until all tasks have ended, all memory is back, and all workers have stopped.

use std::time::Duration;

use sluice_core::Time;

use super::Run;
use crate::check;
use crate::disk::SimDisk;
use crate::journal::Rule;

/// So many rounds in which no task gets on: more than all heartbeats of every patience.
const ROUNDS_IN_VAIN: u64 = 3_000_000;

impl Run {
    pub(super) fn go_to_the_end(&mut self) {
        if self.work() && self.settle() {
            self.stop();
        }
    }

    /// Until all tasks have ended. False if they do not.
    fn work(&mut self) -> bool {
        let patience = self.plan.patience();
        let mut steps = 0;
        let (mut got_on, mut round) = (self.now, self.rounds);
        loop {
            if !self.moment() {
                let text = format!("no end of this moment\n{}", check::who_waits(self));
                self.journal.fail(Rule::Progress, text);
            }
            if self.journal.has_failed() {
                return false;
            }
            if self.tasks.iter().all(|task| task.outcome.is_some()) {
                return true;
            }
            let now_steps = self.steps();
            if now_steps != steps || self.is_somebody_frozen() {
                (steps, got_on, round) = (now_steps, self.now, self.rounds);
            }
            let stuck = self.now.since(got_on) > patience || self.rounds - round > ROUNDS_IN_VAIN;
            if stuck || !self.go_on() {
                check::stuck(self);
                return false;
            }
        }
    }

    fn steps(&self) -> u64 {
        self.tasks.iter().map(|task| task.desk.steps()).sum()
    }

    fn is_somebody_frozen(&self) -> bool {
        self.workers.iter().any(|worker| worker.frozen_until > self.now)
    }

    /// Until all memory is back, and all room on the disks.
    fn settle(&mut self) -> bool {
        check::partitions_are_gone(self);
        self.bring_back();
        for job in 0..self.plan.jobs.len() {
            self.release_job(job);
        }
        self.until(|run| {
            let mut lives = run.workers.iter().filter_map(|worker| worker.life.as_ref());
            let is_idle = |disk: &SimDisk| disk.is_idle() && (disk.files().is_empty() || check::may_keep_files(disk));
            lives.all(|life| life.environment.memory_statistics().outstanding_bytes == 0)
                && run.disks.iter().all(is_idle)
        })
        .unwrap_or_else(|| check::all_is_back(self));
        !self.journal.has_failed()
    }

    /// What a worker that is dead or stopped has left is for its next life to find, and to remove.
    fn bring_back(&mut self) {
        if self.disks.is_empty() {
            return;
        }
        // Nobody is killed any more who would leave something again.
        self.agenda.clear();
        for worker in 0..self.disks.len() {
            if self.workers[worker].stops {
                self.kill(worker, false, false);
            }
            if self.workers[worker].life.is_none() && !self.is_left_to_neighbours(worker) {
                self.restart(worker);
            }
        }
        if self
            .until(|run| run.workers.iter().all(|worker| worker.life.is_none() || worker.recovery.is_none()))
            .is_none()
        {
            self.journal.fail(Rule::Recovery, "a worker does not come to the end of its recovery");
        }
    }

    /// Whether it does not come again, because somebody else removes what it has left.
    fn is_left_to_neighbours(&self, worker: usize) -> bool {
        let leaves = self.plan.cluster.disk.as_ref().is_some_and(|disk| disk.leaves_the_dead);
        leaves && self.housemates(worker).into_iter().any(|mate| self.workers[mate].life.is_some())
    }

    fn stop(&mut self) {
        // Nobody begins a life that nobody would end.
        self.agenda.clear();
        for life in self.workers.iter().filter_map(|worker| worker.life.as_ref()) {
            life.environment.stop();
        }
        let stopped = self.until(|run| {
            let mut lives = run.workers.iter().filter_map(|worker| worker.life.as_ref());
            lives.all(|life| life.reactor.has_stopped())
        });
        if stopped.is_none() {
            let text = format!("workers do not stop\n{}", self.network.words());
            self.journal.fail(Rule::Contract, text);
        }
        let lives: Vec<_> = self.workers.iter_mut().filter_map(|worker| worker.life.take()).collect();
        let environments: Vec<_> = lives.into_iter().map(|life| life.environment).collect();
        for (index, environment) in environments.iter().enumerate() {
            let left = environment.memory_statistics().outstanding_bytes;
            if left > 0 {
                self.journal.fail(Rule::BuffersBack, format!("{left} bytes are in use where worker {index} stopped"));
            }
        }
    }

    /// Goes on until this holds; `None` if it does not within every patience.
    fn until(&mut self, done: impl Fn(&Self) -> bool) -> Option<()> {
        let frozen = self.workers.iter().map(|worker| worker.frozen_until).max().unwrap_or(Time(0));
        let neighbours = self.plan.cluster.disk.as_ref().filter(|disk| disk.leaves_the_dead);
        let sweeps = neighbours.map_or(Duration::ZERO, |disk| disk.settings.recover_timeout * 3);
        let patience = self.now.max(frozen).after(self.plan.patience() + sweeps + Duration::from_secs(1));
        loop {
            if !self.moment() || self.journal.has_failed() {
                return None;
            }
            if done(self) {
                return Some(());
            }
            if self.now > patience || !self.go_on() {
                return None;
            }
        }
    }
}
