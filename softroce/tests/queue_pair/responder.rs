//! What the responder does with sound requests, and with those that it has seen before.

use sluice_softroce::memory::Key;
use sluice_softroce::packet::{Nak, Opcode, Position, RdmaHeader, Syndrome};
use sluice_softroce::queue_pair::State;
use sluice_softroce::work::{CompletionKind, Status};

use crate::stage::{MTU, SHARED, Stage};

use Position::{First, Last, Middle, Only};

#[test]
fn a_message_of_several_packets_is_put_together_and_acknowledged_once() {
    let mut stage = Stage::new();
    stage.post_receive(7, 3 * MTU);
    stage.packet(Opcode::Send(First), 0, &[1; MTU]);
    stage.packet(Opcode::Send(Middle), 1, &[2; MTU]);
    let headers = stage.base(Opcode::SendImmediate(Last), 2, &[3; 5]).with_immediate(0xFEED);
    stage.headers(headers, &[3; 5]);
    let done = stage.completions();
    assert_eq!((done[0].id, done[0].kind, done[0].bytes), (7, CompletionKind::Receive, 2 * MTU as u32 + 5));
    assert_eq!(done[0].immediate, Some(0xFEED));
    let expected = [[1; MTU].as_slice(), &[2; MTU], &[3; 5]].concat();
    assert_eq!(stage.memory.content(stage.local, expected.len()), expected);
    assert_eq!(stage.answers(), [(2, Syndrome::ACK)]);
}

#[test]
fn acknowledgements_that_wait_become_one() {
    let mut stage = Stage::new();
    for id in 0..4 {
        stage.post_receive(id, 1);
        stage.packet(Opcode::Send(Only), id as i32, &[9]);
    }
    assert_eq!(stage.answers(), [(3, Syndrome::ACK)]);
    assert_eq!(stage.done(), [0, 1, 2, 3].map(|id| (id, Status::Success)));
}

#[test]
fn what_nobody_asked_to_acknowledge_is_not_acknowledged() {
    let mut stage = Stage::new();
    stage.post_receive(0, MTU);
    let mut headers = stage.base(Opcode::Send(Only), 0, &[1]);
    headers.base.acknowledge = false;
    stage.headers(headers, &[1]);
    assert_eq!(stage.answers(), []);
    assert_eq!(stage.done(), [(0, Status::Success)]);
}

#[test]
fn a_write_puts_bytes_where_it_says_and_nowhere_else() {
    let mut stage = Stage::new();
    let mut expected = stage.shared_content();
    stage.rdma(Opcode::Write(First), 0, (10, SHARED, MTU as u32 + 3), &[0xAA; MTU]);
    stage.packet(Opcode::Write(Last), 1, &[0xBB; 3]);
    expected[10..10 + MTU].fill(0xAA);
    expected[10 + MTU..13 + MTU].fill(0xBB);
    assert_eq!(stage.shared_content(), expected);
    assert_eq!(stage.answers(), [(1, Syndrome::ACK)]);
    assert_eq!(stage.done(), []);
}

#[test]
fn a_write_with_immediate_completes_a_receive_without_touching_its_memory() {
    let mut stage = Stage::new();
    stage.post_receive(5, MTU);
    let local = stage.memory.content(stage.local, MTU);
    let headers = stage.base(Opcode::WriteImmediate(Only), 0, &[1, 2]).with_immediate(0xFEED);
    let rdma = RdmaHeader { address: stage.shared, key: SHARED, length: 2 };
    stage.headers(headers.with_rdma(rdma), &[1, 2]);
    let done = stage.completions();
    assert_eq!((done[0].id, done[0].kind, done[0].bytes), (5, CompletionKind::ReceiveWrite, 2));
    assert_eq!(done[0].immediate, Some(0xFEED));
    assert_eq!(stage.memory.content(stage.local, MTU), local);
}

#[test]
fn a_write_of_nothing_needs_no_key() {
    let mut stage = Stage::new();
    stage.rdma(Opcode::Write(Only), 0, (-1_000_000, Key(0), 0), &[]);
    assert_eq!(stage.answers(), [(0, Syndrome::ACK)]);
}

#[test]
fn a_read_is_answered_in_packets_whose_first_and_last_acknowledge() {
    let mut stage = Stage::new();
    let content = stage.shared_content();
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, 2 * MTU as u32 + 1), &[]);
    let sent = stage.sent();
    assert_eq!(sent.iter().map(|packet| packet.at()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(
        sent.iter().map(|packet| packet.opcode()).collect::<Vec<_>>(),
        [First, Middle, Last].map(Opcode::ReadResponse)
    );
    assert_eq!(sent.iter().flat_map(|packet| packet.payload.clone()).collect::<Vec<_>>(), content[..2 * MTU + 1]);
    // The request behind it takes the number after the last response.
    stage.post_receive(0, 1);
    stage.packet(Opcode::Send(Only), 3, &[1]);
    assert_eq!(stage.answers(), [(3, Syndrome::ACK)]);
}

#[test]
fn answers_leave_in_the_order_of_the_requests() {
    let mut stage = Stage::new();
    stage.post_receive(0, 1);
    stage.post_receive(1, 1);
    stage.packet(Opcode::Send(Only), 0, &[1]);
    stage.rdma(Opcode::ReadRequest, 1, (0, SHARED, 1), &[]);
    stage.packet(Opcode::Send(Only), 2, &[1]);
    assert_eq!(stage.sent_at(), [0, 1, 2]);
}

#[test]
fn a_gap_is_told_once_and_closed_by_the_missing_packet() {
    let mut stage = Stage::new();
    for id in 0..3 {
        stage.post_receive(id, 1);
    }
    stage.packet(Opcode::Send(Only), 1, &[1]);
    stage.packet(Opcode::Send(Only), 2, &[1]);
    assert_eq!(stage.answers(), [(0, Syndrome::Nak(Nak::SequenceError))]);
    assert_eq!((stage.done(), stage.queue_pair.state()), (vec![], State::ReadyToSend));
    stage.packet(Opcode::Send(Only), 0, &[1]);
    assert_eq!(stage.answers(), [(0, Syndrome::ACK)]);
    stage.packet(Opcode::Send(Only), 2, &[1]);
    assert_eq!(stage.answers(), [(1, Syndrome::Nak(Nak::SequenceError))]);
}

#[test]
fn a_repeated_message_is_acknowledged_with_the_newest_number_and_not_received_again() {
    let mut stage = Stage::new();
    for id in 0..3 {
        stage.post_receive(id, 1);
    }
    stage.packet(Opcode::Send(Only), 0, &[1]);
    stage.packet(Opcode::Send(Only), 1, &[1]);
    stage.answers();
    stage.packet(Opcode::Send(Only), 0, &[1]);
    assert_eq!(stage.answers(), [(1, Syndrome::ACK)]);
    assert_eq!(stage.done().len(), 2);
}

#[test]
fn a_repeated_write_is_not_written_again() {
    let mut stage = Stage::new();
    stage.rdma(Opcode::Write(Only), 0, (0, SHARED, 1), &[1]);
    stage.rdma(Opcode::Write(Only), 1, (0, SHARED, 1), &[2]);
    stage.answers();
    stage.rdma(Opcode::Write(Only), 0, (0, SHARED, 1), &[1]);
    assert_eq!(stage.answers(), [(1, Syndrome::ACK)]);
    assert_eq!(stage.shared_content()[0], 2);
}

/// The kernel's requester takes an acknowledgement with the number of a READ for the READ's answer, and completes it
/// without the bytes.
#[test]
fn the_number_of_a_read_is_never_acknowledged_without_its_bytes() {
    let mut stage = Stage::new();
    stage.post_receive(0, 1);
    stage.packet(Opcode::Send(Only), 0, &[1]);
    stage.rdma(Opcode::ReadRequest, 1, (0, SHARED, 1), &[]);
    stage.sent();
    stage.packet(Opcode::Send(Only), 0, &[1]);
    assert_eq!(stage.answers(), [(0, Syndrome::ACK)]);
}

#[test]
fn a_repeated_read_is_answered_again_from_memory_as_it_is_now() {
    let mut stage = Stage::new();
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, 3 * MTU as u32), &[]);
    stage.sent();
    stage.rdma(Opcode::Write(Only), 3, (2 * MTU as i64, SHARED, 1), &[0x5A]);
    stage.answers();
    // From the second response on: address and length fit to where the first one ends.
    stage.rdma(Opcode::ReadRequest, 1, (MTU as i64, SHARED, 2 * MTU as u32), &[]);
    let sent = stage.sent();
    assert_eq!(sent.iter().map(|packet| packet.opcode()).collect::<Vec<_>>(), [First, Last].map(Opcode::ReadResponse));
    assert_eq!((sent[0].at(), sent[1].payload[0]), (1, 0x5A));
}

#[test]
fn a_read_that_is_repeated_with_more_than_it_asked_for_is_dropped() {
    let mut stage = Stage::new();
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, MTU as u32), &[]);
    stage.sent();
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, MTU as u32 + 1), &[]);
    stage.rdma(Opcode::ReadRequest, 0, (1, SHARED, MTU as u32), &[]);
    assert_eq!(stage.sent(), []);
    assert_eq!(stage.queue_pair.state(), State::ReadyToSend);
}

#[test]
fn a_read_that_is_doubled_on_its_way_is_answered_once() {
    let mut stage = Stage::new();
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, 2), &[]);
    stage.rdma(Opcode::ReadRequest, 0, (0, SHARED, 2), &[]);
    assert_eq!(stage.sent_at(), [0]);
}

#[test]
fn without_a_receive_the_peer_is_told_to_wait_and_nothing_else() {
    let mut stage = Stage::new();
    stage.packet(Opcode::Send(Only), 0, &[1]);
    // It has sent these before it hears of the first.
    stage.packet(Opcode::Send(Only), 1, &[1]);
    stage.packet(Opcode::Send(Only), 2, &[1]);
    let answers = stage.answers();
    assert!(matches!(answers[..], [(0, Syndrome::ReceiverNotReady(_))]), "{answers:?}");
    stage.post_receive(3, 1);
    stage.packet(Opcode::Send(Only), 0, &[1]);
    assert_eq!(stage.answers(), [(0, Syndrome::ACK)]);
    assert_eq!(stage.done(), [(3, Status::Success)]);
}

#[test]
fn a_write_with_immediate_that_finds_no_receive_has_written_nothing() {
    let mut stage = Stage::new();
    let before = stage.image();
    let headers = stage.base(Opcode::WriteImmediate(Only), 0, &[1]).with_immediate(1);
    let rdma = RdmaHeader { address: stage.shared, key: SHARED, length: 1 };
    stage.headers(headers.with_rdma(rdma), &[1]);
    assert!(matches!(stage.answers()[..], [(0, Syndrome::ReceiverNotReady(_))]));
    assert_eq!(stage.image(), before);
}
