//! What may stand in the sources: unsafe code in two crates, one clock, and nothing unfinished.

use proc_macro2::TokenTree;

use crate::repository::{TextFile, members, rust_files};
use crate::tokens::{every_place, fixture, is_path, is_sign, is_word, line, parse};

/// The folders whose crates may have unsafe code.
const UNSAFE: [&str; 2] = ["memory/", "uring/"];

/// Who may read the machine's clock: the clock itself and that of a soft-RoCE device, what waits for real devices in tests,
/// who measures, the command line of the simulator (its runs must not), and what compares the times of files with it.
const CLOCKS: [&str; 10] = [
    "core/src/clock.rs",
    "softroce/src/verbs/clock.rs",
    "softroce/src/command/",
    "uring-disk/src/listing.rs",
    "plugin/src/conformance/",
    "perf/",
    "sim/src/cli",
    "/tests/",
    "/benches/",
    "/examples/",
];

const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

fn find(file: &TextFile, what: impl Fn(&[TokenTree]) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    every_place(parse(file), &mut |tokens| {
        if let Some(what) = what(tokens) {
            found.push(format!("{}:{}: {what}", file.path, line(&tokens[0])));
        }
    });
    found
}

fn unsafe_code(file: &TextFile) -> Vec<String> {
    if UNSAFE.iter().any(|folder| file.path.starts_with(folder)) {
        return Vec::new();
    }
    find(file, |tokens| is_word(tokens.first(), "unsafe").then(|| "unsafe".to_owned()))
}

fn forbids_unsafe_code(file: &TextFile) -> bool {
    let mut forbids = false;
    every_place(parse(file), &mut |tokens| {
        let inner = is_sign(tokens.first(), '#') && is_sign(tokens.get(1), '!');
        if let (true, Some(TokenTree::Group(attribute))) = (inner, tokens.get(2)) {
            // Spelt as tokens, so spaces do not matter.
            forbids |= attribute.stream().to_string().replace(' ', "") == "forbid(unsafe_code)";
        }
    });
    forbids
}

fn clock_readings(file: &TextFile) -> Vec<String> {
    if CLOCKS.iter().any(|place| file.path.starts_with(place) || (place.starts_with('/') && file.path.contains(place)))
    {
        return Vec::new();
    }
    find(file, |tokens| {
        let clock = ["Instant", "SystemTime"].into_iter().find(|name| is_word(tokens.first(), name))?;
        let reads = is_path(&tokens[1..]) && is_word(tokens.get(3), "now");
        reads.then(|| format!("{clock}::now"))
    })
}

fn unfinished(file: &TextFile) -> Vec<String> {
    find(file, |tokens| {
        let name = UNFINISHED.into_iter().find(|name| is_word(tokens.first(), name))?;
        is_sign(tokens.get(1), '!').then(|| format!("{name}!"))
    })
}

fn all(rule: impl Fn(&TextFile) -> Vec<String>) -> Vec<String> {
    rust_files().iter().flat_map(rule).collect()
}

#[test]
fn unsafe_code_is_in_memory_and_uring_only() {
    assert_eq!(all(unsafe_code), [""; 0]);
}

#[test]
fn unsafe_code_is_found_and_the_word_in_comments_and_strings_is_not() {
    let harmless = r##"
        //! Says unsafe.
        #![forbid(unsafe_code)]
        /* unsafe { } */ const A: &str = "unsafe"; const B: &str = r#"unsafe"#; const C: char = '\'';
        /// unsafe
        fn unsafe_looking<'unsafely>() {}
    "##;
    assert_eq!(unsafe_code(&fixture("core/src/a.rs", harmless)), [""; 0]);
    for bad in ["fn a() { b(|| unsafe { c() }) }", "unsafe impl Send for A {}", "#[unsafe(no_mangle)] fn a() {}"] {
        assert_eq!(unsafe_code(&fixture("core/src/a.rs", bad)), ["core/src/a.rs:1: unsafe"]);
        assert_eq!(unsafe_code(&fixture("uring/src/a.rs", bad)), [""; 0]);
    }
    let in_a_macro = "macro_rules! a {\n () => { unsafe { b() } };\n}";
    assert_eq!(unsafe_code(&fixture("perf/src/a.rs", in_a_macro)), ["perf/src/a.rs:2: unsafe"]);
}

#[test]
fn every_other_crate_forbids_unsafe_code_in_its_roots() {
    for member in members() {
        for root in &member.roots {
            let may = UNSAFE.iter().any(|folder| root.path.starts_with(folder));
            assert!(may || forbids_unsafe_code(root), "{} has no #![forbid(unsafe_code)]", root.path);
        }
    }
}

#[test]
fn a_root_that_forbids_too_little_is_found() {
    assert!(forbids_unsafe_code(&fixture("a", "//! A.\n#![forbid( unsafe_code )]\nfn a() {}")));
    for bad in ["fn a() {}", "// #![forbid(unsafe_code)]", "#![deny(unsafe_code)]", "#[forbid(unsafe_code)] fn a() {}"]
    {
        assert!(!forbids_unsafe_code(&fixture("a", bad)), "{bad}");
    }
}

#[test]
fn only_the_clock_reads_the_time() {
    assert_eq!(all(clock_readings), [""; 0]);
}

#[test]
fn a_second_clock_is_found() {
    let text = "use std::time::Instant;\nfn a() -> Instant { std::time::Instant::now() }";
    assert_eq!(clock_readings(&fixture("core/src/gate.rs", text)), ["core/src/gate.rs:2: Instant::now"]);
    assert_eq!(clock_readings(&fixture("core/src/clock.rs", text)), [""; 0]);
    assert_eq!(clock_readings(&fixture("core/tests/a.rs", text)), [""; 0]);
}

#[test]
fn nothing_is_left_unfinished() {
    assert_eq!(all(unfinished), [""; 0]);
}

#[test]
fn what_is_unfinished_is_found_wherever_it_stands() {
    let text = "// todo!()\nfn a() { vec![todo!()]; }\nfn b() { let dbg = 1; c(dbg!(dbg)) }";
    let expected = ["a.rs:2: todo!", "a.rs:3: dbg!"];
    assert_eq!(unfinished(&fixture("a.rs", text)), expected);
}
