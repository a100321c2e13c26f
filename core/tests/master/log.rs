//! Snapshots and logs: a restart, a torn end, damage, another version, and pieces that do not fit together.

use super::*;
use sluice_core::{RestoreError, Restored, Stored};

/// A header as docs and code have it; see `core/src/service/master/frame.rs`.
pub(crate) fn framed(magic: &[u8; 4], version: u32, payload: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| (crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32).to_le_bytes();
    let mut frame = magic.to_vec();
    frame.extend(version.to_le_bytes());
    frame.extend((payload.len() as u64).to_le_bytes());
    frame.extend(crc(payload));
    frame.extend(crc(&frame));
    frame.extend(payload);
    frame
}

fn restore(snapshot: Option<&[u8]>, log: &[u8]) -> Result<Restored, RestoreError> {
    ShuffleMaster::restore("tcp", snapshot, log)
}

/// A log of three records, and the master after each.
fn three_records() -> (Vec<Vec<u8>>, Vec<ShuffleMaster>) {
    let mut master = master();
    let (mut records, mut masters) = (vec![master.take_events()], vec![master.clone()]);
    for number in 0..2 {
        finished(&mut master, number, 1);
        records.push(master.take_events());
        masters.push(master.clone());
    }
    (records, masters)
}

#[test]
fn after_a_restart_finished_partitions_are_not_produced_again() {
    let mut master = master();
    finished(&mut master, 0, 1);
    let snapshot = master.snapshot();
    master.take_events();
    finished(&mut master, 1, 2);
    announce(&mut master, PartitionKind::SortMerge, 2, at(2, 1));
    let log = master.take_events();

    let mut restored = restore(Some(&snapshot), &log).unwrap().master;
    assert_eq!(restored, master);
    assert_eq!(restored.to_produce(JobId(1)), [partition(2)]);
    // The workers went down as well, and are back before the master gives them up.
    for node in [1, 2] {
        restored.worker_lost(NodeId(node), Incarnation(1));
    }
    restored.relearn(&at(1, 2), &[held(0)]);
    restored.relearn(&at(2, 2), &[held(1)]);
    assert_eq!(restored.to_produce(JobId(1)), []);
    let places = [0, 1].map(|number| restored.descriptor(partition(number)).unwrap().producer.clone());
    assert_eq!(places, [at(1, 2), at(2, 2)]);
}

#[test]
fn a_restored_master_goes_on_with_the_same_log() {
    let (records, _) = three_records();
    let mut log = records.concat();
    let mut master = restore(None, &log).unwrap().master;
    finished(&mut master, 7, 1);
    log.extend(master.take_events());
    assert_eq!(restore(None, &log).unwrap().master, master);
}

#[test]
fn nothing_at_all_is_a_new_master() {
    let restored = restore(None, &[]).unwrap();
    assert_eq!(restored, Restored { master: ShuffleMaster::new("tcp"), log_bytes_used: 0, torn_tail: false });
}

#[test]
fn what_is_taken_once_is_one_record_and_is_not_given_again() {
    let mut master = master();
    finished(&mut master, 0, 1);
    let record = master.take_events();
    assert_eq!(master.take_events(), []);
    for cut in 1..record.len() {
        let restored = restore(None, &record[..cut]).unwrap();
        assert_eq!(restored, Restored { master: ShuffleMaster::new("tcp"), log_bytes_used: 0, torn_tail: true });
    }
}

#[test]
fn a_log_that_ends_within_a_record_is_used_up_to_it() {
    let (records, masters) = three_records();
    let log = records.concat();
    let whole = records[0].len() + records[1].len();
    for cut in whole + 1..log.len() {
        let restored = restore(None, &log[..cut]).unwrap();
        let expected = Restored { master: masters[1].clone(), log_bytes_used: whole as u64, torn_tail: true };
        assert_eq!(restored, expected, "cut at {cut}");
    }
}

#[test]
fn a_last_record_of_which_parts_were_not_written_is_a_torn_tail() {
    let (records, masters) = three_records();
    let whole = records[0].len() + records[1].len();
    // A file system that makes the file longer before it writes leaves zeros.
    // The last seven bytes of the record, of a small number, are zeros anyway.
    for zeros in 0..records[2].len() - 7 {
        for behind in [0, 5000] {
            let mut log = records.concat();
            log[whole + zeros..].fill(0);
            log.resize(log.len() + behind, 0);
            let restored = restore(None, &log).unwrap();
            assert_eq!((&restored.master, restored.torn_tail), (&masters[1], true), "zeros from {zeros}");
            assert_eq!(restored.log_bytes_used, whole as u64);
        }
    }
}

#[test]
fn any_other_byte_in_the_middle_is_refused_with_its_record() {
    let (records, _) = three_records();
    let begin = records[0].len();
    for at in begin..begin + records[1].len() {
        let mut log = records.concat();
        log[at] ^= 0x10;
        let error = restore(None, &log).unwrap_err();
        let RestoreError::Corrupt { stored: Stored::Log, offset, .. } = error else { panic!("{error}") };
        assert_eq!(offset, begin as u64, "byte {at}");
    }
}

#[test]
fn any_other_byte_of_a_snapshot_is_refused() {
    let snapshot = three_records().1[2].snapshot();
    for at in 0..snapshot.len() {
        let mut damaged = snapshot.clone();
        damaged[at] ^= 0x10;
        let error = restore(Some(&damaged), &[]).unwrap_err();
        assert!(matches!(error, RestoreError::Corrupt { stored: Stored::Snapshot, offset: 0, .. }), "{at}: {error}");
        restore(Some(&snapshot[..at]), &[]).expect_err("cut off");
    }
    let error = restore(Some(&[&snapshot[..], b"x"].concat()), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the master's snapshot is corrupt at byte {}: it goes on behind its end", snapshot.len())
    );
}

#[test]
fn a_log_is_no_snapshot_and_a_snapshot_no_log() {
    let (records, masters) = three_records();
    restore(Some(&records[0]), &[]).expect_err("a log");
    let snapshot = masters[0].clone().snapshot();
    assert_eq!(restore(None, &snapshot).unwrap().log_bytes_used, 0);
    restore(None, &[&snapshot[..], &records[0]].concat()).expect_err("a snapshot in front of a log");
}

#[test]
fn another_version_is_refused_with_both() {
    let (records, masters) = three_records();
    let mut log = records[0].clone();
    log.extend(framed(b"SlMl", 2, &records[1][24..]));
    let error = restore(None, &log).unwrap_err();
    let offset = records[0].len() as u64;
    assert_eq!(error, RestoreError::Version { stored: Stored::Log, offset, found: 2, expected: 1 });
    assert_eq!(
        error.to_string(),
        format!(
            "the master's log at byte {offset} is of version 2, expected 1: restore it with the engine that wrote it"
        )
    );
    let snapshot = framed(b"SlMs", 7, &masters[0].clone().snapshot()[24..]);
    let error = restore(Some(&snapshot), &[]).unwrap_err();
    assert_eq!(error, RestoreError::Version { stored: Stored::Snapshot, offset: 0, found: 7, expected: 1 });
}

#[test]
fn a_log_may_begin_before_its_snapshot_and_end_before_it() {
    let (records, mut masters) = three_records();
    let snapshot = masters[1].snapshot();
    for from in 0..3 {
        assert_eq!(restore(Some(&snapshot), &records[from..].concat()).unwrap().master, masters[2], "from {from}");
    }
    for to in 0..2 {
        assert_eq!(restore(Some(&snapshot), &records[..to].concat()).unwrap().master, masters[1], "to {to}");
    }
}

#[test]
fn a_snapshot_within_a_record_takes_only_the_events_behind_it() {
    let mut master = master();
    finished(&mut master, 0, 1);
    let snapshot = master.snapshot();
    finished(&mut master, 1, 1);
    let log = master.take_events();
    assert_eq!(restore(Some(&snapshot), &log).unwrap().master, master);
}

#[test]
fn a_missing_record_is_a_gap() {
    let (records, mut masters) = three_records();
    let without_second = [&records[0][..], &records[2]].concat();
    let offset = records[0].len() as u64 + 24 + 8;
    let gap = RestoreError::Gap { offset, found: 4, expected: 2 };
    assert_eq!(restore(None, &without_second).unwrap_err(), gap);
    let gap = RestoreError::Gap { offset: 24 + 8, found: 4, expected: 2 };
    assert_eq!(restore(Some(&masters[0].snapshot()), &records[2]).unwrap_err(), gap);
}

#[test]
fn events_that_only_the_snapshot_has_are_a_gap_without_it() {
    let (records, mut masters) = three_records();
    let snapshot = masters[1].snapshot();
    // The second record was never stored: a crash came between the snapshot and the log.
    let mut master = restore(Some(&snapshot), &records[0]).unwrap().master;
    finished(&mut master, 5, 1);
    let log = [records[0].clone(), master.take_events()].concat();
    assert_eq!(restore(Some(&snapshot), &log).unwrap().master, master);
    assert!(matches!(restore(None, &log), Err(RestoreError::Gap { found: 4, expected: 2, .. })));
}

#[test]
fn the_snapshot_of_another_log_does_not_fit() {
    let (records, _) = three_records();
    let mut other = ShuffleMaster::new("tcp");
    other.register_job(&JobSpec { job: JobId(2), transport: None }).unwrap();
    let error = restore(Some(&other.snapshot()), &records[1]).unwrap_err();
    assert_eq!(error, RestoreError::Misfit { offset: 24 + 8, event: 2 });
}

#[test]
fn an_event_that_cannot_have_happened_is_refused() {
    let (records, _) = three_records();
    // Number 4 once more as number 6: partition 1 is registered, and finished by then.
    let event = 24 + 8..records[2].len() - (1 + 20 + 4 + 4 * 8);
    let again = [&6_u64.to_le_bytes()[..], &records[2][event]].concat();
    let log = [records.concat(), framed(b"SlMl", 1, &again)].concat();
    let offset = records.concat().len() as u64 + 24 + 8;
    assert_eq!(restore(None, &log).unwrap_err(), RestoreError::Misfit { offset, event: 6 });
}

#[test]
fn a_snapshot_begins_the_log_anew() {
    let mut master = master();
    let first = master.take_events();
    // 24 bytes of header and 8 of number, once a record.
    assert_eq!(master.log_bytes_since_snapshot(), first.len() as u64);
    finished(&mut master, 0, 1);
    let second = master.take_events();
    assert_eq!(master.log_bytes_since_snapshot(), (first.len() + second.len()) as u64);
    let restored = restore(None, &[first, second].concat()).unwrap().master;
    assert_eq!(restored.log_bytes_since_snapshot(), master.log_bytes_since_snapshot());
    let snapshot = master.snapshot();
    assert_eq!(master.log_bytes_since_snapshot(), 0);
    assert_eq!(restore(Some(&snapshot), &[]).unwrap().master.log_bytes_since_snapshot(), 0);

    let (records, mut masters) = three_records();
    let restored = restore(Some(&masters[1].snapshot()), &records.concat()).unwrap().master;
    assert_eq!(restored.log_bytes_since_snapshot(), records[2].len() as u64, "the others are in the snapshot");
}

#[test]
fn a_master_without_a_log_can_begin_one_with_a_snapshot() {
    let mut unlogged = ShuffleMaster::new("tcp");
    unlogged.register_job(&JobSpec { job: JobId(1), transport: None }).unwrap();
    assert_eq!(unlogged.log_bytes_since_snapshot(), 0);
    let snapshot = unlogged.snapshot();
    let mut logged = restore(Some(&snapshot), &[]).unwrap().master;
    assert_eq!(logged, unlogged);
    finished(&mut logged, 0, 1);
    assert_eq!(restore(Some(&snapshot), &logged.take_events()).unwrap().master, logged);
}

#[test]
fn the_first_version_is_these_bytes() {
    let mut master = master();
    announce(&mut master, PartitionKind::Hash, 3, at(1, 2));
    master.partition_finished(partition(3), statistics(3)).unwrap();
    let mut payload = vec![1, 0, 0, 0, 0, 0, 0, 0]; // The first event's number.
    payload.extend([1, 1, 0, 0, 0, 0, 0, 0, 0]); // Job 1 registered.
    let id = [&[1, 0, 0, 0, 0, 0, 0, 0], &[3, 0, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0][..]].concat();
    payload.extend([&[3], &id[..], &[2], &[2, 0, 0, 0]].concat()); // Registered: hash, two subpartitions,
    payload.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]); // on node 1 in its life 2,
    payload.extend([&[10, 0, 0, 0], &b"10.0.0.1:2"[..]].concat()); // at this address.
    payload.extend([&[4], &id[..], &[2, 0, 0, 0]].concat()); // Finished, with two figures each:
    for figure in [300_u64, 7, 3, 1] {
        payload.extend(figure.to_le_bytes());
    }
    assert_eq!(master.take_events(), framed(b"SlMl", 1, &payload));
}
