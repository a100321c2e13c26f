//! What a run has left in its directories: nothing, or it has failed.

use std::io;
use std::path::{Path, PathBuf};

/// How many names an error shows.
const SHOWN_MAX: usize = 8;

/// A run that does not clear up after itself.
#[derive(Debug, thiserror::Error)]
pub enum Leftovers {
    /// Files of its workers are still there.
    #[error("the run has left {count} files behind: {shown}")]
    Files {
        /// How many.
        count: usize,
        /// The first of them.
        shown: String,
    },
    /// A directory cannot be looked into.
    #[error("{}: cannot be looked into", directory.display())]
    Unreadable {
        /// Which.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Looks for files of this job, and for what else these lives of workers have there: their numbers and incarnations.
/// Those of others, who may use the directories at the same time or have left something, do not count.
pub(super) fn look_for(directories: &[PathBuf], job: u64, lives: &[(u64, u64)]) -> Result<(), Leftovers> {
    let mut left = Vec::new();
    for directory in directories {
        let found = names(directory);
        let found = found.map_err(|source| Leftovers::Unreadable { directory: directory.clone(), source })?;
        let theirs = found.into_iter().filter(|name| is_of(name, job, lives));
        left.extend(theirs.map(|name| directory.join(name).display().to_string()));
    }
    if left.is_empty() {
        return Ok(());
    }
    left.sort();
    let more = if left.len() > SHOWN_MAX { ", …" } else { "" };
    let shown = left[..left.len().min(SHOWN_MAX)].join(", ") + more;
    Err(Leftovers::Files { count: left.len(), shown })
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(directory)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Files are called by their owner, who is called by cluster, worker and incarnation, and by what they hold:
/// `sluice-0-17…~job1-partition0-…`.
fn is_of(name: &str, job: u64, lives: &[(u64, u64)]) -> bool {
    if let Some((_, held)) = name.split_once('~') {
        return held.starts_with(&format!("job{job}-"));
    }
    let owner = name.strip_suffix(".lease").or_else(|| name.strip_suffix(".probe"));
    owner.is_some_and(|owner| lives.iter().any(|(worker, life)| owner.ends_with(&format!("-{worker}-{life}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_run_count_and_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let directories = [folder.path().to_owned()];
        let lives = [(0, 1700), (1, 1701)];
        for name in ["mine.txt", "sluice-0-1700~job8-partition", "sluice-1-1700.lease"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        look_for(&directories, 7, &lives).unwrap();
        for name in ["sluice-0-1800~job7-partition", "sluice-1-1701.lease"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let error = look_for(&directories, 7, &lives).unwrap_err().to_string();
        assert!(error.contains("left 2 files") && error.contains("sluice-1-1701.lease"), "{error}");
    }

    #[test]
    fn a_directory_that_is_gone_is_named() {
        let error = look_for(&["/nowhere/at/all".into()], 7, &[]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }
}
