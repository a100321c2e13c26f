//! Every operation over sockets, at sizes around the path MTU and beyond the window.

use sluice_softroce::queue_pair::PathMtu;
use sluice_softroce::verbs::{Connect, Drive};
use sluice_softroce::work::{CompletionKind, Operation, Status};

use crate::pair::{PATIENCE, Side, connect, pair};

fn sizes(mtu: PathMtu) -> [usize; 7] {
    let mtu = mtu.bytes();
    [0, 1, mtu - 1, mtu, mtu + 1, 65_536, 1 << 20]
}

#[test]
fn messages_of_all_sizes_arrive_whole() {
    for path_mtu in [PathMtu::Bytes256, PathMtu::Bytes4096] {
        let (one, two) = pair(path_mtu);
        for (id, size) in sizes(path_mtu).into_iter().enumerate() {
            one.fill(id as u8);
            two.fill(0xFF);
            two.post_receive(id as u64, 1 << 20);
            one.post(id as u64, Operation::Send { immediate: Some(size as u32) }, size as u64);
            let received = two.done(1)[0];
            assert_eq!((received.id, received.status, received.bytes), (id as u64, Status::Success, size as u32));
            assert_eq!(received.immediate, Some(size as u32));
            assert_eq!(one.statuses(1), [(id as u64, Status::Success)]);
            assert_eq!(one.content(size), two.content(size));
        }
    }
}

#[test]
fn writes_of_all_sizes_arrive_whole_and_nowhere_else() {
    for path_mtu in [PathMtu::Bytes256, PathMtu::Bytes4096] {
        let (one, two) = pair(path_mtu);
        for (id, size) in sizes(path_mtu).into_iter().enumerate() {
            one.fill(id as u8);
            two.fill(0xFF);
            let behind = two.content(size + 64)[size..].to_vec();
            let remote = two.region.remote_address();
            two.post_receive(id as u64, 0);
            one.post(id as u64, Operation::Write { remote, immediate: Some(7) }, size as u64);
            let received = two.done(1)[0];
            assert_eq!((received.kind, received.bytes), (CompletionKind::ReceiveWrite, size as u32));
            assert_eq!(one.statuses(1), [(id as u64, Status::Success)]);
            assert_eq!(one.content(size), two.content(size));
            assert_eq!(two.content(size + 64)[size..], behind);
        }
    }
}

#[test]
fn reads_of_all_sizes_arrive_whole() {
    for path_mtu in [PathMtu::Bytes256, PathMtu::Bytes4096] {
        let (one, two) = pair(path_mtu);
        for (id, size) in sizes(path_mtu).into_iter().enumerate() {
            two.fill(id as u8);
            one.fill(0xFF);
            let remote = two.region.remote_address();
            one.post(id as u64, Operation::Read { remote }, size as u64);
            assert_eq!(one.statuses(1), [(id as u64, Status::Success)]);
            assert_eq!(one.content(size), two.content(size));
        }
    }
}

#[test]
fn many_requests_at_once_complete_in_order() {
    let (one, two) = pair(PathMtu::Bytes1024);
    two.fill(3);
    let remote = two.region.remote_address();
    for id in 0..200 {
        let operation = match id % 2 {
            0 => Operation::Write { remote, immediate: None },
            _ => Operation::Read { remote },
        };
        one.post(id, operation, 5000);
    }
    assert_eq!(one.statuses(200), (0..200).map(|id| (id, Status::Success)).collect::<Vec<_>>());
    assert_eq!(one.content(5000), two.content(5000));
}

#[test]
fn both_directions_work_at_once() {
    let (one, two) = pair(PathMtu::Bytes4096);
    for id in 0..20 {
        one.post(id, Operation::Write { remote: two.region.remote_address(), immediate: None }, 1 << 20);
        two.post(id, Operation::Read { remote: one.region.remote_address() }, 1 << 20);
    }
    let all = |side: &Side| side.statuses(20).iter().all(|(_, status)| *status == Status::Success);
    assert!(all(&one) && all(&two));
}

#[test]
fn several_queue_pairs_share_a_device() {
    let (one, two) = pair(PathMtu::Bytes4096);
    let extra: Vec<_> = (0..4)
        .map(|_| {
            let new = |side: &Side| side.device.queue_pair(&side.domain, &side.queue, &side.queue, Default::default());
            let (here, there) = (new(&one), new(&two));
            here.connect(&there.endpoint(), &Connect::default()).expect("it is new");
            there.connect(&here.endpoint(), &Connect::default()).expect("it is new");
            (here, there)
        })
        .collect();
    let remote = two.region.remote_address();
    for (index, (here, _)) in extra.iter().enumerate() {
        let request = sluice_softroce::work::SendRequest {
            id: index as u64,
            operation: Operation::Write { remote, immediate: None },
            local: vec![one.region.segment(0..100_000)],
            signaled: true,
            solicited: false,
        };
        here.post_send(request).expect("the queue has room");
    }
    let done = one.done(4);
    for (index, (here, _)) in extra.iter().enumerate() {
        let of_this = done.iter().find(|done| done.queue_pair == here.number()).expect("each has one");
        assert_eq!((of_this.id, of_this.status), (index as u64, Status::Success));
    }
}

#[test]
fn a_device_without_a_thread_is_driven_by_who_waits() {
    let (one, two) = (Side::new(Drive::Caller, 256), Side::new(Drive::Caller, 256));
    connect(&one, &two, &Connect::default());
    two.post_receive(5, 100);
    one.post(6, Operation::Send { immediate: None }, 100);
    assert_eq!(two.statuses(1), [(5, Status::Success)]);
    // The acknowledgement waits for what may be posted now.
    two.device.turn().expect("the socket works");
    assert_eq!(one.statuses(1), [(6, Status::Success)]);
}

#[test]
fn what_was_received_is_acknowledged_before_its_queue_pair_is_gone() {
    let (one, two) = (Side::new(Drive::Caller, 256), Side::new(Drive::Caller, 256));
    connect(&one, &two, &Connect::default());
    two.post_receive(5, 100);
    one.post(6, Operation::Send { immediate: None }, 100);
    assert_eq!(two.statuses(1), [(5, Status::Success)]);
    drop(two);
    assert_eq!(one.statuses(1), [(6, Status::Success)]);
}

#[test]
fn an_armed_queue_rings_for_a_solicited_completion() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let (one, two) = pair(PathMtu::Bytes1024);
    let rings = |timeout: i64| {
        let mut fds = [PollFd::from_borrowed_fd(two.queue.fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: timeout, tv_nsec: 0 })).expect("it can be polled") == 1
    };
    two.queue.arm(true);
    for (id, solicited) in [(0, false), (1, true)] {
        two.post_receive(id, 10);
        let local = vec![one.region.segment(0..1)];
        let operation = Operation::Send { immediate: None };
        let request = sluice_softroce::work::SendRequest { id, operation, local, signaled: true, solicited };
        one.queue_pair.post_send(request).expect("the queue has room");
        assert_eq!(one.statuses(1), [(id, Status::Success)]);
        assert_eq!(rings(if solicited { PATIENCE.as_secs() as i64 } else { 0 }), solicited);
    }
    two.queue.clear();
    assert!(!rings(0));
}
