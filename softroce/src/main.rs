//! `softroce`: tries, measures and looks at RoCEv2 without a network card.

#![forbid(unsafe_code)]

mod command;

use std::process::ExitCode;

use clap::Parser;
use command::Options;

fn main() -> ExitCode {
    match Options::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("softroce: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
