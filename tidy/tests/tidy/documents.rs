//! What may stand in any text file: no path of one machine, and no reference to a file that is not there.

use std::path::{Component, Path, PathBuf};

use crate::repository::{TextFile, root, text_files};
use crate::tokens::fixture;

/// Written in two halves, or this file would be found as well.
const MACHINE_PATHS: [&str; 6] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/tm", "p/"),
    concat!("../sh", "ared"),
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn machine_paths(file: &TextFile) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for path in MACHINE_PATHS.iter().filter(|path| line.contains(**path)) {
            found.push(format!("{}:{}: {path}", file.path, index + 1));
        }
    }
    found
}

fn other_registries(lock: &TextFile) -> Vec<String> {
    let sources = lock.text.lines().filter_map(|line| line.strip_prefix("source = "));
    sources.map(|source| source.trim_matches('"')).filter(|source| *source != CRATES_IO).map(str::to_owned).collect()
}

/// The targets of links to other files of the repository, with their lines.
fn links(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in markdown.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        // What stands between backticks is code.
        let prose: String = line.split('`').step_by(2).collect();
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let reference = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target);
        for target in inline.chain(reference) {
            let target = target.split(['#', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((index + 1, target.to_owned()));
            }
        }
    }
    found
}

/// Files below `docs/` that any text speaks of; the ending may be left out.
fn mentions(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (start, _) in line.match_indices("docs/") {
            // `../docs/a.md` is a link, and checked as one; `mydocs/` is none of ours.
            let begins = line[..start].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && !"/.-_".contains(c));
            let name: String =
                line[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || "/.-_".contains(*c)).collect();
            if begins {
                found.push((index + 1, name.trim_end_matches(['.', '-', '/']).to_owned()));
            }
        }
    }
    found
}

/// Whether the link leads to something in the repository, whoever reads it.
fn leads_somewhere(root: &Path, from: &str, target: &str) -> bool {
    let mut path = PathBuf::from(from);
    path.pop();
    for component in Path::new(target).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            _ => return false,
        }
    }
    root.join(path).exists()
}

fn is_there(root: &Path, mention: &str) -> bool {
    let path = root.join(mention);
    let (Some(folder), Some(start)) = (path.parent(), path.file_name()) else { return false };
    let start = start.to_string_lossy();
    let Ok(entries) = folder.read_dir() else { return false };
    entries.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with(&*start))
}

/// The sources that a document names between backticks, such as `credit.rs` or `gate/credit.rs`.
fn named_sources(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in markdown.lines().enumerate() {
        let code = line.split('`').skip(1).step_by(2);
        let sources = code.filter(|code| code.ends_with(".rs") && !code.contains([' ', '*', '…']));
        found.extend(sources.map(|source| (index + 1, source.to_owned())));
    }
    found
}

fn missing_sources(document: &TextFile, files: &[TextFile]) -> Vec<String> {
    let exists = |name: &str| {
        files.iter().any(|file| file.path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('/')))
    };
    let named = named_sources(&document.text).into_iter().filter(|(_, name)| !exists(name));
    named.map(|(line, name)| format!("{}:{line}: {name}", document.path)).collect()
}

fn broken_links(root: &Path, file: &TextFile) -> Vec<String> {
    let targets = if file.path.ends_with(".md") { links(&file.text) } else { Vec::new() };
    let broken = targets.into_iter().filter(|(_, target)| !leads_somewhere(root, &file.path, target));
    let missing = mentions(&file.text).into_iter().filter(|(_, mention)| !is_there(root, mention));
    let mut all: Vec<_> = broken.chain(missing).collect();
    // A link to a document is a mention of it as well.
    all.sort();
    all.dedup();
    all.into_iter().map(|(line, target)| format!("{}:{line}: {target}", file.path)).collect()
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    assert_eq!(text_files().iter().flat_map(machine_paths).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_path_of_a_machine_is_found() {
    let text = format!("fine\nsee {}", concat!("../sh", "ared/design"));
    assert_eq!(machine_paths(&fixture("a.md", &text)), [concat!("a.md:2: ../sh", "ared")]);
}

#[test]
fn all_dependencies_come_from_crates_io() {
    let files = text_files();
    let lock = files.iter().find(|file| file.path == "Cargo.lock").expect("the lock file is part of the repository");
    assert_eq!(other_registries(lock), [""; 0]);
}

#[test]
fn a_dependency_from_elsewhere_is_found() {
    let text = format!("source = \"{CRATES_IO}\"\nsource = \"git+https://example.org/a\"\n");
    assert_eq!(other_registries(&fixture("Cargo.lock", &text)), ["git+https://example.org/a"]);
}

#[test]
fn what_documents_and_comments_refer_to_exists() {
    let root = root();
    let files = text_files();
    // Here stand made-up ones.
    let files = files.iter().filter(|file| !file.path.starts_with("tidy/tests/"));
    assert_eq!(files.flat_map(|file| broken_links(&root, file)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_broken_link_is_found_and_code_is_not_taken_for_one() {
    let root = root();
    let text = "[a](README.md) [b](nowhere.md#x) [c](https://example.org) [d](#here)\n\
                `[e](nowhere)` [f](../README.md)\n```\n[g](nowhere)\n```\n[h]: nowhere.md\n";
    let broken = ["a.md:1: nowhere.md", "a.md:2: ../README.md", "a.md:6: nowhere.md"];
    assert_eq!(broken_links(&root, &fixture("a.md", text)), broken);
    assert_eq!(broken_links(&root, &fixture("docs/a.md", "[f](../README.md)")), [""; 0]);
}

#[test]
fn a_mention_of_a_document_that_is_not_there_is_found() {
    let root = root();
    let text = "// docs/decisions/0001 says why (docs/decisions/0001-who-drives-the-reactor.md).\n// docs/nowhere.md.";
    assert_eq!(broken_links(&root, &fixture("core/src/a.rs", text)), ["core/src/a.rs:2: docs/nowhere.md"]);
}

#[test]
fn sources_that_documents_name_exist() {
    let files = text_files();
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    assert_eq!(documents.flat_map(|file| missing_sources(file, &files)).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_source_that_has_moved_is_found() {
    let files = [fixture("core/src/gate/credit.rs", "")];
    let document =
        fixture("a.md", "`credit.rs` and `gate/credit.rs`\nbut `redit.rs` and `core/credit.rs` and `tests/*.rs`");
    assert_eq!(missing_sources(&document, &files), ["a.md:2: redit.rs", "a.md:2: core/credit.rs"]);
}
