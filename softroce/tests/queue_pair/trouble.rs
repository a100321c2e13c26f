//! Requests that no honest peer makes, or that this side forbids: what the peer is told, what state the queue pair is
//! in, and that no byte was written.

use sluice_softroce::memory::Key;
use sluice_softroce::packet::{Nak, Opcode, Position, Syndrome};
use sluice_softroce::queue_pair::{Dropped, Rights, State};
use sluice_softroce::work::Status;

use crate::stage::{MTU, SHARED, Setting, Stage};
use crate::wire::address;

use Position::{First, Last, Middle, Only};

/// The last request was refused: the peer is told why, the connection is over, what was posted is flushed, and memory
/// is as it was.
fn refused(stage: &mut Stage, at: i32, nak: Nak, before: &[u8]) {
    assert_eq!(stage.answers(), [(at, Syndrome::Nak(nak))]);
    assert_eq!(stage.queue_pair.state(), State::Error);
    assert_eq!(stage.image(), before);
    let done = stage.completions();
    assert!(done.iter().all(|done| done.status != Status::Success), "{done:?}");
}

/// A request of one packet to a new queue pair is refused.
fn is_refused(nak: Nak, request: impl FnOnce(&mut Stage)) {
    let mut stage = Stage::new();
    stage.post_receive(0, MTU);
    let before = stage.image();
    request(&mut stage);
    assert_eq!(stage.done(), [(0, Status::Flushed)]);
    refused(&mut stage, 0, nak, &before);
}

#[test]
fn a_forged_key_is_refused_before_any_byte_is_written() {
    is_refused(Nak::RemoteAccess, |stage| stage.rdma(Opcode::Write(Only), 0, (0, Key(0xBAD), 4), &[1; 4]));
    is_refused(Nak::RemoteAccess, |stage| stage.rdma(Opcode::ReadRequest, 0, (0, Key(0xBAD), 4), &[]));
}

#[test]
fn a_range_that_leaves_its_region_at_either_end_is_refused_before_any_byte_is_written() {
    let end = 4 * MTU as i64;
    for (offset, length) in [(end - 3, 4), (-1, 4), (end, 1), (-4, 4), (i64::MIN, 4), (-2000, 4)] {
        is_refused(Nak::RemoteAccess, |stage| {
            stage.rdma(Opcode::Write(Only), 0, (offset, SHARED, length), &[1; 4][..length as usize])
        });
        is_refused(Nak::RemoteAccess, |stage| stage.rdma(Opcode::ReadRequest, 0, (offset, SHARED, length), &[]));
    }
}

/// The first packet alone would fit.
#[test]
fn a_long_write_out_of_bounds_is_refused_at_its_first_packet() {
    is_refused(Nak::RemoteAccess, |stage| {
        stage.rdma(Opcode::Write(First), 0, (0, SHARED, 4 * MTU as u32 + 1), &[1; MTU]);
    });
}

#[test]
fn a_key_whose_region_goes_in_the_middle_of_a_write_is_refused_from_then_on() {
    let mut stage = Stage::new();
    stage.rdma(Opcode::Write(First), 0, (0, SHARED, 2 * MTU as u32), &[1; MTU]);
    stage.memory.deregister(SHARED.0);
    let before = stage.image();
    stage.answers();
    stage.packet(Opcode::Write(Last), 1, &[2; MTU]);
    refused(&mut stage, 1, Nak::RemoteAccess, &before);
}

#[test]
fn a_region_that_goes_while_it_is_read_ends_the_answer() {
    let mut stage = Stage::new();
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, 2 * MTU as u32), &[]);
    let mut packet = Vec::new();
    assert!(stage.queue_pair.poll_transmit(stage.now, &mut packet));
    stage.memory.deregister(SHARED.0);
    let before = stage.image();
    refused(&mut stage, 1, Nak::RemoteAccess, &before);
}

#[test]
fn a_read_that_is_repeated_after_its_region_has_gone_is_refused() {
    let mut stage = Stage::new();
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, 1), &[]);
    stage.sent();
    stage.memory.deregister(SHARED.0);
    let before = stage.image();
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, 1), &[]);
    refused(&mut stage, 0, Nak::RemoteAccess, &before);
}

#[test]
fn what_the_queue_pair_has_no_right_to_is_an_invalid_request() {
    let setting = || Setting { rights: Rights::default(), ..Setting::default() };
    let mut stage = Stage::with(setting());
    let before = stage.image();
    stage.rdma(Opcode::Write(Only), 0, (0, SHARED, 1), &[1]);
    refused(&mut stage, 0, Nak::InvalidRequest, &before);
    let mut stage = Stage::with(setting());
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, 1), &[]);
    refused(&mut stage, 0, Nak::InvalidRequest, &before);
}

#[test]
fn lengths_that_no_packet_of_its_kind_has_are_invalid_requests() {
    let shared = |length: usize| (0, SHARED, length as u32);
    // Larger than the path MTU.
    is_refused(Nak::InvalidRequest, |stage| stage.packet(Opcode::Send(Only), 0, &[1; MTU + 1]));
    is_refused(Nak::InvalidRequest, |stage| stage.packet(Opcode::Send(First), 0, &[1; MTU + 4]));
    is_refused(Nak::InvalidRequest, |stage| stage.rdma(Opcode::Write(Only), 0, shared(MTU + 1), &[1; MTU + 1]));
    // A first packet that is not full.
    is_refused(Nak::InvalidRequest, |stage| stage.packet(Opcode::Send(First), 0, &[1; MTU - 4]));
    // Another length than the message is said to have.
    is_refused(Nak::InvalidRequest, |stage| stage.rdma(Opcode::Write(Only), 0, shared(5), &[1; 4]));
    is_refused(Nak::InvalidRequest, |stage| stage.rdma(Opcode::Write(Only), 0, shared(3), &[1; 4]));
    is_refused(Nak::InvalidRequest, |stage| stage.rdma(Opcode::Write(First), 0, shared(MTU), &[1; MTU]));
    // More than a message can have, and a READ with a payload.
    is_refused(Nak::InvalidRequest, |stage| stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, u32::MAX), &[]));
    is_refused(Nak::InvalidRequest, |stage| stage.rdma(Opcode::Write(First), 0, (0, SHARED, u32::MAX), &[1; MTU]));
    is_refused(Nak::InvalidRequest, |stage| stage.rdma(Opcode::ReadRequest, 0, shared(4), &[1; 4]));
}

#[test]
fn a_write_that_turns_out_longer_or_shorter_than_it_said_is_refused_where_it_does() {
    for (opcode, payload) in
        [(Opcode::Write(Last), 8), (Opcode::Write(Last), 16), (Opcode::Write(Last), 0), (Opcode::Write(Middle), MTU)]
    {
        let mut stage = Stage::new();
        stage.rdma(Opcode::Write(First), 0, (0, SHARED, MTU as u32 + 12), &[1; MTU]);
        stage.answers();
        let before = stage.image();
        stage.packet(opcode, 1, &[2; MTU][..payload]);
        refused(&mut stage, 1, Nak::InvalidRequest, &before);
    }
}

#[test]
fn packets_out_of_the_order_of_a_message_are_invalid_requests() {
    is_refused(Nak::InvalidRequest, |stage| stage.packet(Opcode::Send(Middle), 0, &[1; MTU]));
    is_refused(Nak::InvalidRequest, |stage| stage.packet(Opcode::Send(Last), 0, &[1; 4]));
    is_refused(Nak::InvalidRequest, |stage| stage.packet(Opcode::Write(Last), 0, &[1; 4]));
    // Another message in the middle of one.
    let interruptions: [fn(&mut Stage); 4] = [
        |stage| stage.packet(Opcode::Send(Only), 1, &[1]),
        |stage| stage.packet(Opcode::Send(Last), 1, &[1]),
        |stage| stage.rdma(Opcode::Write(First), 1, (0, SHARED, 2 * MTU as u32), &[1; MTU]),
        |stage| stage.rdma(Opcode::ReadRequest, 1, (0, SHARED, 1), &[]),
    ];
    for interrupt in interruptions {
        let mut stage = Stage::new();
        stage.rdma(Opcode::Write(First), 0, (0, SHARED, 2 * MTU as u32), &[1; MTU]);
        stage.answers();
        let before = stage.image();
        interrupt(&mut stage);
        refused(&mut stage, 1, Nak::InvalidRequest, &before);
    }
}

#[test]
fn a_message_that_is_cut_off_by_another_flushes_its_receive() {
    let mut stage = Stage::new();
    stage.post_receive(0, 2 * MTU);
    stage.post_receive(1, 2 * MTU);
    stage.packet(Opcode::Send(First), 0, &[1; MTU]);
    stage.packet(Opcode::Send(Only), 1, &[1]);
    assert_eq!(stage.done(), [(0, Status::Flushed), (1, Status::Flushed)]);
}

#[test]
fn an_operation_that_is_not_offered_is_an_invalid_request() {
    // COMPARE AND SWAP.
    is_refused(Nak::InvalidRequest, |stage| stage.packet(Opcode::Unsupported(0x13), 0, &[0; 28]));
}

#[test]
fn a_message_longer_than_its_receive_is_told_at_both_sides() {
    let mut stage = Stage::new();
    stage.post_receive(0, MTU + 3);
    stage.post_receive(1, MTU);
    stage.packet(Opcode::Send(First), 0, &[1; MTU]);
    stage.answers();
    let before = stage.image();
    stage.packet(Opcode::Send(Last), 1, &[1; 4]);
    assert_eq!(stage.done(), [(0, Status::LocalLength), (1, Status::Flushed)]);
    refused(&mut stage, 1, Nak::InvalidRequest, &before);
}

#[test]
fn a_receive_into_memory_that_has_gone_is_this_sides_trouble() {
    let mut stage = Stage::new();
    stage.post_receive(0, 4);
    stage.memory.deregister(crate::stage::LOCAL.0);
    let before = stage.image();
    stage.packet(Opcode::Send(Only), 0, &[1; 4]);
    assert_eq!(stage.done(), [(0, Status::LocalProtection)]);
    refused(&mut stage, 0, Nak::RemoteOperation, &before);
}

#[test]
fn more_reads_than_were_agreed_on_are_an_invalid_request() {
    let mut stage = Stage::new();
    for at in 0..3 {
        stage.rdma(Opcode::ReadRequest, at, (0, SHARED, 1), &[]);
    }
    assert_eq!(stage.queue_pair.state(), State::Error);
    // What was asked before is answered before.
    assert_eq!(stage.answers(), [(0, Syndrome::ACK), (1, Syndrome::ACK), (2, Syndrome::Nak(Nak::InvalidRequest))]);
}

#[test]
fn a_peer_that_vanishes_in_the_middle_of_a_write_leaves_the_queue_pair_as_it_is() {
    let mut stage = Stage::new();
    stage.rdma(Opcode::Write(First), 0, (0, SHARED, 2 * MTU as u32), &[1; MTU]);
    stage.answers();
    // A responder has no timer: only its user can know that the peer is gone.
    assert_eq!(stage.queue_pair.next_timeout(), None);
    assert_eq!((stage.queue_pair.state(), stage.done()), (State::ReadyToSend, vec![]));
    stage.queue_pair.to_error();
    assert_eq!(stage.sent(), []);
}

#[test]
fn a_packet_from_another_address_changes_nothing() {
    let mut stage = Stage::new();
    stage.post_receive(0, 4);
    let headers = stage.base(Opcode::Send(Only), 0, &[1; 4]);
    assert_eq!(stage.from(address(0), headers, &[1; 4]), Err(Dropped::Source));
    assert_eq!((stage.done(), stage.sent()), (vec![], vec![]));
    // The same packet from the peer is the first one.
    stage.packet(Opcode::Send(Only), 0, &[1; 4]);
    assert_eq!(stage.done(), [(0, Status::Success)]);
}

#[test]
fn a_packet_of_another_partition_changes_nothing() {
    let mut stage = Stage::new();
    let mut headers = stage.base(Opcode::Send(Only), 0, &[]);
    headers.base.partition = 0x8001;
    assert_eq!(stage.from(address(1), headers, &[]), Err(Dropped::Partition));
    assert_eq!(stage.sent(), []);
}

#[test]
fn in_error_all_packets_are_dropped() {
    let mut stage = Stage::new();
    stage.queue_pair.to_error();
    let headers = stage.base(Opcode::Send(Only), 0, &[]);
    assert_eq!(stage.from(address(1), headers, &[]), Err(Dropped::State));
    assert_eq!(stage.sent(), []);
}
