//! A posted request as packets.

use crate::memory::length_of;
use crate::packet::{Opcode, Position, Psn};
use crate::work::{Completion, CompletionKind, Operation, SendRequest, Status};

/// A READ goes out in pieces of at most so many packets of response, each a request of its own. So the requester's
/// window also bounds what a READ brings under way, and one READ of a gigabyte does not flood the requester's socket.
/// The numbers are the same as of one request; the responder takes each piece for a message.
pub(super) const READ_PACKETS_MAX: u32 = 32;

/// A request in the send queue.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) request: SendRequest,
    /// The bytes of the message.
    pub(super) length: u32,
    /// The number of its first packet; of a READ, of the first response.
    pub(super) first: Psn,
    /// How many numbers it takes: at least one (IBTA vol. 1, 9.7.3.1).
    pub(super) packets: u32,
    /// Why it cannot be sent. It fails when everything before it is done.
    pub(super) broken: Option<Status>,
}

impl Entry {
    pub(super) fn new(request: SendRequest, first: Psn, mtu: usize) -> Entry {
        let length = u32::try_from(length_of(&request.local)).expect("post() has refused what is longer than 2^31");
        let packets = length.div_ceil(mtu as u32).max(1);
        Entry { request, length, first, packets, broken: None }
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self.request.operation, Operation::Read { .. })
    }

    /// The offset and the bytes of a packet's payload.
    pub(super) fn payload(&self, packet: u32, mtu: usize) -> (u32, usize) {
        let offset = packet * mtu as u32;
        (offset, ((self.length - offset) as usize).min(mtu))
    }

    /// The packet after the last one of the piece of a READ that `packet` is in. Pieces are always cut at the same
    /// places: what is read again must lie within what the responder remembers.
    pub(super) fn piece_end(&self, packet: u32) -> u32 {
        ((packet / READ_PACKETS_MAX + 1) * READ_PACKETS_MAX).min(self.packets)
    }

    pub(super) fn opcode(&self, packet: u32) -> Opcode {
        let position = Position::of(packet == 0, packet + 1 == self.packets);
        match self.request.operation {
            Operation::Send { immediate: Some(_) } if position.ends() => Opcode::SendImmediate(position),
            Operation::Send { .. } => Opcode::Send(position),
            Operation::Write { immediate: Some(_), .. } if position.ends() => Opcode::WriteImmediate(position),
            Operation::Write { .. } => Opcode::Write(position),
            Operation::Read { .. } => Opcode::ReadRequest,
        }
    }

    pub(super) fn immediate(&self) -> Option<u32> {
        match self.request.operation {
            Operation::Send { immediate } | Operation::Write { immediate, .. } => immediate,
            Operation::Read { .. } => None,
        }
    }

    /// What its poster is told, if anything.
    pub(super) fn completion(&self, status: Status) -> Option<Completion> {
        let kind = match self.request.operation {
            Operation::Send { .. } => CompletionKind::Send,
            Operation::Write { .. } => CompletionKind::Write,
            Operation::Read { .. } => CompletionKind::Read,
        };
        // IBTA vol. 1, 10.7.3.1: an error is told even if success would not be.
        let told = self.request.signaled || status != Status::Success;
        told.then(|| Completion {
            id: self.request.id,
            status,
            kind,
            bytes: self.length,
            immediate: None,
            solicited: false,
            queue_pair: Default::default(),
        })
    }
}
