//! Bytes that no master wrote, with checksums that fit: restoring refuses them or makes a master, and never panics.

use proptest::prelude::*;
use sluice_core::ShuffleMaster;

use super::log::framed;
use super::*;

/// Restores, and uses what comes of it.
fn try_restore(snapshot: Option<&[u8]>, log: &[u8]) {
    let Ok(restored) = ShuffleMaster::restore("tcp", snapshot, log) else { return };
    let mut master = restored.master;
    let _ = master.register_job(&JobSpec { job: JobId(1), transport: None });
    let _ = master.relearn(&at(1, 9), &[held(0)]);
    master.worker_lost(NodeId(1), Incarnation(1));
    let (snapshot, log) = (master.snapshot(), master.take_events());
    let again = ShuffleMaster::restore("tcp", Some(&snapshot), &log).unwrap();
    assert_eq!(again.master, master);
}

/// Payloads that a master wrote: of a snapshot and of a log.
fn genuine() -> [Vec<u8>; 2] {
    let mut master = master();
    finished(&mut master, 0, 1);
    finished(&mut master, 1, 2);
    announce(&mut master, PartitionKind::Pipelined, 2, at(1, 1));
    master.worker_lost(NodeId(2), Incarnation(1));
    [master.snapshot()[24..].to_vec(), master.take_events()[24..].to_vec()]
}

#[test]
fn no_count_is_believed() {
    let [snapshot, log] = genuine();
    // Every four bytes, as the largest count there is: those that are counts are refused before anything is allocated.
    for at in 0..snapshot.len() - 4 {
        let mut bytes = snapshot.clone();
        bytes[at..at + 4].fill(0xff);
        try_restore(Some(&framed(b"SlMs", 1, &bytes)), &[]);
    }
    for at in 0..log.len() - 4 {
        let mut bytes = log.clone();
        bytes[at..at + 4].fill(0xff);
        try_restore(None, &framed(b"SlMl", 1, &bytes));
    }
}

/// A snapshot's partition 0 of a job, on node 1, with an address of no letters.
fn entry(job: u64, kind: u8, subpartitions: u32, progress: &[u8]) -> Vec<u8> {
    let mut bytes = [job.to_le_bytes(), 0_u64.to_le_bytes()].concat();
    bytes.extend(0_u32.to_le_bytes());
    bytes.push(kind);
    bytes.extend(subpartitions.to_le_bytes());
    bytes.extend([1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat());
    bytes.extend(0_u32.to_le_bytes());
    [&bytes, progress].concat()
}

/// What is said of a snapshot whose only job, 1, has these partitions.
fn verdict(partitions: &[Vec<u8>], behind: &[u8]) -> String {
    let mut payload = [5, 1, 1, partitions.len() as u64].map(u64::to_le_bytes).concat();
    payload.extend(partitions.concat());
    payload.extend(behind);
    match ShuffleMaster::restore("tcp", Some(&framed(b"SlMs", 1, &payload)), &[]) {
        Ok(_) => "fine".into(),
        Err(error) => error.to_string().rsplit(": ").next().unwrap_or_default().into(),
    }
}

#[test]
fn a_state_that_no_master_can_have_is_refused() {
    let (producing, held, away) = (&[0][..], &[1, 0, 0, 0, 0][..], &[2, 0, 0, 0, 0][..]);
    assert_eq!(verdict(&[entry(1, 1, 0, away)], &[]), "fine");
    assert_eq!(verdict(&[entry(1, 0, 0, held)], &[]), "fine");
    assert_eq!(verdict(&[entry(1, 0, 0, away)], &[]), "no progress of such a partition", "pipelined");
    assert_eq!(verdict(&[entry(1, 1, 0, &[3])], &[]), "fine");
    assert_eq!(verdict(&[entry(1, 0, 0, &[3])], &[]), "no progress of such a partition", "pipelined");
    assert_eq!(verdict(&[entry(1, 1, 0, &[4])], &[]), "no progress of such a partition");
    assert_eq!(verdict(&[entry(1, 3, 0, producing)], &[]), "no kind of partition");
    assert_eq!(verdict(&[entry(2, 1, 0, producing)], &[]), "a partition of another job");
    assert_eq!(verdict(&[entry(1, 1, 0, producing), entry(1, 2, 0, held)], &[]), "a partition that was there before");
    let other_count = "statistics of more or fewer subpartitions than there are";
    assert_eq!(verdict(&[entry(1, 1, 2, held)], &[]), other_count);
    assert_eq!(verdict(&[], &[0]), "bytes behind the last job");
}

#[test]
fn a_job_that_stands_twice_in_a_snapshot_is_refused() {
    let payload = [5_u64, 2, 1, 0, 1, 0].map(u64::to_le_bytes).concat();
    let error = ShuffleMaster::restore("tcp", Some(&framed(b"SlMs", 1, &payload)), &[]).unwrap_err();
    assert!(error.to_string().ends_with("a job that was there before"), "{error}");
}

#[test]
fn a_number_of_events_that_could_not_be_counted_on_from_is_refused() {
    let events = [u64::MAX.to_le_bytes(), [0; 8]].concat();
    ShuffleMaster::restore("tcp", Some(&framed(b"SlMs", 1, &events)), &[]).expect_err("the next one has no number");
}

#[test]
fn a_payload_that_ends_within_a_field_is_refused_with_the_place() {
    let [snapshot, log] = genuine();
    for cut in 0..snapshot.len() {
        let refused = ShuffleMaster::restore("tcp", Some(&framed(b"SlMs", 1, &snapshot[..cut])), &[]);
        refused.expect_err("a part of a state is none");
    }
    for cut in 0..log.len() {
        try_restore(None, &framed(b"SlMl", 1, &log[..cut]));
    }
    let error = ShuffleMaster::restore("tcp", None, &framed(b"SlMl", 1, &log[..10])).unwrap_err();
    assert_eq!(error.to_string(), "the master's log is corrupt at byte 33: a field ends behind what is there");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_make_a_master(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        try_restore(Some(&bytes), &[]);
        try_restore(None, &bytes);
        try_restore(Some(&framed(b"SlMs", 1, &bytes)), &framed(b"SlMl", 1, &bytes));
        try_restore(None, &framed(b"SlMl", 1, &bytes));
    }

    #[test]
    fn changed_payloads_are_refused_or_make_a_master(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let [mut snapshot, mut log] = genuine();
        for (index, byte) in changes {
            *index.get_mut(&mut snapshot) = byte;
            *index.get_mut(&mut log) = byte;
        }
        try_restore(Some(&framed(b"SlMs", 1, &snapshot)), &[]);
        try_restore(None, &framed(b"SlMl", 1, &log));
        try_restore(Some(&framed(b"SlMs", 1, &snapshot)), &framed(b"SlMl", 1, &log));
    }
}
