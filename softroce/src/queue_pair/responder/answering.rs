//! What the responder has still to say, in the order of the requests.

use std::collections::VecDeque;

use crate::memory::{Access, Key, RemoteMemory};
use crate::packet::{AcknowledgeHeader, BaseHeader, Headers, Nak, Opcode, Position, Psn, Syndrome, padding_of};
use crate::queue_pair::Core;

/// Answers that are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<Answer>,
    reads: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Acknowledge { psn: Psn, syndrome: Syndrome, messages: u32 },
    Read { reading: Reading, messages: u32 },
}

/// A READ, or what is left of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The number of the next response.
    pub(super) psn: Psn,
    pub(super) address: u64,
    pub(super) key: Key,
    /// Bytes.
    pub(super) left: u32,
    /// Whether the next response is the first.
    pub(super) starts: bool,
}

impl Reading {
    /// How many responses it has: at least one.
    pub(super) fn packets(&self, mtu: usize) -> u32 {
        self.left.div_ceil(mtu as u32).max(1)
    }
}

impl Answers {
    /// An acknowledgement takes the place of one in front of it: it says the same and more (IBTA vol. 1, 9.7.5.1).
    pub(super) fn push(&mut self, answer: Answer) {
        let positive = |answer: &Answer| matches!(answer, Answer::Acknowledge { syndrome: Syndrome::Ack(_), .. });
        if self.waiting.back().is_some_and(positive) && positive(&answer) {
            self.waiting.pop_back();
        }
        self.reads += usize::from(matches!(answer, Answer::Read { .. }));
        self.waiting.push_back(answer);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many READs wait.
    pub(super) fn reads(&self) -> usize {
        self.reads
    }

    /// Whether the response with this number is still to be sent.
    pub(super) fn will_read(&self, psn: Psn, mtu: usize) -> bool {
        self.waiting.iter().any(|answer| match answer {
            Answer::Read { reading, .. } => (0..reading.packets(mtu) as i32).contains(&psn.distance_from(reading.psn)),
            Answer::Acknowledge { .. } => false,
        })
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.reads = 0;
    }

    pub(super) fn transmit<M: RemoteMemory>(&mut self, core: &mut Core<M>, buffer: &mut Vec<u8>) -> Result<bool, ()> {
        match self.waiting.front_mut() {
            None => Ok(false),
            Some(&mut Answer::Acknowledge { psn, syndrome, messages }) => {
                self.waiting.pop_front();
                acknowledge(core, psn, syndrome, messages, buffer);
                Ok(true)
            }
            Some(Answer::Read { reading, messages }) => {
                let messages = *messages;
                match respond(core, reading, messages, buffer) {
                    Ok(true) => {
                        self.waiting.pop_front();
                        self.reads -= 1;
                        Ok(true)
                    }
                    Ok(false) => Ok(true),
                    Err(psn) => {
                        self.clear();
                        self.push(Answer::Acknowledge { psn, syndrome: Syndrome::Nak(Nak::RemoteAccess), messages });
                        Err(())
                    }
                }
            }
        }
    }
}

fn base<M>(core: &Core<M>, opcode: Opcode, psn: Psn, payload_bytes: usize) -> BaseHeader {
    let padding = padding_of(payload_bytes);
    let (partition, destination) = (core.partition(), core.destination());
    BaseHeader { opcode, solicited: false, padding, partition, destination, acknowledge: false, psn }
}

fn acknowledge<M>(core: &mut Core<M>, psn: Psn, syndrome: Syndrome, messages: u32, buffer: &mut Vec<u8>) {
    core.counters.acknowledgements_sent += 1;
    let header = AcknowledgeHeader { syndrome, messages };
    Headers::new(base(core, Opcode::Acknowledge, psn, 0)).with_acknowledge(header).append_to(buffer);
}

/// Appends the next response; says whether it was the last.
///
/// # Errors
///
/// The number of the response whose bytes may not be read any more.
fn respond<M: RemoteMemory>(
    core: &Core<M>,
    reading: &mut Reading,
    messages: u32,
    buffer: &mut Vec<u8>,
) -> Result<bool, Psn> {
    let start = buffer.len();
    let bytes = (reading.left as usize).min(core.mtu());
    let ends = reading.left as usize == bytes;
    let position = Position::of(reading.starts, ends);
    let mut headers = Headers::new(base(core, Opcode::ReadResponse(position), reading.psn, bytes));
    if headers.base.opcode.has_aeth() {
        headers = headers.with_acknowledge(AcknowledgeHeader { syndrome: Syndrome::ACK, messages });
    }
    headers.append_to(buffer);
    if bytes > 0 {
        let read = core.memory.read(reading.key, reading.address, bytes, Access::RemoteRead, buffer);
        if read.is_err() {
            buffer.truncate(start);
            return Err(reading.psn);
        }
    }
    buffer.extend_from_slice(&[0; 3][..usize::from(headers.base.padding)]);
    reading.psn = reading.psn.plus(1);
    reading.address = reading.address.wrapping_add(bytes as u64);
    reading.left -= bytes as u32;
    reading.starts = false;
    Ok(ends)
}
