//! Nobody waits for what will never come.

use crate::journal::Rule;
use crate::run::Run;

/// Nobody has got on for longer than every patience: says whether they could.
pub(crate) fn stuck(run: &mut Run) {
    let table = who_waits(run);
    let before: Vec<_> = run.tasks.iter().map(|task| (task.desk.steps(), task.outcome.is_some())).collect();
    for task in &mut run.tasks {
        task.poll();
    }
    let lost: Vec<_> = (run.tasks.iter().zip(before))
        .filter(|(task, (steps, ended))| task.desk.steps() != *steps || task.outcome.is_some() != *ended)
        .map(|(task, _)| task.name.clone())
        .collect();
    let text = match lost.is_empty() {
        true => format!("deadlock: nobody gets on\n{table}"),
        false => format!("lost wake-up: {lost:?} could go on, and nobody told them\n{table}"),
    };
    run.journal.fail(Rule::Progress, text);
}

/// Each task, what it waits for, and what its worker has.
pub(crate) fn who_waits(run: &Run) -> String {
    let mut table = String::new();
    for task in &run.tasks {
        table.push_str(&task.words());
        table.push('\n');
    }
    for (index, slot) in run.workers.iter().enumerate() {
        let Some(life) = &slot.life else {
            table.push_str(&format!("  worker {index} is dead\n"));
            continue;
        };
        let statistics = life.environment.memory_statistics();
        let (free, used) = (statistics.free_bytes, statistics.outstanding_bytes);
        table.push_str(&format!("  worker {index}: {used} bytes in use, {free} free\n"));
        for pool in &statistics.pools {
            let (owner, used, limit, waiters) = (&pool.owner, pool.in_use_bytes, pool.limit_bytes, pool.waiters);
            table.push_str(&format!("    {owner}: {used} of {limit} bytes, {waiters} wait\n"));
        }
    }
    table.push_str(&run.network.words());
    table
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::Poll;

    use super::*;
    use crate::journal::Journal;
    use crate::plan::Plan;
    use crate::seed::Seed;
    use crate::task::Outcome;

    fn verdict(poll: impl FnMut() -> Poll<Outcome> + 'static) -> String {
        let mut run = Run::begin(Plan::of(Seed(1)), Journal::new(false));
        let mut poll = poll;
        run.tasks[0].start(std::future::poll_fn(move |_| poll()));
        run.tasks[0].poll();
        stuck(&mut run);
        let (failures, ..) = run.journal.close();
        assert_eq!(failures[0].rule, Rule::Progress);
        failures[0].text.clone()
    }

    #[test]
    fn a_task_that_can_never_go_on_is_a_deadlock() {
        let text = verdict(|| Poll::Pending);
        assert!(text.starts_with("deadlock"), "{text}");
        assert!(text.contains("starting, after 0 steps"), "{text}");
    }

    #[test]
    fn a_task_that_could_go_on_and_was_not_told_has_lost_a_wake_up() {
        let polled = Rc::new(Cell::new(0));
        let text = verdict(move || {
            polled.set(polled.get() + 1);
            if polled.get() == 1 { Poll::Pending } else { Poll::Ready(Outcome::Complete) }
        });
        assert!(text.starts_with("lost wake-up"), "{text}");
    }
}
