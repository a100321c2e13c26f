//! A disk of one thread: directories with files, requests that take their time, and a medium that outlives who uses it.
//!
//! [`SimDisk`] is the simulator's handle, and what builds the worker's disk. Time is told ([`SimDisk::advance`]), and
//! everything that is not said by a caller is drawn from one stream of numbers. Where a process dies
//! ([`sluice_plugin::Disk`] is dropped), what was under way is done, done in part or not done; where the power is lost
//! ([`SimDisk::lose_power`]), so is all that no sync has covered.

mod carry;
mod content;
mod crash;
mod drive;
mod fault;
mod harm;
mod life;
mod medium;
mod spindle;
mod state;
#[cfg(test)]
mod tests;
mod versions;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use sluice_core::Time;
use sluice_plugin::{DirectoryCapabilities, Disk, DiskBuildError, DiskCapabilities, DiskFactory, DiskSetup};

pub use drive::Drive;
pub use fault::{DiskFault, Hit, Moves};
pub use harm::{Happened, Mishap};

use crate::journal::Journal;
use crate::seed::Random;
use life::Life;
use state::State;

const NAME: &str = "sim-disk";

/// The disk of a worker, through all its lives. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty one, called so in reports.
    pub fn new(name: impl Into<String>, drive: Drive, random: Random, journal: Journal) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(name.into(), drive, random, journal))) }
    }

    /// What builds the worker's disk.
    pub fn factory(&self) -> Arc<dyn DiskFactory> {
        Arc::new(self.clone())
    }

    /// It is later now.
    pub fn advance(&self, now: Time) {
        self.state().advance(now);
    }

    /// When the next request is over.
    pub fn next_due(&self) -> Option<Time> {
        self.state().next_due()
    }

    /// Something goes wrong.
    pub fn harm(&self, fault: DiskFault) {
        self.state().harm(fault);
    }

    /// The machine starts anew; what is left is drawn.
    ///
    /// # Panics
    /// If a worker lives on it.
    pub fn lose_power(&self) {
        self.state().lose_power();
    }

    /// Which start of the machine this is.
    pub fn boot(&self) -> [u8; 16] {
        u128::from(self.state().boots).to_be_bytes()
    }

    /// What it has done to its worker so far.
    pub fn happened(&self) -> Vec<Happened> {
        self.state().harm.happened().to_vec()
    }

    /// The paths of its directories.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.state().medium.directories.iter().map(|directory| directory.path.clone()).collect()
    }

    /// The files that have a name, by their paths, with their lengths in bytes.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.state().medium.files().collect()
    }

    /// Requests that were submitted and not polled for.
    pub fn under_way(&self) -> usize {
        self.state().under_way()
    }

    /// The memory in those, in bytes.
    pub fn bytes_inside(&self) -> usize {
        self.state().bytes_inside()
    }

    /// Nothing is under way, and nothing is open.
    pub fn is_idle(&self) -> bool {
        self.state().is_idle()
    }

    /// Everybody had time: a request that is under way, or a file that is open, breaks a rule.
    pub fn must_be_idle(&self) {
        self.state().must_be_idle();
    }

    /// Everything is released: a file that is left breaks a rule.
    pub fn must_be_empty(&self) {
        self.state().must_be_empty();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no foreign code runs under the disk's lock but wakers, which only note")
    }
}

impl DiskFactory for SimDisk {
    fn name(&self) -> &'static str {
        NAME
    }

    fn build(&self, setup: DiskSetup) -> Result<Box<dyn Disk>, DiskBuildError> {
        let owner = setup.owner();
        let mut state = self.state();
        let Some(number) = state.enter(setup) else {
            let problem = format!("{} has a disk here already: a life has one", owner.0);
            return Err(DiskBuildError { disk: NAME, problem });
        };
        let directory =
            |directory: &medium::Directory| DirectoryCapabilities { path: directory.path.clone(), is_direct: true };
        let directories = state.medium.directories.iter().map(directory).collect();
        let depth = state.drive.under_way_max as u32;
        let capabilities = DiskCapabilities { engine: "simulated".into(), depth, directories };
        drop(state);
        Ok(Box::new(Life::new(self.clone(), number, capabilities)))
    }
}
