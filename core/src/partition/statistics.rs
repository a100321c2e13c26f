//! How much each consumer of a finished partition will read.

/// Exact figures of a finished partition, one for each subpartition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionStatistics {
    /// Payload that its consumer reads, in bytes, before compression.
    pub bytes: Vec<u64>,
    /// Records that its consumer reads.
    pub records: Vec<u64>,
}

impl PartitionStatistics {
    /// Whether there is a figure of each sort for each of so many subpartitions.
    pub fn is_of(&self, subpartitions: u32) -> bool {
        [self.bytes.len(), self.records.len()] == [subpartitions as usize; 2]
    }
}
