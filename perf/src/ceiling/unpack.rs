//! The receiving half of the bare pipeline: checks each block and digests its records.
use super::block::{self, Corrupt};
use crate::digest::Digest;

const PREFIX_BYTES: usize = 4;

pub(super) struct Unpacker {
    digests: Vec<Digest>,
    /// For each target the record, with its prefix, that goes on in the next block.
    begun: Vec<Vec<u8>>,
}

impl Unpacker {
    pub(super) fn new(targets: u32) -> Self {
        Self { digests: vec![Digest::default(); targets as usize], begun: vec![Vec::new(); targets as usize] }
    }

    pub(super) fn block(&mut self, block: &[u8]) -> Result<(), Corrupt> {
        let (target, payload) = block::unseal(block)?;
        let digest = &mut self.digests[target as usize];
        let begun = &mut self.begun[target as usize];
        let mut rest = finish_begun(digest, begun, payload);
        while let Some(length) = record_length(rest).filter(|length| PREFIX_BYTES + length <= rest.len()) {
            digest.add(&rest[PREFIX_BYTES..][..length]);
            rest = &rest[PREFIX_BYTES + length..];
        }
        begun.extend_from_slice(rest);
        Ok(())
    }

    /// What came for each target. A record that never ended is missing there, so it shows.
    pub(super) fn finish(self) -> Vec<Digest> {
        self.digests
    }
}

/// Completes the record that the last block began, as far as this one goes; what is left of the payload.
fn finish_begun<'a>(digest: &mut Digest, begun: &mut Vec<u8>, mut payload: &'a [u8]) -> &'a [u8] {
    while !begun.is_empty() {
        let whole = PREFIX_BYTES + record_length(begun).unwrap_or(0);
        let (taken, rest) = payload.split_at(payload.len().min(whole - begun.len()));
        begun.extend_from_slice(taken);
        payload = rest;
        if begun.len() == PREFIX_BYTES + record_length(begun).unwrap_or(usize::MAX - PREFIX_BYTES) {
            digest.add(&begun[PREFIX_BYTES..]);
            begun.clear();
        } else if payload.is_empty() {
            break;
        }
    }
    payload
}

fn record_length(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<PREFIX_BYTES>()?;
    Some(u32::from_le_bytes(*prefix) as usize)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{super::pack::Packer, super::pack::Sink, *};
    use crate::input::{Input, InputSpec};

    impl Sink for &mut Unpacker {
        fn take(&mut self, blocks: &[Vec<u8>]) -> io::Result<()> {
            blocks.iter().try_for_each(|block| self.block(block)).map_err(io::Error::other)
        }
    }

    fn unpacked_equals_packed(record_bytes: u32, targets: u32) {
        let spec = InputSpec::Random { bytes: 1 << 20, record_bytes, skew: 0.0, seed: 1 };
        let mut source = Input::prepare(&spec, 1, targets).unwrap().source(0).unwrap();
        let mut unpacker = Unpacker::new(targets);
        let mut packer = Packer::new(targets, 3, &mut unpacker);
        let mut batch = crate::input::Batch::default();
        while source.fill(&mut batch).unwrap() {
            packer.add(&batch).unwrap();
        }
        let (_, sent) = packer.finish().unwrap();
        assert!(sent.iter().map(|digest| digest.totals.bytes).sum::<u64>() >= 1 << 20);
        assert_eq!(unpacker.finish(), sent, "records of {record_bytes} bytes");
    }

    #[test]
    fn records_of_any_size_are_digested_as_they_were_packed() {
        // 32752 is a block's payload: records around it end at, before and after a block's end,
        // and the odd sizes make prefixes span blocks at each of their bytes.
        for record_bytes in [8, 9, 11, 100, 1001, 16_384, 32_747, 32_748, 32_749, 32_752, 100_000] {
            unpacked_equals_packed(record_bytes, 1);
            unpacked_equals_packed(record_bytes, 5);
        }
    }
}
