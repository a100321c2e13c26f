//! One moment after the other: who can run runs, in a drawn order; then the clock goes on to the next thing that is due.

use std::sync::atomic::Ordering;

use sluice_core::Time;

use super::agenda::Act;
use super::{Life, Recovery, Run};
use crate::check;
use crate::coverage::Sight;
use crate::disk::SimDisk;
use crate::journal::{Moment, Rule};

/// So many rounds without the time going on: somebody is busy with nothing.
const ROUNDS_A_MOMENT: u64 = 20_000;

/// Somebody who can run.
#[derive(Clone, Copy)]
enum Runner {
    Reactor(usize),
    Task(usize),
    Recovery(usize),
}

impl Run {
    pub(super) fn advance(&mut self, now: Time) {
        self.now = now;
        self.nanos.store(now.0, Ordering::Release);
        self.journal.set_now(now);
        self.network.advance(now);
        self.disks.iter().for_each(|disk| disk.advance(now));
    }

    /// Everything that happens at this moment. False if it does not end.
    pub(super) fn moment(&mut self) -> bool {
        while let Some(act) = self.agenda.take(self.now) {
            match act {
                Act::Start(task) => self.start_task(task),
                Act::Incident(incident) => self.happens(incident),
                Act::Restart(worker) => {
                    self.journal.saw(Sight::Restart);
                    self.restart(worker);
                }
                Act::ReleaseJob(job) => self.release_job(job),
                Act::Report(worker, lives) => self.report(worker, lives),
                Act::Look => {}
            }
        }
        self.timers.fire(self.now);
        for _ in 0..ROUNDS_A_MOMENT {
            if !self.round() {
                return true;
            }
            if self.journal.has_failed() {
                return true;
            }
        }
        false
    }

    /// Everybody who can, once, in a drawn order; some not yet. True if there may be more.
    fn round(&mut self) -> bool {
        self.rounds += 1;
        let mut runners = Vec::new();
        for worker in 0..self.workers.len() {
            if self.is_awake(worker) && self.workers[worker].busy_until <= self.now {
                runners.push(Runner::Reactor(worker));
            }
            let recovery = self.workers[worker].recovery.as_ref();
            if self.is_awake(worker) && recovery.is_some_and(Recovery::is_woken) {
                runners.push(Runner::Recovery(worker));
            }
        }
        for (number, task) in self.tasks.iter().enumerate() {
            if task.is_woken() && self.workers[task.worker].frozen_until <= self.now {
                runners.push(Runner::Task(number));
            }
        }
        self.schedule.shuffle(&mut runners);
        let mut busy = false;
        for runner in runners {
            if self.schedule.chance(10) {
                busy = true;
                continue;
            }
            busy |= match runner {
                Runner::Reactor(worker) => self.turn(worker),
                Runner::Task(number) => self.poll(number),
                Runner::Recovery(worker) => {
                    self.recover(worker);
                    true
                }
            };
        }
        if self.rounds.is_multiple_of(64) {
            check::memory(self);
        }
        busy
    }

    fn turn(&mut self, worker: usize) -> bool {
        let turn = self.plan.cluster.workers[worker].turn;
        let slot = &mut self.workers[worker];
        let Some(life) = &mut slot.life else { return false };
        let busy = life.reactor.turn();
        if busy && !turn.is_zero() {
            slot.busy_until = self.now.after(turn);
        }
        busy
    }

    fn poll(&mut self, number: usize) -> bool {
        if self.tasks[number].poll() {
            self.task_ended(number);
        }
        true
    }

    /// The next time at which something happens. What is due already is for workers that stand still.
    pub(super) fn next_due(&self) -> Option<Time> {
        let mut due = vec![self.network.next_due(self.now), self.timers.next(), self.agenda.next()];
        due.extend(self.disks.iter().map(SimDisk::next_due));
        for worker in (0..self.workers.len()).filter(|worker| self.is_awake(*worker)) {
            let slot = &self.workers[worker];
            due.push(slot.life.as_ref().and_then(|life| life.reactor.next_due()));
            // What is due while it is busy, it sees afterwards.
            due.push(Some(slot.busy_until));
        }
        due.into_iter().flatten().filter(|due| *due > self.now).min()
    }

    /// Goes on to it. False if nothing will ever happen.
    pub(super) fn go_on(&mut self) -> bool {
        self.find_spinning();
        let Some(due) = self.next_due() else { return false };
        self.advance(due);
        true
    }

    /// A reactor that has turned until nothing was left to do, and says that it has to turn at once, would never sleep.
    fn find_spinning(&mut self) {
        for index in 0..self.workers.len() {
            let (awake, now) = (self.is_awake(index), self.now);
            let slot = &mut self.workers[index];
            let Some(life) = slot.life.as_mut().filter(|_| awake && slot.busy_until <= now) else { continue };
            let is_due = |life: &Life| life.reactor.next_due().filter(|due| *due <= now);
            // What others have done since its last turn may have made something due.
            if is_due(life).is_none() || life.reactor.turn() {
                continue;
            }
            if let Some(due) = is_due(life) {
                let text = format!(
                    "worker {index} spins: it has done what it could, and wants to turn again at {}\n{}",
                    Moment(due),
                    self.network.words()
                );
                self.journal.fail(Rule::Progress, text);
            }
        }
    }
}
