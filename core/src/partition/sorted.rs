//! Partitions that go to the disk, sorted by subpartition region by region.
//!
//! The task writes into a [`log`] of fixed memory. When that is full it is a *region*: who sorts makes aligned chunks of
//! it, and the reactor has them written, while the task fills the next one.

mod bench;
mod log;
mod merger;
mod region;
mod sorter;
mod spill;
mod writer;

pub(crate) use bench::Bench;
pub(crate) use merger::{Gathered, Window};
pub(crate) use sorter::{Chunk, SetSummary};
pub(crate) use spill::{MergeNews, Spill, SpillSettings, Spilled};
pub(crate) use writer::{SortedSettings, SortedWriter};
