//! What is asked of a disk in a measurement: which request comes next, and what every block of a file holds.

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// The unit in which contents are told apart, in bytes.
const BLOCK_BYTES: usize = 4096;
/// The number of a block, at its start.
const STAMP_BYTES: usize = 8;

/// What a phase does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskMode {
    /// Write it, from its start to its end
    Write,
    /// Read what was written, in the same order
    Read,
    /// By turns: read the first half and write the second one anew
    Mixed,
}

/// A phase: requests of one size, in file order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: DiskMode,
    pub(crate) request_bytes: usize,
    /// How many there are, in each file.
    pub(crate) requests: u64,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) is_write: bool,
    pub(crate) offset: u64,
}

impl Plan {
    /// The request of this number, counted from 0.
    pub(crate) fn step(&self, number: u64) -> Option<Step> {
        if number >= self.requests {
            return None;
        }
        let (is_write, place) = match self.mode {
            DiskMode::Write => (true, number),
            DiskMode::Read => (false, number),
            DiskMode::Mixed if number.is_multiple_of(2) => (false, number / 2),
            DiskMode::Mixed => (true, self.requests.div_ceil(2) + number / 2),
        };
        Some(Step { is_write, offset: place * self.request_bytes as u64 })
    }
}

/// What a request carries: random bytes, so that no layer below can shorten them, and a number in each block.
pub(crate) struct Pattern {
    base: Vec<u8>,
}

/// What was read is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was read at {offset} is not what was written there")]
pub(crate) struct Changed {
    pub(crate) offset: u64,
}

impl Pattern {
    /// Of one request.
    pub(crate) fn new(request_bytes: usize) -> Pattern {
        let mut base = vec![0; request_bytes];
        StdRng::seed_from_u64(17).fill_bytes(&mut base);
        Pattern { base }
    }

    /// Makes memory ready for [`Pattern::stamp`].
    pub(crate) fn fill(&self, memory: &mut [u8]) {
        memory.copy_from_slice(&self.base);
    }

    /// Gives each block its number: what differs between requests.
    pub(crate) fn stamp(&self, memory: &mut [u8], file: usize, offset: u64) {
        for (number, block) in memory.chunks_mut(BLOCK_BYTES).enumerate() {
            block[..STAMP_BYTES].copy_from_slice(&stamp(file, offset, number));
        }
    }

    /// Compares every byte.
    pub(crate) fn check(&self, memory: &[u8], file: usize, offset: u64) -> Result<(), Changed> {
        let blocks = memory.chunks(BLOCK_BYTES).zip(self.base.chunks(BLOCK_BYTES));
        for (number, (block, base)) in blocks.enumerate() {
            if block[..STAMP_BYTES] != stamp(file, offset, number) || block[STAMP_BYTES..] != base[STAMP_BYTES..] {
                return Err(Changed { offset: offset + (number * BLOCK_BYTES) as u64 });
            }
        }
        Ok(())
    }
}

fn stamp(file: usize, offset: u64, block: usize) -> [u8; STAMP_BYTES] {
    ((file as u64) << 48 | (offset / BLOCK_BYTES as u64 + block as u64)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixed_phase_never_reads_what_it_writes_and_touches_each_place_once() {
        for requests in [1, 2, 7, 8] {
            let plan = Plan { mode: DiskMode::Mixed, request_bytes: 4096, requests };
            let steps: Vec<_> = (0..).map_while(|number| plan.step(number)).collect();
            let mut places: Vec<_> = steps.iter().map(|step| step.offset / 4096).collect();
            places.sort_unstable();
            assert_eq!(places, (0..requests).collect::<Vec<_>>());
            let reads = steps.iter().filter(|step| !step.is_write).map(|step| step.offset).max();
            let writes = steps.iter().filter(|step| step.is_write).map(|step| step.offset).min();
            assert!(writes.is_none_or(|write| Some(write) > reads), "{steps:?}");
        }
    }

    #[test]
    fn a_block_of_another_place_another_file_and_a_flipped_bit_are_found() {
        let pattern = Pattern::new(3 * BLOCK_BYTES);
        let mut memory = vec![0; 3 * BLOCK_BYTES];
        pattern.fill(&mut memory);
        pattern.stamp(&mut memory, 1, 8192);
        assert_eq!(pattern.check(&memory, 1, 8192), Ok(()));
        assert_eq!(pattern.check(&memory, 2, 8192), Err(Changed { offset: 8192 }));
        assert_eq!(pattern.check(&memory, 1, 4096), Err(Changed { offset: 4096 }));
        memory[BLOCK_BYTES + 100] ^= 1;
        assert_eq!(pattern.check(&memory, 1, 8192), Err(Changed { offset: 8192 + 4096 }));
    }
}
