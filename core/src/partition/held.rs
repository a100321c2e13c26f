//! What a worker tells of a finished partition that it has: after a restart, from what its files say.

use sluice_protocol::PartitionId;

use super::kind::PartitionKind;
use super::statistics::PartitionStatistics;

/// A finished partition that a worker holds. Plain data: for the master, which may have forgotten it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPartition {
    /// Which it is.
    pub partition: PartitionId,
    /// How it is kept.
    pub kind: PartitionKind,
    /// How many consumers share it.
    pub subpartitions: u32,
    /// How much each of them will read.
    pub statistics: PartitionStatistics,
}
