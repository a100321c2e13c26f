//! Reads the command line and runs what it asks for.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, error::ErrorKind};
use sluice_perf::{
    causes::with_causes,
    ceiling,
    cli::{Cli, Command},
    disk, inspect,
    shuffle::{self, ShuffleError},
    slices, survey,
};

const FAILED: u8 = 1;

fn main() -> ExitCode {
    match Cli::parse().into_command() {
        Command::Shuffle(args) => {
            let scenario = args.scenario().unwrap_or_else(|error| refuse(&error));
            exit_with(shuffle::run(&args, scenario), ShuffleError::status)
        }
        Command::Ceiling(args) => {
            let specs = args.specs().unwrap_or_else(|error| refuse(&error));
            exit_code(survey::run(&args, specs))
        }
        Command::Disk(args) => {
            let spec = args.spec().unwrap_or_else(|error| refuse(&error));
            exit_code(disk::run(&spec, args.json.as_deref()))
        }
        Command::Slices(args) => {
            let spec = args.spec().unwrap_or_else(|error| refuse(&error));
            exit_code(slices::run(&spec, args.json.as_deref()))
        }
        Command::Inspect(args) => exit_code(inspect::run(&args.files, args.json.as_deref())),
        Command::ShuffleWorker => exit_code(shuffle::run_as_process()),
        Command::CeilingWorker => exit_code(ceiling::run_worker()),
    }
}

/// Ends as clap does when it refuses a command line itself.
fn refuse(error: &dyn Error) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, error).exit()
}

fn exit_code(result: Result<(), impl Error>) -> ExitCode {
    exit_with(result, |_| FAILED)
}

fn exit_with<E: Error>(result: Result<(), E>, status: impl FnOnce(&E) -> u8) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // Nobody may be left to read it; the status says it as well.
    let _ = writeln!(io::stderr(), "sluice-perf: {}", with_causes(&error));
    ExitCode::from(status(&error))
}
