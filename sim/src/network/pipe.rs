//! One direction of a connection: bytes that take time, in a queue that is full at some point.

use std::collections::VecDeque;
use std::time::Duration;

use sluice_core::{Buffer, Time};
use sluice_plugin::Message;
use sluice_protocol::wire::{DecodeError, Head, Slot};

use super::path::Path;
use crate::seed::Random;

/// When what is sent into a cut pipe arrives.
const NEVER: Time = Time(u64::MAX);

/// What is under way in one direction.
#[derive(Default)]
pub(super) struct Pipe {
    pub(super) flights: VecDeque<Flight>,
    /// Remote writes of messages that were lost on the way: they may land as long as the receiving end is not over.
    pub(super) strays: Vec<Load>,
    /// When the last byte of what was sent so far has left.
    free_at: Time,
    /// No message arrives before one that was sent earlier.
    arrived_last: Time,
    bytes: u64,
    /// The sender was refused and waits for `Writable`.
    pub(super) sender_waits: bool,
    /// Behind the last flight: the sender has closed.
    pub(super) end_at: Option<Time>,
    /// Cut: what is sent goes nowhere.
    pub(super) is_cut: bool,
}

/// A message on its way.
pub(super) struct Flight {
    pub(super) head: Result<Head, DecodeError>,
    pub(super) loads: Vec<Load>,
    bytes: u64,
    pub(super) starts: Time,
    pub(super) arrives: Time,
}

/// A payload on its way.
pub(super) struct Load {
    pub(super) slot: Option<Slot>,
    pub(super) cargo: Cargo,
    /// With remote placement: when its last byte is written.
    pub(super) arrives: Time,
    pub(super) written: bool,
    /// Which byte arrives altered.
    pub(super) altered: Option<usize>,
}

/// The bytes of a payload.
pub(super) enum Cargo {
    /// The sender's memory.
    Lent(Buffer),
    /// A copy: the sending side has been told that its memory is its own again.
    Copied(Vec<u8>),
}

impl Cargo {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(buffer) => buffer,
            Self::Copied(bytes) => bytes,
        }
    }
}

impl Load {
    /// The bytes as they arrive.
    pub(super) fn write_to(&self, target: &mut [u8]) {
        target.copy_from_slice(self.cargo.bytes());
        if let Some(altered) = self.altered
            && let Some(byte) = target.get_mut(altered)
        {
            *byte ^= 0x10;
        }
    }
}

/// How long a message is, and where in its pipe it lies.
pub(super) struct Span {
    pub(super) bytes: u64,
    nanos_per_byte: u64,
    pub(super) arrives: Time,
}

impl Span {
    /// Whether it goes nowhere.
    pub(super) fn is_lost(&self) -> bool {
        self.arrives == NEVER
    }

    /// When so many of its bytes have arrived.
    pub(super) fn arrival_of(&self, bytes: u64) -> Time {
        let missing = self.bytes.saturating_sub(bytes);
        Time(self.arrives.0.saturating_sub(missing * self.nanos_per_byte))
    }
}

impl Pipe {
    pub(super) fn has_room(&self, path: &Path) -> bool {
        self.flights.is_empty() || (self.bytes < path.queue_bytes_max && self.flights.len() < path.queue_messages_max)
    }

    /// Sends a message; the caller has looked whether there is room.
    pub(super) fn send(
        &mut self,
        now: Time,
        path: &Path,
        random: &mut Random,
        not_before: Time,
        head: Result<Head, DecodeError>,
        message: Message,
    ) -> Span {
        let head_bytes = message.head.len() as u64;
        let bytes = head_bytes + message.payloads.iter().map(|payload| payload.buffer.len() as u64).sum::<u64>();
        let starts = now.max(self.free_at).max(path.stalled_until);
        let leaves = Time(starts.0 + bytes * path.nanos_per_byte);
        self.free_at = leaves;
        let jitter = match path.jitter.as_nanos() as u64 {
            0 => 0,
            most => random.below(most),
        };
        let arrives = leaves.after(path.latency + Duration::from_nanos(jitter));
        let arrives = arrives.max(self.arrived_last).max(not_before);
        self.arrived_last = arrives;
        let arrives = if self.is_cut { NEVER } else { arrives };
        let span = Span { bytes, nanos_per_byte: path.nanos_per_byte, arrives };
        // With remote placement the writes come before the head.
        let mut through = 0;
        let loads = message.payloads.into_iter().map(|payload| {
            through += payload.buffer.len() as u64;
            let (slot, arrives) = (payload.slot, span.arrival_of(through).min(arrives));
            Load { slot, cargo: Cargo::Lent(payload.buffer), arrives, written: false, altered: None }
        });
        self.flights.push_back(Flight { head, loads: loads.collect(), bytes, starts, arrives });
        self.bytes += bytes;
        span
    }

    /// The next message that has arrived.
    pub(super) fn receive(&mut self, now: Time) -> Option<Flight> {
        let flight = self.flights.pop_front_if(|flight| flight.arrives <= now)?;
        self.bytes -= flight.bytes;
        Some(flight)
    }

    /// When the next message is here whole.
    pub(super) fn next_arrival(&self) -> Option<Time> {
        self.flights.front().map(|flight| flight.arrives).filter(|due| *due < NEVER)
    }

    /// When something comes out.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.flights.front().map(|flight| flight.arrives).or(self.end_at).filter(|due| *due < NEVER)
    }

    /// Nothing arrives for a while.
    pub(super) fn hold(&mut self, now: Time, pause: Duration) {
        let late = |at: Time| if now < at && at < NEVER { at.after(pause) } else { at };
        for flight in &mut self.flights {
            flight.arrives = late(flight.arrives);
            for load in &mut flight.loads {
                load.arrives = late(load.arrives);
            }
        }
        self.free_at = late(self.free_at);
        self.arrived_last = late(self.arrived_last);
        self.end_at = self.end_at.map(late);
    }

    /// Ends it at this moment: a message whose last byte has not arrived never does. True if one was on its way.
    pub(super) fn cut(&mut self, now: Time, remote: bool, unread_lost: bool) -> bool {
        self.is_cut = true;
        self.end_at = None;
        let kept = if unread_lost { 0 } else { self.flights.partition_point(|flight| flight.arrives <= now) };
        let lost = self.flights.split_off(kept);
        let in_message = lost.front().is_some_and(|flight| flight.starts < now && now < flight.arrives);
        for flight in lost {
            self.bytes -= flight.bytes;
            if remote && flight.starts < now {
                self.strays.extend(flight.loads.into_iter().filter(|load| !load.written));
            }
        }
        in_message
    }

    /// What was sent is the sender's again.
    pub(super) fn give_back(&mut self) {
        let flights = self.flights.iter_mut().flat_map(|flight| &mut flight.loads);
        for load in flights.chain(&mut self.strays) {
            if let Cargo::Lent(buffer) = &load.cargo {
                load.cargo = Cargo::Copied(buffer.to_vec());
            }
        }
    }

    /// When the last of what was sent arrives.
    pub(super) fn last_arrival(&self) -> Option<Time> {
        self.flights.back().map(|flight| flight.arrives)
    }

    /// What arrives later than this is lost.
    pub(super) fn end(&mut self, at: Time) {
        let kept = self.flights.partition_point(|flight| flight.arrives <= at);
        for flight in self.flights.split_off(kept) {
            self.bytes -= flight.bytes;
        }
        self.end_at = Some(at);
    }

    /// The receiving end takes no more messages; remote writes go on landing.
    pub(super) fn throw_away(&mut self) {
        let loads = self.flights.drain(..).flat_map(|flight| flight.loads);
        self.strays.extend(loads.filter(|load| load.slot.is_some() && !load.written));
        self.bytes = 0;
    }

    /// The receiving end is over: nothing more arrives.
    pub(super) fn clear(&mut self) {
        self.flights.clear();
        self.strays.clear();
        self.bytes = 0;
        self.is_cut = true;
    }
}
