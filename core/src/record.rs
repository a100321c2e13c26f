//! Records in a stream of bytes: a length of four bytes, little endian, then the record. They may span buffers.

/// The bytes of a record's length.
pub(crate) const LENGTH_BYTES: usize = 4;

/// Records with a target for each, written with one call. Remembers how far a write came that had to wait.
#[derive(Debug)]
pub struct RecordBatch<'a> {
    records: &'a [&'a [u8]],
    targets: &'a [u32],
    /// Records written whole.
    written: usize,
    /// Bytes of the next record that are written, its length included.
    offset: usize,
}

impl<'a> RecordBatch<'a> {
    /// Pairs each record with the index of its subpartition.
    ///
    /// # Panics
    /// If there are not as many targets as records.
    pub fn new(records: &'a [&'a [u8]], targets: &'a [u32]) -> Self {
        assert_eq!(records.len(), targets.len(), "a target for each record");
        Self { records, targets, written: 0, offset: 0 }
    }

    /// Records that are written whole.
    pub fn written(&self) -> usize {
        self.written
    }

    /// The record that is next, its target, and how many of its bytes are written already.
    pub(crate) fn next(&self) -> Option<(u32, &'a [u8], usize)> {
        let record = self.records.get(self.written)?;
        Some((self.targets[self.written], record, self.offset))
    }

    pub(crate) fn record_done(&mut self) {
        self.written += 1;
        self.offset = 0;
    }

    pub(crate) fn advance(&mut self, offset: usize) {
        self.offset = offset;
    }
}

/// A record claims to be longer than any may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {bytes} bytes, the limit is {limit} (shuffle.record_bytes_max)")]
pub struct RecordTooLong {
    /// What its length says.
    pub bytes: usize,
    /// The configured limit.
    pub limit: usize,
}

/// Reads the records of one channel out of its buffers. Those within a buffer are shown where they lie; those that span
/// buffers are put together.
#[derive(Debug)]
pub struct RecordReader {
    /// The beginning of a record that goes on in the next buffer, its length included.
    partial: Vec<u8>,
    limit: usize,
}

impl RecordReader {
    /// `record_bytes_max` bounds what is put together.
    pub fn new(record_bytes_max: usize) -> Self {
        Self { partial: Vec::new(), limit: record_bytes_max }
    }

    /// Shows every record that ends in `bytes`, the next bytes of the channel.
    pub fn read(&mut self, mut bytes: &[u8], mut show: impl FnMut(&[u8])) -> Result<(), RecordTooLong> {
        if !self.partial.is_empty() {
            match self.complete(bytes)? {
                None => return Ok(()),
                Some(rest) => bytes = rest,
            }
            show(&self.partial[LENGTH_BYTES..]);
            // Long records are rare; their memory is not kept for each of a thousand channels.
            self.partial = Vec::new();
        }
        while let Some((length, behind)) = bytes.split_first_chunk::<LENGTH_BYTES>() {
            let length = self.check(u32::from_le_bytes(*length))?;
            let Some((record, rest)) = behind.split_at_checked(length) else { break };
            show(record);
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Whether the stream stands between two records.
    pub fn is_between_records(&self) -> bool {
        self.partial.is_empty()
    }

    /// Adds to the partial record; says what is behind it once it is whole.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, RecordTooLong> {
        let missing = LENGTH_BYTES.saturating_sub(self.partial.len());
        let (length, bytes) = bytes.split_at(missing.min(bytes.len()));
        self.partial.extend_from_slice(length);
        let Some(length) = self.partial.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let whole = LENGTH_BYTES + self.check(u32::from_le_bytes(*length))?;
        let (more, rest) = bytes.split_at((whole - self.partial.len()).min(bytes.len()));
        self.partial.extend_from_slice(more);
        Ok((self.partial.len() == whole).then_some(rest))
    }

    fn check(&self, length: u32) -> Result<usize, RecordTooLong> {
        let bytes = length as usize;
        if bytes <= self.limit { Ok(bytes) } else { Err(RecordTooLong { bytes, limit: self.limit }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(records: &[&[u8]]) -> Vec<u8> {
        records.iter().flat_map(|r| (r.len() as u32).to_le_bytes().into_iter().chain(r.iter().copied())).collect()
    }

    #[test]
    fn records_come_out_whole_wherever_the_stream_is_cut() {
        let records: Vec<&[u8]> = vec![b"one", b"", b"three", b"a longer record than the others"];
        let bytes = stream(&records);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut reader = RecordReader::new(100);
                let mut seen = Vec::new();
                for piece in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    reader.read(piece, |record| seen.push(record.to_vec())).expect("no record is too long");
                }
                assert_eq!(seen, records, "cut at {first} and {second}");
                assert!(reader.is_between_records());
            }
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_kept() {
        let mut reader = RecordReader::new(10);
        let error = reader.read(&u32::MAX.to_le_bytes(), |_| {}).expect_err("4 GiB");
        assert_eq!(error, RecordTooLong { bytes: u32::MAX as usize, limit: 10 });
    }
}
