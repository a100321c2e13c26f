//! What cannot run is refused with a word on how it could: 2 for the command line, 1 for the run.

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
    assert!(said.contains("/nowhere/at/all.csv"), "{said}");
    let said = failure(
        &mut sluice_perf("--no-ceiling --generate random --bytes 1MB --output /proc/nowhere --transport in-process"),
        1,
    );
    assert!(said.contains("/proc/nowhere"), "{said}");
    let said = failure(&mut sluice_perf("--no-ceiling --generate random --bytes 1MB --json /nowhere/at/all.json"), 1);
    assert!(said.contains("/nowhere/at/all.json"), "{said}");
}
