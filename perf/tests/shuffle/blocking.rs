//! Blocking partitions, by files: verified, whatever the engine, the kind and the number of slots, and nothing is left.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{failure, output, report, sluice_perf};

const SMALL: &str = "--no-ceiling --generate random --bytes 3MB --record-bytes 1000";

/// A run with its partitions in this folder.
fn blocking(words: &str, data: &Path) -> Command {
    let mut command = sluice_perf(&format!("{SMALL} {words}"));
    command.arg("--disk").arg(data);
    command
}

fn verified(words: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("the folder is ours");
    let report = report(&mut blocking(words, &data), folder.path());
    let left: Vec<_> = fs::read_dir(&data).expect("it is there").collect();
    assert!(left.is_empty(), "{words}: {left:?} is left");
    report
}

/// The disk's engines on this host.
fn disk_engines() -> Vec<&'static str> {
    let folder = tempfile::tempdir().expect("a folder");
    let works = |engine: &&str| {
        let run = output(&mut blocking(&format!("--partition sort-merge --disk-engine {engine}"), folder.path()));
        if !run.status.success() {
            eprintln!("{engine} skipped: {}", String::from_utf8_lossy(&run.stderr));
        }
        run.status.success() || *engine == "threads"
    };
    ["threads", "io-uring"].into_iter().filter(works).collect()
}

#[test]
fn both_kinds_are_verified_by_every_engine_over_tcp_and_within_a_process() {
    for engine in disk_engines() {
        for kind in ["sort-merge", "hash"] {
            for where_to in ["", "--placement split", "--transport in-process"] {
                let report = verified(&format!("--partition {kind} --disk-engine {engine} {where_to}"));
                let disk = &report["result"]["disk"];
                let written = disk["written_bytes"].as_u64().expect("a number");
                assert!(written >= 3_000_000, "{kind}: {report:#}");
                assert!(report["host"]["disk"]["engine"].is_string(), "{report:#}");
            }
        }
    }
}

#[test]
fn tasks_that_run_one_after_the_other_complete() {
    for kind in ["sort-merge", "hash"] {
        for words in ["--slots 1", "--slots 1 --placement split", "--slots 1 --transport in-process", "--slots 2"] {
            verified(&format!("--partition {kind} {words} --producers 3 --consumers 5 --memory 1MiB"));
        }
    }
}

#[test]
fn compressed_and_durable_partitions_are_verified() {
    for words in ["--compression lz4", "--compression zstd --durability on-finish", "--durability on-finish"] {
        verified(&format!("--partition sort-merge {words}"));
        verified(&format!("--partition hash {words}"));
    }
}

#[test]
fn text_takes_less_room_when_it_is_compressed() {
    let ratio = |words: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("the folder is ours");
        let words = format!("--no-ceiling --scale-factor 0.01 --partition sort-merge {words}");
        let mut command = sluice_perf(&words);
        let report = report(command.arg("--disk").arg(&data), folder.path());
        report["result"]["disk"]["payload_over_written"].as_f64().expect("a number")
    };
    let (plain, packed) = (ratio(""), ratio("--compression zstd"));
    assert!(plain <= 1.0 && packed > 1.5 * plain, "{plain} and {packed}");
}

#[test]
fn many_consumers_in_little_memory_are_verified() {
    verified("--partition sort-merge --workers 2 --producers 4 --consumers 100 --memory 4MiB");
}

/// Once hung: readers of two partitions for each of two hundred gates had all memory for reading among them.
#[test]
fn many_gates_that_use_up_the_memory_for_reading_are_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = "--no-ceiling --generate random --bytes 60MB --record-bytes 1000 --partition sort-merge";
    let words = format!("{words} --workers 1 --producers 2 --consumers 200 --memory 64MiB");
    report(sluice_perf(&words).arg("--disk").arg(folder.path()), folder.path());
}

#[test]
fn long_records_and_skew_are_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    for words in ["--record-bytes 1MiB --bytes 20MB", "--record-bytes 100 --bytes 2MB --skew 1"] {
        let words = format!("--no-ceiling --generate random {words} --partition sort-merge");
        report(sluice_perf(&words).arg("--disk").arg(folder.path()), folder.path());
    }
}

#[test]
fn several_directories_are_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = ["one", "two"].map(|name| folder.path().join(name));
    data.iter().for_each(|path| fs::create_dir(path).expect("the folder is ours"));
    let mut command = sluice_perf(&format!("{SMALL} --partition sort-merge --producers 4"));
    report(command.arg("--disk").args(&data), folder.path());
    for path in &data {
        assert_eq!(fs::read_dir(path).expect("it is there").count(), 0);
    }
}

#[test]
fn without_a_directory_a_temporary_one_is_used_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = sluice_perf(&format!("{SMALL} --partition sort-merge"));
    let run = output(command.env("TMPDIR", folder.path()));
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert!(said.contains(&format!("partitions are kept in {}", folder.path().display())), "{said}");
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0, "nothing is left");
}

#[test]
fn the_report_says_what_the_disk_did_and_what_it_can_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("the folder is ours");
    let mut command = sluice_perf("--generate random --bytes 2MB --partition sort-merge --pairs 2");
    let report = report(command.arg("--disk").arg(&data), folder.path());
    for path in [
        "/scenario/partition",
        "/scenario/directories/0",
        "/scenario/config/disk/compression",
        "/host/disk/is_direct",
        "/result/disk/written_bytes",
        "/result/disk/read_bytes",
        "/result/disk/write_seconds",
        "/result/disk/read_seconds",
        "/result/disk/payload_over_written",
        "/ceiling/disk/is_direct",
        "/ceiling/disk/write/bytes_per_second",
        "/ceiling/disk/read/bytes_per_second",
        "/share_of_disk",
        "/pairs/share_of_disk/median",
    ] {
        assert!(report.pointer(path).is_some_and(|value| !value.is_null()), "{path} in {report:#}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_fix() {
    for (words, status, fix) in [
        ("--partition sorted", 2, "sort-merge"),
        ("--slots 1", 2, "--partition sort-merge"),
        ("--partition hash --slots 0", 2, "at least one"),
        ("--disk /tmp", 2, "--partition sort-merge"),
        ("--compression lz4", 2, "--partition sort-merge"),
        ("--partition hash --compression gzip", 2, "lz4"),
        ("--partition hash --durability always", 2, "on-finish"),
        ("--partition hash --disk-engine aio", 2, "io-uring"),
        ("--kill consumer --placement split", 2, "--partition sort-merge"),
        ("--kill producer --partition hash", 2, "--placement split"),
        ("--kill producer --partition hash --placement split --transport in-process", 2, "--transport tcp"),
        ("--partition sort-merge --disk /nowhere/at/all", 1, "/nowhere/at/all"),
        ("--partition sort-merge --disk /proc", 1, "/proc"),
        ("--partition hash --consumers 100000 --slots 1", 1, "sort-merge"),
    ] {
        let said = failure(&mut sluice_perf(&format!("{SMALL} {words}")), status);
        assert!(said.contains(fix), "{words}: {said}");
        assert!(!said.contains("cannot be looked into"), "nothing is left in what is no directory: {said}");
    }
}
