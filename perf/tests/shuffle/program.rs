//! Runs of the built program.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The program with these words, and without what takes seconds.
pub(crate) fn sluice_perf(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-perf"));
    command.args(words.split_whitespace());
    command
}

/// The engines of this host.
pub(crate) fn engines() -> Vec<&'static str> {
    let works = |engine: &&str| {
        let run = output(&mut sluice_perf(&format!("--no-ceiling --generate random --bytes 1000 --engine {engine}")));
        if !run.status.success() {
            eprintln!("{engine} skipped: {}", String::from_utf8_lossy(&run.stderr));
        }
        run.status.success() || *engine == "epoll"
    };
    ["epoll", "io_uring"].into_iter().filter(works).collect()
}

pub(crate) fn output(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// Runs to success and gives the report.
pub(crate) fn report(command: &mut Command, folder: &Path) -> Value {
    let json = folder.join("report.json");
    let run = output(command.arg("--json").arg(&json));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {errors}", run.status);
    let text = std::fs::read(&json).expect("the report is written");
    let report: Value = serde_json::from_slice(&text).expect("the report is JSON");
    assert_eq!(report["result"]["verified"], true, "{report:#}");
    report
}

/// Ends with this status; gives what it says about it.
pub(crate) fn failure(command: &mut Command, status: i32) -> String {
    let run = output(command);
    let errors = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(status), "{command:?}: {errors}");
    assert!(!errors.contains("panicked"), "{command:?}: {errors}");
    errors
}
