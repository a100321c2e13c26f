//! What a check found: figures, and a bounded list of what is wrong.

use crate::spill::{BlockEntry, BlockKind, Codec, Footer, FormatError, Header, Trailer};

/// How many problems are kept; the others are only counted.
const PROBLEMS_MAX: usize = 100;

/// What a file set holds, and what is wrong with it. Blocks that several subpartitions share count once.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The first pages, by part; `None` where there is none that can be read.
    pub headers: Vec<Option<Header>>,
    /// The last page, if it can be read.
    pub trailer: Option<Trailer>,
    /// The index, if it can be read.
    pub footer: Option<Footer>,
    /// Blocks in the file.
    pub blocks: u64,
    /// Events among them.
    pub events: u64,
    /// The blocks' bytes before compression.
    pub raw_bytes: u64,
    /// The blocks' bytes in the file.
    pub stored_bytes: u64,
    /// By codec.
    pub by_codec: [CodecBytes; 3],
    /// How large slices are.
    pub slices: SliceSizes,
    /// The first hundred things that are wrong, each with its part; offsets count from the beginning of that part.
    pub problems: Vec<(u16, FormatError)>,
    /// How many things are wrong.
    pub problems_all: u64,
}

/// What one codec has to do with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodecBytes {
    /// Which.
    pub codec: Codec,
    /// How many blocks it stores.
    pub blocks: u64,
    /// Their bytes before.
    pub raw_bytes: u64,
    /// Their bytes in the file.
    pub stored_bytes: u64,
}

/// How large slices are, in stored bytes: what one read brings of one subpartition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliceSizes {
    /// How many there are.
    pub count: u64,
    /// The smallest.
    pub min: u64,
    /// Half of them are smaller; rounded down by less than an eighth.
    pub median: u64,
    /// The largest.
    pub max: u64,
}

impl Report {
    /// Whether there is a whole set, and nothing is wrong with it.
    pub fn is_clean(&self) -> bool {
        self.problems_all == 0 && self.footer.is_some()
    }

    pub(super) fn problem(&mut self, part: u16, error: FormatError) {
        self.problems_all += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push((part, error));
        }
    }

    pub(super) fn block(&mut self, block: &BlockEntry) {
        let (raw, stored) = (u64::from(block.raw_bytes), u64::from(block.stored_bytes));
        self.blocks += 1;
        self.events += u64::from(block.kind == BlockKind::Event);
        self.raw_bytes += raw;
        self.stored_bytes += stored;
        let index = match block.codec {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
        };
        let codec = &mut self.by_codec[index];
        codec.codec = block.codec;
        codec.blocks += 1;
        codec.raw_bytes += raw;
        codec.stored_bytes += stored;
    }
}

/// A histogram with eight steps for each power of two.
pub(super) struct Sizes {
    steps: [u64; 64 * 8],
    summary: SliceSizes,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { steps: [0; 64 * 8], summary: SliceSizes { min: u64::MAX, ..SliceSizes::default() } }
    }
}

impl Sizes {
    pub(super) fn add(&mut self, bytes: u64) {
        self.steps[step(bytes)] += 1;
        self.summary.count += 1;
        self.summary.min = self.summary.min.min(bytes);
        self.summary.max = self.summary.max.max(bytes);
    }

    pub(super) fn summary(&self) -> SliceSizes {
        if self.summary.count == 0 {
            return SliceSizes::default();
        }
        let mut smaller = 0;
        let middle = self.steps.iter().position(|slices| {
            smaller += slices;
            smaller > self.summary.count / 2
        });
        let median = begin_of(middle.expect("every slice is in a step"));
        SliceSizes { median: median.max(self.summary.min), ..self.summary }
    }
}

/// Sizes below eight have a step each.
fn step(bytes: u64) -> usize {
    let power = bytes.max(1).ilog2();
    if power < 3 { bytes as usize } else { (power as usize - 2) * 8 + ((bytes >> (power - 3)) as usize & 7) }
}

fn begin_of(step: usize) -> u64 {
    if step < 8 { step as u64 } else { (8 + (step as u64 & 7)) << (step / 8 - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_less_than_an_eighth_above_the_beginning_of_its_step() {
        for bytes in (0..100_000).chain([1 << 40, (1 << 40) - 1, u64::MAX]) {
            let begin = begin_of(step(bytes));
            assert!(begin <= bytes && bytes - begin <= begin / 8, "{bytes} is in the step from {begin}");
        }
    }

    #[test]
    fn the_median_is_between_the_smaller_and_the_larger_half() {
        let mut sizes = Sizes::default();
        [1000, 64, 64, 5000, 9_000_000].into_iter().for_each(|bytes| sizes.add(bytes));
        let summary = sizes.summary();
        assert_eq!((summary.count, summary.min, summary.max), (5, 64, 9_000_000));
        assert_eq!(summary.median, 960);
    }
}
