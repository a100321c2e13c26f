//! The harness: runs a real shuffle, verifies every byte, and measures it against the ceilings of the same run.
//!
//! | module | is |
//! | --- | --- |
//! | [`cli`] | the command line of `sluice-perf` |
//! | [`scenario`] | the command line, checked: what one run shuffles, and how |
//! | [`input`] | where records come from, and the consumer each is for |
//! | [`digest`] | what proves that nothing was lost, doubled or reordered |
//! | [`ceiling`] | what this machine can do at best, measured in the same run |
//! | [`settings`] | the engine's configuration, in its layers |
//! | [`shuffle`] | the subcommand that shuffles: workers, and a coordinator that compares |
//! | [`survey`] | the subcommand that measures the ceilings alone |
//! | [`disk`] | the subcommand that measures the disk's plug-in beside the raw disk |
//! | [`slices`] | the subcommand that reads partitions of small and large slices beside the raw disk |
//! | [`inspect`] | the subcommand that looks into files of partitions |
//! | [`report`] | the figures, as JSON and as text |
//! | [`host`] | the machine and this process as the kernel sees them |
//! | [`interrupt`] | the signals that ask this process to end |
//! | [`causes`] | an error with what caused it, as text |
//! | `progress` | the line that says how far a run is |
//! | [`units`] | figures as people write and read them |

#![forbid(unsafe_code)]

pub mod causes;
pub mod ceiling;
pub mod cli;
pub mod digest;
pub mod disk;
pub mod host;
pub mod input;
pub mod inspect;
pub mod interrupt;
mod progress;
pub mod report;
pub mod scenario;
pub mod settings;
pub mod shuffle;
pub mod slices;
pub mod survey;
pub mod units;
