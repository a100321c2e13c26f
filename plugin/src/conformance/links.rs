//! Who may have a link, and what its ends know of each other.

use std::time::{Duration, Instant};

use sluice_protocol::{Lane, Limits, LinkEpoch, NodeId};

use super::parcel::Parcel;
use super::stage::{End, Stage};
use crate::link::{CloseCause, Peer};
use crate::transport::{Setup, TransportFactory};

/// What was wished for and what each side offers is what both ends are told.
pub fn both_ends_know_each_other_and_agree_on_the_limits(factory: &dyn TransportFactory) {
    let mut stage = Stage::with(factory, 2, |worker, setup| {
        let limits = &mut setup.limits;
        match worker {
            0 => (limits.head_bytes_max, limits.heartbeat) = (32 << 10, Duration::from_secs(1)),
            _ => (limits.body_bytes_max, limits.block_bytes_max, limits.control_window) = (256 << 10, 128 << 10, 16),
        }
    });
    let mut wish = stage.wish(0, 1);
    (wish.session, wish.epoch, wish.lane) = (77, LinkEpoch(3), Lane(2));
    let near = stage.connect(0, wish.clone());
    let peer_of_near = stage.connected(near);
    let (_, peer_of_far) = stage.accepted(1);

    let capable = stage.transport(0).capabilities().inline_bytes_max;
    let both = stage.setup(0).limits.both(stage.setup(1).limits);
    let limits = Limits { inline_bytes_max: both.inline_bytes_max.min(capable), ..both };
    let peer = |setup: &Setup| Peer {
        node: setup.node,
        incarnation: setup.incarnation,
        session: wish.session,
        epoch: wish.epoch,
        lane: wish.lane,
        limits,
    };
    assert_eq!(peer_of_near, peer(stage.setup(1)));
    assert_eq!(peer_of_far, peer(stage.setup(0)));
    stage.end();
}

/// Each side tells its operator why.
pub fn a_worker_of_another_cluster_is_refused_on_both_sides(factory: &dyn TransportFactory) {
    let mut stage = Stage::with(factory, 2, |worker, setup| setup.cluster = format!("cluster {worker}"));
    let wish = stage.wish(0, 1);
    let near = stage.connect(0, wish);
    assert_refused(&stage.closed(near));
    assert_refused(&stage.closed_unheard(1));
    stage.end();
}

/// A worker that has moved, or an address that was mistyped, must not pass for the one that is meant.
pub fn another_node_than_the_expected_is_refused_on_both_sides(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 2);
    let mut wish = stage.wish(0, 1);
    wish.node = NodeId(4711);
    let near = stage.connect(0, wish);
    assert_refused(&stage.closed(near));
    assert_refused(&stage.closed_unheard(1));

    // The two are none the worse for it.
    stage.link(0, 1);
    stage.end();
}

fn assert_refused(cause: &CloseCause) {
    match cause {
        CloseCause::Refused { text, .. } => assert!(!text.is_empty(), "a refusal says why"),
        cause => panic!("closed with {cause:?}, not refused"),
    }
}

/// At once where that is known, else after the transport's own deadline.
pub fn a_connect_to_nobody_closes_with_a_cause_that_names_the_address(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 2);
    let wish = stage.wish(0, 1);
    // Its address stays free: nothing else is built here.
    stage.drop_transport(1);
    let near = stage.connect(0, wish.clone());
    let patience = Instant::now() + Duration::from_secs(20);
    while !stage.has_event(near) {
        assert!(Instant::now() < patience, "Closed did not happen, nor a deadline");
        if !stage.step(Duration::from_millis(10)) {
            stage.skip_to_timeout();
        }
    }
    let cause = stage.closed(near);
    assert!(cause.to_string().contains(&wish.address.0), "{cause} does not name {}", wish.address);
    stage.end();
}

/// Which of them to keep is for the engine to choose.
pub fn workers_that_connect_to_each_other_at_once_have_two_links(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 2);
    let (there, back) = (stage.wish(0, 1), stage.wish(1, 0));
    let near = stage.connect(0, there);
    let far = stage.connect(1, back);
    let (peer_of_near, peer_of_far) = (stage.connected(near), stage.connected(far));
    let (at_far, from_near) = stage.accepted(1);
    let (at_near, from_far) = stage.accepted(0);
    assert_eq!((peer_of_near.session, from_near.session), (100, 100));
    assert_eq!((peer_of_far.session, from_far.session), (101, 101));
    assert!(near != at_near && far != at_far, "two links have two names");

    assert_talk(&mut stage, near, at_far);
    assert_talk(&mut stage, far, at_near);
    stage.end();
}

/// Parallel links between two workers are links like others.
pub fn parallel_links_are_told_apart_by_their_lanes(factory: &dyn TransportFactory) {
    let mut stage = Stage::of(factory, 2);
    let ends = [Lane(0), Lane(1), Lane(2)].map(|lane| {
        let mut wish = stage.wish(0, 1);
        wish.lane = lane;
        (lane, stage.connect(0, wish))
    });
    let accepted = [(); 3].map(|()| stage.accepted(1));
    for (lane, near) in ends {
        assert_eq!(stage.connected(near).lane, lane);
        let (far, _) = accepted.iter().find(|(_, peer)| peer.lane == lane).expect("each lane is accepted");
        assert_talk(&mut stage, near, *far);
    }
    stage.end();
}

pub(super) fn assert_talk(stage: &mut Stage, one: End, other: End) {
    for (from, to) in [(one, other), (other, one)] {
        stage.send(from, Parcel::new().event(b"are you there?").seal(1));
        assert_eq!(stage.received(to).0.prefix().frames, 1);
    }
}
