//! Some 64 KiB of records with a target for each: what passes between a source and a writer.

/// Where a record lies in the bytes of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub start: u32,
    /// How many there are.
    pub length: u32,
}

/// Records one after the other, each with the consumer it is for.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What the ranges point into; bytes between ranges belong to no record.
    pub bytes: Vec<u8>,
    /// One per record, in order.
    pub ranges: Vec<Range>,
    /// One per record: the consumer, counted from 0.
    pub targets: Vec<u32>,
}

impl Batch {
    /// A source stops at this fill, so that a batch stays in the second-level cache and a thousand
    /// producers in one process stay small. Only a record that is larger by itself goes beyond.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// Forgets the records; keeps the memory, unless one giant record has grown it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(2 * Self::BYTES_MAX);
        self.ranges.clear();
        self.targets.clear();
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The records with their targets, in order.
    pub fn records(&self) -> impl Iterator<Item = (&[u8], u32)> {
        let record = |range: &Range| &self.bytes[range.start as usize..][..range.length as usize];
        self.ranges.iter().map(record).zip(self.targets.iter().copied())
    }

    /// The payload of all records.
    pub fn payload_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| u64::from(range.length)).sum()
    }

    /// Whether another record of some `expected` bytes still fits.
    pub(super) fn has_room_for(&self, expected: usize) -> bool {
        self.is_empty() || self.bytes.len() + expected <= Self::BYTES_MAX
    }

    /// Makes the bytes from `start` to the end of `bytes` a record.
    pub(super) fn seal(&mut self, start: usize, target: u32) {
        let length = self.bytes.len() - start;
        let narrow = |value: usize| u32::try_from(value).expect("no source lets a record grow to 4 GiB");
        self.ranges.push(Range { start: narrow(start), length: narrow(length) });
        self.targets.push(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order_with_their_targets() {
        let mut batch = Batch::default();
        for (record, target) in [("one", 7), ("", 0), ("three", 1)] {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(record.as_bytes());
            batch.seal(start, target);
        }
        let records: Vec<_> = batch.records().collect();
        assert_eq!(records, [(&b"one"[..], 7), (b"", 0), (b"three", 1)]);
        assert_eq!(batch.payload_bytes(), 8);
    }

    #[test]
    fn an_empty_batch_has_room_for_any_record() {
        assert!(Batch::default().has_room_for(10 * Batch::BYTES_MAX));
    }
}
