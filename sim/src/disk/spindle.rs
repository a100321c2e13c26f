//! The requests of one directory: some at work, the others wait, and whose turn is next is drawn.

use sluice_core::Time;
use sluice_plugin::DiskRequest;

use super::content::ContentId;
use super::drive::Drive;
use crate::seed::Random;

/// A request, and what was known when it was submitted.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) life: u64,
    pub(super) token: u64,
    pub(super) request: DiskRequest,
    pub(super) content: Option<ContentId>,
    pub(super) since: Time,
    /// Changes of the medium up to this one were told as done before.
    pub(super) changes: u64,
}

#[derive(Default)]
pub(super) struct Spindle {
    waiting: Vec<Job>,
    working: Vec<(Time, Job)>,
}

impl Spindle {
    pub(super) fn add(&mut self, job: Job) {
        self.waiting.push(job);
    }

    /// Begins with as many as can be worked at, each of which takes a drawn time and `more`.
    pub(super) fn begin(&mut self, now: Time, drive: &Drive, random: &mut Random, more: std::time::Duration) {
        while self.working.len() < drive.at_once && !self.waiting.is_empty() {
            let next = random.below(self.waiting.len() as u64) as usize;
            let job = self.waiting.swap_remove(next);
            let time = drive.draw_time(random, job.request.bytes()) + more;
            self.working.push((now.after(time), job));
        }
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.working.iter().map(|(due, _)| *due).min()
    }

    /// What is done by this time, the first first.
    pub(super) fn take_done(&mut self, by: Time) -> Option<(Time, Job)> {
        let due = self.next_due().filter(|due| *due <= by)?;
        let index = self.working.iter().position(|(at, _)| *at == due).expect("it is the least of them");
        Some(self.working.swap_remove(index))
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.waiting.iter().chain(self.working.iter().map(|(_, job)| job))
    }

    /// The life is over: all that it has here.
    pub(super) fn take_all_of(&mut self, life: u64) -> Vec<Job> {
        let mut taken: Vec<_> = self.waiting.extract_if(.., |job| job.life == life).collect();
        taken.extend(self.working.extract_if(.., |(_, job)| job.life == life).map(|(_, job)| job));
        taken
    }
}
