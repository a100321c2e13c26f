//! What cannot run is refused with a word on how it could: 2 for the command line, 1 for the run.

use std::fs::{self, File};

use serde_json::Value;

use crate::program::{failure, sluice_perf};

#[test]
fn wrong_usage_says_what_would_be_right() {
    for (words, fix) in [
        ("--memory much", "--memory"),
        ("--wrokers 2", "--workers"),
        ("--workers 0", "at least one"),
        ("--placement split --workers 1", "at least two workers"),
        ("--transport rdma", "in-process"),
        ("--engine iouring", "io_uring"),
        ("--flush-interval soon", "10ms"),
        ("--record-bytes 100", "--generate random"),
        ("--key 2", "--input"),
        ("--generate random --input a.csv", "cannot be used with"),
        ("shufle", "shuffle"),
        ("--generate random --skew nan", "not finite"),
        ("--generate random --skew -1", "from 0 (uniform) to 10"),
        ("--scale-factor inf", "not finite"),
        ("--scale-factor 0.000001", "from 0.0001"),
        ("--generate random --record-bytes 7", "from 8"),
        ("--generate random --record-bytes 5GB", "to 1 GiB"),
        ("--generate random --record-bytes 900MiB", "shuffle.record_bytes_max"),
        ("--workers 1025", "at most 1024"),
        ("--generate random --header", "--input"),
        ("--generate lineitem --key 1", "--input"),
    ] {
        let said = failure(&mut sluice_perf(words), 2);
        assert!(said.contains(fix), "{words}: {said}");
    }
}

#[test]
fn too_little_memory_says_how_much_is_needed() {
    let words = "--no-ceiling --generate random --bytes 1MB --producers 5 --consumers 3";
    let said = failure(&mut sluice_perf(&format!("{words} --memory 100KiB")), 1);
    assert!(said.contains("5 writers") && said.contains("3 gates") && said.contains("--memory 256KiB"), "{said}");
    let run = crate::program::output(&mut sluice_perf(&format!("{words} --memory 256KiB")));
    assert!(run.status.success(), "so much is enough: {}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn too_little_memory_for_all_tasks_of_a_blocking_shuffle_says_what_is_enough_for_one_at_a_time() {
    let words = "--no-ceiling --generate random --bytes 1MB --producers 20 --consumers 30";
    let small = format!("{words} --partition sort-merge --memory");
    let said = failure(&mut sluice_perf(&format!("{small} 256KiB")), 1);
    assert!(said.contains("30 gates") && said.contains("or --slots 1: its tasks"), "{said}");
    assert!(!said.contains("partitions are kept"), "there are none: {said}");
    let run = crate::program::output(&mut sluice_perf(&format!("{small} 256KiB --slots 1")));
    assert!(run.status.success(), "so much is enough: {}", String::from_utf8_lossy(&run.stderr));
    // Not where it cannot be.
    let said = failure(&mut sluice_perf(&format!("{words} --memory 256KiB")), 1);
    assert!(!said.contains("--slots"), "{said}");
}

/// Once said what the first worker needs, whatever the others did.
#[test]
fn what_is_needed_is_what_the_worker_with_the_most_tasks_needs() {
    let words =
        "--no-ceiling --generate random --bytes 1MB --placement split --producers 5 --consumers 9 --memory 100KiB";
    let said = failure(&mut sluice_perf(words), 1);
    assert!(said.contains("9 gates") && said.contains("--memory 288KiB"), "{said}");
}

#[test]
fn impossible_sizes_are_refused_and_not_panicked_at() {
    for words in [
        "--memory 0",
        "--memory 1000EB",
        "--buffer-size 0",
        "--buffer-size 1",
        "--buffer-size 3000",
        "--buffer-size 1GB",
        "--lanes 0",
        "--lanes 70000",
        "--generate random --record-bytes 0",
        "--generate random --record-bytes 4GB",
        "--workers 4000000000",
    ] {
        let run = crate::program::output(&mut sluice_perf(&format!("--no-ceiling {words}")));
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(matches!(run.status.code(), Some(1 | 2)), "{words}: {}: {said}", run.status);
        assert!(!said.contains("panicked"), "{words}: {said}");
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let said = failure(&mut sluice_perf("--no-ceiling --input /nowhere/at/all.csv"), 1);
    assert!(said.contains("/nowhere/at/all.csv: cannot be read: No such file or directory"), "{said}");
    let said = failure(
        &mut sluice_perf("--no-ceiling --generate random --bytes 1MB --output /proc/nowhere --transport in-process"),
        1,
    );
    assert!(said.contains("/proc/nowhere"), "{said}");
    let said = failure(&mut sluice_perf("--no-ceiling --generate random --bytes 1MB --json /nowhere/at/all.json"), 1);
    assert!(said.contains("/nowhere/at/all.json"), "{said}");
}

#[test]
fn a_folder_with_parts_is_refused_before_one_is_truncated() {
    let folder = tempfile::tempdir().expect("a folder");
    let part = folder.path().join("part-00000");
    fs::write(&part, "an input, or an earlier result\n").expect("the folder is ours");
    let mut command = sluice_perf("--no-ceiling --workers 1");
    command.arg("--input").arg(&part).arg("--output").arg(folder.path());
    let said = failure(&mut command, 1);
    assert!(said.contains("holds part-00000 already: name an empty folder or remove it"), "{said}");
    assert_eq!(fs::read_to_string(&part).expect("it stays"), "an input, or an earlier result\n");
}

#[test]
fn a_failed_run_leaves_no_figures_of_an_earlier_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("report.json");
    fs::write(&json, "{\"result\":{\"verified\":true}}").expect("the folder is ours");
    let said = failure(sluice_perf("--no-ceiling --input nothere.csv --json").arg(&json), 1);
    let report: Value = serde_json::from_slice(&fs::read(&json).expect("it is there")).expect("JSON");
    assert_eq!(report["result"]["verified"], false, "{report:#}");
    let error = report["error"].as_str().expect("a text");
    assert!(error.contains("nothere.csv: cannot be read: No such file") && said.contains(error), "{said} {report:#}");
}

#[test]
fn a_full_standard_output_is_an_error_and_no_panic() {
    let full = File::options().write(true).open("/dev/full").expect("a Linux machine");
    let mut command = sluice_perf("--no-ceiling --generate random --bytes 1MB");
    let said = failure(command.stdout(full), 1);
    assert!(said.contains("standard output: cannot be written: No space left"), "{said}");
}
