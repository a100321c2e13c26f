//! The kinds of partition: what each promises, as data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a partition keeps what its producer writes. The kinds are policies over one log with one reader's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionKind {
    /// Consumers read while the producer writes, and must keep up; in memory only; read once.
    #[default]
    Pipelined,
    /// In one file, sorted by subpartition region by region; read after the producer has finished, as often as one likes.
    SortMerge,
    /// In one file for each subpartition: for few subpartitions, and to compare. Otherwise as sort-merge.
    Hash,
}

impl PartitionKind {
    /// As it is written in configurations and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pipelined => "pipelined",
            Self::SortMerge => "sort-merge",
            Self::Hash => "hash",
        }
    }

    /// Whether what was read stays, so that it can be read again; and so, whether consumers wait for the producer's end.
    pub fn is_retained(self) -> bool {
        self != Self::Pipelined
    }
}

impl fmt::Display for PartitionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No kind has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of partition: pipelined, sort-merge and hash are")]
pub struct UnknownKind(pub String);

impl FromStr for PartitionKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let known = [Self::Pipelined, Self::SortMerge, Self::Hash];
        known.into_iter().find(|kind| kind.to_string() == text).ok_or_else(|| UnknownKind(text.into()))
    }
}
