//! Which module of the engine may name which.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::repository::{TextFile, rust_files};
use crate::tokens::{fixture, is_path, is_sign, is_word, parse};

/// From bottom to top. A module names what is below it.
const LEVELS: [&[&str]; 6] = [
    // Strangers to each other as well: each can be read alone.
    &[
        "block",
        "clock",
        "disk_settings",
        "elevator",
        "error",
        "memory_need",
        "record",
        "spill",
        "stats",
        "sync",
        "task",
    ],
    // Who may ask.
    &["job_token"],
    // Where tasks and reactors meet, in queues: these three know each other's types, and no reactor.
    MEETING,
    &["reactor"],
    // What an engine calls; the reactor and the tasks do without it.
    &["service"],
    // Reads files and variables into what the service takes as plain data.
    &["config"],
];
const MEETING: &[&str] = &["mailbox", "partition", "gate"];

const SOURCES: &str = "core/src/";

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&module))
}

fn may_name(from: &str, to: &str) -> bool {
    match (level(from), level(to)) {
        (Some(from_level), Some(to_level)) => {
            from == to || to_level < from_level || (MEETING.contains(&from) && MEETING.contains(&to))
        }
        _ => false,
    }
}

fn forbidden(file: &TextFile) -> Vec<String> {
    let path = module_path(&file.path);
    // The crate's root names all its modules.
    let Some(from) = path.first() else { return Vec::new() };
    if level(from).is_none() {
        return vec![format!("{}: {from} is at no level: give it one here and in ARCHITECTURE.md", file.path)];
    }
    let mut named = BTreeSet::new();
    names(parse(file), &path, &mut named);
    named.iter().filter(|to| !may_name(from, to)).map(|to| format!("{}: {from} → {to}", file.path)).collect()
}

/// `core/src/gate/credit.rs` is `gate::credit`; the root is empty.
fn module_path(file: &str) -> Vec<String> {
    let inner = file.strip_prefix(SOURCES).unwrap_or(file).trim_end_matches(".rs").trim_end_matches("/mod");
    inner.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
}

/// Finds the modules of the crate's root that paths with `crate`, `super` and `self` lead to.
fn names(stream: TokenStream, module: &[String], named: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => match inline_module(&tokens[..index]) {
                Some(name) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<_> = module.iter().cloned().chain([name]).collect();
                    names(group.stream(), &inner, named);
                }
                _ => names(group.stream(), module, named),
            },
            // In `a::self::b` and `super::super::b` the path has begun before.
            TokenTree::Ident(_) if index < 2 || !is_path(&tokens[index - 2..]) => {
                path_from(&tokens[index..], module, named);
            }
            _ => {}
        }
    }
}

/// The name of the module whose body comes next.
fn inline_module(before: &[TokenTree]) -> Option<String> {
    match before {
        [.., keyword, TokenTree::Ident(name)] if is_word(Some(keyword), "mod") => Some(name.to_string()),
        _ => None,
    }
}

fn path_from(mut tokens: &[TokenTree], module: &[String], named: &mut BTreeSet<String>) {
    let mut base = module;
    if is_word(tokens.first(), "crate") {
        base = &[];
    } else if is_word(tokens.first(), "super") {
        base = &base[..base.len().saturating_sub(1)];
    } else if !is_word(tokens.first(), "self") {
        return;
    }
    while is_path(&tokens[1..]) {
        tokens = &tokens[3..];
        if !is_word(tokens.first(), "super") {
            break;
        }
        base = &base[..base.len().saturating_sub(1)];
    }
    if let Some(top) = base.first() {
        named.insert(top.clone());
        return;
    }
    match tokens.first() {
        Some(TokenTree::Ident(name)) if name != "crate" && name != "super" => {
            named.insert(name.to_string());
        }
        Some(TokenTree::Group(several)) if several.delimiter() == Delimiter::Brace => {
            let several: Vec<TokenTree> = several.stream().into_iter().collect();
            let parts = several.split(|token| is_sign(Some(token), ','));
            named.extend(parts.filter_map(|part| part.first()).map(ToString::to_string));
        }
        // All of the root.
        Some(star) if is_sign(Some(star), '*') => {
            named.insert("*".to_owned());
        }
        _ => {}
    }
}

#[test]
fn modules_of_the_engine_name_only_what_is_below_them() {
    let sources: Vec<_> = rust_files().into_iter().filter(|file| file.path.starts_with(SOURCES)).collect();
    assert!(sources.len() > 20, "only {} sources of the engine found", sources.len());
    assert_eq!(sources.iter().flat_map(forbidden).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn an_arrow_upwards_is_found_however_it_is_written() {
    for (file, text, to) in [
        ("core/src/partition.rs", "use crate::reactor::Reactor;", "partition → reactor"),
        ("core/src/gate/credit.rs", "use super::super::reactor::Reactor;", "gate → reactor"),
        ("core/src/gate/input.rs", "fn a() { crate::service::b() }", "gate → service"),
        ("core/src/reactor/links.rs", "use crate::{gate::A, service::{B, C}};", "reactor → service"),
        ("core/src/service/environment.rs", "use crate::config::Config;", "service → config"),
        ("core/src/mailbox.rs", "mod tests { use super::super::reactor::A; }", "mailbox → reactor"),
        ("core/src/block.rs", "type A = crate::record::B;", "block → record"),
        ("core/src/gate.rs", "use crate::InputGate;", "gate → InputGate"),
        ("core/src/gate.rs", "use crate::*;", "gate → *"),
    ] {
        assert_eq!(forbidden(&fixture(file, text)), [format!("{file}: {to}")]);
    }
    let unknown = forbidden(&fixture("core/src/lift.rs", ""));
    assert_eq!(unknown, ["core/src/lift.rs: lift is at no level: give it one here and in ARCHITECTURE.md"]);
}

#[test]
fn arrows_downwards_and_within_a_module_are_fine() {
    for (file, text) in [
        ("core/src/lib.rs", "mod gate; pub use gate::InputGate; pub(crate) use self::service::A;"),
        ("core/src/service/master.rs", "use crate::{error::A, gate::B}; use super::environment::C;"),
        ("core/src/gate/inbox.rs", "use crate::partition::Partition; pub(crate) struct A; pub(super) fn b(self: C) {}"),
        ("core/src/record.rs", "#[cfg(test)] mod tests { use super::*; fn a() { super::b() } }"),
        ("core/src/block.rs", "// crate::service\nconst A: &str = \"crate::service::B\"; use std::sync::{self, Arc};"),
    ] {
        assert_eq!(forbidden(&fixture(file, text)), [""; 0], "{file}");
    }
}
