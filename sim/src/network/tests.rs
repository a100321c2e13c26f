//! That the network notices what a real one would suffer from in silence.

use std::task::Waker;

use sluice_core::{Address, Buffer, HugePages, Incarnation, Limits, SubpartitionIndex};
use sluice_memory::{Arena, ArenaOptions, BufferMut, BufferPool, Memory, PoolSpec, SizeClass};
use sluice_plugin::{Connect, LinkId, Message, Payload, TransportEvent};
use sluice_protocol::wire::{Backlog, Block, Frame, HeadBuilder, Open, Placement, Slot};
use sluice_protocol::{ChannelId, Lane, LinkEpoch, Ticket};

use super::*;
use crate::journal::Rule;
use crate::seed::{Purpose, Seed};

const CHANNEL: ChannelId = ChannelId(1);

/// A producer's and a consumer's transport with a link between them.
struct Pair {
    network: Network,
    journal: Journal,
    now: Time,
    pools: Vec<BufferPool>,
    transports: Vec<Box<dyn Transport>>,
    links: [LinkId; 2],
}

impl Pair {
    fn new(placement: PayloadPlacement) -> Self {
        let journal = Journal::new(false);
        let network = Network::new(placement, Seed(1).stream(Purpose::Network), journal.clone());
        let (mut pools, mut transports) = (Vec::new(), Vec::new());
        for node in 0..2 {
            let arena = Arena::map(ArenaOptions { bytes: 1 << 20, huge_pages: HugePages::Never });
            let memory = Memory::new(arena.expect("a megabyte"));
            let spec = PoolSpec { owner: "a test".into(), unit: SizeClass::UNIT, floor_units: 4, bytes_max: 1 << 20 };
            pools.push(memory.pool(spec).expect("there is room"));
            let setup = Setup {
                node: NodeId(node),
                incarnation: Incarnation(1),
                cluster: "a test".into(),
                limits: Limits::default(),
                arena: memory.arena().clone(),
                waker: Waker::noop().clone(),
            };
            transports.push(network.build(setup).expect("it is only simulated"));
        }
        let mut pair = Self { network, journal, now: Time(1), pools, transports, links: [LinkId(0); 2] };
        let address = Address(format!("{}:1", pair.network.name()));
        let wish = Connect { address, node: NodeId(1), session: 1, epoch: LinkEpoch(1), lane: Lane(0) };
        pair.links = [pair.transports[0].connect(Time(1), wish), LinkId(1)];
        pair.pass();
        pair.pass();
        let open = Open {
            partition: PartitionId::default(),
            subpartition: SubpartitionIndex(0),
            first_sequence: 0,
            granted: 0,
            keep: 0,
            deadline_ms: 1,
            ticket: Ticket::default(),
        };
        pair.send(1, &Frame::Open(CHANNEL, open), None);
        pair.pass();
        pair
    }

    /// Lets everything arrive that is under way.
    fn pass(&mut self) -> Vec<TransportEvent> {
        self.now = self.now.after(Duration::from_millis(1));
        let mut events = Vec::new();
        self.transports.iter_mut().for_each(|transport| transport.poll(self.now, &mut events));
        events
    }

    fn memory(&self, node: usize) -> BufferMut {
        self.pools[node].try_acquire(SizeClass::UNIT).expect("the pool's own")
    }

    fn send(&mut self, from: usize, frame: &Frame<'_>, payload: Option<(Buffer, Option<Slot>)>) {
        let mut head = HeadBuilder::new(Vec::new());
        head.push(frame);
        let payloads = payload.into_iter().map(|(buffer, slot)| Payload { buffer, slot }).collect();
        let message = Message { head: head.finish(LinkEpoch(1), 1, 0, false), payloads };
        self.transports[from].send(self.links[from], message).expect("the link has room");
    }

    /// The producer sends a block of 4000 bytes.
    fn send_block(&mut self, slot: Option<Slot>) {
        let block = Block { sequence: 0, length: 4000, crc: 0, codec: 0, backlog: Backlog::default() };
        let placement = if slot.is_some() { Placement::Slot(0) } else { Placement::Body };
        let mut buffer = self.memory(0);
        buffer.truncate(4000);
        self.send(0, &Frame::Data(CHANNEL, block, placement), Some((buffer.freeze(), slot)));
    }

    fn broken(&self) -> Vec<Rule> {
        self.journal.close().0.iter().map(|failure| failure.rule).collect()
    }
}

#[test]
fn payload_for_which_nothing_was_posted_is_found() {
    let mut pair = Pair::new(PayloadPlacement::Stream);
    // The tap has seen no grant either.
    pair.send_block(None);
    pair.pass();
    assert_eq!(pair.broken(), [Rule::Credit, Rule::Credit]);
}

#[test]
fn a_write_into_memory_that_was_taken_back_is_found() {
    let mut pair = Pair::new(PayloadPlacement::Remote);
    let buffer = pair.memory(1);
    let slot = pair.transports[1].post_receive(pair.links[1], CHANNEL, buffer);
    pair.send_block(slot);
    drop(pair.transports[1].forget_channel(pair.links[1], CHANNEL));
    pair.pass();
    assert_eq!(pair.broken(), [Rule::ReusedMemory]);
}

#[test]
fn a_write_lands_after_the_cut_until_closed_is_told() {
    for taken_back in [false, true] {
        let mut pair = Pair::new(PayloadPlacement::Remote);
        let buffer = pair.memory(1);
        let slot = pair.transports[1].post_receive(pair.links[1], CHANNEL, buffer);
        pair.send_block(slot);
        pair.network.advance(Time(pair.now.0 + 100));
        let heard = [Some(Duration::from_secs(1)); 2];
        let cut = Cut { heard, outage: Duration::ZERO, kind: OutageKind::Refused, unread_lost: false };
        pair.network.cut(NodeId(0), NodeId(1), &cut);
        if taken_back {
            // The link is as good as lost, but its `Closed` has not come.
            drop(pair.transports[1].forget_channel(pair.links[1], CHANNEL));
        }
        pair.pass();
        let broken = if taken_back { vec![Rule::ReusedMemory] } else { Vec::new() };
        assert_eq!(pair.broken(), broken);
    }
}

#[test]
fn a_cut_loses_the_message_whose_last_byte_was_not_there() {
    let mut pair = Pair::new(PayloadPlacement::Stream);
    let cut = Cut { heard: [None; 2], outage: Duration::ZERO, kind: OutageKind::Refused, unread_lost: false };
    pair.network.cut_after(NodeId(1), NodeId(0), 60, cut);
    for _ in 0..2 {
        pair.send(1, &Frame::Cancel { channel: CHANNEL }, None);
    }
    let arrived = pair.pass().into_iter().filter(|event| matches!(event, TransportEvent::Received { .. })).count();
    assert_eq!(arrived, 1, "the second of two messages of 53 bytes is cut at its seventh");
}
