//! What a run has in its directories when its workers are gone: nothing if all went well; else it is removed.

use std::io;
use std::path::{Path, PathBuf};

/// How many names an error shows.
const SHOWN_MAX: usize = 8;

/// A run whose workers do not clear up after themselves.
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
    /// A file of a run that failed is still there.
    #[error("{}: is left of this run and cannot be removed", file.display())]
    Stuck {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The files of a run: those of its job, and what else the lives of its workers have there. Those of others, who may use
/// the directories at the same time or have left something, do not count.
pub(super) struct Files<'a> {
    pub(super) directories: &'a [PathBuf],
    pub(super) job: u64,
    /// Numbers and incarnations.
    pub(super) lives: &'a [(u64, u64)],
}

impl Files<'_> {
    /// # Errors
    /// If one is there.
    pub(super) fn look_for(&self) -> Result<(), Leftovers> {
        let mut left = Vec::new();
        for directory in self.directories {
            left.extend(self.within(directory)?);
        }
        if left.is_empty() {
            return Ok(());
        }
        left.sort();
        let more = if left.len() > SHOWN_MAX { ", …" } else { "" };
        let shown: Vec<_> = left.iter().take(SHOWN_MAX).map(|path| path.display().to_string()).collect();
        Err(Leftovers::Files { count: left.len(), shown: shown.join(", ") + more })
    }

    /// Removes what is there. Nobody may live any more who writes it.
    ///
    /// # Errors
    /// The first thing that went wrong; the rest was gone about all the same.
    pub(super) fn remove(&self) -> Result<(), Leftovers> {
        let mut result = Ok(());
        // In what is none there is nothing, and who has named it knows by now.
        for directory in self.directories.iter().filter(|directory| directory.is_dir()) {
            let removed =
                self.within(directory).and_then(|files| files.into_iter().map(remove).fold(Ok(()), Result::and));
            result = result.and(removed);
        }
        result
    }

    fn within(&self, directory: &Path) -> Result<Vec<PathBuf>, Leftovers> {
        let found = names(directory);
        let found = found.map_err(|source| Leftovers::Unreadable { directory: directory.to_owned(), source })?;
        let ours = found.into_iter().filter(|name| is_of(name, self.job, self.lives));
        Ok(ours.map(|name| directory.join(name)).collect())
    }
}

fn remove(file: PathBuf) -> Result<(), Leftovers> {
    match std::fs::remove_file(&file) {
        // Other runs may clear up after those who are dead as well.
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Leftovers::Stuck { file, source }),
        _ => Ok(()),
    }
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

    fn names_in(folder: &Path) -> Vec<String> {
        let mut names = names(folder).unwrap();
        names.sort();
        names
    }

    #[test]
    fn only_files_of_the_run_count_and_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let directories = [folder.path().to_owned()];
        let files = Files { directories: &directories, job: 7, lives: &[(0, 1700), (1, 1701)] };
        for name in ["mine.txt", "sluice-0-1700~job8-partition", "sluice-1-1700.lease"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        files.look_for().unwrap();
        let others = names_in(folder.path());
        for name in ["sluice-0-1800~job7-partition", "sluice-1-1701.lease"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let error = files.look_for().unwrap_err().to_string();
        assert!(error.contains("left 2 files") && error.contains("sluice-1-1701.lease"), "{error}");
        files.remove().unwrap();
        assert_eq!(names_in(folder.path()), others, "those and no others are removed");
    }

    #[test]
    fn a_directory_that_is_gone_is_named_and_the_others_are_cleared_up_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sluice-0-1~job7-partition"), "").unwrap();
        let directories = ["/nowhere/at/all".into(), folder.path().to_owned()];
        let files = Files { directories: &directories, job: 7, lives: &[] };
        let error = files.look_for().unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
        files.remove().unwrap();
        assert_eq!(names_in(folder.path()), [""; 0]);
    }

    #[test]
    fn what_cannot_be_removed_is_named_and_the_rest_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let directories = [folder.path().to_owned()];
        let files = Files { directories: &directories, job: 7, lives: &[] };
        for name in ["sluice-0-1~job7-a", "sluice-0-1~job7-c"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        // Nobody calls a directory so; a file system that fails would do the same.
        std::fs::create_dir(folder.path().join("sluice-0-1~job7-b")).unwrap();
        let error = files.remove().unwrap_err().to_string();
        assert!(error.contains("sluice-0-1~job7-b: is left of this run and cannot be removed"), "{error}");
        assert_eq!(names_in(folder.path()), ["sluice-0-1~job7-b"]);
    }
}
