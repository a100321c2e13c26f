//! What the requester sends, and what it makes of answers, good and bad.

use std::time::Duration;

use sluice_softroce::memory::{Key, Segment};
use sluice_softroce::packet::{Nak, Opcode, Position, RnrTimer, Syndrome};
use sluice_softroce::queue_pair::State;
use sluice_softroce::work::{Operation, RemoteAddress, SendRequest, Status};

use crate::stage::{LOCAL, MTU, SHARED, Setting, Stage, TIMEOUT};

use Position::{First, Last, Middle, Only};

const SEND: Operation = Operation::Send { immediate: None };
const REMOTE: RemoteAddress = RemoteAddress { address: 0x1000, key: SHARED };
const READ: Operation = Operation::Read { remote: REMOTE };

#[test]
fn a_message_is_cut_into_full_packets_and_the_last_asks_for_an_answer() {
    let mut stage = Stage::new();
    stage.post(0, Operation::Write { remote: REMOTE, immediate: Some(9) }, 2 * MTU + 1);
    let sent = stage.sent();
    let opcodes = [Opcode::Write(First), Opcode::Write(Middle), Opcode::WriteImmediate(Last)];
    assert_eq!(sent.iter().map(|packet| packet.opcode()).collect::<Vec<_>>(), opcodes);
    assert_eq!(sent.iter().map(|packet| packet.payload.len()).collect::<Vec<_>>(), [MTU, MTU, 1]);
    assert_eq!(sent.iter().map(|packet| packet.headers.base.acknowledge).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(sent[0].headers.rdma.map(|rdma| (rdma.address, rdma.length)), Some((0x1000, 2 * MTU as u32 + 1)));
    assert_eq!(sent[2].headers.immediate, Some(9));
}

#[test]
fn an_empty_message_is_one_packet() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 0);
    stage.post(1, SEND, MTU);
    assert_eq!(stage.sent_at(), [0, 1]);
}

#[test]
fn one_answer_completes_everything_before_it() {
    let mut stage = Stage::new();
    for id in 0..3 {
        stage.post(id, SEND, MTU + 1);
    }
    stage.sent();
    stage.answer(3, Syndrome::ACK);
    assert_eq!(stage.done(), [(0, Status::Success), (1, Status::Success)]);
    // In the middle of a message.
    stage.answer(4, Syndrome::ACK);
    assert_eq!(stage.done(), []);
    stage.answer(5, Syndrome::ACK);
    assert_eq!(stage.done(), [(2, Status::Success)]);
    assert_eq!(stage.queue_pair.next_timeout(), None);
}

#[test]
fn an_answer_to_what_was_answered_or_never_sent_is_ignored() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    stage.sent();
    stage.answer(0, Syndrome::ACK);
    stage.done();
    stage.post(1, SEND, 1);
    stage.sent();
    for (at, syndrome) in
        [(0, Syndrome::Nak(Nak::RemoteAccess)), (-5, Syndrome::ACK), (2, Syndrome::ACK), (900, Syndrome::ACK)]
    {
        stage.answer(at, syndrome);
    }
    assert_eq!((stage.done(), stage.queue_pair.state()), (vec![], State::ReadyToSend));
    assert_eq!(stage.queue_pair.counters().stale_answers, 4);
}

#[test]
fn after_a_gap_everything_from_there_is_sent_again() {
    let mut stage = Stage::new();
    for id in 0..4 {
        stage.post(id, SEND, 1);
    }
    stage.sent();
    stage.answer(2, Syndrome::Nak(Nak::SequenceError));
    assert_eq!(stage.done(), [(0, Status::Success), (1, Status::Success)]);
    assert_eq!(stage.sent_at(), [2, 3]);
}

#[test]
fn a_late_answer_saves_sending_again() {
    let mut stage = Stage::new();
    for id in 0..3 {
        stage.post(id, SEND, 2 * MTU);
    }
    stage.sent();
    stage.pass(TIMEOUT);
    stage.answer(2, Syndrome::ACK);
    assert_eq!(stage.sent_at(), [3, 4, 5]);
}

#[test]
fn a_peer_that_never_answers_is_asked_so_often_and_then_everything_is_flushed() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    stage.post(1, SEND, 1);
    stage.post_receive(2, 1);
    for _ in 0..=3 {
        assert_eq!(stage.sent_at(), [0, 1]);
        assert_eq!(stage.done(), []);
        stage.pass(TIMEOUT);
    }
    assert_eq!(stage.done(), [(0, Status::RetryExceeded), (1, Status::Flushed), (2, Status::Flushed)]);
    assert_eq!((stage.queue_pair.state(), stage.queue_pair.next_timeout()), (State::Error, None));
    assert_eq!(stage.sent(), []);
}

#[test]
fn progress_gives_all_retries_back() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 4 * MTU);
    for at in 0..4 {
        for _ in 0..3 {
            stage.sent();
            stage.pass(TIMEOUT);
        }
        stage.sent();
        stage.answer(at, Syndrome::ACK);
    }
    assert_eq!(stage.done(), [(0, Status::Success)]);
}

#[test]
fn a_receiver_that_is_not_ready_is_left_alone_for_the_time_it_asks() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    stage.post(1, SEND, 1);
    stage.sent();
    let timer = RnrTimer::at_least(Duration::from_millis(10));
    stage.answer(0, Syndrome::ReceiverNotReady(timer));
    stage.pass(timer.delay() - Duration::from_nanos(1));
    assert_eq!(stage.sent_at(), [0; 0]);
    stage.pass(Duration::from_nanos(1));
    assert_eq!(stage.sent_at(), [0, 1]);
}

#[test]
fn a_receiver_that_is_never_ready_ends_the_connection() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    stage.post(1, SEND, 1);
    let timer = RnrTimer::from_code(1);
    for _ in 0..=2 {
        assert_eq!((stage.sent_at(), stage.done()), (vec![0, 1], vec![]));
        stage.answer(0, Syndrome::ReceiverNotReady(timer));
        stage.pass(timer.delay());
    }
    assert_eq!(stage.done(), [(0, Status::RnrRetryExceeded), (1, Status::Flushed)]);
    assert_eq!(stage.queue_pair.state(), State::Error);
}

#[test]
fn seven_retries_of_a_receiver_that_is_not_ready_are_for_ever() {
    let mut stage = Stage::with(Setting { rnr_retries_max: 7, ..Setting::default() });
    stage.post(0, SEND, 1);
    let timer = RnrTimer::from_code(1);
    for _ in 0..100 {
        stage.sent();
        stage.answer(0, Syndrome::ReceiverNotReady(timer));
        stage.pass(timer.delay());
    }
    assert_eq!((stage.done(), stage.queue_pair.state()), (vec![], State::ReadyToSend));
}

#[test]
fn a_refusal_fails_the_request_it_names_and_flushes_the_rest() {
    for (nak, status) in [
        (Nak::InvalidRequest, Status::RemoteInvalidRequest),
        (Nak::RemoteAccess, Status::RemoteAccess),
        (Nak::RemoteOperation, Status::RemoteOperation),
    ] {
        let mut stage = Stage::new();
        for id in 0..3 {
            stage.post(id, SEND, 1);
        }
        stage.sent();
        stage.answer(1, Syndrome::Nak(nak));
        assert_eq!(stage.done(), [(0, Status::Success), (1, status), (2, Status::Flushed)]);
        assert_eq!(stage.queue_pair.state(), State::Error);
    }
}

#[test]
fn a_syndrome_without_meaning_is_a_bad_response() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    stage.sent();
    stage.answer(0, Syndrome::from_code(0x7F));
    assert_eq!(stage.done(), [(0, Status::BadResponse)]);
}

#[test]
fn a_read_puts_its_responses_where_it_was_told_to() {
    let mut stage = Stage::new();
    stage.post(0, READ, MTU + 2);
    let sent = stage.sent();
    assert_eq!((sent.len(), sent[0].opcode()), (1, Opcode::ReadRequest));
    stage.response(Opcode::ReadResponse(First), 0, &[7; MTU]);
    stage.response(Opcode::ReadResponse(Last), 1, &[8; 2]);
    assert_eq!(stage.done(), [(0, Status::Success)]);
    assert_eq!(stage.memory.content(stage.local, MTU + 2), [[7; MTU].as_slice(), &[8; 2]].concat());
}

#[test]
fn a_response_acknowledges_what_was_sent_before_the_read() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    stage.post(1, READ, 1);
    stage.sent();
    stage.response(Opcode::ReadResponse(Only), 1, &[1]);
    assert_eq!(stage.done(), [(0, Status::Success), (1, Status::Success)]);
}

#[test]
fn a_missing_response_is_asked_for_again_from_where_it_is_missing() {
    let mut stage = Stage::new();
    stage.post(0, READ, 3 * MTU);
    stage.post(1, SEND, 1);
    stage.sent();
    stage.response(Opcode::ReadResponse(First), 0, &[1; MTU]);
    // The second is lost; all that follows says so, once.
    stage.response(Opcode::ReadResponse(Last), 2, &[3; MTU]);
    stage.answer(3, Syndrome::ACK);
    let sent = stage.sent();
    assert_eq!(sent.iter().map(|packet| packet.at()).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(
        sent[0].headers.rdma.map(|rdma| (rdma.address, rdma.length)),
        Some((0x1000 + MTU as u64, 2 * MTU as u32))
    );
    assert_eq!(stage.done(), []);
    stage.response(Opcode::ReadResponse(First), 1, &[2; MTU]);
    stage.response(Opcode::ReadResponse(Last), 2, &[3; MTU]);
    stage.answer(3, Syndrome::ACK);
    assert_eq!(stage.done(), [(0, Status::Success), (1, Status::Success)]);
    assert_eq!(stage.memory.content(stage.local + 2 * MTU as u64, 1), [3]);
}

#[test]
fn an_acknowledgement_does_not_stand_for_the_bytes_of_a_read() {
    let mut stage = Stage::new();
    stage.post(0, READ, 1);
    stage.sent();
    stage.answer(0, Syndrome::ACK);
    assert_eq!(stage.done(), []);
    assert_eq!(stage.sent_at(), [0]);
}

#[test]
fn responses_of_impossible_lengths_are_bad_and_put_nowhere() {
    for (opcode, bytes) in [
        (Opcode::ReadResponse(First), MTU - 4),
        (Opcode::ReadResponse(First), MTU + 4),
        (Opcode::ReadResponse(Only), MTU),
        (Opcode::ReadResponse(Last), 8),
        (Opcode::ReadResponse(Middle), 0),
    ] {
        let mut stage = Stage::new();
        stage.post(0, READ, 2 * MTU);
        stage.sent();
        let before = stage.image();
        stage.response(opcode, 0, &[0xEE; 2 * MTU][..bytes]);
        assert_eq!(stage.done(), [(0, Status::BadResponse)]);
        assert_eq!((stage.image(), stage.queue_pair.state()), (before, State::Error));
    }
}

#[test]
fn a_response_to_what_is_no_read_is_bad() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    stage.sent();
    stage.response(Opcode::ReadResponse(Only), 0, &[1]);
    assert_eq!(stage.done(), [(0, Status::BadResponse)]);
}

#[test]
fn no_more_reads_are_under_way_than_were_agreed_on_and_order_is_kept() {
    let mut stage = Stage::new();
    for id in 0..3 {
        stage.post(id, READ, 1);
    }
    stage.post(3, SEND, 1);
    assert_eq!(stage.sent_at(), [0, 1]);
    stage.response(Opcode::ReadResponse(Only), 0, &[1]);
    assert_eq!(stage.sent_at(), [2, 3]);
}

#[test]
fn sixteen_reads_can_be_under_way() {
    let mut stage = Stage::with(Setting { reads_max: 16, ..Setting::default() });
    for id in 0..20 {
        stage.post(id, READ, 1);
    }
    assert_eq!(stage.sent_at(), (0..16).collect::<Vec<_>>());
}

#[test]
fn a_request_whose_memory_has_gone_fails_after_those_before_it() {
    let mut stage = Stage::new();
    stage.post(0, SEND, 1);
    let local = vec![Segment { address: stage.local, length: 9, key: Key(0xBAD) }];
    let request = SendRequest { id: 1, operation: SEND, local, signaled: false, solicited: false };
    stage.queue_pair.post_send(request).expect("the key is looked at when it is sent");
    stage.post(2, SEND, 1);
    assert_eq!(stage.sent_at(), [0]);
    assert_eq!(stage.done(), []);
    stage.answer(0, Syndrome::ACK);
    assert_eq!(stage.done(), [(0, Status::Success), (1, Status::LocalProtection), (2, Status::Flushed)]);
    assert_eq!(stage.queue_pair.state(), State::Error);
}

#[test]
fn success_is_told_only_if_asked_for() {
    let mut stage = Stage::new();
    let local = vec![Segment { address: stage.local, length: 1, key: LOCAL }];
    let request = SendRequest { id: 0, operation: SEND, local, signaled: false, solicited: true };
    stage.queue_pair.post_send(request).expect("the queue has room");
    stage.post(1, SEND, 1);
    assert!(stage.sent()[0].headers.base.solicited);
    stage.answer(1, Syndrome::ACK);
    assert_eq!(stage.done(), [(1, Status::Success)]);
}

#[test]
fn a_long_message_waits_for_the_window_and_asks_for_answers_on_its_way() {
    let mut stage = Stage::with(Setting::default());
    let local = vec![Segment { address: stage.local, length: 4 * MTU as u32, key: LOCAL }; 2];
    for id in 0..40 {
        let request = SendRequest { id, operation: SEND, local: local.clone(), signaled: true, solicited: false };
        stage.queue_pair.post_send(request).expect("the queue has room");
    }
    let sent = stage.sent();
    assert!(sent.len() < 100 && sent.iter().any(|packet| packet.headers.base.acknowledge), "{}", sent.len());
    let last = sent.iter().rfind(|packet| packet.headers.base.acknowledge).expect("one was found").at();
    stage.answer(last, Syndrome::ACK);
    assert!(stage.sent().len() > last as usize);
}

#[test]
fn in_a_network_that_loses_a_third_the_window_is_small() {
    let mut stage = Stage::new();
    for id in 0..40 {
        stage.post(id, SEND, MTU);
    }
    let before = stage.sent().len();
    for _ in 0..3 {
        stage.answer(0, Syndrome::Nak(Nak::SequenceError));
    }
    assert!(stage.sent().len() * 4 <= before);
}
