//! The half of a queue pair that executes the peer's requests.

mod answering;
mod executing;
mod repeated;

use std::collections::VecDeque;

use answering::{Answer, Answers};
use repeated::Remembered;

use super::Core;
use super::attributes::{ReceiveAttributes, Rights};
use crate::memory::{Key, RemoteMemory};
use crate::packet::{Nak, Packet, Psn, Syndrome};
use crate::work::{Completion, CompletionKind, ReceiveRequest, Status};

/// What has arrived, and what is to be answered.
#[derive(Debug)]
pub(super) struct Responder {
    /// The number of the next request packet.
    expected: Psn,
    /// Messages completed, modulo 2^24.
    messages: u32,
    /// A NAK is out and the packet that it asks for has not come. Until then there is no other
    /// (IBTA vol. 1, 9.7.5.2).
    refused: bool,
    /// The message of which the first packet has arrived and the last has not.
    arriving: Option<Arriving>,
    /// The last packet of a SEND or WRITE that was executed.
    executed: Option<Psn>,
    answers: Answers,
    remembered: Remembered,
    attributes: ReceiveAttributes,
    rights: Rights,
}

/// A message of several packets.
#[derive(Debug)]
enum Arriving {
    Send { receive: ReceiveRequest, bytes: u32 },
    Write { address: u64, key: Key, written: u32, left: u32 },
}

/// A request that cannot be executed: what the peer is told, and for a receive that it was to go to, what its poster
/// is. All of them are errors of class C: the queue pair goes to the error state (IBTA vol. 1, 9.9.3).
#[derive(Debug)]
pub(super) struct Fault {
    nak: Nak,
    receive: Option<(ReceiveRequest, Status)>,
}

impl From<Nak> for Fault {
    fn from(nak: Nak) -> Fault {
        Fault { nak, receive: None }
    }
}

impl Responder {
    pub(super) fn new(attributes: ReceiveAttributes, rights: Rights) -> Responder {
        Responder {
            expected: attributes.first_psn,
            messages: 0,
            refused: false,
            arriving: None,
            executed: None,
            answers: Answers::default(),
            remembered: Remembered::new(usize::from(attributes.reads_max)),
            attributes,
            rights,
        }
    }

    /// Executes, answers or refuses a request packet.
    ///
    /// # Errors
    ///
    /// If the queue pair is in error for it. The answer that says so is still to be sent.
    pub(super) fn handle_request<M: RemoteMemory>(
        &mut self,
        packet: &Packet<'_>,
        receives: &mut VecDeque<ReceiveRequest>,
        core: &mut Core<M>,
    ) -> Result<(), ()> {
        let psn = packet.base().psn;
        let executed = match psn.distance_from(self.expected) {
            0 => {
                self.refused = false;
                self.execute(packet, receives, core)
            }
            1.. => {
                self.out_of_sequence(core);
                Ok(())
            }
            _ => self.repeat(packet, core),
        };
        executed.map_err(|fault| {
            core.counters.requests_refused += 1;
            self.answer(psn, Syndrome::Nak(fault.nak));
            if let Some((receive, status)) = fault.receive {
                core.complete(Some(received(&receive, status, CompletionKind::Receive)));
            }
        })
    }

    /// Packets are missing: asks for them once (IBTA vol. 1, 9.7.4.1 and 9.7.5.2).
    fn out_of_sequence<M>(&mut self, core: &mut Core<M>) {
        core.counters.out_of_sequence += 1;
        if !self.refused {
            self.refused = true;
            core.counters.sequence_naks_sent += 1;
            self.answer(self.expected, Syndrome::Nak(Nak::SequenceError));
        }
    }

    fn answer(&mut self, psn: Psn, syndrome: Syndrome) {
        self.answers.push(Answer::Acknowledge { psn, syndrome, messages: self.messages });
    }

    pub(super) fn wants_to_transmit(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Appends the next answer, but for its CRC, to `buffer`.
    ///
    /// # Errors
    ///
    /// If memory that the peer reads is not there any more; the answer is then the NAK that says so.
    pub(super) fn transmit<M: RemoteMemory>(&mut self, core: &mut Core<M>, buffer: &mut Vec<u8>) -> Result<bool, ()> {
        self.answers.transmit(core, buffer)
    }

    /// Nothing is said to the peer any more.
    pub(super) fn fall_silent(&mut self) {
        self.answers.clear();
    }

    /// The receive that a message was coming into fails.
    pub(super) fn flush<M>(&mut self, core: &mut Core<M>) {
        if let Some(Arriving::Send { receive, .. }) = self.arriving.take() {
            core.complete(Some(received(&receive, Status::Flushed, CompletionKind::Receive)));
        }
    }
}

/// The completion of a receive that nothing is known about but its status.
pub(super) fn received(receive: &ReceiveRequest, status: Status, kind: CompletionKind) -> Completion {
    Completion {
        id: receive.id,
        status,
        kind,
        bytes: 0,
        immediate: None,
        solicited: false,
        queue_pair: Default::default(),
    }
}
