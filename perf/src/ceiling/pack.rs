//! The sending half of the bare pipeline: copies each record once, into the open block of its target.
use std::io;

use super::block::{self, BLOCK_BYTES};
use crate::{digest::Digest, input::Batch};

/// Takes sealed blocks away.
pub(super) trait Sink {
    fn take(&mut self, blocks: &[Vec<u8>]) -> io::Result<()>;
}

pub(super) struct Packer<S> {
    sink: S,
    /// One for each target.
    open: Vec<Vec<u8>>,
    digests: Vec<Digest>,
    sealed: Vec<Vec<u8>>,
    sealed_max: usize,
    free: Vec<Vec<u8>>,
}

impl<S: Sink> Packer<S> {
    /// Gives `sink` so many blocks at once.
    pub(super) fn new(targets: u32, blocks_at_once: usize, sink: S) -> Self {
        Self {
            sink,
            open: (0..targets).map(|_| block::open(Vec::new())).collect(),
            digests: vec![Digest::default(); targets as usize],
            sealed: Vec::with_capacity(blocks_at_once),
            sealed_max: blocks_at_once,
            free: Vec::with_capacity(blocks_at_once),
        }
    }

    pub(super) fn add(&mut self, batch: &Batch) -> io::Result<()> {
        for (record, target) in batch.records() {
            self.digests[target as usize].add(record);
            let prefix = (record.len() as u32).to_le_bytes();
            let open = &mut self.open[target as usize];
            if open.len() + prefix.len() + record.len() < BLOCK_BYTES {
                open.extend_from_slice(&prefix);
                open.extend_from_slice(record);
            } else {
                self.span(target, &prefix)?;
                self.span(target, record)?;
            }
        }
        Ok(())
    }

    /// Writes over the end of the open block into the next ones.
    fn span(&mut self, target: u32, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let open = &mut self.open[target as usize];
            let (fits, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - open.len()));
            open.extend_from_slice(fits);
            bytes = rest;
            if open.len() == BLOCK_BYTES {
                self.seal(target)?;
            }
        }
        Ok(())
    }

    fn seal(&mut self, target: u32) -> io::Result<()> {
        let next = block::open(self.free.pop().unwrap_or_default());
        let mut full = std::mem::replace(&mut self.open[target as usize], next);
        block::seal(&mut full, target);
        self.sealed.push(full);
        if self.sealed.len() == self.sealed_max {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.take(&self.sealed)?;
        self.free.append(&mut self.sealed);
        Ok(())
    }

    /// Sends what is left, and gives back the sink and what went to each target.
    pub(super) fn finish(mut self) -> io::Result<(S, Vec<Digest>)> {
        for target in 0..self.open.len() {
            if self.open[target].len() > block::HEAD_BYTES {
                self.seal(target as u32)?;
            }
        }
        self.flush()?;
        Ok((self.sink, self.digests))
    }
}
