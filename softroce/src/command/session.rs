//! A device with one connected queue pair, set up by a conversation.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sluice_softroce::memory::Key;
use sluice_softroce::packet::{Psn, QueuePairNumber};
use sluice_softroce::queue_pair::{Capabilities, PathMtu};
use sluice_softroce::verbs::{
    CompletionQueue, Connect, Device, DeviceConfig, Drive, Endpoint, HeapMemory, MemoryRegion, Permissions, QueuePair,
};
use sluice_softroce::work::{Completion, Operation, ReceiveRequest, RemoteAddress, SendRequest, Status};

use super::Result;
use super::conversation::{Conversation, Line};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Completions of the deepest queues, both ways.
const COMPLETIONS: usize = 1024;

pub(super) struct Session {
    /// Driven while it is waited for completions.
    _device: Device,
    queue: CompletionQueue,
    queue_pair: QueuePair,
    region: MemoryRegion,
    /// Where the peer's memory begins.
    pub(super) remote: RemoteAddress,
}

/// What is told before connecting.
struct Told {
    endpoint: Endpoint,
    remote: RemoteAddress,
}

impl Session {
    /// The side that asks: `request` is the first part of its line.
    pub(super) fn ask(conversation: &mut Conversation, request: &str, mtu: PathMtu, bytes: u32) -> Result<Session> {
        let mut session = Session::open(conversation, bytes)?;
        let request = format!("{request} mtu={} bytes={bytes} {}", mtu.bytes(), session.told());
        conversation.say(&request)?;
        session.connect(&conversation.hear()?, mtu)?;
        Ok(session)
    }

    /// The side that was asked by `line`. Its receives are to be posted before it says `told`.
    pub(super) fn answer(conversation: &Conversation, line: &Line) -> Result<Session> {
        let mtu = PathMtu::of_bytes(line.value("mtu")?).ok_or("no such path MTU")?;
        let mut session = Session::open(conversation, line.value("bytes")?)?;
        session.connect(line, mtu)?;
        Ok(session)
    }

    fn open(conversation: &Conversation, bytes: u32) -> Result<Session> {
        let address = SocketAddr::new(conversation.address()?, 0);
        let device = Device::open(DeviceConfig { drive: Drive::Caller, ..DeviceConfig::new(address) })?;
        let queue = device.completion_queue(COMPLETIONS);
        let domain = device.protection_domain();
        let queue_pair = device.queue_pair(&domain, &queue, &queue, Capabilities::default());
        let region = domain.register(HeapMemory::zeroed(bytes as usize), Permissions::ALL);
        let remote = region.remote_address();
        Ok(Session { _device: device, queue, queue_pair, region, remote })
    }

    /// What the peer needs to connect.
    pub(super) fn told(&self) -> String {
        let Endpoint { address, number, first_psn } = self.queue_pair.endpoint();
        let (number, RemoteAddress { address: at, key }) = (number.value(), self.region.remote_address());
        format!("device={address} qpn={number} psn={first_psn} address={at} key={}", key.0)
    }

    fn connect(&mut self, line: &Line, path_mtu: PathMtu) -> Result<()> {
        let Told { endpoint, remote } = Told::parse(line)?;
        self.remote = remote;
        Ok(self.queue_pair.connect(&endpoint, &Connect { path_mtu, ..Connect::default() })?)
    }

    pub(super) fn post_receives(&self, count: usize) -> Result<()> {
        for _ in 0..count {
            let local = vec![self.region.segment(0..self.region.length())];
            self.queue_pair.post_receive(ReceiveRequest { id: 0, local })?;
        }
        Ok(())
    }

    /// Posts `count` requests over the whole region.
    pub(super) fn post_sends(&self, operation: Operation, count: usize) -> Result<()> {
        let request = || SendRequest {
            id: 0,
            operation,
            local: vec![self.region.segment(0..self.region.length())],
            signaled: true,
            solicited: false,
        };
        Ok(self.queue_pair.post_sends(std::iter::repeat_with(request).take(count))?)
    }

    /// Completions, all of them successes; none if there are none within the time.
    pub(super) fn wait(&self, most: Duration) -> Result<Vec<Completion>> {
        let done = self.queue.wait(most)?;
        match done.iter().find(|done| done.status != Status::Success) {
            Some(failed) => Err(format!("a request failed: {failed:?}").into()),
            None => Ok(done),
        }
    }

    /// The same, and it is an error if there are none.
    pub(super) fn wait_for_some(&self) -> Result<Vec<Completion>> {
        let done = self.wait(PATIENCE)?;
        if done.is_empty() {
            return Err(format!("nothing was done for {PATIENCE:?}").into());
        }
        Ok(done)
    }

    pub(super) fn packets_sent(&self) -> u64 {
        self.queue_pair.counters().packets_sent
    }

    pub(super) fn packets_sent_again(&self) -> u64 {
        self.queue_pair.counters().packets_sent_again
    }

    pub(super) fn packets_received(&self) -> u64 {
        self.queue_pair.counters().packets_received
    }
}

impl Told {
    fn parse(line: &Line) -> Result<Told> {
        let endpoint = Endpoint {
            address: line.value("device")?,
            number: QueuePairNumber::new(line.value("qpn")?),
            first_psn: Psn::new(line.value("psn")?),
        };
        Ok(Told { endpoint, remote: RemoteAddress { address: line.value("address")?, key: Key(line.value("key")?) } })
    }
}

/// CPU time of this process.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
