//! Workers that are killed between writing and reading: what was finished is read again, and no producer runs twice.

use std::fs;

use crate::program::{engines, report, sluice_perf};

/// Runs with a victim; everything is verified, and nothing is left.
fn survives(whom: &str, words: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("the folder is ours");
    let words = format!("--no-ceiling --generate random --bytes 20MB --placement split --kill {whom} {words}");
    let report = report(sluice_perf(&words).arg("--disk").arg(&data), folder.path());
    assert_eq!(report["scenario"]["kill"], whom, "{report:#}");
    let written = report["result"]["disk"]["written_bytes"].as_u64().expect("a number");
    assert!(written > 5_000_000, "what a killed worker wrote counts: {report:#}");
    let left: Vec<_> = fs::read_dir(&data).expect("it is there").collect();
    assert!(left.is_empty(), "{words}: {left:?} is left");
}

#[test]
fn a_consumer_that_is_killed_half_way_reads_again_in_another_process() {
    for engine in engines() {
        for kind in ["sort-merge", "hash"] {
            survives("consumer", &format!("--partition {kind} --engine {engine}"));
        }
    }
    survives("consumer", "--partition sort-merge --workers 4 --slots 1 --compression lz4");
}

#[test]
fn a_producer_that_is_killed_after_it_has_finished_is_recovered_by_another_process() {
    for engine in engines() {
        for kind in ["sort-merge", "hash"] {
            survives("producer", &format!("--partition {kind} --engine {engine}"));
        }
    }
    survives("producer", "--partition sort-merge --workers 4 --slots 1 --compression zstd");
}
