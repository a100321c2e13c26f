//! All memory is back at the end, and never more of it in use than there is.

use sluice_core::PartitionId;
use sluice_memory::MemoryStatistics;

use crate::disk::{Mishap, SimDisk};
use crate::journal::Rule;
use crate::run::Run;
use crate::task::Outcome;

/// At any moment.
pub(crate) fn memory(run: &Run) {
    for (index, life) in run.lives() {
        if let Err(text) = is_bounded(&life.environment.memory_statistics()) {
            run.journal.fail(Rule::MemoryBound, format!("worker {index}: {text}"));
        }
    }
}

fn is_bounded(statistics: &MemoryStatistics) -> Result<(), String> {
    let in_pools: usize = statistics.pools.iter().map(|pool| pool.in_use_bytes).sum();
    let limits: usize = statistics.pools.iter().map(|pool| pool.limit_bytes).sum();
    let (outstanding, arena) = (statistics.outstanding_bytes, statistics.arena_bytes);
    if outstanding > arena || in_pools > outstanding {
        return Err(format!("{outstanding} bytes of {arena} in use, {in_pools} of them in pools"));
    }
    if limits > arena {
        return Err(format!("pools may take {limits} bytes of {arena}"));
    }
    Ok(())
}

/// When all tasks have ended and everybody had time to let go.
pub(crate) fn memory_is_back(run: &Run) {
    for (index, life) in run.lives() {
        let statistics = life.environment.memory_statistics();
        if statistics.outstanding_bytes > 0 {
            let (bytes, segments) = (statistics.outstanding_bytes, statistics.outstanding_segments);
            let pools = &statistics.pools;
            let links = run.network.words();
            let text =
                format!("worker {index}: {bytes} bytes in {segments} segments are not back; pools {pools:?}\n{links}");
            run.journal.fail(Rule::BuffersBack, text);
        }
    }
}

/// When all is released and everybody had time: no memory is in use, no file is left.
pub(crate) fn all_is_back(run: &Run) {
    memory_is_back(run);
    for disk in &run.disks {
        disk.must_be_idle();
        if !may_keep_files(disk) {
            disk.must_be_empty();
        }
    }
}

/// Where a disk fails, files cannot be removed.
pub(crate) fn may_keep_files(disk: &SimDisk) -> bool {
    disk.happened().iter().any(|happened| happened.what == Mishap::Failed)
}

/// A pipelined partition that everybody has read is gone by itself; others stay.
pub(crate) fn partitions_are_gone(run: &Run) {
    let complete = run.tasks.iter().all(|task| matches!(task.outcome, Some(Outcome::Finished | Outcome::Complete)));
    if !complete {
        return;
    }
    for (index, life) in run.lives() {
        let mut left = life.environment.occupied_partitions();
        let is_retained = |partition: &PartitionId| {
            run.plan.jobs.iter().any(|job| job.number == partition.job.0 && job.kind.is_retained())
        };
        left.retain(|partition| !is_retained(partition));
        if !left.is_empty() {
            run.journal.fail(Rule::Contract, format!("worker {index} still holds {left:?}, which are read"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::seed::Seed;

    fn run() -> Run {
        Run::begin(Plan::of(Seed(1)), crate::journal::Journal::new(false))
    }

    #[test]
    fn more_memory_than_there_is_is_found() {
        let run = run();
        let (_, life) = run.lives().next().expect("there is a worker");
        let mut statistics = life.environment.memory_statistics();
        assert_eq!(is_bounded(&statistics), Ok(()));
        statistics.outstanding_bytes = statistics.arena_bytes + 1;
        is_bounded(&statistics).expect_err("more than all");
    }

    #[test]
    fn memory_that_is_not_back_is_found() {
        let run = run();
        let (_, life) = run.lives().next().expect("there is a worker");
        memory_is_back(&run);
        assert!(!run.journal.has_failed(), "nothing is in use");
        let mut writer = life.environment.create_writer(PartitionId::default(), 1).expect("there is memory");
        let mut record = sluice_core::PendingRecord::new(&[1; 100]);
        let waker = std::task::Waker::noop();
        let written = writer.poll_write(&mut std::task::Context::from_waker(waker), 0, &mut record);
        assert!(written.is_ready(), "there is memory");
        memory_is_back(&run);
        assert_eq!(run.journal.close().0[0].rule, Rule::BuffersBack);
    }
}
