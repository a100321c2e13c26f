//! What an embedding engine calls: the master's bookkeeping and each worker's environment.

mod environment;
mod master;

pub use environment::{EnvironmentConfig, ReactorDrive, ShuffleEnvironment, Worker};
pub use master::{JobSpec, PartitionSpec, ProducerLocation, ShuffleDescriptor, ShuffleMaster, TaskShape};
