//! Two queue pairs, their memory, and a network between them, stepped in virtual time.

use std::rc::Rc;
use std::time::Duration;

use sluice_softroce::Time;
use sluice_softroce::packet::{Packet, Psn, QueuePairNumber, seal};
use sluice_softroce::queue_pair::{Capabilities, PathMtu, QueuePair, ReceiveAttributes, Rights, SendAttributes};
use sluice_softroce::work::{Completion, ReceiveRequest, SendRequest};

use crate::memory::TestMemory;
use crate::wire::{Wire, address, envelope};

pub(crate) struct End {
    pub(crate) queue_pair: QueuePair<Rc<TestMemory>>,
    pub(crate) memory: Rc<TestMemory>,
    pub(crate) completions: Vec<Completion>,
    /// The link is busy until then.
    busy_until: Time,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) ends: [End; 2],
    pub(crate) wire: Wire,
}

/// What the two ends are set up with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) path_mtu: PathMtu,
    pub(crate) reads_max: u8,
    pub(crate) timeout: Duration,
    pub(crate) retries_max: u8,
    pub(crate) rnr_retries_max: u8,
    pub(crate) rights: Rights,
    pub(crate) window_bytes_max: usize,
    /// Of each end.
    pub(crate) first_psn: [u32; 2],
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            path_mtu: PathMtu::Bytes256,
            reads_max: 16,
            timeout: Duration::from_micros(500),
            retries_max: 7,
            rnr_retries_max: 7,
            rights: Rights::ALL,
            window_bytes_max: 64 << 10,
            first_psn: [0xFF_FFF0, 77],
        }
    }
}

pub(crate) fn number(end: usize) -> QueuePairNumber {
    QueuePairNumber::new(0x11 + end as u32)
}

impl World {
    pub(crate) fn new(setup: Setup, wire: Wire) -> World {
        let end = |of: usize| {
            let memory = Rc::new(TestMemory::default());
            let capabilities = Capabilities { sends_max: 1000, receives_max: 1000, segments_max: 8 };
            let mut queue_pair = QueuePair::new(number(of), capabilities, Rc::clone(&memory));
            queue_pair.to_init(setup.rights).expect("it is new");
            let peer_psn = Psn::new(setup.first_psn[1 - of]);
            let path = ReceiveAttributes {
                reads_max: setup.reads_max,
                ..ReceiveAttributes::new(setup.path_mtu, address(1 - of), number(1 - of), peer_psn)
            };
            queue_pair.to_ready_to_receive(path).expect("it is in the state Init");
            let sending = SendAttributes {
                reads_max: setup.reads_max,
                timeout: Some(setup.timeout),
                retries_max: setup.retries_max,
                rnr_retries_max: setup.rnr_retries_max,
                window_bytes_max: setup.window_bytes_max,
                ..SendAttributes::new(Psn::new(setup.first_psn[of]))
            };
            queue_pair.to_ready_to_send(sending).expect("it is ready to receive");
            End { queue_pair, memory, completions: Vec::new(), busy_until: Time::ZERO }
        };
        World { now: Time::ZERO, ends: [end(0), end(1)], wire }
    }

    pub(crate) fn send(&mut self, end: usize, request: SendRequest) {
        self.ends[end].queue_pair.post_send(request).expect("the queue has room");
        self.collect(end);
    }

    pub(crate) fn receive(&mut self, end: usize, request: ReceiveRequest) {
        self.ends[end].queue_pair.post_receive(request).expect("the queue has room");
        self.collect(end);
    }

    pub(crate) fn collect(&mut self, end: usize) {
        let End { queue_pair, completions, .. } = &mut self.ends[end];
        completions.extend(std::iter::from_fn(|| queue_pair.poll_completion()));
    }

    /// When something happens next by itself.
    pub(crate) fn next_event(&self) -> Option<Time> {
        let of_end = |end: &End| {
            let transmit = end.queue_pair.wants_to_transmit().then_some(end.busy_until.max(self.now));
            [transmit, end.queue_pair.next_timeout()].into_iter().flatten().min()
        };
        self.ends.iter().filter_map(of_end).chain(self.wire.next_due()).min()
    }

    /// Lets happen what is due at `time`.
    pub(crate) fn step(&mut self, time: Time) {
        self.now = self.now.max(time);
        while let Some((to, bytes)) = self.wire.arrived(self.now) {
            self.arrive(to, &bytes);
        }
        for end in 0..2 {
            self.ends[end].queue_pair.handle_timeout(self.now);
            self.transmit(end);
            self.collect(end);
        }
    }

    fn arrive(&mut self, to: usize, bytes: &[u8]) {
        if !envelope(to).verify(bytes) {
            return;
        }
        let packet = Packet::parse(bytes).expect("its CRC is right, so it is as it was sent");
        // A packet that is dropped is one that came too late.
        let _ = self.ends[to].queue_pair.handle_packet(self.now, address(1 - to), &packet);
        self.collect(to);
    }

    fn transmit(&mut self, end: usize) {
        let End { queue_pair, busy_until, .. } = &mut self.ends[end];
        if *busy_until > self.now {
            return;
        }
        let mut packet = Vec::new();
        if queue_pair.poll_transmit(self.now, &mut packet) {
            seal(&envelope(1 - end), &mut packet, 0);
            // A gigabyte a second.
            *busy_until = self.now.after(Duration::from_nanos(packet.len() as u64));
            self.wire.send(self.now, 1 - end, &packet);
        }
    }

    /// Until nothing happens any more by itself.
    pub(crate) fn settle(&mut self) {
        let mut steps = 0;
        while let Some(time) = self.next_event() {
            self.step(time);
            steps += 1;
            assert!(steps < 5_000_000, "it goes on for ever");
        }
    }
}
