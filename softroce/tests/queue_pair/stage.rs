//! One queue pair on a stage: the test plays its peer, packet by packet.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sluice_softroce::Time;
use sluice_softroce::memory::{Access, Key, Segment};
use sluice_softroce::packet::{
    AcknowledgeHeader, BaseHeader, DEFAULT_PARTITION, Headers, Opcode, Packet, Psn, QueuePairNumber, RdmaHeader,
    Syndrome, padding_of,
};
use sluice_softroce::queue_pair::{
    Capabilities, Dropped, PathMtu, QueuePair, ReceiveAttributes, Rights, SendAttributes,
};
use sluice_softroce::work::{Completion, Operation, ReceiveRequest, SendRequest, Status};

use crate::memory::TestMemory;
use crate::wire::address;

/// The payload of a full packet on this stage.
pub(crate) const MTU: usize = 256;
/// The number of the first packet of either side: the next but one wraps around.
pub(crate) const FIRST: Psn = Psn::new(0xFF_FFFE);
/// A region that the peer may read and write, of four full packets.
pub(crate) const SHARED: Key = Key(0xABCD);
/// Memory of this side only.
pub(crate) const LOCAL: Key = Key(0x1234);

pub(crate) const TIMEOUT: Duration = Duration::from_millis(1);

pub(crate) struct Stage {
    pub(crate) queue_pair: QueuePair<Rc<TestMemory>>,
    pub(crate) memory: Rc<TestMemory>,
    pub(crate) now: Time,
    /// The address of [`SHARED`].
    pub(crate) shared: u64,
    /// The address of [`LOCAL`].
    pub(crate) local: u64,
}

/// A packet that the queue pair has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) headers: Headers,
    pub(crate) payload: Vec<u8>,
}

impl Sent {
    /// How many packets after the first it stands.
    pub(crate) fn at(&self) -> i32 {
        self.headers.base.psn.distance_from(FIRST)
    }

    pub(crate) fn opcode(&self) -> Opcode {
        self.headers.base.opcode
    }

    pub(crate) fn answer(&self) -> (i32, Syndrome) {
        (self.at(), self.headers.acknowledge.expect("it is an answer").syndrome)
    }
}

pub(crate) struct Setting {
    pub(crate) rights: Rights,
    pub(crate) reads_max: u8,
    pub(crate) retries_max: u8,
    pub(crate) rnr_retries_max: u8,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting { rights: Rights::ALL, reads_max: 2, retries_max: 3, rnr_retries_max: 2 }
    }
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage::with(Setting::default())
    }

    pub(crate) fn with(setting: Setting) -> Stage {
        let memory = Rc::new(TestMemory::default());
        let rights: &'static [Access] = &[Access::RemoteRead, Access::RemoteWrite, Access::LocalWrite];
        let content: Vec<u8> = (0..4 * MTU).map(|i| (i / MTU * 16 + i % 16) as u8).collect();
        // What lies in front of and behind it must stay as it is.
        memory.add(0, &[0xCC; MTU], &[]);
        let shared = memory.add(SHARED.0, &content, rights);
        memory.add(0, &[0xCC; MTU], &[]);
        let local = memory.add(LOCAL.0, &content, &[Access::LocalWrite]);
        let capabilities = Capabilities { sends_max: 40, receives_max: 4, segments_max: 2 };
        let mut queue_pair = QueuePair::new(QueuePairNumber::new(0x11), capabilities, Rc::clone(&memory));
        queue_pair.to_init(setting.rights).expect("it is new");
        let path = ReceiveAttributes {
            reads_max: setting.reads_max,
            ..ReceiveAttributes::new(PathMtu::Bytes256, address(1), QueuePairNumber::new(0x22), FIRST)
        };
        queue_pair.to_ready_to_receive(path).expect("it is in the state Init");
        let sending = SendAttributes {
            reads_max: setting.reads_max,
            timeout: Some(TIMEOUT),
            retries_max: setting.retries_max,
            rnr_retries_max: setting.rnr_retries_max,
            ..SendAttributes::new(FIRST)
        };
        queue_pair.to_ready_to_send(sending).expect("it is ready to receive");
        Stage { queue_pair, memory, now: Time::ZERO, shared, local }
    }

    /// The peer sends a packet, `at` packets after the first.
    pub(crate) fn packet(&mut self, opcode: Opcode, at: i32, payload: &[u8]) {
        self.headers(self.base(opcode, at, payload), payload);
    }

    /// The same with a place to read or write: an offset into [`SHARED`].
    pub(crate) fn rdma(&mut self, opcode: Opcode, at: i32, (offset, key, length): (i64, Key, u32), payload: &[u8]) {
        let address = self.shared.wrapping_add_signed(offset);
        let headers = self.base(opcode, at, payload).with_rdma(RdmaHeader { address, key, length });
        self.headers(headers, payload);
    }

    /// The peer acknowledges, or not.
    pub(crate) fn answer(&mut self, at: i32, syndrome: Syndrome) {
        let headers = self.base(Opcode::Acknowledge, at, &[]);
        self.headers(headers.with_acknowledge(AcknowledgeHeader { syndrome, messages: 0 }), &[]);
    }

    /// The peer answers a READ.
    pub(crate) fn response(&mut self, opcode: Opcode, at: i32, payload: &[u8]) {
        let mut headers = self.base(opcode, at, payload);
        if opcode.has_aeth() {
            headers = headers.with_acknowledge(AcknowledgeHeader { syndrome: Syndrome::ACK, messages: 0 });
        }
        self.headers(headers, payload);
    }

    pub(crate) fn base(&self, opcode: Opcode, at: i32, payload: &[u8]) -> Headers {
        Headers::new(BaseHeader {
            opcode,
            solicited: false,
            padding: padding_of(payload.len()),
            partition: DEFAULT_PARTITION,
            destination: self.queue_pair.number(),
            acknowledge: true,
            psn: FIRST.plus(at.cast_unsigned()),
        })
    }

    pub(crate) fn headers(&mut self, headers: Headers, payload: &[u8]) {
        assert_eq!(self.from(address(1), headers, payload), Ok(()));
    }

    pub(crate) fn from(&mut self, source: IpAddr, headers: Headers, payload: &[u8]) -> Result<(), Dropped> {
        self.queue_pair.handle_packet(self.now, source, &Packet { headers, payload })
    }

    /// Everything that the queue pair wants to send now.
    pub(crate) fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        loop {
            let mut bytes = Vec::new();
            if !self.queue_pair.poll_transmit(self.now, &mut bytes) {
                return sent;
            }
            bytes.extend_from_slice(&[0; 4]);
            let packet = Packet::parse(&bytes).expect("it was written as a packet");
            sent.push(Sent { headers: packet.headers, payload: packet.payload.to_vec() });
        }
    }

    /// The same, without what is in the packets: how far after the first they stand.
    pub(crate) fn sent_at(&mut self) -> Vec<i32> {
        self.sent().iter().map(Sent::at).collect()
    }

    /// The answers that the queue pair wants to send now.
    pub(crate) fn answers(&mut self) -> Vec<(i32, Syndrome)> {
        self.sent().iter().map(Sent::answer).collect()
    }

    pub(crate) fn done(&mut self) -> Vec<(u64, Status)> {
        self.completions().iter().map(|done| (done.id, done.status)).collect()
    }

    pub(crate) fn completions(&mut self) -> Vec<Completion> {
        std::iter::from_fn(|| self.queue_pair.poll_completion()).collect()
    }

    pub(crate) fn post(&mut self, id: u64, operation: Operation, bytes: usize) {
        let request = SendRequest { id, operation, local: self.segments(bytes), signaled: true, solicited: false };
        self.queue_pair.post_send(request).expect("the queue has room");
    }

    pub(crate) fn post_receive(&mut self, id: u64, bytes: usize) {
        let local = self.segments(bytes);
        self.queue_pair.post_receive(ReceiveRequest { id, local }).expect("the queue has room");
    }

    pub(crate) fn segments(&self, bytes: usize) -> Vec<Segment> {
        vec![Segment { address: self.local, length: bytes as u32, key: LOCAL }]
    }

    /// Lets time pass, and whatever is due happen.
    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        self.queue_pair.handle_timeout(self.now);
    }

    /// All of this side's memory.
    pub(crate) fn image(&self) -> Vec<u8> {
        self.memory.bytes.borrow().clone()
    }

    pub(crate) fn shared_content(&self) -> Vec<u8> {
        self.memory.content(self.shared, 4 * MTU)
    }
}
