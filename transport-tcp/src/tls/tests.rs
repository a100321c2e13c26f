use sluice_handshake::TlsTrust;
use sluice_memory::BufferPool;
use sluice_plugin::{Message, Payload};

use super::*;
use crate::testing::certificates::{Authority, Folder, GOOD, LOOPBACK};
use crate::testing::pool;

/// One end, and what is queued there.
struct End {
    tls: Tls,
    queue: SendQueue,
}

impl End {
    fn new(session: TlsLink) -> Self {
        Self { tls: Tls::new(session), queue: SendQueue::new(4 << 20) }
    }

    fn plan(&mut self) -> Option<WritePlan> {
        self.tls.write_plan(&mut self.queue, false)
    }

    fn sent(&mut self, plan: WritePlan, bytes: usize) {
        self.tls.sent(plan, bytes, &mut self.queue);
    }

    fn push(&mut self, pool: &BufferPool, bytes: usize) {
        let class = sluice_memory::SizeClass::fitting(bytes).expect("at most 512 KiB");
        let mut buffer = pool.try_acquire(class).expect("64 MiB are enough");
        buffer.truncate(bytes);
        let payloads = vec![Payload { buffer: buffer.freeze(), slot: None }];
        self.queue.push(Message { head: vec![7; 10], payloads }).expect("room");
    }

    /// Takes all that the other says; what it was.
    fn hear(&mut self, other: &mut End, is_last: bool) -> Vec<u8> {
        let (mut all, mut plaintext) = (Vec::new(), Vec::new());
        while let Some(plan) = other.tls.write_plan(&mut other.queue, is_last) {
            let bytes = plan.bytes();
            for chunk in plan.pieces[0].as_slice().chunks(HELLO_PLACE) {
                let mut place = self.tls.read_plan(false);
                place.pieces[0].as_mut_slice()[..chunk.len()].copy_from_slice(chunk);
                self.tls.open(place, chunk.len(), &mut plaintext).expect("good bytes");
                all.append(&mut plaintext);
            }
            other.sent(plan, bytes);
        }
        all
    }
}

/// Two ends that know each other.
fn ends() -> (End, End) {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(LOOPBACK, GOOD), &authority);
    let trust = TlsTrust::load(folder.files()).expect("good files");
    let address = LOOPBACK.parse().expect("an address");
    let (mut near, mut far) = (End::new(trust.connect(address).expect("an address")), End::new(trust.accept()));
    while !(near.tls.session.is_established() && far.tls.session.is_established()) {
        far.hear(&mut near, false);
        near.hear(&mut far, false);
    }
    (near, far)
}

#[test]
fn buffers_are_released_when_they_are_encrypted_and_count_until_they_are_sent() {
    let ((mut near, _far), pool) = (ends(), pool());
    near.push(&pool, 100_000);
    let plan = near.plan().expect("something to send");
    assert_eq!((pool.in_use_bytes(), near.queue.bytes()), (0, 100_010));
    let all = plan.bytes();
    near.sent(plan, all - 1);
    assert_eq!(near.queue.bytes(), 100_010);
    let plan = near.plan().expect("the last byte");
    near.sent(plan, 1);
    assert_eq!(near.queue.bytes(), 0);
    assert!(!near.tls.has_unsent() && near.plan().is_none());
}

#[test]
fn no_more_than_a_batch_is_encrypted_at_a_time() {
    let ((mut near, mut far), pool) = (ends(), pool());
    (0..40).for_each(|_| near.push(&pool, 32 << 10));
    let plan = near.plan().expect("something to send");
    assert!((BATCH_BYTES..BATCH_BYTES + (34 << 10)).contains(&plan.bytes()), "{}", plan.bytes());
    assert!(near.plan().is_none(), "one at a time");
    near.tls.lent = Lent::Back(plan);
    assert_eq!(far.hear(&mut near, false).len(), 40 * ((32 << 10) + 10));
    assert_eq!(pool.in_use_bytes(), 0);
}

#[test]
fn nothing_is_encrypted_before_the_peer_is_known() {
    let authority = Authority::new();
    let folder = Folder::of(&authority.issue(LOOPBACK, GOOD), &authority);
    let mut far = End::new(TlsTrust::load(folder.files()).expect("good files").accept());
    far.queue.push_bytes(b"hello".to_vec());
    assert!(far.plan().is_none() && !far.tls.has_unsent());
    assert_eq!(far.queue.bytes(), 5);
}

#[test]
fn the_last_thing_said_is_that_nothing_follows() {
    let ((mut near, mut far), pool) = (ends(), pool());
    near.push(&pool, 300_000);
    assert_eq!(far.hear(&mut near, true).len(), 300_010);
    assert!(far.tls.peer_has_closed() && near.tls.is_closed() && !near.tls.has_unsent());
    near.push(&pool, 1);
    assert!(near.plan().is_none());
}

#[test]
fn who_cannot_send_any_more_has_nothing_to_send() {
    let ((mut near, _far), pool) = (ends(), pool());
    near.push(&pool, 1000);
    let plan = near.plan().expect("something to send");
    drop(plan);
    near.tls.end_sending();
    assert!(!near.tls.has_unsent() && near.tls.is_closed() && near.plan().is_none());
}
