use std::fs;

use tempfile::TempDir;

use super::super::{InputSpec, testing::*};
use super::*;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn spec(&self, files: &[(&str, &str)], key: Option<&str>) -> InputSpec {
        let write = |(name, text): &(&str, &str)| {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let key = key.map(|key| key.parse().unwrap());
        InputSpec::Files { paths: files.iter().map(write).collect(), key, header: false }
    }

    fn error(&self, name: &str, text: &str, key: &str) -> String {
        let error = records(&self.spec(&[(name, text)], Some(key)), 2, 3).unwrap_err().to_string();
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn texts(records: &[(Vec<u8>, u32)]) -> Vec<&str> {
    records.iter().map(|(record, _)| str::from_utf8(record).unwrap()).collect()
}

/// The target of a key among a thousand, where two keys hardly share one.
fn target(key: &str) -> u32 {
    Targets::new(1000).of_key(key.as_bytes())
}

#[test]
fn lines_of_any_file_are_keyed_by_all_of_the_line() {
    let folder = Folder::new();
    let records = records(&folder.spec(&[("words.txt", "one\n\ntwo\r\nlast")], None), 1, 1000).unwrap();
    assert_eq!(texts(&records), ["one", "", "two\r", "last"]);
    assert_eq!(records[2].1, target("two"));
}

#[test]
fn byte_ranges_equal_the_whole_for_any_number_of_producers() {
    let folder = Folder::new();
    let text: String = (0..500).map(|n| format!("{n}|{}|\n", "x".repeat(n % 13))).collect();
    let spec = folder.spec(&[("a.tbl", &text), ("empty.tbl", ""), ("b.tbl", "7|no newline")], Some("1"));
    let whole = records(&spec, 1, 1000).unwrap();
    assert_eq!(whole.len(), 501);
    for producers in [2, 3, 7, 64, 1000] {
        assert_eq!(records(&spec, producers, 1000).unwrap(), whole, "{producers} producers");
    }
}

#[test]
fn a_key_is_a_number_or_a_name_in_the_header() {
    let folder = Folder::new();
    let tsv = "id\tcity\r\n1\tUlm\r\n\r\n2\tBonn\r\n";
    let by_name = records(&folder.spec(&[("a.tsv", tsv)], Some("city")), 2, 1000).unwrap();
    assert_eq!(texts(&by_name), ["1\tUlm\r", "2\tBonn\r"]);
    assert_eq!(by_name[1].1, target("Bonn"));
    let by_number = records(&folder.spec(&[("a.tsv", tsv)], Some("1")), 2, 1000).unwrap();
    assert_eq!(by_number.len(), 3, "without a named key the first line is a record");
    assert_eq!(by_number[1].1, target("1"));
}

#[test]
fn quoted_newlines_and_commas_stay_inside_their_record() {
    let folder = Folder::new();
    let csv = "id,\"full \"\"name\"\"\"\r\n1,\"Doe, \nJane\"\r\n\n\r\n\"2\",\"5\"\" disk\"\n3,plain";
    let spec = folder.spec(&[("a.csv", csv)], Some("full \"name\""));
    for producers in [1, 5] {
        let records = records(&spec, producers, 1000).unwrap();
        assert_eq!(texts(&records), ["1,\"Doe, \nJane\"\r", "\"2\",\"5\"\" disk\"", "3,plain"]);
        let targets: Vec<_> = records.iter().map(|(_, target)| *target).collect();
        assert_eq!(targets, [target("Doe, \nJane"), target("5\" disk"), target("plain")]);
    }
}

#[test]
fn quoted_fields_of_many_buffers_are_one_record() {
    let folder = Folder::new();
    let long = "line\n".repeat(40_000);
    let many = "x,".repeat(1000);
    let csv = format!("a,\"{long}\"\n{many}\nb,c\n");
    let records = records(&folder.spec(&[("a.csv", &csv)], Some("2")), 3, 1000).unwrap();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].0.len(), long.len() + 4);
    assert_eq!(records[0].1, target(&long));
    assert_eq!(records[2].1, target("c"));
}

#[test]
fn a_csv_file_without_quotes_is_shared_and_gives_the_same_as_one_with() {
    let folder = Folder::new();
    let plain: String = (0..300).map(|n| format!("{n},{}\n", n * n)).collect();
    let shared = records(&folder.spec(&[("a.csv", &plain)], Some("2")), 4, 1000).unwrap();
    let quoted = format!("{plain}\"\",\n");
    let whole = records(&folder.spec(&[("a.csv", &quoted)], Some("2")), 4, 1000).unwrap();
    assert_eq!(shared, whole[..300]);
}

#[test]
fn errors_name_the_file_and_the_line() {
    let folder = Folder::new();
    assert_eq!(folder.error("a.tbl", "1|2|3\n1|2|3\n1\n", "2"), "a.tbl:3: 1 columns, and the key is column 2");
    assert_eq!(folder.error("a.csv", "\"x\ny\",2\n1\n", "2"), "a.csv:3: 1 columns, and the key is column 2");
    let unknown = folder.error("a.csv", "id,city\n", "town");
    assert_eq!(unknown, "a.csv:1: no column is called \"town\"; there are: id, city");
}

#[test]
fn a_key_that_a_file_cannot_have_is_refused() {
    let folder = Folder::new();
    assert!(folder.error("a.txt", "x", "1").contains("no columns"));
    assert!(folder.error("a.tbl", "x|", "name").contains("no header"));
    assert!(folder.error("a.tbl", "x|", "0").contains("counted from 1"));
}

#[test]
fn a_missing_file_is_named() {
    let missing = InputSpec::Files { paths: vec!["/nowhere/a.csv".into()], key: None, header: false };
    assert_eq!(records(&missing, 1, 1).unwrap_err().to_string(), "/nowhere/a.csv: cannot be read");
}
