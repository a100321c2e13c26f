//! The end of a life, and of all lives at once when the power goes.

use sluice_plugin::DiskRequest;

use super::content::{PAGE, draw_part};
use super::spindle::{Job, Spindle};
use super::state::State;
use crate::coverage::Sight;
use crate::journal::Rule;

impl State {
    /// A process is gone. What it was told as done stays; each request that is under way is carried out, or in part, or not
    /// at all. Returns what holds its memory, to be dropped.
    pub(super) fn leave(&mut self, life: u64) -> impl Sized + use<> {
        let mut jobs: Vec<_> = self.spindles.iter_mut().flat_map(|spindle| spindle.take_all_of(life)).collect();
        self.random.shuffle(&mut jobs);
        for job in &mut jobs {
            self.break_off(job);
        }
        let state = self.lives.remove(&life).expect("a life ends once");
        self.journal.note(&[73, life, jobs.len() as u64], || {
            format!("{}: {} is gone, with {} requests under way", self.name, state.owner.0, jobs.len())
        });
        state.files.values().for_each(|file| self.medium.close(file.content));
        self.medium.alive.remove(&state.owner);
        let now = self.now;
        let Self { spindles, drive, random, harm, .. } = self;
        spindles.iter_mut().for_each(|spindle| spindle.begin(now, drive, random, harm.delay(now)));
        (jobs, state)
    }

    fn break_off(&mut self, job: &mut Job) {
        match &job.request {
            DiskRequest::Write { offset, from, .. } => {
                let sectors = draw_part(&mut self.random, job.request.bytes() / PAGE);
                let content = job.content.expect("a write has a file");
                self.journal.saw(Sight::WriteBrokenOff);
                self.medium.write_part(content, *offset, from, &sectors);
            }
            // Nobody will hear of it.
            DiskRequest::Read { .. } | DiskRequest::Close { .. } | DiskRequest::Sync { .. } => {}
            _ if self.random.chance(50) => drop(super::carry::out(self, job)),
            _ => {}
        }
    }

    /// The machine is without power for a moment. Nobody lives on it.
    pub(super) fn lose_power(&mut self) {
        assert!(self.lives.is_empty(), "a process lives through a loss of power");
        self.boots += 1;
        self.journal.saw(Sight::PowerLoss);
        let percent = *self.random.pick(&[0, 50, 90, 100]);
        self.journal.note(&[74, self.boots, percent], || format!("{}: the power is lost", self.name));
        for content in self.medium.contents.values_mut() {
            content.survive(&mut self.random, percent);
        }
        self.medium.find_names();
    }

    pub(super) fn is_idle(&self) -> bool {
        self.under_way() == 0 && self.open_files() == 0
    }

    fn open_files(&self) -> usize {
        self.lives.values().map(|life| life.files.len()).sum()
    }

    /// All is over and everybody had time: nothing is open, and nothing is under way but what was asked for just now.
    pub(super) fn must_be_idle(&self) {
        let jobs = self.spindles.iter().flat_map(Spindle::jobs);
        let left: Vec<_> = jobs.filter(|job| job.since < self.now).map(|job| super::watch::words(self, job)).collect();
        let (open, unheard) = (self.open_files(), self.completions());
        if open + unheard + left.len() > 0 {
            let text = format!(
                "{}: {open} files are open, {unheard} completions unheard, and still under way is {left:?}",
                self.name
            );
            self.journal.fail(Rule::Disk, text);
        }
    }

    /// All is released: no file is left.
    pub(super) fn must_be_empty(&self) {
        let files: Vec<_> = self.medium.files().collect();
        if !files.is_empty() {
            self.journal.fail(Rule::Disk, format!("{}: files are left: {files:?}", self.name));
        }
    }
}
