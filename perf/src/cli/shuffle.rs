//! The options of `shuffle`.
use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use sluice_core::{Config, ConfigError, PartitionKind};

use super::{InputArgs, Misplaced};
use crate::{
    input::InputSpec,
    scenario::{Kill, Placement, Scenario, ScenarioError, Transport},
    settings::Settings,
    shuffle::TcpOptions,
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

    /// How partitions are kept between producers and consumers: pipelined (in memory, read while it is written),
    /// sort-merge (one sorted file each) or hash (a file for each consumer)
    #[arg(long, default_value_t = PartitionKind::Pipelined, value_name = "KIND")]
    pub partition: PartitionKind,

    /// Tasks of a worker that run at the same time [default: all]. Blocking partitions (sort-merge, hash) need only 1
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,

    /// Kill a worker in the middle of it, start another process in its place, and verify that nothing was lost: chaos of
    /// the harness, for blocking partitions between split workers
    #[arg(long, value_enum, value_name = "WHOM")]
    pub kill: Option<Kill>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would make it the help of the heading")]
    pub input: InputArgs,

    /// The engine's configuration [default: sluice.toml in the current folder, if it is there]
    #[arg(long, value_name = "FILE", help_heading = "Engine")]
    pub config: Option<PathBuf>,

    /// What carries bytes between workers: tcp (processes) or in-process (threads of one process) [default: tcp]
    #[arg(long, value_name = "NAME", help_heading = "Engine")]
    pub transport: Option<String>,

    /// What does the IO of the TCP transport: auto, io_uring or epoll [default: auto]
    #[arg(long, value_name = "NAME", help_heading = "Engine")]
    pub engine: Option<String>,

    /// For the buffers of each worker: a shuffle of any size runs in it, or says how much it needs [default: 64MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Engine")]
    pub memory: Option<String>,

    /// The size of a buffer [default: 32KiB]
    #[arg(long, value_name = "SIZE", help_heading = "Engine")]
    pub buffer_size: Option<String>,

    /// How long a record may wait in a buffer that is not full: a duration, 0 to send with each write, or off
    /// [default: 10ms]
    #[arg(long, value_name = "TIME|0|off", help_heading = "Engine")]
    pub flush_interval: Option<String>,

    /// Connections for each pair of workers [default: 1]
    #[arg(long, value_name = "N", help_heading = "Engine")]
    pub lanes: Option<u32>,

    /// Where blocking partitions are kept [default: disk.directories, or a temporary directory]
    #[arg(long, num_args = 1.., value_name = "DIR", help_heading = "Disk")]
    pub disk: Vec<PathBuf>,

    /// What does the IO of the disk: auto, io-uring or threads [default: auto]
    #[arg(long, value_name = "NAME", help_heading = "Disk")]
    pub disk_engine: Option<String>,

    /// How blocks on the disk are compressed: none, lz4 or zstd [default: none]
    #[arg(long, value_name = "NAME", help_heading = "Disk")]
    pub compression: Option<String>,

    /// What a finished partition survives besides the end of its process: none, or on-finish (a loss of power)
    /// [default: none]
    #[arg(long, value_name = "WHEN", help_heading = "Disk")]
    pub durability: Option<String>,

    /// Whether small slices of a sort-merge partition are merged when all is written: auto, always or never
    /// [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = "Disk")]
    pub merge: Option<String>,

    /// Told the address of each worker, says where the others are to look for it: for tests with a line that fails
    #[arg(long, value_name = "ADDRESS", hide = true)]
    pub relay: Option<SocketAddr>,

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
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// One belongs to another kind of input.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// Nothing could run like this.
    #[error(transparent)]
    Impossible(#[from] ScenarioError),
    /// The engine's configuration is not one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An option of a transport that does not run.
    #[error("--engine chooses what does the IO of the TCP transport, and the transport is in-process")]
    EngineWithoutTcp,
    /// An option of blocking partitions, and there are none.
    #[error("{0} is for partitions on the disk: take --partition sort-merge or hash")]
    DiskOfPipelined(&'static str),
    /// The engine would refuse each.
    #[error(
        "--record-bytes is {record_bytes}, and the engine takes records of at most {most} bytes: give less, or raise shuffle.record_bytes_max"
    )]
    RecordTooLarge {
        /// What was asked for.
        record_bytes: u32,
        /// What the engine takes.
        most: u64,
    },
}

impl ShuffleArgs {
    /// The run asked for, checked as far as is possible without the engine.
    pub fn scenario(&self) -> Result<Scenario, SettingError> {
        let settings = self.settings();
        let config = settings.load()?;
        let transport = match config.cluster.transport.as_str() {
            "in-process" => Transport::InProcess,
            _ => Transport::Tcp,
        };
        if transport == Transport::InProcess && self.engine.is_some() {
            return Err(SettingError::EngineWithoutTcp);
        }
        let scenario = Scenario {
            workers: self.workers,
            producers_per_worker: self.producers,
            consumers_per_worker: self.consumers,
            placement: self.placement,
            transport,
            settings,
            partition: self.partition,
            directories: if self.partition.is_retained() { config.disk.directories.clone() } else { Vec::new() },
            slots: self.slots,
            kill: self.kill,
            config: Self::every_key(&config)?,
            input: self.input.spec()?,
            relay: self.relay,
            job: 0,
            output: self.output.clone(),
            pairs: self.pairs,
            no_ceiling: self.no_ceiling,
        };
        scenario.check()?;
        self.check_disk()?;
        let most = config.shuffle.record_bytes_max.bytes() as u64;
        match scenario.input {
            InputSpec::Random { record_bytes, .. } if u64::from(record_bytes) > most => {
                return Err(SettingError::RecordTooLarge { record_bytes, most });
            }
            _ => {}
        }
        Ok(scenario)
    }

    /// What belongs to blocking partitions is refused beside others, and not ignored.
    fn check_disk(&self) -> Result<(), SettingError> {
        let given = [
            ("--disk", !self.disk.is_empty()),
            ("--disk-engine", self.disk_engine.is_some()),
            ("--compression", self.compression.is_some()),
            ("--durability", self.durability.is_some()),
            ("--merge", self.merge.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given && !self.partition.is_retained()) {
            Some((flag, _)) => Err(SettingError::DiskOfPipelined(flag)),
            None => Ok(()),
        }
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings { file: self.config.clone(), ..Settings::default() };
        settings.set("cluster.transport", self.transport.as_ref(), "--transport");
        settings.set("transport.tcp.engine", self.engine.as_ref(), "--engine");
        settings.set("memory.bytes", self.memory.as_ref(), "--memory");
        settings.set("memory.buffer_bytes", self.buffer_size.as_ref(), "--buffer-size");
        settings.set("shuffle.flush_interval", self.flush_interval.as_ref(), "--flush-interval");
        settings.set("session.lanes", self.lanes, "--lanes");
        settings.set("disk.directories", in_one(&self.disk), "--disk");
        settings.set("disk.engine", self.disk_engine.as_ref(), "--disk-engine");
        settings.set("disk.compression", self.compression.as_ref(), "--compression");
        settings.set("disk.durability", self.durability.as_ref(), "--durability");
        settings.set("disk.merge", self.merge.as_ref(), "--merge");
        settings
    }

    /// The configuration with the transport's own table, which is checked here as well.
    fn every_key(config: &Config) -> Result<serde_json::Value, SettingError> {
        let tcp = config.transport_options::<TcpOptions>("tcp")?.filled();
        let mut every = serde_json::to_value(config).unwrap_or_default();
        every["transport"] = serde_json::json!({ "tcp": tcp });
        Ok(every)
    }
}

/// As the configuration takes several paths in one text; `None` for none.
pub(crate) fn in_one(directories: &[PathBuf]) -> Option<String> {
    let all: Vec<_> = directories.iter().map(|directory| directory.display().to_string()).collect();
    (!all.is_empty()).then(|| all.join(":"))
}
