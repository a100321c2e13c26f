//! Which crate may depend on which, and what every manifest says.

use crate::repository::{Dependency, Member, TextFile, members};

/// A crate and what it may depend on: for everybody, and for its tests only.
struct Rule {
    name: &'static str,
    may: &'static [&'static str],
    tests_may: &'static [&'static str],
}

const fn rule(name: &'static str, may: &'static [&'static str], tests_may: &'static [&'static str]) -> Rule {
    Rule { name, may, tests_may }
}

/// ARCHITECTURE.md draws the same. The engine and the plug-ins are strangers to each other, in their tests as well:
/// `core` is tested with the reference transports of `plugin`, and a plug-in with the conformance suite.
const RULES: [Rule; 12] = [
    rule("sluice-memory", &[], &[]),
    rule("sluice-protocol", &[], &[]),
    rule("sluice-plugin", &["sluice-memory", "sluice-protocol"], &[]),
    rule("sluice-handshake", &["sluice-protocol"], &[]),
    rule("sluice-uring", &["sluice-memory"], &[]),
    // Good on its own: whoever needs RDMA without an RNIC can take it without the engine.
    rule("sluice-softroce", &[], &[]),
    rule("sluice-core", &["sluice-plugin", "sluice-memory", "sluice-protocol"], &[]),
    rule(
        "sluice-transport-tcp",
        &["sluice-plugin", "sluice-handshake", "sluice-uring", "sluice-memory", "sluice-protocol"],
        &[],
    ),
    rule("sluice-uring-disk", &["sluice-plugin", "sluice-uring", "sluice-memory", "sluice-protocol"], &[]),
    rule(
        "sluice-perf",
        &[
            "sluice-core",
            "sluice-transport-tcp",
            "sluice-uring-disk",
            "sluice-plugin",
            "sluice-handshake",
            "sluice-uring",
            "sluice-memory",
            "sluice-protocol",
        ],
        &[],
    ),
    // With the seam's conformance suite for its network.
    rule("sluice-sim", &["sluice-core", "sluice-plugin", "sluice-memory", "sluice-protocol"], &[]),
    // Compiles the README's example.
    rule("sluice-tidy", &[], &["sluice-core", "sluice-plugin", "sluice-transport-tcp"]),
];

/// Crates from elsewhere that only some of ours may name.
const RESERVED: [(&str, &[&str]); 2] = [("io-uring", &["sluice-uring"]), ("libc", &["sluice-memory", "sluice-uring"])];

fn forbidden_arrows(members: &[Member]) -> Vec<String> {
    let mut found = Vec::new();
    for Member { name, dependencies, .. } in members {
        let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
            found.push(format!("{name} is not in the rules: add it here and to ARCHITECTURE.md"));
            continue;
        };
        for Dependency { name: to, dev } in dependencies.iter().filter(|to| to.name.starts_with("sluice-")) {
            let allowed = rule.may.contains(&to.as_str()) || (*dev && rule.tests_may.contains(&to.as_str()));
            if !allowed {
                let whose = if *dev { " in its tests" } else { "" };
                found.push(format!("{name} → {to}{whose}"));
            }
        }
        for (reserved, owners) in RESERVED {
            if !owners.contains(&name.as_str()) && dependencies.iter().any(|to| to.name == reserved) {
                found.push(format!("{name} → {reserved}"));
            }
        }
    }
    found
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.find(|line| !line.is_empty()) == Some("workspace = true")
}

fn member(name: &str, dependencies: &[(&str, bool)]) -> Member {
    let dependencies =
        dependencies.iter().map(|(name, dev)| Dependency { name: (*name).to_owned(), dev: *dev }).collect();
    let manifest = TextFile { path: String::new(), text: String::new() };
    Member { name: name.to_owned(), manifest, roots: Vec::new(), dependencies }
}

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    assert_eq!(forbidden_arrows(&members()), [""; 0]);
}

#[test]
fn a_forbidden_arrow_is_found_in_code_and_in_tests() {
    let members = [
        member("sluice-core", &[("sluice-plugin", false), ("sluice-transport-tcp", true)]),
        member("sluice-transport-tcp", &[("sluice-plugin", true), ("sluice-core", true), ("libc", false)]),
        member("sluice-memory", &[("sluice-protocol", false), ("libc", false)]),
        member("sluice-tidy", &[("sluice-core", true)]),
        member("sluice-new", &[]),
    ];
    let expected = [
        "sluice-core → sluice-transport-tcp in its tests",
        "sluice-transport-tcp → sluice-core in its tests",
        "sluice-transport-tcp → libc",
        "sluice-memory → sluice-protocol",
        "sluice-new is not in the rules: add it here and to ARCHITECTURE.md",
    ];
    assert_eq!(forbidden_arrows(&members), expected);
}

#[test]
fn every_crate_inherits_the_lints_of_the_workspace() {
    for member in members() {
        assert!(inherits_lints(&member.manifest.text), "{} has no [lints] workspace = true", member.manifest.path);
    }
}

#[test]
fn a_manifest_with_lints_of_its_own_is_found() {
    assert!(inherits_lints("[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"));
    assert!(!inherits_lints("[package]\nname = \"a\"\n"));
    assert!(!inherits_lints("[lints]\n[lints.rust]\n[other]\nworkspace = true\n"));
}
