//! A request packet in its turn: what is checked, in which order, and what it does.

use std::collections::VecDeque;

use super::answering::{Answer, Reading};
use super::{Arriving, Fault, Responder, received};
use crate::memory::{Access, RemoteMemory, length_of, scatter};
use crate::packet::{Nak, Opcode, Packet, Position, Psn, RdmaHeader, Syndrome};
use crate::queue_pair::Core;
use crate::work::{CompletionKind, MESSAGE_BYTES_MAX, ReceiveRequest, Status};

/// What became of a packet that is no fault.
enum Executed {
    Yes,
    /// There is no receive for it.
    NotReady,
}

impl Responder {
    /// The packet has the number that is expected. It is checked in the order of IBTA vol. 1, 9.7.4.1: whether it may
    /// come now, whether it is allowed, its length, its key and range, and only then is any byte written.
    pub(super) fn execute<M: RemoteMemory>(
        &mut self,
        packet: &Packet<'_>,
        receives: &mut VecDeque<ReceiveRequest>,
        core: &mut Core<M>,
    ) -> Result<(), Fault> {
        let base = packet.base();
        let executed = match base.opcode {
            Opcode::Send(position) | Opcode::SendImmediate(position) => self.send(packet, position, receives, core)?,
            Opcode::Write(position) | Opcode::WriteImmediate(position) => {
                self.write(packet, position, receives, core)?
            }
            Opcode::ReadRequest => return self.read(packet, core),
            _ => return Err(Nak::InvalidRequest.into()),
        };
        match executed {
            Executed::Yes => {
                self.expected = base.psn.plus(1);
                self.executed = Some(base.psn);
                if base.acknowledge {
                    self.answer(base.psn, Syndrome::ACK);
                }
            }
            Executed::NotReady => {
                core.counters.rnr_naks_sent += 1;
                self.refused = true;
                self.answer(base.psn, Syndrome::ReceiverNotReady(self.attributes.rnr_timer));
            }
        }
        Ok(())
    }

    fn message_done(&mut self) {
        self.messages = Psn::new(self.messages).plus(1).value();
    }

    fn send<M: RemoteMemory>(
        &mut self,
        packet: &Packet<'_>,
        position: Position,
        receives: &mut VecDeque<ReceiveRequest>,
        core: &mut Core<M>,
    ) -> Result<Executed, Fault> {
        // A message starts when none is coming in, and only then (the sequences of opcodes).
        let (receive, before) = match (position.starts(), self.arriving.take()) {
            (true, None) => {
                check_length(position, packet.payload.len(), core.mtu())?;
                let Some(receive) = receives.pop_front() else { return Ok(Executed::NotReady) };
                (receive, 0)
            }
            (false, Some(Arriving::Send { receive, bytes })) => {
                match check_length(position, packet.payload.len(), core.mtu()) {
                    Ok(()) => (receive, bytes),
                    Err(fault) => return Err(Fault { receive: Some((receive, Status::LocalLength)), ..fault }),
                }
            }
            (_, arriving) => {
                self.arriving = arriving;
                return Err(Nak::InvalidRequest.into());
            }
        };
        let total = u64::from(before) + packet.payload.len() as u64;
        if total > length_of(&receive.local).min(MESSAGE_BYTES_MAX) {
            return Err(Fault { nak: Nak::InvalidRequest, receive: Some((receive, Status::LocalLength)) });
        }
        if scatter(&core.memory, &receive.local, u64::from(before), packet.payload).is_err() {
            return Err(Fault { nak: Nak::RemoteOperation, receive: Some((receive, Status::LocalProtection)) });
        }
        let bytes = total as u32;
        if position.ends() {
            self.message_done();
            let mut done = received(&receive, Status::Success, CompletionKind::Receive);
            done.bytes = bytes;
            done.immediate = packet.headers.immediate;
            done.solicited = packet.base().solicited;
            core.complete(Some(done));
        } else {
            self.arriving = Some(Arriving::Send { receive, bytes });
        }
        Ok(Executed::Yes)
    }

    fn write<M: RemoteMemory>(
        &mut self,
        packet: &Packet<'_>,
        position: Position,
        receives: &mut VecDeque<ReceiveRequest>,
        core: &mut Core<M>,
    ) -> Result<Executed, Fault> {
        let payload = packet.payload;
        let (address, key, written, left) = match (packet.headers.rdma, &self.arriving) {
            (Some(RdmaHeader { address, key, length }), None) => (address, key, 0, length),
            (None, &Some(Arriving::Write { address, key, written, left })) => (address, key, written, left),
            _ => return Err(Nak::InvalidRequest.into()),
        };
        if !self.rights.remote_write || u64::from(left) > MESSAGE_BYTES_MAX {
            return Err(Nak::InvalidRequest.into());
        }
        check_length(position, payload.len(), core.mtu())?;
        let bytes = payload.len() as u32;
        // The packets together are exactly as long as the first one said.
        if if position.ends() { bytes != left } else { bytes >= left } {
            return Err(Nak::InvalidRequest.into());
        }
        // The whole message is checked before its first byte. A write of nothing needs no valid key.
        if position.starts() && left > 0 {
            let checked = core.memory.check(key, address, u64::from(left), Access::RemoteWrite);
            checked.map_err(|_| Nak::RemoteAccess)?;
        }
        if packet.headers.immediate.is_some() && receives.is_empty() {
            return Ok(Executed::NotReady);
        }
        if bytes > 0 {
            let to = address.wrapping_add(u64::from(written));
            core.memory.write(key, to, payload, Access::RemoteWrite).map_err(|_| Nak::RemoteAccess)?;
        }
        let (written, left) = (written + bytes, left - bytes);
        if position.ends() {
            self.arriving = None;
            self.message_done();
            if packet.headers.immediate.is_some() {
                let receive = receives.pop_front().expect("it was looked for before anything was written");
                let mut done = received(&receive, Status::Success, CompletionKind::ReceiveWrite);
                done.bytes = written;
                done.immediate = packet.headers.immediate;
                done.solicited = packet.base().solicited;
                core.complete(Some(done));
            }
        } else {
            self.arriving = Some(Arriving::Write { address, key, written, left });
        }
        Ok(Executed::Yes)
    }

    fn read<M: RemoteMemory>(&mut self, packet: &Packet<'_>, core: &mut Core<M>) -> Result<(), Fault> {
        let RdmaHeader { address, key, length } = packet.headers.rdma.expect("a READ request has an RDMA header");
        let allowed = self.rights.remote_read && self.arriving.is_none() && packet.payload.is_empty();
        // IBTA vol. 1, 9.7.4.1: more READs than were agreed on are an invalid request.
        if !allowed || u64::from(length) > MESSAGE_BYTES_MAX || self.answers.reads() >= self.remembered.most() {
            return Err(Nak::InvalidRequest.into());
        }
        if length > 0 {
            let checked = core.memory.check(key, address, u64::from(length), Access::RemoteRead);
            checked.map_err(|_| Nak::RemoteAccess)?;
        }
        self.message_done();
        let psn = packet.base().psn;
        let reading = Reading { psn, address, key, left: length, starts: true };
        self.expected = psn.plus(reading.packets(core.mtu()));
        self.remembered.push(reading);
        self.answers.push(Answer::Read { reading, messages: self.messages });
        Ok(())
    }
}

/// Whether a payload can be so long where it stands in its message.
fn check_length(position: Position, bytes: usize, mtu: usize) -> Result<(), Fault> {
    let right = match position {
        Position::First | Position::Middle => bytes == mtu,
        Position::Last => (1..=mtu).contains(&bytes),
        Position::Only => bytes <= mtu,
    };
    if right { Ok(()) } else { Err(Nak::InvalidRequest.into()) }
}
