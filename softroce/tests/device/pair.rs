//! Two devices on the loopback with a queue pair each, connected.

use std::sync::Arc;
use std::time::Duration;

use sluice_softroce::queue_pair::PathMtu;
use sluice_softroce::verbs::{
    CompletionQueue, Connect, Device, DeviceConfig, Drive, HeapMemory, MemoryRegion, Permissions, ProtectionDomain,
    QueuePair,
};
use sluice_softroce::work::{Completion, Operation, ReceiveRequest, SendRequest, Status};

/// Nothing on a loopback takes so long, but a machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Side {
    pub(crate) device: Device,
    /// Also keeps it alive.
    pub(crate) domain: ProtectionDomain,
    pub(crate) queue: CompletionQueue,
    pub(crate) queue_pair: QueuePair,
    pub(crate) memory: Arc<HeapMemory>,
    pub(crate) region: MemoryRegion,
}

pub(crate) const MEMORY_BYTES: usize = 4 << 20;

pub(crate) fn device(drive: Drive) -> Device {
    let address = "[::1]:0".parse().expect("it is an address");
    Device::open(DeviceConfig { drive, ..DeviceConfig::new(address) }).expect("the loopback has IPv6")
}

impl Side {
    /// A side whose completion queue has so much room.
    pub(crate) fn new(drive: Drive, completions: usize) -> Side {
        let device = device(drive);
        let domain = device.protection_domain();
        let queue = device.completion_queue(completions);
        let queue_pair = device.queue_pair(&domain, &queue, &queue, Default::default());
        let memory = HeapMemory::zeroed(MEMORY_BYTES);
        let region = domain.register(Arc::clone(&memory), Permissions::ALL);
        Side { device, domain, queue, queue_pair, memory, region }
    }

    pub(crate) fn post(&self, id: u64, operation: Operation, bytes: u64) {
        let local = vec![self.region.segment(0..bytes)];
        let request = SendRequest { id, operation, local, signaled: true, solicited: false };
        self.queue_pair.post_send(request).expect("the queue has room");
    }

    pub(crate) fn post_receive(&self, id: u64, bytes: u64) {
        let local = vec![self.region.segment(0..bytes)];
        self.queue_pair.post_receive(ReceiveRequest { id, local }).expect("the queue has room");
    }

    /// The next `count` completions.
    pub(crate) fn done(&self, count: usize) -> Vec<Completion> {
        let mut done = Vec::new();
        while done.len() < count {
            let more = self.queue.wait(PATIENCE).expect("the queue has room");
            assert!(!more.is_empty(), "{} of {count} completions", done.len());
            done.extend(more);
        }
        done
    }

    pub(crate) fn statuses(&self, count: usize) -> Vec<(u64, Status)> {
        self.done(count).iter().map(|done| (done.id, done.status)).collect()
    }

    /// Fills its memory with what depends on `seed`.
    pub(crate) fn fill(&self, seed: u8) {
        self.memory.with_mut(|bytes| {
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = (index as u8).wrapping_mul(31) ^ (index >> 8) as u8 ^ seed;
            }
        });
    }

    pub(crate) fn content(&self, bytes: usize) -> Vec<u8> {
        self.memory.with(|memory| memory[..bytes].to_vec())
    }
}

pub(crate) fn connect(one: &Side, two: &Side, connect: &Connect) {
    one.queue_pair.connect(&two.queue_pair.endpoint(), connect).expect("it is new");
    two.queue_pair.connect(&one.queue_pair.endpoint(), connect).expect("it is new");
}

pub(crate) fn pair(path_mtu: PathMtu) -> (Side, Side) {
    let (one, two) = (Side::new(Drive::Thread, 256), Side::new(Drive::Thread, 256));
    connect(&one, &two, &Connect { path_mtu, ..Connect::default() });
    (one, two)
}
