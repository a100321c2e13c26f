//! Requests that were executed before: their answer was lost, or the network has doubled them.

use std::collections::VecDeque;

use super::answering::{Answer, Reading};
use super::{Fault, Responder};
use crate::memory::{Access, RemoteMemory};
use crate::packet::{Nak, Opcode, Packet, Psn, RdmaHeader, Syndrome};
use crate::queue_pair::Core;

/// The last READs, as many as may be under way: each may come again.
#[derive(Debug)]
pub(super) struct Remembered {
    reads: VecDeque<Reading>,
    most: usize,
}

impl Remembered {
    pub(super) fn new(most: usize) -> Remembered {
        Remembered { reads: VecDeque::with_capacity(most), most }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn push(&mut self, reading: Reading) {
        if self.reads.len() == self.most {
            self.reads.pop_front();
        }
        self.reads.push_back(reading);
    }

    /// Whether it asks for the end of a READ, or of all of it, as it was asked for before.
    fn knows(&self, psn: Psn, again: &RdmaHeader, mtu: usize) -> bool {
        self.reads.iter().any(|read| {
            let packets = psn.distance_from(read.psn);
            let offset = u64::from(packets.cast_unsigned()) * mtu as u64;
            (0..read.packets(mtu) as i32).contains(&packets)
                && again.key == read.key
                && again.address == read.address.wrapping_add(offset)
                && u64::from(again.length) + offset <= u64::from(read.left)
        })
    }
}

impl Responder {
    /// IBTA vol. 1, 9.7.5.1: a SEND or WRITE is not executed again, only acknowledged, and by the newest number there
    /// is; a READ is executed again.
    pub(super) fn repeat<M: RemoteMemory>(&mut self, packet: &Packet<'_>, core: &mut Core<M>) -> Result<(), Fault> {
        core.counters.repeated += 1;
        match (packet.base().opcode, packet.headers.rdma) {
            (Opcode::ReadRequest, Some(again)) => self.read_again(packet.base().psn, again, core),
            (Opcode::Unsupported(_), _) => Ok(()),
            _ => {
                // Never with the number of a READ: a requester could take it for the READ's answer.
                if let Some(psn) = self.executed {
                    self.answer(psn, Syndrome::ACK);
                }
                Ok(())
            }
        }
    }

    fn read_again<M: RemoteMemory>(&mut self, psn: Psn, again: RdmaHeader, core: &mut Core<M>) -> Result<(), Fault> {
        // What is no READ of this connection, or too old, is dropped: the requester asks for nothing so old.
        let mtu = core.mtu();
        let known = self.remembered.knows(psn, &again, mtu);
        // A doubled packet, while its first edition is still being answered.
        if !known || self.answers.will_read(psn, mtu) || self.answers.reads() >= self.remembered.most() {
            return Ok(());
        }
        let RdmaHeader { address, key, length } = again;
        // The key is looked at again: the region may have gone meanwhile.
        if length > 0 {
            let checked = core.memory.check(key, address, u64::from(length), Access::RemoteRead);
            checked.map_err(|_| Nak::RemoteAccess)?;
        }
        let reading = Reading { psn, address, key, left: length, starts: true };
        self.answers.push(Answer::Read { reading, messages: self.messages });
        Ok(())
    }
}
