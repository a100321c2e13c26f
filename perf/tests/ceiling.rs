//! The ceilings with their real processes. Limits are bytes, so that no result depends on a clock.
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sluice_perf::{
    ceiling::{Bench, CeilingError, Checks, DiskMode, DiskWork, Limit, Rate, Records},
    input::InputSpec,
};

fn bench() -> Bench {
    Bench::new(PathBuf::from(env!("CARGO_BIN_EXE_sluice-perf")), Limit::Bytes(8 << 20))
}

fn records(bytes: u64) -> Records {
    let input = InputSpec::Random { bytes, record_bytes: 1000, skew: 0.5, seed: 42 };
    Records { input, targets: 7 }
}

fn is_a_figure(rate: Rate) -> bool {
    rate.bytes_per_second > 0.0 && rate.cpu_seconds_per_gb > 0.0
}

#[test]
fn every_ceiling_gives_a_figure_and_agreeing_digests() {
    assert!(is_a_figure(bench().plain_stream().unwrap()));
    assert!(is_a_figure(bench().bare_pipeline(&records(1 << 20)).unwrap()));
    assert!(is_a_figure(bench().memcpy(&records(1 << 20), 2).unwrap()));
}

#[test]
fn a_worker_that_fails_is_an_error_and_leaves_none_waiting() {
    let nothing_to_send = bench().bare_pipeline(&records(0));
    assert!(matches!(nothing_to_send, Err(CeilingError::Failed { role: "sending", .. })), "{nothing_to_send:?}");
    let another_program = Bench::new("/bin/true".into(), Limit::Bytes(1)).plain_stream();
    assert!(another_program.is_err());
}

/// The subcommand, with as little of all else as it measures.
fn survey(words: &str) -> Output {
    let words = format!("ceiling --rounds 1 --duration 20ms --generate random --record-bytes 1000 {words}");
    Command::new(env!("CARGO_BIN_EXE_sluice-perf")).args(words.split_whitespace()).output().expect("the program starts")
}

#[test]
fn the_raw_disk_of_named_directories_is_shown_and_nothing_is_left_there() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, json) = (folder.path().join("disk"), folder.path().join("report.json"));
    std::fs::create_dir(&disk).unwrap();
    let run = survey(&format!("--disk {} --json {}", disk.display(), json.display()));
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    for row in ["raw disk, write, 512 KiB", "raw disk, read, 512 KiB", "page cache"] {
        assert!(said.contains(row), "{row}: {said}");
    }
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    // How fast is a matter of the clock: in so short a time it may be nothing.
    let rows = report["measurements"].as_array().unwrap();
    let disk_rows: Vec<_> = rows.iter().filter(|row| row["name"].as_str().unwrap().starts_with("raw disk")).collect();
    assert!(disk_rows.len() == 2 && rows.len() > 2, "{report:#}");
    assert!(disk_rows.iter().all(|row| row["median"]["bytes_per_second"].is_number()), "{report:#}");
    assert!(report["disk"]["is_direct"].is_boolean() && report["disk"]["engine"].is_string(), "{report:#}");
    assert_eq!(std::fs::read_dir(&disk).unwrap().count(), 0);
}

#[test]
fn a_directory_that_is_not_there_is_refused_before_anything_is_measured() {
    let run = survey("--disk /nowhere/at/all");
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("--disk /nowhere/at/all: is no directory"), "{said}");
}

fn disk_work(directory: &Path) -> DiskWork {
    DiskWork {
        directories: vec![directory.to_owned()],
        file_bytes: 2 << 20,
        request_bytes: 64 << 10,
        depth: 4,
        direct: true,
        polls: false,
        checks: Checks::EveryByte,
        mixed: true,
        time_max: Duration::from_secs(60),
    }
}

#[test]
fn the_raw_disk_writes_and_reads_all_of_its_file_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for direct in [true, false] {
        let raw = bench().raw_disk(&DiskWork { direct, ..disk_work(folder.path()) }).unwrap();
        for mode in [DiskMode::Write, DiskMode::Read, DiskMode::Mixed] {
            assert_eq!(raw.phase(mode).bytes, 2 << 20, "{mode:?}: {raw:?}");
            assert!(is_a_figure(raw.phase(mode).rate()), "{mode:?}: {raw:?}");
        }
        assert!(direct || !raw.is_direct, "{raw:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
