//! An error is allowed if something was done to the cluster that explains it, for exactly that channel.

use std::time::Duration;

use sluice_core::{PartitionId, ReadError, ReasonCode, Time, WriteError};

use super::expects_resume;
use crate::coverage::Sight;
use crate::disk::Mishap;
use crate::journal::Rule;
use crate::network::ChannelName;
use crate::plan::Ending;
use crate::run::{Role, Run, node, partition_of};
use crate::task::Outcome;

/// Looks at how every task ended, and at the errors that it was told of before.
pub(crate) fn justify(run: &Run) {
    for (number, task) in run.tasks.iter().enumerate() {
        let role = run.roles[number];
        let excused = match &task.outcome {
            Some(Outcome::Complete) => authorized(run, role),
            None | Some(Outcome::Finished | Outcome::Ended | Outcome::Cancelled) => Ok(()),
            Some(Outcome::Killed) => Ok(()),
            Some(Outcome::NotCreated(error)) => match run.workers[task.worker].stops {
                true => Ok(()),
                false => Err(error.clone()),
            },
            Some(Outcome::WriteFailed(error)) => write_error(run, role, error),
            Some(Outcome::ReadFailed(error)) => read_error(run, role, error),
            Some(Outcome::NowhereFound) => nowhere_found(run, role),
        };
        let before = task.desk.errors().into_iter().map(|error| read_error(run, role, &error));
        for why in before.chain([excused]).filter_map(Result::err) {
            run.journal.fail(Rule::Justified, format!("{}: {why}", task.name));
        }
    }
    let disturbed = run.network.disturbances().iter().any(|disturbance| disturbance.lost);
    if disturbed && run.tasks.iter().all(|task| matches!(task.outcome, Some(Outcome::Finished | Outcome::Complete))) {
        run.journal.saw(Sight::SuccessAfterCut);
    }
}

/// Nobody reads what they may not.
fn authorized(run: &Run, role: Role) -> Result<(), String> {
    let job = &run.plan.jobs[role.job];
    let consumer = job.consumers[role.index].worker;
    match job.producers.iter().find(|producer| !job.may_read(consumer, producer.worker)) {
        None => Ok(()),
        Some(producer) => Err(format!("complete, although it may not read from worker {}", producer.worker)),
    }
}

/// The master knows where what was finished is, unless its worker was killed.
fn nowhere_found(run: &Run, role: Role) -> Result<(), String> {
    let producers = &run.plan.jobs[role.job].producers;
    let all_there = (0..producers.len()).all(|index| {
        let task = run.find_task(Role { job: role.job, index, is_producer: true });
        let finished = task.and_then(|task| run.outcome(task)) == Some(&Outcome::Finished);
        finished && !run.workers[producers[index].worker].was_killed
    });
    match all_there && !run.released_jobs.contains(&role.job) {
        true => Err("the master does not know its partitions, all of which are finished".into()),
        false => Ok(()),
    }
}

/// A worker's disk has done something of this kind.
fn has_happened(run: &Run, worker: usize, what: &[Mishap]) -> bool {
    run.disks.get(worker).is_some_and(|disk| disk.happened().iter().any(|happened| what.contains(&happened.what)))
}

fn write_error(run: &Run, role: Role, error: &WriteError) -> Result<(), String> {
    let worker = run.plan.jobs[role.job].producers[role.index].worker;
    match error {
        WriteError::Abandoned { .. } if !run.plan.jobs[role.job].kind.is_retained() => {
            // Every consumer has ended without reading all of it.
            let consumers = (0..run.plan.jobs[role.job].consumers.len()).map(|index| {
                let consumer = Role { job: role.job, index, is_producer: false };
                run.find_task(consumer).and_then(|task| run.outcome(task)).cloned()
            });
            let complete: Vec<_> = consumers.filter(|outcome| *outcome == Some(Outcome::Complete)).collect();
            match complete.is_empty() {
                true => Ok(()),
                false => Err(format!("{error}, but {} consumers are complete", complete.len())),
            }
        }
        WriteError::Released { .. } if run.released_jobs.contains(&role.job) || run.workers[worker].stops => Ok(()),
        WriteError::Disk { .. } if has_happened(run, worker, &[Mishap::Failed, Mishap::Full]) => Ok(()),
        _ => Err(format!("nothing explains: {error}")),
    }
}

fn read_error(run: &Run, role: Role, error: &ReadError) -> Result<(), String> {
    let consumer = run.plan.jobs[role.job].consumers[role.index].worker;
    let unexplained = || Err(format!("nothing explains: {error}"));
    match error {
        ReadError::Stopped if run.workers[consumer].stops => Ok(()),
        ReadError::Corrupt { partition, .. } => {
            let subpartition = run.plan.jobs[role.job].consumers[role.index].subpartition;
            let channel = ChannelName { partition: *partition, subpartition };
            match run.network.corrupted().contains(&channel) {
                true => Ok(()),
                false => unexplained(),
            }
        }
        ReadError::Channel { partition, code, .. } => {
            if explains(run, role, consumer, *partition, *code) {
                Ok(())
            } else {
                unexplained()
            }
        }
        _ => unexplained(),
    }
}

fn explains(run: &Run, role: Role, consumer: usize, partition: PartitionId, code: ReasonCode) -> bool {
    let index = partition.partition as usize;
    let plan = &run.plan.jobs[role.job].producers[index];
    let producer = plan.worker;
    let task = run.find_task(Role { job: role.job, index, is_producer: true });
    let outcome = task.and_then(|task| run.outcome(task));
    let dead = run.workers[producer].was_killed || run.workers[consumer].was_killed;
    let stops = run.workers[producer].stops || run.workers[consumer].stops;
    let released = plan.ending == Ending::Release || run.released_jobs.contains(&role.job);
    debug_assert_eq!(partition, partition_of(&run.plan, role.job, index));
    match code {
        ReasonCode::ProducerFailed => {
            matches!(plan.ending, Ending::Fail | Ending::Drop)
                || matches!(outcome, Some(Outcome::WriteFailed(_)))
                || has_happened(run, producer, &[Mishap::Failed, Mishap::Full])
        }
        ReasonCode::PartitionLost => has_happened(run, producer, &[Mishap::Failed, Mishap::Lost]),
        ReasonCode::CorruptBlock => has_happened(run, producer, &[Mishap::Altered]),
        ReasonCode::PartitionGone => released || stops,
        ReasonCode::PartitionNotFound => {
            // Who was released before it began has left no trace.
            let never_began = released && outcome == Some(&Outcome::Killed);
            dead || stops || never_began || is_late(run, role, index) || is_cut_off(run, producer, consumer)
        }
        ReasonCode::NotAuthorized => !run.plan.jobs[role.job].may_read(consumer, producer) || released,
        ReasonCode::Shutdown => stops,
        ReasonCode::WorkerLost | ReasonCode::Silent | ReasonCode::UnknownSession => {
            dead || stops || is_cut_off(run, producer, consumer)
        }
        _ => false,
    }
}

/// The producer began when the consumer had lost its patience.
fn is_late(run: &Run, role: Role, producer: usize) -> bool {
    let job = &run.plan.jobs[role.job];
    let patience = run.plan.cluster.partition_deadline / 2;
    let frozen = run.network.disturbances().iter().any(|pause| pause.until.since(pause.from) > patience);
    let task = run.find_task(Role { job: role.job, index: producer, is_producer: true });
    // What goes to the disk is there when it is complete.
    let ended_at = task.and_then(|task| run.tasks[task].ended_at);
    let begins = run.began.after(job.consumers[role.index].starts + patience);
    if job.kind.is_retained() && ended_at.is_none_or(|ended| ended > begins) {
        return true;
    }
    frozen || job.producers[producer].starts > job.consumers[role.index].starts + patience
}

/// Whether what was done to the way between two workers may fail a channel.
fn is_cut_off(run: &Run, one: usize, other: usize) -> bool {
    if one == other {
        return false;
    }
    let (one, other) = (node(one).min(node(other)), node(one).max(node(other)));
    let unreached = run.network.unreached();
    if unreached.contains(&(one, other)) || unreached.contains(&(other, one)) {
        return true;
    }
    let limits = &run.plan.cluster.limits;
    let all = run.network.disturbances();
    let between = all.into_iter().filter(|disturbance| disturbance.between == (one, other));
    if !expects_resume() {
        let mut between = between;
        return between.any(|disturbance| {
            disturbance.lost || disturbance.until.since(disturbance.from) >= limits.silence_max / 2
        });
    }
    // To notice, and to try again: what comes on top of what was done.
    let slack = limits.silence_max * 2 + run.plan.cluster.connect_deadline * 2 + Duration::from_secs(1);
    let mut times: Vec<_> = between.map(|disturbance| (disturbance.from, disturbance.until)).collect();
    times.sort_unstable();
    let mut stretch: Option<(Time, Time)> = None;
    for (from, until) in times {
        stretch = Some(match stretch {
            Some((began, ended)) if from <= ended.after(slack) => (began, ended.max(until)),
            _ => (from, until),
        });
        if let Some((began, ended)) = stretch
            && ended.since(began) + slack >= run.plan.cluster.resume_timeout
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Journal;
    use crate::plan::Plan;
    use crate::seed::Seed;

    fn broken(plan: Plan, outcome: impl Fn(&Run, Role) -> Outcome) -> bool {
        let mut run = Run::begin(plan, Journal::new(false));
        let number = run.roles.iter().position(|role| !role.is_producer).expect("somebody reads");
        run.tasks[number].outcome = Some(outcome(&run, run.roles[number]));
        justify(&run);
        let (failures, ..) = run.journal.close();
        failures.iter().any(|failure| failure.rule == Rule::Justified)
    }

    fn lost(run: &Run, role: Role) -> Outcome {
        let text = "made up".into();
        let partition = partition_of(&run.plan, role.job, 0);
        let code = ReasonCode::WorkerLost;
        Outcome::ReadFailed(ReadError::Channel { channel: 0, partition, node: node(0), code, text })
    }

    /// A plan whose first consumer and producer are on two workers.
    fn plan() -> Plan {
        let mut plans = (0..).map(|seed| Plan::of(Seed(seed)));
        let plan = plans.find(|plan| plan.jobs[0].producers[0].worker != plan.jobs[0].consumers[0].worker);
        plan.expect("most are like that")
    }

    #[test]
    fn an_error_that_nothing_explains_is_found() {
        assert!(broken(plan(), lost));
        assert!(broken(plan(), |_, _| Outcome::ReadFailed(ReadError::Stopped)));
        assert!(broken(plan(), |_, _| Outcome::NotCreated("made up".into())));
    }

    #[test]
    fn a_corrupt_block_that_nobody_has_corrupted_is_found() {
        assert!(broken(plan(), |run, role| {
            let partition = partition_of(&run.plan, role.job, 0);
            let error = ReadError::Corrupt { channel: 0, partition, node: node(0), block: 0, found: 0, sealed: 1 };
            Outcome::ReadFailed(error)
        }));
    }

    #[test]
    fn an_error_of_a_disk_that_has_done_nothing_is_found() {
        let plan = || Plan::with_disks(|plan| plan.jobs[0].kind.is_retained());
        assert!(broken(plan(), |run, role| {
            let partition = partition_of(&run.plan, role.job, 0);
            let (text, code) = ("made up".into(), ReasonCode::CorruptBlock);
            Outcome::ReadFailed(ReadError::Channel { channel: 0, partition, node: node(0), code, text })
        }));
        let mut run = Run::begin(plan(), Journal::new(false));
        let partition = partition_of(&run.plan, 0, 0);
        run.tasks[0].outcome = Some(Outcome::WriteFailed(WriteError::Disk { partition, cause: "made up".into() }));
        justify(&run);
        assert_eq!(run.journal.close().0[0].rule, Rule::Justified);
    }

    #[test]
    fn an_error_after_which_a_consumer_went_on_needs_its_excuse_as_well() {
        assert!(broken(plan(), |run, role| {
            let number = run.find_task(role).expect("it is a task of the plan");
            run.tasks[number].desk.met(&ReadError::Stopped);
            Outcome::Complete
        }));
    }

    #[test]
    fn a_short_cut_explains_nothing_and_a_long_one_does() {
        for (pause, explains) in [(Duration::from_millis(10), false), (Duration::from_secs(100), true)] {
            let found = broken(plan(), |run, role| {
                let job = &run.plan.jobs[role.job];
                let (one, other) = (node(job.producers[0].worker), node(job.consumers[role.index].worker));
                run.network.note_pause(one, other, pause);
                lost(run, role)
            });
            assert_eq!(found, !explains, "{pause:?}");
        }
    }
}
