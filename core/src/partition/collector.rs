//! One buffer for the records of all subpartitions, sorted when it is full: two copies, and memory that does not depend
//! on the number of subpartitions.
//!
//! An entry is its target and length, four bytes each, then a part of the target's stream. Sorting is by counting and
//! stable, so the order within a subpartition is the order of writing.

use sluice_memory::{BufferPool, SizeClass};

use super::open::{OpenBuffer, Patience, Sealed, copy_part};
use crate::block::Block;
use crate::record::LENGTH_BYTES;

const ENTRY_BYTES: usize = 8;
/// A part of a record shorter than this is not worth an entry of its own at the end of the buffer.
const PART_BYTES_MIN: usize = 64;

/// Collects, then sorts.
pub(super) struct Collector {
    log: OpenBuffer,
    class: SizeClass,
    /// Bytes, then places, of each subpartition; all zero between two sorts.
    places: Vec<u32>,
    /// Subpartitions with entries, in the order of their first one.
    touched: Vec<u32>,
}

impl Collector {
    pub(super) fn new(subpartitions: u32, class: SizeClass) -> Self {
        Self { log: OpenBuffer::default(), class, places: vec![0; subpartitions as usize], touched: Vec::new() }
    }

    pub(super) fn append(
        &mut self,
        target: u32,
        record: &[u8],
        mut offset: usize,
        pool: &BufferPool,
        patience: &mut Patience<'_, '_>,
        sealed: &mut Sealed<'_>,
    ) -> Result<(), usize> {
        let whole = LENGTH_BYTES + record.len();
        while offset < whole {
            if !self.log.is_present() {
                match patience.acquire(pool, self.class) {
                    Some(buffer) => self.log.put(buffer),
                    None => return Err(offset),
                }
            }
            let room = self.log.room();
            let left = whole - offset;
            let usable = room.len().saturating_sub(ENTRY_BYTES);
            let fits_alone = left + ENTRY_BYTES <= self.class.bytes();
            if usable < left && (fits_alone || usable < PART_BYTES_MIN) {
                if !self.drain(pool, patience, sealed) {
                    return Err(offset);
                }
                continue;
            }
            let part = usable.min(left);
            room[..4].copy_from_slice(&target.to_le_bytes());
            room[4..8].copy_from_slice(&(part as u32).to_le_bytes());
            offset = copy_part(&mut room[ENTRY_BYTES..ENTRY_BYTES + part], record, offset);
            self.log.advance(ENTRY_BYTES + part);
            let bytes = &mut self.places[target as usize];
            if *bytes == 0 {
                self.touched.push(target);
            }
            *bytes += part as u32;
        }
        Ok(())
    }

    /// Sorts what is collected into one block for each subpartition that has any. Needs a buffer of its own size;
    /// false if there is none.
    pub(super) fn drain(
        &mut self,
        pool: &BufferPool,
        patience: &mut Patience<'_, '_>,
        sealed: &mut Sealed<'_>,
    ) -> bool {
        if self.log.filled() == 0 {
            return true;
        }
        let Some(mut sorted) = patience.acquire(pool, self.class) else { return false };
        // From bytes to places: each subpartition begins where the one before it ends.
        let mut place = 0;
        let mut lengths = Vec::with_capacity(self.touched.len());
        for target in &self.touched {
            let bytes = std::mem::replace(&mut self.places[*target as usize], place);
            lengths.push(bytes);
            place += bytes;
        }
        let mut entries = self.log.written();
        while let Some((head, rest)) = entries.split_first_chunk::<ENTRY_BYTES>() {
            let [t0, t1, t2, t3, l0, l1, l2, l3] = *head;
            let target = u32::from_le_bytes([t0, t1, t2, t3]) as usize;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (part, rest) = rest.split_at(length);
            let place = self.places[target] as usize;
            sorted[place..place + length].copy_from_slice(part);
            self.places[target] += length as u32;
            entries = rest;
        }
        self.log.clear();
        for (target, length) in self.touched.drain(..).zip(lengths) {
            self.places[target as usize] = 0;
            sealed.push(target, Some(Block::seal(sorted.split_to(length as usize).freeze())));
        }
        true
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.log.filled() > 0
    }
}
