//! Channels whose producers become known after the gate is there.

use std::sync::mpsc;

use sluice_core::{CreateError, JobError, JobId, JobSpec, ShuffleMaster};

use crate::stage::{PLACES, Seen, Stage, record};

#[test]
fn a_channel_may_become_known_after_others_were_read() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let locations = [stage.location(0, 1, 0), stage.location(0, 2, 0)];
        let mut gate =
            stage.worker(place).create_gate("a test", 2, &[(1, locations[1].clone())]).expect("there is memory");
        let (mut one, mut two) = (stage.writer(0, 1, 1), stage.writer(0, 2, 1));
        stage.write(&mut one, 0, b"late");
        stage.write(&mut two, 0, b"early");
        stage.finish(one);
        stage.finish(two);
        assert_eq!(stage.seen(&mut gate), [record(1, "early"), Seen::End(1)]);
        assert!(stage.is_waiting(&mut gate), "a channel nobody knows is not complete");
        gate.set_location(0, locations[0].clone()).expect("it was not known");
        assert_eq!(stage.seen(&mut gate), [record(0, "late"), Seen::End(0)]);
        assert!(matches!(stage.poll(&mut gate), Some(None)), "complete");
    }
}

#[test]
fn another_thread_may_say_where_a_channel_reads_from() {
    for place in PLACES {
        let mut stage = Stage::new(2);
        let location = stage.location(0, 1, 0);
        let mut gate = stage.worker(place).create_gate("a test", 1, &[]).expect("there is memory");
        let mut writer = stage.writer(0, 1, 1);
        stage.write(&mut writer, 0, b"here");
        stage.finish(writer);
        let (send, receive) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                gate.set_location(0, location).expect("it was not known");
                send.send(gate).expect("the test waits");
            });
        });
        let mut gate = receive.recv().expect("it was sent");
        assert_eq!(stage.seen(&mut gate), [record(0, "here"), Seen::End(0)]);
    }
}

#[test]
fn a_channel_becomes_known_once() {
    let mut stage = Stage::new(1);
    let location = stage.location(0, 1, 0);
    let mut gate = stage.worker(0).create_gate("a test", 2, &[(1, location.clone())]).expect("there is memory");
    let again = gate.set_location(1, location.clone()).expect_err("it is known");
    assert!(matches!(again, CreateError::AlreadyKnown { channel: 1 }), "{again}");
    let beyond = gate.set_location(2, location).expect_err("there are two");
    assert!(matches!(beyond, CreateError::NoSuchChannel { channel: 2, channels: 2 }), "{beyond}");
}

#[test]
fn a_job_runs_on_the_transport_of_its_cluster_or_not_at_all() {
    let mut master = ShuffleMaster::new("tcp");
    let asked = JobSpec { job: JobId(7), transport: Some("in-process".into()) };
    let refused = JobError::Transport { job: JobId(7), asked: "in-process".into(), runs: "tcp".into() };
    assert_eq!(master.register_job(&asked), Err(refused.clone()));
    assert!(refused.to_string().contains("`in-process`") && refused.to_string().contains("`tcp`"), "{refused}");
    assert_eq!(master.register_job(&JobSpec { job: JobId(7), transport: Some("tcp".into()) }), Ok(()));
    assert_eq!(master.register_job(&JobSpec { job: JobId(7), transport: None }), Err(JobError::Registered(JobId(7))));
}
