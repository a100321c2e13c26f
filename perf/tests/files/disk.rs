//! `disk` measures with every engine there is, verifies what it reads, and leaves nothing.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{failure, output, sluice_perf};

const SMALL: &str = "--bytes 1MiB --request 4KiB,512KiB --depth 1,4 --mode write,read,mixed";

fn report(folder: &Path, words: &str) -> Result<Value, String> {
    let json = folder.join("report.json");
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("the folder is ours");
    let mut command = sluice_perf(&format!("disk {SMALL} {words} --dir"));
    let run = output(command.arg(&data).arg("--json").arg(&json));
    let left = fs::read_dir(&data).expect("it is there").count();
    assert_eq!(left, 0, "{left} files are left");
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&fs::read(&json).expect("it is written")).expect("JSON"))
}

#[test]
fn every_engine_direct_or_cached_is_verified_and_measured_beside_the_raw_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    for words in ["--engine threads", "--engine threads --direct never", "--engine auto --pairs 2", "--engine io-uring"]
    {
        let report = match report(folder.path(), words) {
            Ok(report) => report,
            Err(said) if words.contains("io-uring") && said.contains("io_uring") => {
                eprintln!("skipped: {said}");
                continue;
            }
            Err(said) => panic!("{words}: {said}"),
        };
        let rows = report["figures"].as_array().expect("rows");
        assert_eq!(rows.len(), 2 * 2 * 3, "{words}: sizes, depths and modes: {report:#}");
        for row in rows {
            for figure in ["/rate/bytes_per_second", "/raw/bytes_per_second", "/share_of_raw/median", "/latency_p99"] {
                assert!(row.pointer(figure).and_then(Value::as_f64).is_some_and(|it| it > 0.0), "{figure}: {row:#}");
            }
        }
        if words.contains("never") {
            assert_eq!(report["engines"]["is_direct"], false, "{report:#}");
        }
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_fix() {
    for (words, status, fix) in [
        ("", 2, "--dir"),
        ("--dir /tmp --request 5000", 2, "multiple of 4KiB"),
        ("--dir /tmp --request 1MiB", 2, "to 512KiB"),
        ("--dir /tmp --bytes 4KiB", 2, "at least that"),
        ("--dir /tmp --depth 0", 2, "1..=128"),
        ("--dir /tmp /tmp", 2, "once"),
        ("--dir /tmp --mode erase", 2, "write"),
        ("--dir /nowhere/at/all", 1, "make it, or name another one"),
        ("--dir /tmp --bytes 1000TiB", 1, "less --bytes"),
        ("--dir /proc --bytes 1MiB", 1, "/proc"),
    ] {
        let said = failure(&mut sluice_perf(&format!("disk {words}")), status);
        assert!(said.contains(fix), "{words}: {said}");
    }
}

#[test]
fn a_device_that_cannot_be_polled_is_refused_with_the_reason() {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() {
        // No device is behind it.
        let said = failure(&mut sluice_perf("disk --bytes 1MiB --request 4KiB --depth 1 --io-poll --dir /dev/shm"), 1);
        assert!(said.contains("--io-poll"), "{said}");
    }
}
