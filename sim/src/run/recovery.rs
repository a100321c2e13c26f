//! What a restarted worker still holds, compared with what its earlier lives had told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sluice_core::{Durability, HeldPartition, PartitionId};

use super::Run;
use crate::coverage::Sight;
use crate::disk::Mishap;
use crate::journal::Rule;
use crate::plan::Ending;

/// The look through the directories that a life begins with.
pub(crate) struct Recovery {
    bell: Arc<Bell>,
    directories: Vec<PathBuf>,
    found: Vec<HeldPartition>,
}

struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Recovery {
    pub(super) fn of(directories: Vec<PathBuf>) -> Self {
        Self { bell: Arc::new(Bell(AtomicBool::new(true))), directories, found: Vec::new() }
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.bell.0.load(Ordering::Relaxed)
    }
}

impl Run {
    /// Asks again what is found, if somebody has said that there is news.
    pub(super) fn recover(&mut self, worker: usize) {
        let slot = &mut self.workers[worker];
        let (Some(recovery), Some(life)) = (&mut slot.recovery, &slot.life) else { return };
        recovery.bell.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&recovery.bell));
        while let Some(directory) = recovery.directories.last() {
            match life.environment.poll_recover(&mut Context::from_waker(&waker), directory) {
                Poll::Pending => return,
                Poll::Ready(found) => recovery.found.extend(found.expect("it is one of its directories")),
            }
            recovery.directories.pop();
        }
        let found = std::mem::take(&mut recovery.found);
        slot.recovery = None;
        self.has_recovered(worker, found);
    }

    fn has_recovered(&mut self, worker: usize, found: Vec<HeldPartition>) {
        self.journal.note(&[33, worker as u64, found.len() as u64], || {
            let found: Vec<_> = found.iter().map(|held| held.partition.to_string()).collect();
            format!("worker {worker} has recovered {found:?}")
        });
        self.journal.saw(if found.is_empty() { Sight::NotRecovered } else { Sight::Recovered });
        let life = self.workers[worker].life.as_ref();
        if life.is_some_and(|life| !life.environment.unread_partitions().is_empty()) {
            self.journal.saw(Sight::LeftAlone);
        }
        let before = std::mem::take(&mut self.workers[worker].lost);
        for held in &found {
            self.must_be_whole(worker, held);
            let life = self.workers[worker].life.as_ref();
            let statistics = life.and_then(|life| life.environment.partition_statistics(held.partition));
            if statistics.as_ref() != Some(&held.statistics) {
                let text = format!("worker {worker} offers {}, and does not hold it", held.partition);
                self.journal.fail(Rule::Recovery, text);
            }
        }
        let may_be_offered = !self.workers[worker].lost_power || self.is_durable();
        if let Some(held) = found.first().filter(|_| !may_be_offered) {
            let text = format!("worker {worker} offers {}, which the loss of power may have damaged", held.partition);
            self.journal.fail(Rule::Recovery, text);
        }
        for held in before.values() {
            if found.contains(held) {
                continue;
            }
            if self.must_be_there(worker, held, &[Mishap::Full]) {
                let text = format!("worker {worker} had finished {}, and does not find it", held.partition);
                self.journal.fail(Rule::Recovery, text);
            }
            // What could not be read may be whole.
            if self.must_be_there(worker, held, &[Mishap::Full, Mishap::Failed]) && !self.lies_there(worker, held) {
                let text = format!("worker {worker} had finished {}, and its files are gone", held.partition);
                self.journal.fail(Rule::Recovery, text);
            }
        }
        self.workers[worker].held.extend(found.into_iter().map(|held| (held.partition, held)));
        self.tell_all(worker);
    }

    /// Only what was written to its end is offered, as it was written.
    fn must_be_whole(&self, worker: usize, held: &HeldPartition) {
        let of = self.plan.jobs.iter().position(|job| job.number == held.partition.job.0);
        let written = of.and_then(|job| {
            let producer = self.plan.jobs[job].producers.get(held.partition.partition as usize)?;
            (producer.worker == worker && producer.ending == Ending::Finish).then_some((job, producer))
        });
        let Some((job, producer)) = written else {
            self.journal
                .fail(Rule::Recovery, format!("worker {worker} offers {}, which nobody finished", held.partition));
            return;
        };
        let plan = &self.plan.jobs[job];
        let records = producer.script.records(plan.subpartitions);
        if held.subpartitions != plan.subpartitions || held.kind != plan.kind || held.statistics.records != records {
            let text = format!("worker {worker} offers {held:?}, and it should have {records:?} records");
            self.journal.fail(Rule::Recovery, text);
        }
    }

    /// Whether nobody's time can run out: a worker that stands still, or has many files on a slow disk, does not touch them in
    /// time if the timeout is short.
    fn is_patient(&self) -> bool {
        let disk = self.plan.cluster.disk.as_ref();
        disk.is_some_and(|disk| disk.settings.recover_timeout >= Duration::from_secs(3600))
    }

    fn is_durable(&self) -> bool {
        self.plan.cluster.disk.as_ref().is_some_and(|disk| disk.settings.durability == Durability::OnFinish)
    }

    /// Whether there is a file of a partition.
    fn lies_there(&self, worker: usize, held: &HeldPartition) -> bool {
        let PartitionId { job, partition, attempt } = held.partition;
        let name = format!("job{job}-partition{partition}-attempt{attempt}-");
        self.disks[worker].files().iter().any(|(path, _)| path.to_string_lossy().contains(&name))
    }

    /// What a worker has told as finished is there after the death of its process; after a loss of power, if it was to be
    /// durable; and if the disk has done no more than this to it.
    fn must_be_there(&self, worker: usize, held: &HeldPartition, harmless: &[Mishap]) -> bool {
        let job = self.plan.jobs.iter().position(|job| job.number == held.partition.job.0);
        let is_released = job.is_none_or(|job| self.released_jobs.contains(&job));
        let has_survived = self.is_durable() || !self.workers[worker].lost_power;
        // A disk that was full has lost nothing, and one that could not be read perhaps nothing.
        let is_sound = self.disks[worker].happened().iter().all(|happened| harmless.contains(&happened.what));
        !is_released && has_survived && is_sound && self.is_patient()
    }
}

#[cfg(test)]
mod tests {
    use sluice_core::PartitionStatistics;

    use super::*;
    use crate::journal::Journal;
    use crate::plan::Plan;
    use crate::run::partition_of;

    /// A run, and what the first producer of its first job holds when it has finished.
    fn run_and_held(durability: Durability) -> (Run, usize, HeldPartition) {
        let plan = Plan::with_disks(|plan| {
            let disk = plan.cluster.disk.as_ref().expect("plans with disks");
            let job = &plan.jobs[0];
            disk.settings.durability == durability
                && disk.settings.recover_timeout >= Duration::from_secs(3600)
                && job.kind.is_retained()
                && job.producers[0].ending == Ending::Finish
        });
        let run = Run::begin(plan, Journal::new(false));
        let job = &run.plan.jobs[0];
        let records = job.producers[0].script.records(job.subpartitions);
        let held = HeldPartition {
            partition: partition_of(&run.plan, 0, 0),
            kind: job.kind,
            subpartitions: job.subpartitions,
            statistics: PartitionStatistics { bytes: records.clone(), records },
        };
        let worker = job.producers[0].worker;
        (run, worker, held)
    }

    fn is_broken(run: &Run) -> bool {
        run.journal.close().0.iter().any(|failure| failure.rule == Rule::Recovery)
    }

    #[test]
    fn what_is_offered_and_was_not_written_so_is_found() {
        let (run, worker, held) = run_and_held(Durability::None);
        run.must_be_whole(worker, &held);
        assert!(!is_broken(&run));
        let mut other = held.clone();
        other.statistics.records[0] += 1;
        let mut nobodys = held.clone();
        nobodys.partition.partition = 1000;
        for wrong in [other, nobodys] {
            run.must_be_whole(worker, &wrong);
            assert!(is_broken(&run), "{wrong:?}");
        }
    }

    #[test]
    fn what_was_finished_and_is_not_offered_is_found_unless_it_may_be_lost() {
        for (durability, lost_power, is_found) in [
            (Durability::None, false, true),
            (Durability::None, true, false),
            (Durability::OnFinish, false, true),
            (Durability::OnFinish, true, true),
        ] {
            let (mut run, worker, held) = run_and_held(durability);
            run.workers[worker].lost.insert(held.partition, held);
            run.workers[worker].lost_power = lost_power;
            run.has_recovered(worker, Vec::new());
            assert_eq!(is_broken(&run), is_found, "{durability:?}, power lost: {lost_power}");
        }
    }

    #[test]
    fn what_a_loss_of_power_may_have_damaged_and_is_offered_is_found() {
        for (durability, is_found) in [(Durability::None, true), (Durability::OnFinish, false)] {
            let (mut run, worker, held) = run_and_held(durability);
            run.workers[worker].lost_power = true;
            run.journal.close();
            run.has_recovered(worker, vec![held]);
            let text = "may have damaged";
            assert_eq!(run.journal.close().0.iter().any(|failure| failure.text.contains(text)), is_found);
        }
    }

    #[test]
    fn a_master_that_is_restarted_knows_what_it_had_stored_and_what_workers_hold() {
        for forgets in [false, true] {
            let (mut run, worker, held) = run_and_held(Durability::None);
            let partition = held.partition;
            run.finished(worker, held);
            run.restart_master(forgets);
            assert!(run.master.master.borrow().is_finished(partition) && !is_broken(&run), "forgets: {forgets}");
        }
    }

    #[test]
    fn a_master_that_has_lost_its_store_is_found() {
        let (mut run, worker, held) = run_and_held(Durability::None);
        run.finished(worker, held);
        run.master.lose_store();
        run.restart_master(false);
        assert!(is_broken(&run));
    }
}
