//! The file name of a part: what it is of, so that a directory can be read without opening its files.

use std::fmt;
use std::str::FromStr;

use sluice_protocol::{JobId, PartitionId, SubpartitionIndex};

/// A part, by its file name: `job7-partition3-attempt0-sub0-0.spill`. Letters, digits, `-` and `.`; at most 100 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName {
    /// The partition.
    pub partition: PartitionId,
    /// The first subpartition of its file set.
    pub first: SubpartitionIndex,
    /// Its set was written anew with the slices of all regions merged: `…-sub0-m0.spill`.
    pub is_merged: bool,
    /// Its number in the set.
    pub part: u16,
}

/// A file name that no part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no name of a spilled partition: expected job<J>-partition<P>-attempt<A>-sub<S>-<N>.spill or …-m<N>.spill")]
pub struct NotAPart;

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PartitionId { job, partition, attempt } = self.partition;
        let Self { first, part, .. } = self;
        let merged = if self.is_merged { "m" } else { "" };
        write!(f, "job{job}-partition{partition}-attempt{attempt}-sub{first}-{merged}{part}.spill")
    }
}

impl FromStr for PartName {
    type Err = NotAPart;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // One name for one part: what would be written otherwise, as `+7` or `07`, is none.
        Self::parse(name).filter(|part| part.to_string() == name).ok_or(NotAPart)
    }
}

impl PartName {
    fn parse(name: &str) -> Option<Self> {
        let mut fields = name.strip_suffix(".spill")?.split('-');
        let mut field = |prefix: &str| fields.next()?.strip_prefix(prefix);
        let job = JobId(field("job")?.parse().ok()?);
        let partition = field("partition")?.parse().ok()?;
        let attempt = field("attempt")?.parse().ok()?;
        let first = SubpartitionIndex(field("sub")?.parse().ok()?);
        let part = field("")?;
        let (is_merged, part) = part.strip_prefix('m').map_or((false, part), |part| (true, part));
        let part = part.parse().ok()?;
        Some(Self { partition: PartitionId { job, partition, attempt }, first, is_merged, part })
    }
}
