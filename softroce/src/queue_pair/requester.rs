//! The half of a queue pair that sends requests and understands the answers.

mod answers;
mod entry;
mod window;

use std::collections::VecDeque;
use std::time::Duration;

use entry::Entry;
use window::Window;

use super::Core;
use super::attributes::SendAttributes;
use crate::memory::{RemoteMemory, gather};
use crate::packet::{BaseHeader, Headers, Psn, RdmaHeader, padding_of};
use crate::time::Time;
use crate::work::{Completion, Operation, RemoteAddress, SendRequest, Status};

/// The send queue and how far it has come.
///
/// ```text
/// queue   │ done, forgotten │ sent, not acknowledged │ not sent │
/// numbers                   unacknowledged           cursor     next
/// ```
///
/// After a loss the cursor goes back to `unacknowledged` (go-back-N): until it is at `sent_through` again, packets are
/// sent that were sent before.
#[derive(Debug)]
pub(super) struct Requester {
    queue: VecDeque<Entry>,
    /// The first number of the request that is posted next.
    next: Psn,
    /// The oldest number that is not acknowledged.
    unacknowledged: Psn,
    cursor: Cursor,
    /// The number after the highest that was ever sent.
    sent_through: Psn,
    /// The pieces of READs that are under way, by the number after their last, the oldest first.
    reads: VecDeque<Psn>,
    /// Packets since the last one that asked for an acknowledgement.
    unasked: u32,
    window: Window,
    retries_left: u8,
    rnr_retries_left: u8,
    /// When an answer is overdue.
    deadline: Option<Time>,
    /// The peer has no receive; nothing is sent until then.
    not_ready_until: Option<Time>,
    /// Where a missing response was asked for again. Further answers behind the gap do not ask once more.
    asked_again: Option<Psn>,
    attributes: SendAttributes,
}

/// The packet to be sent next: which request, and which packet of it.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    entry: usize,
    packet: u32,
}

/// What is said of a request that comes too late to be sent.
pub(super) fn flushed(request: SendRequest) -> Option<Completion> {
    Entry::new(request, Psn::default(), 1).completion(Status::Flushed)
}

/// 7 stands for "for ever" (IBTA vol. 1, 9.7.5.2.8).
const RNR_RETRIES_FOR_EVER: u8 = 7;

impl Requester {
    pub(super) fn new(attributes: SendAttributes, mtu: usize) -> Requester {
        let first = attributes.first_psn;
        Requester {
            queue: VecDeque::new(),
            next: first,
            unacknowledged: first,
            cursor: Cursor::default(),
            sent_through: first,
            reads: VecDeque::new(),
            unasked: 0,
            // The numbers under way stay far below half of all (IBTA vol. 1, 9.7.1).
            window: Window::new(u32::try_from(attributes.window_bytes_max / mtu).unwrap_or(u32::MAX).min(1 << 20)),
            retries_left: attributes.retries_max,
            rnr_retries_left: attributes.rnr_retries_max,
            deadline: None,
            not_ready_until: None,
            asked_again: None,
            attributes,
        }
    }

    pub(super) fn posted(&self) -> usize {
        self.queue.len()
    }

    /// Whether READs may be posted.
    pub(super) fn may_read(&self) -> bool {
        self.attributes.reads_max > 0
    }

    pub(super) fn post(&mut self, request: SendRequest, mtu: usize) {
        let entry = Entry::new(request, self.next, mtu);
        self.next = self.next.plus(entry.packets);
        self.queue.push_back(entry);
    }

    /// Everything that was posted fails: the oldest for `status`, the others with it.
    pub(super) fn flush<M>(&mut self, status: Status, core: &mut Core<M>) {
        let mut status = status;
        for entry in self.queue.drain(..) {
            core.complete(entry.completion(status));
            status = Status::Flushed;
        }
        (self.deadline, self.not_ready_until) = (None, None);
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        [self.deadline, self.not_ready_until].into_iter().flatten().min()
    }

    /// # Errors
    ///
    /// If the oldest request has failed for good.
    pub(super) fn handle_timeout<M>(&mut self, now: Time, core: &mut Core<M>) -> Result<(), Status> {
        if self.not_ready_until.is_some_and(|until| until <= now) {
            self.not_ready_until = None;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            core.counters.timeouts += 1;
            self.deadline = None;
            self.window.collapse();
            self.retry(core)?;
        }
        Ok(())
    }

    /// Sends again from the oldest packet that is not acknowledged, if that is still allowed.
    fn retry<M>(&mut self, core: &mut Core<M>) -> Result<(), Status> {
        // IBTA vol. 1, 9.9.2.1: timeouts, sequence errors and missing responses use up the same count.
        self.retries_left = self.retries_left.checked_sub(1).ok_or(Status::RetryExceeded)?;
        core.counters.retries += 1;
        self.go_back();
        Ok(())
    }

    fn go_back(&mut self) {
        self.cursor = Cursor { entry: 0, packet: self.progress() };
        self.reads.clear();
        self.unasked = 0;
    }

    /// How many packets of the oldest request are acknowledged.
    fn progress(&self) -> u32 {
        let distance = self.queue.front().map_or(0, |front| self.unacknowledged.distance_from(front.first));
        u32::try_from(distance).expect("what is done has left the queue")
    }

    fn cursor_psn(&self) -> Psn {
        self.queue.get(self.cursor.entry).map_or(self.next, |entry| entry.first.plus(self.cursor.packet))
    }

    /// The number of packets under way; with responses that READs have asked for.
    fn under_way(&self) -> u32 {
        u32::try_from(self.cursor_psn().distance_from(self.unacknowledged)).unwrap_or(0)
    }

    /// Whether a packet could be sent now.
    pub(super) fn wants_to_transmit(&self) -> bool {
        if self.not_ready_until.is_some() {
            return false;
        }
        let Some(entry) = self.queue.get(self.cursor.entry) else { return false };
        if entry.broken.is_some() {
            return false;
        }
        let under_way = self.under_way();
        if !entry.is_read() {
            return under_way < self.window.packets();
        }
        let packets = entry.piece_end(self.cursor.packet) - self.cursor.packet;
        let reads_free = self.reads.len() < usize::from(self.attributes.reads_max);
        reads_free && (under_way == 0 || under_way + packets <= self.window.packets())
    }

    /// Appends the next packet, but for its CRC, to `buffer`.
    ///
    /// # Errors
    ///
    /// If it cannot be sent and is the oldest: all before it is done, and it has failed.
    pub(super) fn transmit<M: RemoteMemory>(
        &mut self,
        now: Time,
        core: &mut Core<M>,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, Status> {
        if !self.wants_to_transmit() {
            return Ok(false);
        }
        let start = buffer.len();
        let packets = match self.write_packet(core, buffer) {
            Ok(packets) => packets,
            Err(status) => {
                buffer.truncate(start);
                self.queue[self.cursor.entry].broken = Some(status);
                self.fail_if_broken()?;
                return Ok(false);
            }
        };
        if self.cursor_psn().is_before(self.sent_through) {
            core.counters.packets_sent_again += 1;
        }
        self.advance_cursor(packets);
        let after = self.cursor_psn();
        if self.sent_through.is_before(after) {
            self.sent_through = after;
        }
        self.deadline = self.deadline.or_else(|| self.attributes.timeout.map(|timeout| now.after(timeout)));
        Ok(true)
    }

    /// The numbers that it takes.
    fn write_packet<M: RemoteMemory>(&mut self, core: &mut Core<M>, buffer: &mut Vec<u8>) -> Result<u32, Status> {
        let Cursor { entry, packet } = self.cursor;
        let entry = &self.queue[entry];
        let (offset, bytes) = entry.payload(packet, core.mtu());
        let opcode = entry.opcode(packet);
        let mut base = BaseHeader {
            opcode,
            solicited: entry.request.solicited && packet + 1 == entry.packets && !entry.is_read(),
            padding: 0,
            partition: core.partition(),
            destination: core.destination(),
            acknowledge: false,
            psn: entry.first.plus(packet),
        };
        if let Operation::Read { remote } = entry.request.operation {
            let end = entry.piece_end(packet);
            let length = (end * core.mtu() as u32).min(entry.length) - offset;
            let address = remote.address.wrapping_add(u64::from(offset));
            Headers::new(base).with_rdma(RdmaHeader { address, key: remote.key, length }).append_to(buffer);
            self.reads.push_back(entry.first.plus(end));
            return Ok(end - packet);
        }
        // Each message asks for an acknowledgement with its last packet, and a long one on its way: the window opens
        // only by acknowledgements.
        base.acknowledge = packet + 1 == entry.packets || self.unasked + 1 >= self.window.packets() / 2;
        base.padding = padding_of(bytes);
        let mut headers = Headers::new(base);
        if let (true, Operation::Write { remote, .. }) = (opcode.has_reth(), entry.request.operation) {
            let RemoteAddress { address, key } = remote;
            headers = headers.with_rdma(RdmaHeader { address, key, length: entry.length });
        }
        if opcode.has_immediate() {
            headers.immediate = entry.immediate();
        }
        headers.append_to(buffer);
        gather(&core.memory, &entry.request.local, u64::from(offset), bytes, buffer)
            .map_err(|_| Status::LocalProtection)?;
        buffer.extend_from_slice(&[0; 3][..usize::from(base.padding)]);
        self.unasked = if base.acknowledge { 0 } else { self.unasked + 1 };
        Ok(1)
    }

    fn advance_cursor(&mut self, packets: u32) {
        self.cursor.packet += packets;
        if self.cursor.packet >= self.queue[self.cursor.entry].packets {
            self.cursor = Cursor { entry: self.cursor.entry + 1, packet: 0 };
        }
    }

    /// # Errors
    ///
    /// If the oldest request cannot be sent.
    fn fail_if_broken(&self) -> Result<(), Status> {
        match self.queue.front().and_then(|front| front.broken) {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }

    fn wait_for_receiver(&mut self, now: Time, delay: Duration) {
        self.go_back();
        self.deadline = None;
        self.not_ready_until = Some(now.after(delay));
    }
}
