//! The command line of `sluice-perf`.
mod ceiling;
mod disk;
mod input;
mod inspect;
mod shuffle;
mod slices;

use clap::{Parser, Subcommand};

pub use ceiling::CeilingArgs;
pub use disk::{DirectName, DiskArgs, DiskSpecError, EngineName};
pub use input::{Generate, InputArgs, Misplaced};
pub use inspect::InspectArgs;
pub(crate) use shuffle::in_one;
pub use shuffle::{SettingError, ShuffleArgs};
pub use slices::{SlicesArgs, SlicesSpecError};

const EXAMPLES: &str = "\
Examples:
  sluice-perf
      TPC-H lineitem at scale factor 1 between two processes, verified and measured
  sluice-perf --placement split --generate random --record-bytes 16KiB --bytes 20GB
      every byte over the socket: how fast can it be?
  sluice-perf --workers 4 --producers 16 --consumers 16 --memory 8MiB
      many channels in little memory
  sluice-perf --input orders.csv --key customer --output parts --workers 1 --consumers 8
      a file repartitioned into eight: parts/part-00000 and so on
  sluice-perf --partition sort-merge --disk /data --generate random --bytes 20GB --slots 1
      a batch shuffle through files, one task of each worker at a time
  sluice-perf ceiling
      what this machine can do at best
  sluice-perf disk --dir /data
      what a disk does through the engine's plug-in, and without it
  sluice-perf slices --dir /data
      how fast partitions of 16 to 4000 subpartitions are read back

Exit status: 0 verified; 1 a mismatch or a failed run; 2 wrong usage; 130 interrupted (Ctrl-C).";

/// Runs a real shuffle between processes, verifies every byte, and measures it against what the machine can do.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// `shuffle` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of `shuffle`, which may go without its name.
    #[command(flatten)]
    pub shuffle: ShuffleArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shuffle records between workers, verify and measure (the default)
    #[command(after_help = EXAMPLES)]
    Shuffle(Box<ShuffleArgs>),
    /// Measure what this machine can do at best: plain stream, bare pipeline, memcpy, raw disk
    Ceiling(Box<CeilingArgs>),
    /// Measure what the disk's plug-in does of what the disk can
    Disk(Box<DiskArgs>),
    /// Measure how fast partitions are read, by the number of subpartitions and the size of regions
    Slices(Box<SlicesArgs>),
    /// Look into files of partitions and check every checksum and the padding
    Inspect(InspectArgs),
    /// A process that `shuffle` starts
    #[command(hide = true)]
    ShuffleWorker,
    /// A process that `ceiling` starts
    #[command(hide = true)]
    CeilingWorker,
}

impl Cli {
    /// What was asked for, with the default filled in.
    pub fn into_command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Shuffle(Box::new(self.shuffle)))
    }
}

/// The scenario of a command line, for tests that need some scenario.
#[cfg(test)]
pub(crate) fn scenario_of(words: &[&str]) -> crate::scenario::Scenario {
    match Cli::try_parse_from(words).unwrap().into_command() {
        Command::Shuffle(shuffle) => shuffle.scenario().unwrap(),
        other => panic!("{other:?} is no shuffle"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use sluice_core::PartitionKind;

    use super::*;
    use crate::{
        input::{InputSpec, Key},
        scenario::{Placement, Transport},
    };

    fn refusal(line: &str) -> String {
        match Cli::try_parse_from(line.split(' ')) {
            Err(error) => error.to_string(),
            Ok(cli) => match cli.into_command() {
                Command::Shuffle(shuffle) => shuffle.scenario().unwrap_err().to_string(),
                other => panic!("{other:?} is no shuffle"),
            },
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn shuffle_is_the_default_with_and_without_options() {
        assert_eq!(scenario_of(&["sluice-perf"]), scenario_of(&["sluice-perf", "shuffle"]));
        let three = scenario_of(&["sluice-perf", "--workers", "3"]);
        assert_eq!(three, scenario_of(&["sluice-perf", "shuffle", "--workers", "3"]));
        assert_eq!(three.workers, 3);
    }

    #[test]
    fn the_default_is_lineitem_between_two_processes() {
        let scenario = scenario_of(&["sluice-perf"]);
        assert_eq!(scenario.input, InputSpec::Lineitem { scale_factor: 1.0 });
        assert_eq!((scenario.workers, &scenario.config["memory"]["bytes"]), (2, &"64MiB".into()));
        assert_eq!((scenario.transport, scenario.placement), (Transport::Tcp, Placement::Spread));
    }

    #[test]
    fn every_setting_of_the_engine_can_be_given() {
        let line = "sluice-perf --transport tcp --engine epoll --memory 8MiB --buffer-size 16KiB \
                    --flush-interval 5ms --lanes 2 --placement split --output out";
        let scenario = scenario_of(&line.split_whitespace().collect::<Vec<_>>());
        let config = |table: &str, key: &str| scenario.config[table][key].to_string();
        assert_eq!((scenario.transport, config("memory", "bytes")), (Transport::Tcp, "\"8MiB\"".into()));
        assert_eq!(config("memory", "buffer_bytes"), "\"16KiB\"");
        assert_eq!(config("shuffle", "flush_interval"), "\"5ms\"");
        assert_eq!((config("session", "lanes"), scenario.output.clone()), ("2".into(), Some("out".into())));
        assert_eq!(scenario.config["transport"]["tcp"]["engine"], "epoll");
        // What nobody gave is there as it is used.
        assert_eq!(scenario.config["transport"]["tcp"]["listen"], "127.0.0.1:0");
        assert_eq!(scenario.config["transport"]["tcp"]["connect_timeout"], "5s");
        assert_eq!((scenario.pairs, scenario.no_ceiling), (1, false));
    }

    #[test]
    fn the_settings_of_blocking_partitions_reach_the_configuration() {
        let line = "sluice-perf --partition sort-merge --disk /one /two --disk-engine threads --compression lz4 \
                    --durability on-finish --slots 1";
        let scenario = scenario_of(&line.split_whitespace().collect::<Vec<_>>());
        let disk = &scenario.config["disk"];
        assert_eq!(disk["directories"], serde_json::json!(["/one", "/two"]), "{disk:#}");
        assert_eq!((&disk["engine"], &disk["compression"]), (&"threads".into(), &"lz4".into()));
        assert_eq!(disk["durability"], "on-finish");
        assert_eq!((scenario.partition, scenario.slots), (PartitionKind::SortMerge, Some(1)));
        assert_eq!(scenario.directories, [std::path::Path::new("/one"), std::path::Path::new("/two")]);
        // Pipelined partitions use no directory, whatever the configuration names.
        assert!(scenario_of(&["sluice-perf"]).directories.is_empty());
    }

    #[test]
    fn an_unknown_transport_and_an_unknown_engine_are_refused_with_what_there_is() {
        let text = refusal("x --transport tpc");
        assert!(text.contains("tpc") && text.contains("tcp") && text.contains("in-process"), "{text}");
        let text = refusal("x --engine iouring");
        assert!(text.contains("iouring") && text.contains("io_uring") && text.contains("epoll"), "{text}");
        assert!(refusal("x --transport in-process --engine epoll").contains("--engine"));
    }

    #[test]
    fn several_files_and_a_key_make_a_file_input() {
        let scenario = scenario_of(&["sluice-perf", "--input", "a.csv", "b.csv", "--key", "2", "--header"]);
        let paths = vec!["a.csv".into(), "b.csv".into()];
        assert_eq!(scenario.input, InputSpec::Files { paths, key: Some(Key::Column(2)), header: true });
    }

    #[test]
    fn what_belongs_to_another_input_is_refused_and_not_ignored() {
        assert!(refusal("x --record-bytes 100").contains("--generate random"));
        assert!(refusal("x --generate random --scale-factor 2").contains("--generate lineitem"));
        assert!(refusal("x --input a.csv --skew 1").contains("--generate random"));
        assert!(refusal("x --input a.csv --generate random").contains("cannot be used with"));
        assert!(refusal("x --key 2").contains("--input"));
        assert!(refusal("x --generate random --header").contains("--input"));
        assert!(refusal("x --generate lineitem --key 2").contains("--input"));
    }

    #[test]
    fn impossible_settings_are_refused() {
        assert!(refusal("x --placement split --workers 1").contains("at least two workers"));
        assert!(refusal("x --memory much").contains("--memory"));
        assert!(refusal("x --transport rdma").contains("in-process"));
        assert!(refusal("x --flush-interval soon").contains("10ms"));
    }
}
