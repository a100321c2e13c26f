//! Result partitions: logs that a task fills and that local gates and links read.

mod collector;
mod direct;
mod held;
mod kind;
mod log;
mod manager;
mod open;
mod pipelined;
mod sorted;
mod statistics;
mod writer;

pub use held::HeldPartition;
pub use kind::{PartitionKind, UnknownKind};
pub(crate) use log::{BlockLog, ReaderId, Upcoming};
pub(crate) use manager::{Found, PartitionManager};
pub(crate) use pipelined::{FlushOutcome, PipelinedWriter, WriterEnd, WriterSettings};
pub(crate) use sorted::{
    Bench, Chunk, Gathered, MergeNews, SetSummary, SortedSettings, SortedWriter, Spill, SpillSettings, Spilled, Window,
};
pub use statistics::PartitionStatistics;
pub use writer::{FlushInterval, PartitionWriter, PendingRecord, WriterStatistics};
