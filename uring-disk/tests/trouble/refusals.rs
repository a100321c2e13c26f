//! Directories that cannot be used: the disk is not built, and says which, why, and what to do.

use std::path::Path;

use super::worker::{Worker, config, entries};

fn problem(directories: &[&Path]) -> String {
    match Worker::new(config(directories), 1) {
        Ok(_) => panic!("a disk was built in {directories:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_directory_that_is_missing_is_refused() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let missing = folder.path().join("missing");
    let problem = problem(&[folder.path(), &missing]);
    assert!(problem.contains("missing does not exist: create it"), "{problem}");
    assert_eq!(entries(folder.path()), [""; 0], "nothing was made, the good directory included");
}

#[test]
fn a_file_is_no_directory() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let problem = problem(&[file.path()]);
    assert!(problem.contains(&format!("{} is not a directory", file.path().display())), "{problem}");
}

#[test]
fn a_directory_that_takes_no_files_is_refused() {
    // Nobody can write there, not even root.
    let problem = problem(&[Path::new("/proc/self")]);
    assert!(problem.contains("in directory /proc/self:") && problem.contains("choose another"), "{problem}");
}

#[test]
fn the_same_directory_by_two_names_is_refused() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let link = folder.path().join("link");
    let real = folder.path().join("real");
    std::fs::create_dir(&real).expect("the folder is new");
    std::os::unix::fs::symlink(&real, &link).expect("the folder is new");
    let problem = problem(&[&real, &link]);
    assert!(problem.contains("real") && problem.contains("link is the same directory as"), "{problem}");
    assert_eq!(entries(&real), [""; 0]);
}

#[test]
fn without_a_directory_there_is_no_disk() {
    let problem = problem(&[]);
    assert!(problem.contains("no directory: name one"), "{problem}");
}

#[test]
fn a_life_that_is_refused_one_directory_leaves_the_others_as_they_were() {
    let (good, bad) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let other = Worker::at(bad.path(), 1);
    let problem = problem(&[good.path(), bad.path()]);
    assert!(problem.contains(&other.owner.0) && problem.contains("end that one first"), "{problem}");
    assert_eq!(entries(good.path()), [""; 0]);
}
