//! The command line of the simulator.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use sluice_sim::cli::{Options, simulate};

fn main() -> ExitCode {
    match simulate(&Options::parse()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
