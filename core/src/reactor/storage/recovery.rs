//! What earlier lives of this worker have left on its disks: what they had finished is served again, what was read and is
//! not complete goes, and what could not be read stays. Of other workers that are gone nothing is touched until they
//! have had their time to come back.

mod age;
mod examine;
mod offer;
mod recovered;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use sluice_plugin::{DirectoryId, DiskDone, DiskError, DiskRequest, FileOwner, ListedFile, OwnerState};
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::{PartitionId, Time};

use super::stored::StoredPart;
use super::{Purpose, Storage};
use crate::spill::PartName;
use age::Ages;
use examine::Examined;
use offer::Found;
pub(crate) use recovered::Recovered;
pub use recovered::UnreadPartition;

/// How often something of the disk is tried that fails: what fails once may work the next time.
const ATTEMPTS_MAX: u32 = 3;

/// The look at what was left, file by file.
pub(super) struct Recovery {
    /// Directories that are being listed.
    lists: usize,
    /// How often one was listed in vain.
    list_failures: u32,
    /// Why a directory could not be listed: what lies there may be what is missing elsewhere.
    unlisted: Option<String>,
    waiting: VecDeque<Left>,
    examined: Option<Examined>,
    found: Vec<Found>,
    /// Why a file of these could not be read, so that nobody knows whether they are complete.
    unread: BTreeMap<PartitionId, String>,
    /// Own files of such partitions, which stay.
    left_alone: BTreeMap<PartitionId, Vec<Place>>,
    /// Released before they were found.
    forgotten: BTreeSet<PartitionId>,
    is_complete: bool,
    ages: Ages,
}

/// A file of an earlier life.
struct Left {
    directory: DirectoryId,
    owner: FileOwner,
    name: String,
    age: Option<Duration>,
    /// How often it was tried to adopt it.
    attempts: u32,
}

/// Where an own file is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    directory: DirectoryId,
    name: String,
}

impl Place {
    fn of(part: &StoredPart) -> Self {
        Self { directory: part.directory, name: part.name.clone() }
    }
}

/// What a request of the recovery is for.
pub(super) enum Step {
    List,
    Adopt,
    Open,
    Header,
    Trailer,
    Footer,
    Close,
    /// The age of files.
    Look,
    Touch,
}

impl Recovery {
    pub(super) fn new(directories: usize, timeout: Duration, now: Time) -> Self {
        Self {
            lists: directories,
            list_failures: 0,
            unlisted: None,
            waiting: VecDeque::new(),
            examined: None,
            found: Vec::new(),
            unread: BTreeMap::new(),
            left_alone: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            is_complete: false,
            ages: Ages::new(timeout, now),
        }
    }
}

impl Storage {
    pub(super) fn begin_recovery(&mut self) {
        for directory in self.directories.ids() {
            self.submit(Purpose::Recover(Step::List), DiskRequest::List { directory });
        }
    }

    /// Whether a file was left by an earlier life of this worker.
    fn is_ours(&self, file: &ListedFile) -> bool {
        let life = |owner: &str| owner.rsplit_once('-').map(|(worker, _)| worker.to_owned());
        let known = file.name.parse::<PartName>().is_ok();
        let ours = life(&file.owner.0) == life(&self.settings.owner.0);
        match file.state {
            OwnerState::Dead => known && ours,
            OwnerState::Alive => known && defect::is(Defect::TakeFromTheLiving),
            OwnerState::Own => false,
        }
    }

    pub(super) fn recover_step(&mut self, step: Step, request: DiskRequest, result: Result<DiskDone, DiskError>) {
        match (step, request) {
            (Step::List, DiskRequest::List { directory }) => self.listed(directory, result),
            (Step::Look, DiskRequest::List { directory }) => self.looked(directory, result),
            (Step::Touch, _) => self.touched(result),
            (Step::Adopt, DiskRequest::Adopt { directory, owner, name }) => {
                self.adopted(directory, owner, name, result);
            }
            (Step::Close, _) => self.examine_next(),
            (step, request) => self.examine_step(step, request, result),
        }
    }

    fn listed(&mut self, directory: DirectoryId, result: Result<DiskDone, DiskError>) {
        match result {
            Ok(DiskDone::Listed(files)) => {
                let ours = files.into_iter().filter(|file| self.is_ours(file));
                let left =
                    ours.map(|ListedFile { owner, name, age, .. }| Left { directory, owner, name, age, attempts: 0 });
                let mut left: Vec<_> = left.collect();
                left.sort_by(|one, other| (&one.owner, &one.name).cmp(&(&other.owner, &other.name)));
                self.recovery.waiting.extend(left);
            }
            Ok(_) => unreachable!("a list lists"),
            Err(_) if self.recovery.list_failures + 1 < ATTEMPTS_MAX => {
                self.recovery.list_failures += 1;
                return self.submit(Purpose::Recover(Step::List), DiskRequest::List { directory });
            }
            Err(error) => {
                tracing::warn!("{error}; what earlier lives have left there is not looked at, and stays");
                self.recovery.unlisted = Some(error.to_string());
            }
        }
        self.recovery.lists -= 1;
        if self.recovery.lists == 0 {
            self.examine_next();
        }
    }

    /// A partition is not wanted, whether it was found or not.
    pub(super) fn forget_recovered(&mut self, partition: PartitionId) {
        if !self.recovery.is_complete {
            self.recovery.forgotten.insert(partition);
        }
        self.settings.recovered.remove(partition);
        for Place { directory, name } in self.recovery.left_alone.remove(&partition).unwrap_or_default() {
            self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: None, name });
        }
    }

    pub(super) fn recovery_due(&self) -> Option<Time> {
        self.recovery.ages.due().into_iter().chain(self.take_back_due()).min()
    }

    /// True if something was done.
    pub(super) fn recovery_timer(&mut self) -> bool {
        if self.recovery.examined.as_ref().is_some_and(Examined::is_stalled) {
            self.examine_on();
        }
        self.ages_timer()
    }

    /// The worker stops: nothing is begun any more.
    pub(super) fn stop_recovery(&mut self) {
        self.recovery.ages.stop();
    }
}
