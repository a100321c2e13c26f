//! The partitions of this worker: registered when a writer is created, found by gates and links, released.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use sluice_protocol::{JobId, PartitionId};

use super::log::BlockLog;
use crate::sync::lock;

/// How many released partitions are remembered, to tell a late consumer "gone" instead of letting it wait.
const REMEMBERED_MAX: usize = 4096;

/// Finds partitions by name.
#[derive(Default)]
pub(crate) struct PartitionManager {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    present: HashMap<PartitionId, Arc<BlockLog>>,
    gone: HashSet<PartitionId>,
    gone_order: VecDeque<PartitionId>,
}

/// What is known of a partition.
pub(crate) enum Found {
    Here(Arc<BlockLog>),
    Gone,
    /// Not yet, as far as this worker knows.
    Unknown,
}

impl PartitionManager {
    /// False if it is here already.
    pub(crate) fn register(&self, partition: Arc<BlockLog>) -> bool {
        let mut state = lock(&self.state);
        let id = partition.id();
        if state.present.contains_key(&id) {
            return false;
        }
        state.present.insert(id, partition);
        true
    }

    pub(crate) fn find(&self, id: PartitionId) -> Found {
        let state = lock(&self.state);
        match state.present.get(&id) {
            Some(partition) => Found::Here(Arc::clone(partition)),
            None if state.gone.contains(&id) => Found::Gone,
            None => Found::Unknown,
        }
    }

    /// Forgets a partition that has been read, or is not wanted; says which it was.
    pub(crate) fn remove(&self, id: PartitionId) -> Option<Arc<BlockLog>> {
        let mut state = lock(&self.state);
        let partition = state.present.remove(&id)?;
        if state.gone.insert(id) {
            state.gone_order.push_back(id);
        }
        while state.gone_order.len() > REMEMBERED_MAX {
            if let Some(oldest) = state.gone_order.pop_front() {
                state.gone.remove(&oldest);
            }
        }
        Some(partition)
    }

    /// What this worker holds.
    pub(crate) fn present(&self) -> Vec<PartitionId> {
        let mut present: Vec<_> = lock(&self.state).present.keys().copied().collect();
        present.sort_unstable();
        present
    }

    /// What this worker holds of one job.
    pub(crate) fn of_job(&self, job: JobId) -> Vec<PartitionId> {
        self.present().into_iter().filter(|id| id.job == job).collect()
    }
}
