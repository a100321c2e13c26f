//! The subcommand `shuffle`: workers that shuffle records through the engine, and a coordinator that compares what
//! they say.
//!
//! The coordinator starts a worker process for each worker (a thread, with the in-process transport), tells each the
//! scenario and where the others are, and gets back progress and digests. A worker runs its tasks and its reactor on
//! one thread (docs/decisions/0001).
//!
//! With pipelined partitions all tasks run at once. With blocking ones all producers of all workers run first, then all
//! consumers; at the end the partitions are released, and the directories are looked at: nothing may be left. A run that
//! fails or is interrupted ends its workers, and removes itself what they had written.

mod ceilings;
mod consume;
mod control;
mod coordinator;
mod crew;
mod executor;
mod judge;
mod launch;
mod leftovers;
mod output;
mod places;
mod produce;
mod relay;
mod run;
mod transport;
mod verify;
mod worker;

use sluice_core::{JobId, PartitionId};

use crate::scenario::Scenario;

pub use leftovers::Leftovers;
pub use output::OutputError;
pub use run::{ShuffleError, run};
pub use transport::{Engine, TcpOptions};
pub use worker::run_as_process;

/// What a producer writes.
fn partition(scenario: &Scenario, producer: u32) -> PartitionId {
    partition_of(scenario, producer.into())
}

fn partition_of(scenario: &Scenario, number: u64) -> PartitionId {
    PartitionId { job: JobId(scenario.job), partition: number, attempt: 0 }
}
