//! Every kind of input arrives, verified, and the report says so.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::program::{engines, report, sluice_perf};

fn lines_of(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is made") {
        let path = entry.expect("a part").path();
        assert!(path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")), "{path:?}");
        lines.extend(fs::read_to_string(path).expect("text").lines().map(str::to_string));
    }
    lines.sort();
    lines
}

#[test]
fn random_records_arrive_over_both_engines_and_within_a_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let on = |transport: &str| {
        for shape in ["", "--placement split", "--record-bytes 50000", "--skew 1 --lanes 2 --flush-interval 0"] {
            let words = format!("--no-ceiling --generate random --bytes 3MB {transport} {shape}");
            let report = report(&mut sluice_perf(&words), folder.path());
            let bytes = report["result"]["payload_bytes"].as_u64().expect("a number");
            assert!((2_900_000..=3_200_000).contains(&bytes), "{bytes} bytes with {words}");
        }
    };
    for engine in engines() {
        on(&format!("--engine {engine}"));
    }
    on("--transport in-process");
}

#[test]
fn many_tasks_in_little_memory_are_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    for engine in engines() {
        let words = format!(
            "--no-ceiling --generate random --bytes 2MB --engine {engine} --producers 8 --consumers 8 --memory 512KiB"
        );
        report(&mut sluice_perf(&words), folder.path());
    }
}

#[test]
fn tpch_rows_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = report(&mut sluice_perf("--no-ceiling --generate lineitem --scale-factor 0.002"), folder.path());
    assert_eq!(report["scenario"]["input"]["lineitem"]["scale_factor"].as_f64(), Some(0.002), "{report:#}");
    assert!(report["result"]["records"].as_u64().is_some_and(|records| (10_000..14_000).contains(&records)));
}

#[test]
fn every_line_of_the_input_is_in_the_output_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one.csv"), folder.path().join("two.csv"));
    let mut expected = Vec::new();
    for (path, from) in [(&one, 0), (&two, 5000)] {
        let mut text = String::from("id,customer,note\n");
        for id in from..from + 5000 {
            let line = format!("{id},customer {},{}", id % 37, "x".repeat(id % 200));
            writeln!(text, "{line}").expect("text");
            expected.push(line);
        }
        fs::write(path, text).expect("the folder is ours");
    }
    expected.sort();
    for transport in ["--transport tcp", "--transport in-process"] {
        let parts = folder.path().join(format!("parts {transport}"));
        let words = format!("--no-ceiling {transport} --workers 2 --producers 2 --consumers 3 --key customer");
        let mut command = sluice_perf(&words);
        command.arg("--input").args([&one, &two]).arg("--output").arg(&parts);
        report(&mut command, folder.path());
        assert_eq!(fs::read_dir(&parts).expect("the folder is made").count(), 6);
        assert!(lines_of(&parts) == expected, "all lines, once");
        // A key goes to one consumer.
        let homes = fs::read_dir(&parts).expect("the folder is made").filter(|part| {
            let text = fs::read_to_string(part.as_ref().expect("a part").path()).expect("text");
            text.lines().any(|line| line.split(',').nth(1) == Some("customer 5"))
        });
        assert_eq!(homes.count(), 1);
    }
}

#[test]
fn lines_of_plain_files_and_of_an_empty_one_arrive() {
    let folder = tempfile::tempdir().expect("a folder");
    let (text, empty) = (folder.path().join("some.txt"), folder.path().join("empty.txt"));
    fs::write(&text, "one\ntwo\n\nthree").expect("the folder is ours");
    fs::write(&empty, "").expect("the folder is ours");
    let parts = folder.path().join("parts");
    let mut command = sluice_perf("--no-ceiling");
    command.arg("--input").args([&text, &empty]).arg("--output").arg(&parts);
    let report = report(&mut command, folder.path());
    assert_eq!(report["result"]["records"], 4);
    assert_eq!(lines_of(&parts), ["", "one", "three", "two"]);
}

#[test]
fn the_report_has_every_field_that_others_rely_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = report(&mut sluice_perf("--generate random --bytes 2MB"), folder.path());
    for path in [
        "/scenario/workers",
        "/scenario/transport",
        "/scenario/placement",
        "/scenario/producers_per_worker",
        "/scenario/consumers_per_worker",
        "/scenario/input",
        "/scenario/config/memory/bytes",
        "/scenario/config/memory/buffer_bytes",
        "/scenario/config/shuffle/flush_interval",
        "/scenario/config/session/lanes",
        "/scenario/config/transport/tcp/engine",
        "/host/kernel",
        "/host/cores",
        "/host/engine",
        "/result/records",
        "/result/payload_bytes",
        "/result/seconds",
        "/result/payload_bytes_per_second",
        "/result/cpu_seconds_per_gb",
        "/result/peak_memory_bytes",
        "/result/verified",
        "/result/stalls/credit_seconds",
        "/result/stalls/buffer_seconds",
        "/ceiling/plain_stream/bytes_per_second",
        "/ceiling/plain_stream/cpu_seconds_per_gb",
        "/ceiling/bare_pipeline/bytes_per_second",
        "/ceiling/bare_pipeline/cpu_seconds_per_gb",
        "/share_of_plain",
        "/share_of_bare",
        "/cpu_over_bare",
    ] {
        assert!(report.pointer(path).is_some_and(|value| !value.is_null()), "{path} in {report:#}");
    }
}
