//! What a device does with datagrams that no honest peer sends, and when something is not as it should be: each is
//! counted by its cause, and the state afterwards is what the specification asks for.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use sluice_softroce::DeviceCounters;
use sluice_softroce::packet::{
    BaseHeader, DEFAULT_PARTITION, Envelope, Headers, IpHeader, Opcode, Position, Psn, QueuePairNumber, seal,
};
use sluice_softroce::queue_pair::{PathMtu, State};
use sluice_softroce::verbs::{
    Connect, ConnectError, Device, DeviceConfig, Drive, Event, HeapMemory, OpenError, Permissions, WaitError,
};
use sluice_softroce::work::{Operation, Status};

use crate::pair::{PATIENCE, Side, connect, device, pair};

const SEND: Operation = Operation::Send { immediate: None };

/// A stranger's socket, and its address.
fn stranger() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("[::1]:0").expect("the loopback has IPv6");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

/// A sound SEND of no bytes to this queue pair, but for what `spoil` does before its CRC.
fn packet(from: SocketAddr, to: SocketAddr, number: QueuePairNumber, spoil: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let base = BaseHeader {
        opcode: Opcode::Send(Position::Only),
        solicited: false,
        padding: 0,
        partition: DEFAULT_PARTITION,
        destination: number,
        acknowledge: true,
        psn: Psn::new(0),
    };
    let mut packet = Vec::new();
    Headers::new(base).append_to(&mut packet);
    spoil(&mut packet);
    let (SocketAddr::V6(source), SocketAddr::V6(destination)) = (from, to) else { panic!("both are IPv6") };
    let ip = IpHeader::V6 { source: *source.ip(), destination: *destination.ip() };
    let envelope = Envelope { ip, source_port: from.port(), destination_port: to.port() };
    seal(&envelope, &mut packet, 0);
    packet
}

/// Sends a datagram to `side` and drives it until that has been counted; the counters.
fn after(side: &Side, socket: &UdpSocket, datagram: &[u8]) -> DeviceCounters {
    let before = side.device.counters().packets_received;
    socket.send_to(datagram, side.device.address()).expect("the loopback takes it");
    while side.device.counters().packets_received == before {
        side.device.park(PATIENCE).expect("it can wait");
        side.device.turn().expect("the socket works");
    }
    side.device.counters()
}

#[test]
fn bad_datagrams_are_dropped_and_counted_by_cause() {
    let (one, two) = (Side::new(Drive::Caller, 16), Side::new(Drive::Caller, 16));
    connect(&one, &two, &Connect::default());
    two.post_receive(0, 10);
    let (socket, from) = stranger();
    let (to, number) = (two.device.address(), two.queue_pair.number());
    let sound = || packet(from, to, number, |_| {});

    assert_eq!(after(&two, &socket, &sound()[..11]).dropped_length, 1);
    assert_eq!(after(&two, &socket, &[]).dropped_length, 2);
    assert_eq!(after(&two, &socket, &[0; 17]).dropped_length, 3);
    let mut damaged = sound();
    damaged[15] ^= 1;
    assert_eq!(after(&two, &socket, &damaged).dropped_icrc, 1);
    assert_eq!(after(&two, &socket, &packet(from, to, number, |p| p[1] |= 1)).dropped_version, 1);
    assert_eq!(after(&two, &socket, &packet(from, to, number, |p| p[0] = 0x64)).dropped_class, 1);
    let unknown = QueuePairNumber::new(number.value() ^ 1);
    assert_eq!(after(&two, &socket, &packet(from, to, unknown, |_| {})).dropped_unknown, 1);
    assert_eq!(after(&two, &socket, &packet(from, to, number, |p| p[2] = 0x80)).dropped_partition, 1);
    assert_eq!(two.device.counters().dropped(), 8);
    assert_eq!((two.queue_pair.state(), two.queue.poll(9)), (State::ReadyToSend, Ok(vec![])));
}

#[test]
fn a_packet_from_another_address_than_the_peers_is_dropped() {
    // On this machine's loopback there is one IPv6 address, so the peer is said to have another.
    let side = Side::new(Drive::Caller, 16);
    let mut peer = side.queue_pair.endpoint();
    peer.address = "[::2]:9".parse().expect("it is an address");
    side.queue_pair.connect(&peer, &Connect::default()).expect("it is new");
    side.post_receive(0, 10);
    let (socket, from) = stranger();
    let datagram = packet(from, side.device.address(), side.queue_pair.number(), |_| {});
    assert_eq!(after(&side, &socket, &datagram).dropped_source, 1);
    assert_eq!(side.queue.poll(9), Ok(vec![]));
}

#[test]
fn a_packet_for_a_queue_pair_that_is_not_connected_is_dropped() {
    let side = Side::new(Drive::Caller, 16);
    let (socket, from) = stranger();
    let datagram = packet(from, side.device.address(), side.queue_pair.number(), |_| {});
    assert_eq!(after(&side, &socket, &datagram).dropped_state, 1);
}

#[test]
fn a_forged_key_writes_nothing_and_fails_both_sides() {
    let (one, two) = pair(PathMtu::Bytes1024);
    two.fill(9);
    let before = two.content(100);
    let mut remote = two.region.remote_address();
    remote.key.0 ^= 1;
    two.post_receive(1, 1);
    one.post(0, Operation::Write { remote, immediate: None }, 100);
    assert_eq!(one.statuses(1), [(0, Status::RemoteAccess)]);
    assert_eq!(two.statuses(1), [(1, Status::Flushed)]);
    assert_eq!((one.queue_pair.state(), two.queue_pair.state()), (State::Error, State::Error));
    assert_eq!(two.content(100), before);
    assert_eq!(two.device.poll_event(), Some(Event::QueuePairError(two.queue_pair.number())));
}

#[test]
fn a_key_of_another_protection_domain_is_unknown() {
    let (one, two) = pair(PathMtu::Bytes1024);
    let other = two.device.protection_domain().register(HeapMemory::zeroed(100), Permissions::ALL);
    one.post(0, Operation::Read { remote: other.remote_address() }, 100);
    assert_eq!(one.statuses(1), [(0, Status::RemoteAccess)]);
}

#[test]
fn a_key_is_unknown_when_its_region_was_dropped() {
    let (one, two) = pair(PathMtu::Bytes1024);
    let region = two.domain.register(HeapMemory::zeroed(100), Permissions::ALL);
    let remote = region.remote_address();
    one.post(0, Operation::Write { remote, immediate: None }, 100);
    assert_eq!(one.statuses(1), [(0, Status::Success)]);
    drop(region);
    one.post(1, Operation::Write { remote, immediate: None }, 100);
    assert_eq!(one.statuses(1), [(1, Status::RemoteAccess)]);
}

#[test]
fn a_region_that_may_only_be_read_is_not_written() {
    let (one, two) = pair(PathMtu::Bytes1024);
    let permissions = Permissions { remote_write: false, ..Permissions::ALL };
    let region = two.domain.register(HeapMemory::zeroed(100), permissions);
    one.post(0, Operation::Read { remote: region.remote_address() }, 100);
    one.post(1, Operation::Write { remote: region.remote_address(), immediate: None }, 1);
    assert_eq!(one.statuses(2), [(0, Status::Success), (1, Status::RemoteAccess)]);
}

#[test]
fn a_peer_that_is_gone_is_given_up() {
    let (one, two) = (Side::new(Drive::Thread, 16), Side::new(Drive::Thread, 16));
    let quick = Connect { timeout: Some(Duration::from_micros(100)), retries_max: 2, ..Connect::default() };
    connect(&one, &two, &quick);
    drop(two);
    one.post(0, SEND, 1);
    one.post(1, SEND, 1);
    assert_eq!(one.statuses(2), [(0, Status::RetryExceeded), (1, Status::Flushed)]);
    assert_eq!(one.device.poll_event(), Some(Event::QueuePairError(one.queue_pair.number())));
}

#[test]
fn a_peer_that_never_has_a_receive_is_given_up() {
    let (one, two) = (Side::new(Drive::Thread, 16), Side::new(Drive::Thread, 16));
    let quick = Connect { rnr_retries_max: 2, rnr_delay: Duration::from_micros(10), ..Connect::default() };
    connect(&one, &two, &quick);
    one.post(0, SEND, 1);
    assert_eq!(one.statuses(1), [(0, Status::RnrRetryExceeded)]);
    assert_eq!(two.queue_pair.state(), State::ReadyToSend);
}

#[test]
fn a_receive_that_comes_late_is_still_found() {
    let (one, two) = pair(PathMtu::Bytes1024);
    one.post(0, SEND, 1);
    assert_eq!(one.queue.poll(1), Ok(vec![]));
    two.post_receive(7, 1);
    assert_eq!(two.statuses(1), [(7, Status::Success)]);
    assert_eq!(one.statuses(1), [(0, Status::Success)]);
}

#[test]
fn a_completion_queue_that_is_overrun_is_over_and_so_are_its_queue_pairs() {
    let (one, two) = (Side::new(Drive::Caller, 2), Side::new(Drive::Thread, 16));
    connect(&one, &two, &Connect::default());
    let also = one.device.queue_pair(&one.domain, &one.queue, &one.queue, Default::default());
    let remote = two.region.remote_address();
    for id in 0..3 {
        one.post(id, Operation::Write { remote, immediate: None }, 1);
    }
    while one.queue_pair.state() != State::Error {
        one.device.park(PATIENCE).expect("it can wait");
        one.device.turn().expect("the socket works");
    }
    assert_eq!(also.state(), State::Error);
    // What found room is there; then the queue says what has happened.
    assert_eq!(one.statuses(2), [(0, Status::Success), (1, Status::Success)]);
    assert!(matches!(one.queue.wait(PATIENCE), Err(WaitError::Overrun(overrun)) if overrun.capacity == 2));
    let events: Vec<_> = std::iter::from_fn(|| one.device.poll_event()).collect();
    assert!(events.contains(&Event::CompletionQueueOverrun(one.queue_pair.number())), "{events:?}");
    assert!(events.contains(&Event::QueuePairError(also.number())), "{events:?}");
}

#[test]
fn an_address_that_is_in_use_is_said_so() {
    let first = device(Drive::Caller);
    let config = DeviceConfig { drive: Drive::Caller, ..DeviceConfig::new(first.address()) };
    match Device::open(config) {
        Err(OpenError::InUse { address }) => assert_eq!(address, first.address()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_that_stands_for_all_is_refused() {
    let config = DeviceConfig::new("[::]:0".parse().expect("it is an address"));
    assert!(matches!(Device::open(config), Err(OpenError::Socket { .. })));
}

#[test]
fn a_peer_of_the_other_ip_version_is_refused() {
    let side = Side::new(Drive::Caller, 16);
    let mut peer = side.queue_pair.endpoint();
    peer.address = "127.0.0.1:4791".parse().expect("it is an address");
    let refused = side.queue_pair.connect(&peer, &Connect::default());
    assert_eq!(refused, Err(ConnectError::Family { address: side.device.address(), peer: peer.address }));
}
