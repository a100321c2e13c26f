//! The options of `shuffle`.
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;

use super::{InputArgs, Misplaced};
use crate::{
    scenario::{Engine, Placement, Scenario, ScenarioError, Transport},
    units::FlushInterval,
};

/// What to shuffle, and how.
#[derive(Clone, Debug, Args)]
pub struct ShuffleArgs {
    /// Worker processes; threads of one process with --transport in-process
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub workers: u32,

    /// Producers in each worker that produces
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub producers: u32,

    /// Consumers in each worker that consumes
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub consumers: u32,

    /// Which workers have producers and which have consumers
    #[arg(long, value_enum, default_value_t = Placement::Spread)]
    pub placement: Placement,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would make it the help of the heading")]
    pub input: InputArgs,

    /// What carries bytes between workers
    #[arg(long, value_enum, default_value_t = Transport::Tcp, help_heading = "Engine")]
    pub transport: Transport,

    /// What does the IO of the TCP transport
    #[arg(long, value_enum, default_value_t = Engine::Auto, help_heading = "Engine")]
    pub engine: Engine,

    /// For the buffers of each worker, such as 64MiB: a shuffle of any size runs in it, or says how much it needs
    #[arg(long, default_value = "64MiB", value_name = "SIZE", help_heading = "Engine")]
    pub memory: ByteSize,

    /// The size of a buffer, such as 32KiB [default: the engine's choice]
    #[arg(long, value_name = "SIZE", help_heading = "Engine")]
    pub buffer_size: Option<ByteSize>,

    /// How long a record may wait in a buffer that is not full: a duration such as 10ms, 0 to send each
    /// record at once, or off [default: the engine's choice]
    #[arg(long, value_name = "TIME|0|off", help_heading = "Engine")]
    pub flush_interval: Option<FlushInterval>,

    /// Connections for each pair of workers [default: the engine's choice]
    #[arg(long, value_name = "N", help_heading = "Engine")]
    pub lanes: Option<u32>,

    /// Write each consumer's records, a line each, to part-00000, part-00001 … in this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub output: Option<PathBuf>,

    /// Write all settings and figures to this file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,

    /// Measure the ceilings and shuffle this often by turns, and report the median of the paired ratios with its
    /// quartiles: on a noisy machine one pair says little, 15 say something
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "no_ceiling",
          value_parser = clap::value_parser!(u32).range(1..), help_heading = "Output")]
    pub pairs: u32,

    /// Do not measure what the machine can do before and after (it takes some seconds)
    #[arg(long, help_heading = "Output")]
    pub no_ceiling: bool,
}

/// Options that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// One belongs to another kind of input.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// Nothing could run like this.
    #[error(transparent)]
    Impossible(#[from] ScenarioError),
}

impl ShuffleArgs {
    /// The run asked for, checked as far as is possible without the engine.
    pub fn scenario(&self) -> Result<Scenario, SettingError> {
        let scenario = Scenario {
            workers: self.workers,
            producers_per_worker: self.producers,
            consumers_per_worker: self.consumers,
            placement: self.placement,
            transport: self.transport,
            engine: self.engine,
            memory_bytes: self.memory.as_u64(),
            buffer_bytes: self.buffer_size.map(|size| size.as_u64()),
            flush_interval: self.flush_interval,
            lanes: self.lanes,
            input: self.input.spec()?,
            output: self.output.clone(),
        };
        scenario.check()?;
        Ok(scenario)
    }
}
