//! A head that arrives in parts.

use std::mem;

use sluice_protocol::Limits;
use sluice_protocol::wire::{DecodeError, Head, PREFIX_BYTES, Prefix};

/// Most heads of control messages fit; one with bodies grows once, when its prefix says how long it is.
const HEAD_BYTES_USUAL: usize = 256;

#[derive(Default)]
pub(super) struct PartialHead {
    bytes: Vec<u8>,
    /// Known, checked and within the limits once its bytes are there.
    prefix: Option<Prefix>,
}

impl PartialHead {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes from the front of `from` what the head still misses; gives the head once it is whole.
    pub(super) fn fill(&mut self, from: &mut &[u8], limits: &Limits) -> Result<Option<Head>, DecodeError> {
        let prefix = match self.prefix {
            Some(prefix) => prefix,
            None => {
                self.bytes.reserve_exact(HEAD_BYTES_USUAL.saturating_sub(self.bytes.len()));
                self.fill_to(PREFIX_BYTES, from);
                let Some(first) = self.bytes.first_chunk() else { return Ok(None) };
                *self.prefix.insert(Prefix::decode(first, limits)?)
            }
        };
        let length = prefix.head_bytes as usize;
        self.bytes.reserve_exact(length - self.bytes.len());
        self.fill_to(length, from);
        if self.bytes.len() < length {
            return Ok(None);
        }
        self.prefix = None;
        Head::decode(prefix, mem::take(&mut self.bytes), limits).map(Some)
    }

    fn fill_to(&mut self, length: usize, from: &mut &[u8]) {
        let taken = from.len().min(length - self.bytes.len());
        let taken = from.split_off(..taken).expect("no more than there is");
        self.bytes.extend_from_slice(taken);
    }
}
