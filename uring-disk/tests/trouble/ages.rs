//! How long nobody has touched a file: as its time says, set by hand.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use sluice_plugin::DiskRequest;

use super::worker::{FIRST, Worker, entries};

const HOUR: Duration = Duration::from_secs(3600);

fn set_time(directory: &Path, to: SystemTime) {
    let name = entries(directory).into_iter().find(|name| name.ends_with("~left")).expect("it was left there");
    let file = File::options().write(true).open(directory.join(name)).expect("it is a file");
    file.set_modified(to).expect("it is ours");
}

#[test]
fn a_file_is_as_old_as_its_time_until_it_is_touched() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mut worker = Worker::at(folder.path(), 1);
    worker.leave_file("left", 1);
    set_time(folder.path(), SystemTime::now() - 2 * HOUR);
    assert!(worker.list()[0].age.expect("it is in the past") >= 2 * HOUR);
    drop(worker);
    // Through an adoption as well.
    let mut heir = Worker::at(folder.path(), 2);
    let left = heir.list().remove(0);
    heir.adopt(&left).expect("its owner is dead");
    assert!(heir.list()[0].age.expect("it is in the past") >= 2 * HOUR);
    heir.run(DiskRequest::Touch { directory: FIRST, name: "left".into() }).expect("an own file can be touched");
    assert!(heir.list()[0].age.expect("it is in the past") < HOUR);
}

#[test]
fn a_file_of_a_time_to_come_has_no_age() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let mut worker = Worker::at(folder.path(), 1);
    worker.leave_file("left", 1);
    set_time(folder.path(), SystemTime::now() + HOUR);
    assert_eq!(worker.list()[0].age, None);
}
