//! What a worker holds, compared with what the master knows.

use sluice_protocol::PartitionId;

use super::ShuffleMaster;
use super::descriptor::ProducerLocation;
use super::event::MasterEvent;
use super::state::{Entry, Progress};
use crate::partition::HeldPartition;

/// What becomes of the partitions that a worker has said it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relearned {
    /// The master knows them. The worker keeps them: they are claimed.
    pub kept: Vec<PartitionId>,
    /// Nobody will read them: of jobs that have ended, of other attempts, or not what the master knows under this name.
    /// The worker should release them.
    pub unknown: Vec<PartitionId>,
}

impl ShuffleMaster {
    /// A worker, perhaps in a new life, says which finished partitions it holds. Those that the master knows are found
    /// there from now on, and are finished, also if the master had not heard of that. It may come in parts: what is not
    /// in `held` stays as it was. After a worker's restart: [`worker_lost`](Self::worker_lost) for the old life, this
    /// for what the new one holds, [`give_up_worker`](Self::give_up_worker) for what it did not bring back.
    pub fn relearn(&mut self, location: &ProducerLocation, held: &[HeldPartition]) -> Relearned {
        let mut relearned = Relearned::default();
        for held in held {
            let partition = held.partition;
            match self.state.entry(partition).filter(|entry| is_same(entry, held)) {
                None => relearned.unknown.push(partition),
                Some(entry) => {
                    let news = news(entry, location, held);
                    news.into_iter().for_each(|event| self.record(event));
                    relearned.kept.push(partition);
                }
            }
        }
        relearned
    }
}

/// Whether both mean the same output. An attempt writes only one, so what differs is not what consumers were promised.
fn is_same(entry: &Entry, held: &HeldPartition) -> bool {
    // What is lost there is not found again by being told of: its files may be there, and damaged.
    entry.progress != Progress::Lost
        && entry.kind == held.kind
        && held.kind.is_retained()
        && entry.descriptor.subpartitions == held.subpartitions
        && held.statistics.is_of(held.subpartitions)
        && entry.statistics().is_none_or(|known| *known == held.statistics)
}

fn news(entry: &Entry, location: &ProducerLocation, held: &HeldPartition) -> Vec<MasterEvent> {
    let known = &entry.descriptor.producer;
    // A word from a life that has ended came late. It must not be told to release: the files are the new life's.
    if known.node == location.node && location.incarnation < known.incarnation {
        return Vec::new();
    }
    let mut news = Vec::new();
    if entry.progress == Progress::Producing {
        let (partition, statistics) = (held.partition, held.statistics.clone());
        news.push(MasterEvent::PartitionFinished { partition, statistics });
    }
    if known != location || matches!(entry.progress, Progress::Away(_)) {
        news.push(MasterEvent::PartitionRelearned { partition: held.partition, producer: location.clone() });
    }
    news
}
