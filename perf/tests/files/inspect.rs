//! `inspect` finds what is wrong, and where.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{failure, output, sluice_perf};
use crate::set::{FIRST_BLOCK_AT, write};

fn inspect(files: &[&Path]) -> Command {
    let mut command = sluice_perf("inspect");
    command.args(files);
    command
}

#[test]
fn the_parts_beside_a_named_one_are_looked_at_and_all_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second] = write(folder.path());
    let json = folder.path().join("report.json");
    let run = output(inspect(&[&first]).arg("--json").arg(&json));
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    for part in ["version 1, sort-merge, 2 parts", "job 7, partition 3", "subpartitions 0 to 1 of 2", "all are right"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains(&second.display().to_string()), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(&json).expect("it is written")).expect("JSON");
    assert_eq!((&report[0]["is_clean"], &report[0]["blocks"]), (&true.into(), &2.into()), "{report:#}");
    assert_eq!(report[0]["index"]["subpartitions"][1]["raw_bytes"], 6, "{report:#}");
}

#[test]
fn a_flipped_bit_is_named_with_path_and_offset() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, _] = write(folder.path());
    let mut bytes = fs::read(&first).expect("it is there");
    bytes[FIRST_BLOCK_AT as usize + 2] ^= 1;
    fs::write(&first, bytes).expect("the folder is ours");
    let run = output(&mut inspect(&[&first]));
    let said = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{}: offset {FIRST_BLOCK_AT}: ", first.display())), "{said}");
    assert!(said.contains("checksum"), "{said}");
}

#[test]
fn truncated_foreign_and_empty_files_and_a_missing_part_are_wrong_and_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second] = write(folder.path());
    let whole = fs::read(&second).expect("it is there");
    for length in [0, 1, 4095, 4096, whole.len() - 4096, whole.len() - 1] {
        fs::write(&second, &whole[..length]).expect("the folder is ours");
        let said = failure(&mut inspect(&[&second]), 1);
        assert!(said.contains("1 of 1 file sets are wrong"), "{length}: {said}");
    }
    fs::remove_file(&second).expect("it is there");
    failure(&mut inspect(&[&first]), 1);
    let foreign = folder.path().join("foreign");
    for text in [&b""[..], b"not a partition", &[7; 100_000]] {
        fs::write(&foreign, text).expect("the folder is ours");
        failure(&mut inspect(&[&foreign]), 1);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = failure(&mut inspect(&[Path::new("/nowhere/at/all.spill")]), 1);
    assert!(said.contains("/nowhere/at/all.spill: cannot be read: No such file"), "{said}");
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe.spill");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("there is a mkfifo").success());
    let said = failure(&mut inspect(&[&pipe]), 1);
    assert!(said.contains(&format!("{} is a named pipe", pipe.display())), "{said}");
    // One that only lies beside a part that was named.
    let [first, second] = write(folder.path());
    fs::remove_file(&second).expect("it is there");
    fs::rename(&pipe, &second).expect("the folder is ours");
    let said = failure(&mut inspect(&[&first]), 1);
    assert!(said.contains(&format!("{} is a named pipe", second.display())), "{said}");
}

#[test]
fn padding_that_is_not_zeros_is_named_with_path_and_offset() {
    let folder = tempfile::tempdir().expect("a folder");
    let [first, _] = write(folder.path());
    let mut bytes = fs::read(&first).expect("it is there");
    // Behind the five bytes of the only block.
    bytes[FIRST_BLOCK_AT as usize + 5] = 7;
    fs::write(&first, bytes).expect("the folder is ours");
    let run = output(&mut inspect(&[&first]));
    let said = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("{}: offset {}: padding: byte is 7, expected 0", first.display(), FIRST_BLOCK_AT + 5)),
        "{said}"
    );
}

#[test]
fn a_name_that_says_something_else_than_the_header_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let parts = write(folder.path());
    let renamed: Vec<_> =
        parts.iter().map(|part| part.display().to_string().replace("partition3", "partition4")).collect();
    for (part, renamed) in parts.iter().zip(&renamed) {
        fs::rename(part, renamed).expect("the folder is ours");
    }
    let json = folder.path().join("report.json");
    let run = output(inspect(&[Path::new(&renamed[0])]).arg("--json").arg(&json));
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "the data are right: {said}");
    let expected = format!("{} is called part 1 of job 7, partition 4, attempt 0", renamed[1]);
    assert!(said.contains(&expected) && said.contains("and holds part 1 of job 7, partition 3"), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(&json).expect("it is written")).expect("JSON");
    assert_eq!(report[0]["warnings"].as_array().map(Vec::len), Some(2), "{report:#}");
}

#[test]
fn renamed_parts_are_put_together_by_what_is_in_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let parts = write(folder.path());
    let renamed = ["b", "a"].map(|name| folder.path().join(name));
    for (part, renamed) in parts.iter().zip(&renamed) {
        fs::rename(part, renamed).expect("the folder is ours");
    }
    let run = output(&mut inspect(&[&renamed[1], &renamed[0]]));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}
