//! What was found of earlier lives, for who asks the environment.

use std::path::Path;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use sluice_plugin::{DirectoryId, DiskCapabilities};
use sluice_protocol::{JobId, PartitionId};

use crate::partition::HeldPartition;
use crate::sync::lock;

/// What was found, for who asks the environment.
#[derive(Default)]
pub(crate) struct Recovered {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_complete: bool,
    held: Vec<(Vec<DirectoryId>, HeldPartition)>,
    unread: Vec<UnreadPartition>,
    disk: Option<DiskCapabilities>,
    wakers: Vec<Waker>,
}

/// A partition that an earlier life of a worker has left, and of which a file could not be read: nobody knows whether it is
/// complete. Its files stay, for a later life to try again, until the partition is released or has waited for
/// `disk.recover_timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadPartition {
    /// Which it is, by the names of its files.
    pub partition: PartitionId,
    /// What could not be read: path, offset and cause.
    pub cause: String,
}

impl Recovered {
    pub(crate) fn set_disk(&self, disk: DiskCapabilities) {
        lock(&self.state).disk = Some(disk);
    }

    pub(crate) fn capabilities(&self) -> Option<DiskCapabilities> {
        lock(&self.state).disk.clone()
    }

    /// Whether a directory is one of the worker's.
    pub(crate) fn knows(&self, directory: &Path) -> bool {
        lock(&self.state).place_of(directory).is_some()
    }

    /// Those that lie in a directory, once all have been looked at.
    pub(crate) fn poll(&self, context: &Context<'_>, directory: &Path) -> Poll<Vec<HeldPartition>> {
        let mut state = lock(&self.state);
        if !state.is_complete {
            state.wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        let place = state.place_of(directory);
        let of_it = |ids: &[DirectoryId]| place.is_some_and(|place| ids.contains(&place));
        Poll::Ready(state.held.iter().filter(|(ids, _)| of_it(ids)).map(|(_, held)| held.clone()).collect())
    }

    /// Those of which a file could not be read.
    pub(crate) fn unread(&self) -> Vec<UnreadPartition> {
        lock(&self.state).unread.clone()
    }

    /// The same, of one job.
    pub(crate) fn unread_of_job(&self, job: JobId) -> Vec<PartitionId> {
        let state = lock(&self.state);
        let of_job = state.unread.iter().map(|unread| unread.partition).filter(|partition| partition.job == job);
        of_job.collect()
    }

    pub(super) fn add(&self, directories: Vec<DirectoryId>, held: HeldPartition) {
        lock(&self.state).held.push((directories, held));
    }

    /// The first cause is kept.
    pub(super) fn add_unread(&self, partition: PartitionId, cause: String) {
        let mut state = lock(&self.state);
        if state.unread.iter().all(|unread| unread.partition != partition) {
            state.unread.push(UnreadPartition { partition, cause });
        }
    }

    pub(in crate::reactor::storage) fn remove(&self, partition: PartitionId) {
        let mut state = lock(&self.state);
        state.held.retain(|(_, held)| held.partition != partition);
        state.unread.retain(|unread| unread.partition != partition);
    }

    pub(super) fn complete(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.is_complete = true;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn place_of(&self, directory: &Path) -> Option<DirectoryId> {
        let known = &self.disk.as_ref()?.directories;
        let index = known.iter().position(|known| is_same(&known.path, directory))?;
        Some(DirectoryId(index as u16))
    }
}

fn is_same(known: &Path, asked: &Path) -> bool {
    known == asked || matches!((known.canonicalize(), asked.canonicalize()), (Ok(known), Ok(asked)) if known == asked)
}
