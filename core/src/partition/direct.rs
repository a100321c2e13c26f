//! An open buffer for each subpartition: one copy, from the record to where the hardware takes it.

use super::open::{OpenBuffer, Sealed};
use crate::record::LENGTH_BYTES;

/// The open buffers of a writer.
pub(super) struct Direct {
    open: Vec<OpenBuffer>,
    /// Subpartitions that were written to since the last flush; only they are looked at by the next one.
    dirty: Vec<u32>,
}

impl Direct {
    pub(super) fn new(subpartitions: u32) -> Self {
        Self { open: (0..subpartitions).map(|_| OpenBuffer::default()).collect(), dirty: Vec::new() }
    }

    /// Copies a record if it fits the open buffer whole and leaves room.
    #[inline]
    pub(super) fn append_whole(&mut self, target: u32, record: &[u8]) -> bool {
        let open = &mut self.open[target as usize];
        let room = open.room();
        // A buffer that becomes exactly full is sealed, which the slow way does.
        if room.len() <= LENGTH_BYTES + record.len() {
            return false;
        }
        room[..LENGTH_BYTES].copy_from_slice(&(record.len() as u32).to_le_bytes());
        room[LENGTH_BYTES..LENGTH_BYTES + record.len()].copy_from_slice(record);
        open.advance(LENGTH_BYTES + record.len());
        if !std::mem::replace(&mut open.listed, true) {
            self.dirty.push(target);
        }
        true
    }

    /// The buffer of a target that is about to be written to.
    pub(super) fn open(&mut self, target: u32) -> &mut OpenBuffer {
        let open = &mut self.open[target as usize];
        if !std::mem::replace(&mut open.listed, true) {
            self.dirty.push(target);
        }
        open
    }

    pub(super) fn seal_all(&mut self, sealed: &mut Sealed<'_>) {
        for target in self.dirty.drain(..) {
            let open = &mut self.open[target as usize];
            open.listed = false;
            sealed.push(target, open.seal(true));
        }
    }

    pub(super) fn give_up_room(&mut self, sealed: &mut Sealed<'_>) {
        self.seal_all(sealed);
        self.open.iter_mut().for_each(OpenBuffer::give_up);
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.iter().any(|target| self.open[*target as usize].filled() > 0)
    }
}
