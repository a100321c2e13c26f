//! The states of a queue pair, and what can be posted in each.

use std::rc::Rc;

use sluice_softroce::packet::{Opcode, Packet, Position, Psn, QueuePairNumber};
use sluice_softroce::queue_pair::{
    Capabilities, Dropped, PathMtu, PostError, QueuePair, ReceiveAttributes, Rights, SendAttributes, State,
    TransitionError,
};
use sluice_softroce::work::{Operation, ReceiveRequest, SendRequest, Status};

use crate::memory::TestMemory;
use crate::stage::{Setting, Stage};
use crate::wire::address;

const SEND: Operation = Operation::Send { immediate: None };

fn send(id: u64) -> SendRequest {
    SendRequest { id, operation: SEND, local: vec![], signaled: true, solicited: false }
}

fn receive(id: u64) -> ReceiveRequest {
    ReceiveRequest { id, local: vec![] }
}

fn new() -> QueuePair<Rc<TestMemory>> {
    QueuePair::new(QueuePairNumber::new(1), Capabilities::default(), Rc::default())
}

fn path() -> ReceiveAttributes {
    ReceiveAttributes::new(PathMtu::Bytes1024, address(1), QueuePairNumber::new(2), Psn::new(0))
}

#[test]
fn steps_are_taken_one_after_the_other() {
    let mut queue_pair = new();
    let sending = SendAttributes::new(Psn::new(0));
    let from_reset = |to| Err(TransitionError::State { from: State::Reset, to });
    assert_eq!(queue_pair.to_ready_to_receive(path()), from_reset(State::ReadyToReceive));
    assert_eq!(queue_pair.to_ready_to_send(sending), from_reset(State::ReadyToSend));
    assert_eq!(queue_pair.to_init(Rights::ALL), Ok(()));
    assert_eq!(queue_pair.to_init(Rights::ALL), Err(TransitionError::State { from: State::Init, to: State::Init }));
    assert_eq!(queue_pair.to_ready_to_receive(path()), Ok(()));
    assert_eq!(queue_pair.to_ready_to_send(sending), Ok(()));
    assert_eq!(queue_pair.state(), State::ReadyToSend);
}

#[test]
fn attributes_out_of_range_leave_the_state_as_it_is() {
    let mut queue_pair = new();
    queue_pair.to_init(Rights::ALL).expect("it is new");
    let too_many = queue_pair.to_ready_to_receive(ReceiveAttributes { reads_max: 17, ..path() });
    assert_eq!(too_many, Err(TransitionError::Attribute { attribute: "reads_max", value: 17, most: 16 }));
    assert_eq!(queue_pair.state(), State::Init);
    queue_pair.to_ready_to_receive(path()).expect("it is in the state Init");
    let sending = SendAttributes::new(Psn::new(0));
    assert!(queue_pair.to_ready_to_send(SendAttributes { retries_max: 8, ..sending }).is_err());
    assert!(queue_pair.to_ready_to_send(SendAttributes { rnr_retries_max: 8, ..sending }).is_err());
    assert_eq!(queue_pair.state(), State::ReadyToReceive);
}

#[test]
fn receives_are_taken_from_init_on_and_sends_when_ready_to_send() {
    let mut queue_pair = new();
    assert_eq!(queue_pair.post_receive(receive(0)), Err(PostError::State { state: State::Reset }));
    queue_pair.to_init(Rights::ALL).expect("it is new");
    assert_eq!(queue_pair.post_receive(receive(0)), Ok(()));
    assert_eq!(queue_pair.post_send(send(0)), Err(PostError::State { state: State::Init }));
    queue_pair.to_ready_to_receive(path()).expect("it is in the state Init");
    assert_eq!(queue_pair.post_send(send(0)), Err(PostError::State { state: State::ReadyToReceive }));
}

#[test]
fn before_it_is_ready_to_receive_packets_are_dropped() {
    let stage = Stage::new();
    let headers = stage.base(Opcode::Send(Position::Only), 0, &[]);
    let mut queue_pair = new();
    queue_pair.to_init(Rights::ALL).expect("it is new");
    let packet = Packet { headers, payload: &[] };
    assert_eq!(queue_pair.handle_packet(stage.now, address(1), &packet), Err(Dropped::State));
}

#[test]
fn in_error_what_was_posted_is_flushed_and_what_is_posted_then_as_well() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    stage.post_receive(1, 1);
    stage.queue_pair.to_error();
    stage.post(2, SEND, 1);
    stage.post_receive(3, 1);
    assert_eq!(stage.done(), [0, 1, 2, 3].map(|id| (id, Status::Flushed)));
    assert_eq!(stage.queue_pair.next_timeout(), None);
}

#[test]
fn a_reset_forgets_everything_and_the_way_begins_anew() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    stage.post_receive(1, 1);
    stage.queue_pair.to_error();
    stage.queue_pair.reset();
    assert_eq!((stage.done(), stage.queue_pair.state()), (vec![], State::Reset));
    stage.queue_pair.to_init(Rights::ALL).expect("it was reset");
    stage.queue_pair.to_ready_to_receive(path()).expect("it is in the state Init");
}

#[test]
fn what_a_queue_cannot_hold_is_refused() {
    let mut stage = Stage::with(Setting { reads_max: 0, ..Setting::default() });
    let queue_pair = &mut stage.queue_pair;
    for id in 0..40 {
        queue_pair.post_send(send(id)).expect("there is room for forty");
    }
    assert_eq!(queue_pair.post_send(send(40)), Err(PostError::Full { most: 40 }));
    for id in 0..4 {
        queue_pair.post_receive(receive(id)).expect("there is room for four");
    }
    assert_eq!(queue_pair.post_receive(receive(4)), Err(PostError::Full { most: 4 }));
}

#[test]
fn requests_that_can_never_be_done_are_refused_at_once() {
    let mut stage = Stage::with(Setting { reads_max: 0, ..Setting::default() });
    let remote = sluice_softroce::work::RemoteAddress { address: 0, key: crate::stage::SHARED };
    let read = SendRequest { operation: Operation::Read { remote }, ..send(0) };
    assert_eq!(stage.queue_pair.post_send(read), Err(PostError::NoReads));
    let three = [stage.segments(1), stage.segments(1), stage.segments(1)].concat();
    let refused = stage.queue_pair.post_send(SendRequest { local: three, ..send(0) });
    assert_eq!(refused, Err(PostError::Segments { segments: 3, most: 2 }));
    let mut long = stage.segments(1 << 31);
    long.extend(stage.segments(1));
    let refused = stage.queue_pair.post_send(SendRequest { local: long, ..send(0) });
    assert_eq!(refused, Err(PostError::Length { bytes: (1 << 31) + 1 }));
}
