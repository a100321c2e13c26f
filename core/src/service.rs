//! What an embedding engine calls: the master's bookkeeping and each worker's environment.

mod environment;
mod master;

pub use environment::{Devices, EnvironmentConfig, ReactorDrive, ShuffleEnvironment, Worker};
pub use master::{
    DescriptorError, FinishError, JobSpec, PartitionSpec, ProducerLocation, Relearned, RestoreError, Restored,
    ShuffleDescriptor, ShuffleMaster, Stored, TaskShape,
};
