//! What is in a directory, whose it is, and how those fare.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use sluice_plugin::{FileOwner, ListedFile, OwnerState};

use crate::lease;
use crate::names::Entry;

/// All files of all owners. What dead owners without files have left besides is removed.
pub(crate) fn list(directory: &Path, own: &FileOwner) -> io::Result<Vec<ListedFile>> {
    let mut files = Vec::new();
    // Each owner that has left something, and whether that is a file.
    let mut owners: BTreeMap<FileOwner, bool> = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match Entry::parse(&entry.file_name()) {
            Some(Entry::File { owner, name }) => {
                // It may have been removed or adopted meanwhile; and what is no plain file is not ours.
                let Ok(found) = entry.metadata() else { continue };
                if found.is_file() {
                    owners.insert(owner.clone(), true);
                    // The time of its last write, which a rename leaves as it is; a clock that has gone back tells nothing.
                    let age = found.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
                    files.push((owner, name, found.len(), age));
                }
            }
            Some(Entry::Lease(owner) | Entry::Probe(owner)) => {
                owners.entry(owner).or_insert(false);
            }
            None => {}
        }
    }
    let mut states = BTreeMap::new();
    for (owner, has_files) in owners {
        let state = match &owner {
            owner if owner == own => OwnerState::Own,
            owner if lease::death(directory, owner).is_some() => OwnerState::Dead,
            _ => OwnerState::Alive,
        };
        if state == OwnerState::Dead && !has_files {
            lease::forget(directory, &owner);
        }
        states.insert(owner, state);
    }
    let listed = |(owner, name, bytes, age)| {
        let state = states[&owner];
        ListedFile { name, owner, state, bytes, age }
    };
    Ok(files.into_iter().map(listed).collect())
}
