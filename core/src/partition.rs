//! Result partitions: queues that a task fills and that local gates and links drain.

mod collector;
mod direct;
mod manager;
mod open;
mod queue;
mod writer;

pub(crate) use manager::{Found, PartitionManager};
pub(crate) use queue::Partition;
pub use writer::{FlushInterval, PartitionWriter, PendingRecord, WriterStatistics};
pub(crate) use writer::{FlushOutcome, WriterEnd, WriterSettings};
