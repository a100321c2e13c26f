//! Which files belong together: the parts of a file set, named and beside each other, by what they are called.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sluice_core::PartitionId;
use sluice_core::spill::{Header, PAGE_BYTES, PartName};

use super::{InspectError, regular};

/// What all parts of a set have in common: who owns them, the partition, the first subpartition, and whether it is the
/// one that was merged.
type SetName = (String, PartitionId, u32, bool);

/// The file sets of these files, each with its parts in order. Parts that lie beside a named one belong to it unasked;
/// those in other directories have to be named.
pub(super) fn file_sets(files: &[PathBuf]) -> Result<Vec<Vec<PathBuf>>, InspectError> {
    let mut sets: BTreeMap<SetName, BTreeMap<u16, PathBuf>> = BTreeMap::new();
    let mut others = Vec::new();
    for path in files {
        let unreadable = |source| InspectError::Unreadable { path: path.clone(), source };
        let file = regular::open(path)?;
        match name_of(path).or(name_within(&file).map_err(unreadable)?) {
            None => others.push(vec![path.clone()]),
            Some((set, part)) => {
                let parts = sets.entry(set.clone()).or_default();
                for (part, path) in beside(path, &set).map_err(unreadable)? {
                    parts.entry(part).or_insert(path);
                }
                // The file that was named goes before one that is only beside it.
                parts.insert(part, path.clone());
            }
        }
    }
    let sets = sets.into_values().map(|parts| parts.into_values().collect());
    Ok(sets.chain(others).collect())
}

/// Of a file that is called as the engine calls it: `OWNER~job1-partition0-attempt0-sub0-0.spill`.
fn name_of(path: &Path) -> Option<(SetName, u16)> {
    let name = path.file_name()?.to_str()?;
    let (owner, name) = name.split_once('~').unwrap_or(("", name));
    let PartName { partition, first, is_merged, part } = name.parse().ok()?;
    Some(((owner.to_string(), partition, first.0, is_merged), part))
}

/// Of one that was renamed: what its first page says.
fn name_within(file: &File) -> io::Result<Option<(SetName, u16)>> {
    let mut page = vec![0; PAGE_BYTES];
    if file.metadata()?.len() < PAGE_BYTES as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut page, 0)?;
    let Ok(Header { set, part }) = Header::decode(&page) else { return Ok(None) };
    Ok(Some(((format!("renamed {:?}", set.stamp()), set.partition, set.first.0, false), part)))
}

fn beside(path: &Path, set: &SetName) -> io::Result<Vec<(u16, PathBuf)>> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match name_of(&path) {
            Some((its, part)) if its == *set => parts.push((part, path)),
            _ => {}
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_set_are_found_by_their_names_and_others_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let part = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            path
        };
        let first = part("c-0-7~job1-partition3-attempt0-sub0-0.spill");
        let second = part("c-0-7~job1-partition3-attempt0-sub0-1.spill");
        part("c-0-8~job1-partition3-attempt0-sub0-2.spill");
        part("c-0-7~job1-partition4-attempt0-sub0-2.spill");
        let other = part("notes.txt");
        let sets = file_sets(&[second.clone(), other.clone()]).unwrap();
        assert_eq!(sets, [vec![first, second], vec![other]]);
    }

    #[test]
    fn a_file_that_is_not_there_and_a_directory_are_named() {
        for path in ["/nowhere/at/all.spill", "/tmp"] {
            let error = file_sets(&[path.into()]).unwrap_err().to_string();
            assert!(error.contains(path), "{error}");
        }
    }
}
