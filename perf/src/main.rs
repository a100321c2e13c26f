//! Reads the command line and runs what it asks for.
#![forbid(unsafe_code)]

use std::{error::Error, process::ExitCode};

use clap::{CommandFactory, Parser, error::ErrorKind};
use sluice_perf::{
    ceiling,
    cli::{Cli, Command},
    shuffle, survey,
};

const FAILED: u8 = 1;

fn main() -> ExitCode {
    match Cli::parse().into_command() {
        Command::Shuffle(args) => {
            let scenario = args.scenario().unwrap_or_else(|error| refuse(&error));
            exit_code(shuffle::run(&args, scenario))
        }
        Command::Ceiling(args) => {
            let specs = args.specs().unwrap_or_else(|error| refuse(&error));
            exit_code(survey::run(&args, specs))
        }
        Command::ShuffleWorker => exit_code(shuffle::run_as_process()),
        Command::CeilingWorker => exit_code(ceiling::run_worker()),
    }
}

/// Ends as clap does when it refuses a command line itself.
fn refuse(error: &dyn Error) -> ! {
    Cli::command().error(ErrorKind::ArgumentConflict, error).exit()
}

fn exit_code(result: Result<(), impl Error>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    eprintln!("sluice-perf: {text}");
    ExitCode::from(FAILED)
}
