//! A network that loses, doubles, reorders, damages and delays packets, all drawn from a seed, in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv6Addr};

use sluice_softroce::Time;
use sluice_softroce::packet::{Envelope, IpHeader, ROCE_PORT};

use crate::dice::Dice;

/// How bad the network is; probabilities in parts of ten thousand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) damaged: u64,
    /// Held up by up to `held_nanos`, so that later ones overtake.
    pub(crate) held: u64,
    pub(crate) held_nanos: u64,
    pub(crate) delay_nanos: u64,
    /// Packets under way in one direction; more are lost.
    pub(crate) room: usize,
    /// Nothing arrives from then on.
    pub(crate) cut_at: Option<Time>,
}

impl Faults {
    /// Whether so much can be lost that a queue pair gives up.
    pub(crate) fn may_fail(&self) -> bool {
        self.lost + self.damaged + self.held > 0 || self.room < usize::MAX || self.cut_at.is_some()
    }

    /// A third of the networks lose nothing but reorder and double; some break.
    pub(crate) fn draw(dice: &mut Dice) -> Faults {
        let lossy = dice.chance(6_600);
        let often = |dice: &mut Dice, yes: bool, most: u64| if yes { dice.below(most) } else { 0 };
        let held = dice.chance(5_000);
        let doubled = dice.chance(5_000);
        Faults {
            lost: often(dice, lossy, 800),
            doubled: often(dice, doubled, 1_000),
            damaged: often(dice, lossy, 300),
            held: often(dice, held, 500),
            held_nanos: 1 + dice.below(40_000),
            delay_nanos: 500 + dice.below(20_000),
            room: if dice.chance(3_000) { 8 + dice.below(64) as usize } else { usize::MAX },
            cut_at: dice.chance(500).then(|| Time::from_nanos(dice.below(3_000_000))),
        }
    }
}

/// A packet under way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    due: u64,
    order: u64,
    to: usize,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Wire {
    flights: BinaryHeap<Reverse<Flight>>,
    under_way: [usize; 2],
    order: u64,
    pub(crate) faults: Faults,
    dice: Dice,
}

pub(crate) fn address(end: usize) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, 1 + end as u16))
}

/// What the CRC of a packet to this end covers besides the packet.
pub(crate) fn envelope(to: usize) -> Envelope {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (address(1 - to), address(to)) else {
        unreachable!("both are IPv6")
    };
    Envelope { ip: IpHeader::V6 { source, destination }, source_port: 40_000, destination_port: ROCE_PORT }
}

impl Wire {
    pub(crate) fn new(faults: Faults, dice: Dice) -> Wire {
        Wire { flights: BinaryHeap::new(), under_way: [0; 2], order: 0, faults, dice }
    }

    pub(crate) fn send(&mut self, now: Time, to: usize, bytes: &[u8]) {
        let faults = self.faults;
        let cut = faults.cut_at.is_some_and(|at| at <= now);
        if cut || self.dice.chance(faults.lost) || self.under_way[to] >= faults.room {
            return;
        }
        let copies = if self.dice.chance(faults.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let mut bytes = bytes.to_vec();
            if self.dice.chance(faults.damaged) {
                let bit = self.dice.below(bytes.len() as u64 * 8) as usize;
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            let held = if self.dice.chance(faults.held) { self.dice.below(faults.held_nanos) } else { 0 };
            self.order += 1;
            self.under_way[to] += 1;
            let due = now.as_nanos() + faults.delay_nanos + held;
            self.flights.push(Reverse(Flight { due, order: self.order, to, bytes }));
        }
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        self.flights.peek().map(|Reverse(flight)| Time::from_nanos(flight.due))
    }

    /// The next packet that has arrived by `now`, and at which end.
    pub(crate) fn arrived(&mut self, now: Time) -> Option<(usize, Vec<u8>)> {
        if self.next_due()? > now {
            return None;
        }
        let Reverse(flight) = self.flights.pop()?;
        self.under_way[flight.to] -= 1;
        Some((flight.to, flight.bytes))
    }
}
