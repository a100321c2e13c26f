//! Who may read a job's partitions.

use std::sync::Arc;
use std::time::Duration;

use sluice_core::{EnvironmentConfig, JobId, JobToken, ReadError, ReasonCode};

use crate::cable::Cable;
use crate::stage::{Seen, Stage, config, record};

fn token(byte: u8) -> JobToken {
    JobToken::new(&[byte; 32]).expect("long enough")
}

fn refusal(stage: &mut Stage) -> (ReasonCode, String) {
    let writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    let error = stage.failure(&mut gate);
    drop((writer, gate));
    stage.assert_all_memory_is_back();
    match error {
        ReadError::Channel { code, text, .. } => (code, text),
        other => panic!("a channel's error was due, not {other}"),
    }
}

#[test]
fn who_knows_the_token_reads_and_goes_on_reading_on_another_link() {
    let cable = Cable::new(crate::transport());
    let patient = EnvironmentConfig { resume_timeout: Duration::from_secs(10), ..config() };
    let mut stage = Stage::over(Arc::new(cable.clone()), 2, |_| patient.clone());
    (0..2).for_each(|worker| stage.worker(worker).set_job_token(JobId(1), token(1)));
    let mut writer = stage.writer(0, 1, 1);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    stage.write(&mut writer, 0, b"before");
    stage.flush(&mut writer);
    assert_eq!(stage.seen(&mut gate), [record(0, "before")]);
    cable.cut();
    stage.settle();
    stage.write(&mut writer, 0, b"after");
    stage.finish(writer);
    assert_eq!(stage.seen(&mut gate), [record(0, "after"), Seen::End(0)]);
}

#[test]
fn who_shows_no_token_is_refused_and_told_why() {
    let mut stage = Stage::new(2);
    stage.worker(0).set_job_token(JobId(1), token(1));
    let (code, text) = refusal(&mut stage);
    assert_eq!(code, ReasonCode::NotAuthorized);
    assert!(text.contains("job 1 has a token") && text.contains("does not show it"), "{text}");
}

#[test]
fn who_shows_the_token_of_another_job_is_refused_and_told_why() {
    let mut stage = Stage::new(2);
    stage.worker(0).set_job_token(JobId(1), token(1));
    stage.worker(0).set_job_token(JobId(2), token(2));
    stage.worker(1).set_job_token(JobId(1), token(2));
    let (code, text) = refusal(&mut stage);
    assert_eq!(code, ReasonCode::NotAuthorized);
    assert!(text.contains("job 1 has another token"), "{text}");
}

#[test]
fn refused_requests_are_counted_by_reason() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, who_shows_no_token_is_refused_and_told_why);
    metrics::with_local_recorder(&recorder, who_shows_the_token_of_another_job_is_refused_and_told_why);
    let mut counted: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .filter(|(key, ..)| key.key().name() == "sluice_requests_refused_total")
        .map(|(key, _, _, value)| (key.key().labels().map(|label| label.value().to_owned()).collect::<String>(), value))
        .collect();
    counted.sort_by(|one, other| one.0.cmp(&other.0));
    let once = metrics_util::debugging::DebugValue::Counter(1);
    assert_eq!(
        counted,
        [("no_token".to_owned(), once), ("wrong_token".to_owned(), metrics_util::debugging::DebugValue::Counter(1))]
    );
}

/// Whether a partition exists is nobody's business either.
#[test]
fn who_is_refused_does_not_wait_for_a_partition_that_is_not_there() {
    let mut stage = Stage::new(2);
    stage.worker(0).set_job_token(JobId(1), token(1));
    let mut gate = stage.gate(1, &[(0, 9, 0)]);
    assert!(stage.failure(&mut gate).to_string().contains("does not show it"));
}

#[test]
fn a_token_that_comes_while_a_consumer_waits_counts() {
    let mut stage = Stage::new(2);
    let mut gate = stage.gate(1, &[(0, 1, 0)]);
    stage.settle();
    stage.worker(0).set_job_token(JobId(1), token(1));
    let writer = stage.writer(0, 1, 1);
    assert!(stage.failure(&mut gate).to_string().contains("does not show it"));
    drop(writer);
}
