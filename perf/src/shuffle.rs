//! The subcommand `shuffle`: workers that shuffle records through the engine, and a coordinator that compares what
//! they say.
//!
//! The coordinator starts a worker process for each worker (a thread, with the in-process transport), tells each the
//! scenario and where the others are, and gets back progress and digests. A worker runs its tasks and its reactor on
//! one thread (docs/decisions/0001).

mod consume;
mod control;
mod coordinator;
mod executor;
mod launch;
mod output;
mod produce;
mod relay;
mod run;
mod transport;
mod verify;
mod worker;

pub use output::OutputError;
pub use run::{ShuffleError, run};
pub use transport::{Engine, TcpOptions};
pub use worker::run_as_process;
