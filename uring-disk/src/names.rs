//! What things are called in a directory: `OWNER~NAME` for a file, `OWNER.lease` and `OWNER.probe` beside it. What is
//! called otherwise is not ours.

use std::ffi::OsStr;

use sluice_plugin::{FileOwner, is_file_name};

/// Something of ours in a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A file.
    File { owner: FileOwner, name: String },
    /// Whoever has it locked lives.
    Lease(FileOwner),
    /// What its owner tried direct IO on; it is there for an instant.
    Probe(FileOwner),
}

impl Entry {
    pub(crate) fn parse(entry: &OsStr) -> Option<Entry> {
        let entry = entry.to_str()?;
        let owner = |text: &str| is_owner(text).then(|| FileOwner(text.to_owned()));
        if let Some((of, name)) = entry.split_once('~') {
            let owner = owner(of)?;
            return is_file_name(name).then(|| Entry::File { owner, name: name.to_owned() });
        }
        match entry.rsplit_once('.')? {
            (of, "lease") => owner(of).map(Entry::Lease),
            (of, "probe") => owner(of).map(Entry::Probe),
            _ => None,
        }
    }
}

pub(crate) fn file(owner: &FileOwner, name: &str) -> String {
    format!("{}~{name}", owner.0)
}

pub(crate) fn lease(owner: &FileOwner) -> String {
    format!("{}.lease", owner.0)
}

pub(crate) fn probe(owner: &FileOwner) -> String {
    format!("{}.probe", owner.0)
}

/// Whether a life can be called so: as [`sluice_plugin::DiskSetup::owner`] does it.
pub(crate) fn is_owner(text: &str) -> bool {
    let mut parts = text.rsplitn(3, '-');
    let mut is_number = || parts.next().is_some_and(|part| part.parse::<u64>().is_ok_and(|n| n.to_string() == part));
    let numbers = is_number() && is_number();
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'=');
    numbers && parts.next().is_some_and(|cluster| cluster.len() <= 64 && cluster.bytes().all(is_safe))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Entry> {
        Entry::parse(OsStr::new(text))
    }

    #[test]
    fn what_is_named_is_parsed_again() {
        let owner = FileOwner("some=20cluster-3-18446744073709551615".into());
        let name = "p.0-1_x".to_owned();
        assert_eq!(parse(&file(&owner, &name)), Some(Entry::File { owner: owner.clone(), name }));
        assert_eq!(parse(&lease(&owner)), Some(Entry::Lease(owner.clone())));
        assert_eq!(parse(&probe(&owner)), Some(Entry::Probe(owner)));
        assert!(is_owner("-0-0"), "a cluster without a name");
    }

    #[test]
    fn what_others_have_put_there_is_not_ours() {
        let names = [
            "",
            "a",
            "notes.txt~",
            "a~b",
            "lost+found",
            "x.lease",
            "c-1-2",
            "c-1-2~",
            "c-1-2~a b",
            "c-1-2~a~b",
            "c-1-02~a",
            "c-1-99999999999999999999~a",
            "c-+1-2~a",
            "c.d-1-2~a",
            "a-c-1-2~a",
            "c-1-2.lease~",
            "c-1-2.x",
            "~a",
            ".lease",
        ];
        for name in names {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
