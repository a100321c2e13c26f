//! Records of one size that cost little more than the copy: for measuring the shuffle, not the generator.
use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng, distr::Distribution, rngs::SmallRng};
use rand_distr::weighted::WeightedAliasIndex;

use super::{Batch, InputError, Range, Source, Targets};

/// The least a record holds: the counter that makes it unlike all others.
const RECORD_BYTES_MIN: u32 = 8;
const RECORD_BYTES_MAX: u32 = 1 << 30;

/// Refuses a size that no random record can have.
pub fn check_record_bytes(bytes: u64) -> Result<(), InputError> {
    match (u64::from(RECORD_BYTES_MIN)..=u64::from(RECORD_BYTES_MAX)).contains(&bytes) {
        true => Ok(()),
        false => {
            let reason = format!("a random record of {bytes} bytes: it needs from 8 (a counter) to 1 GiB");
            Err(InputError::Setting(reason))
        }
    }
}

/// Refuses an exponent that makes no sense of the consumers' shares.
pub fn check_skew(skew: f64) -> Result<(), InputError> {
    match (0.0..=10.0).contains(&skew) {
        true => Ok(()),
        false => Err(InputError::Setting(format!("a skew of {skew}: Zipf exponents go from 0 (uniform) to 10"))),
    }
}

/// How far apart the starts of two batches in the block are: odd, so that all offsets take their turn.
const ROTATION_BYTES: usize = 4093;

pub(super) struct Size {
    pub(super) bytes: u64,
    pub(super) record_bytes: u32,
}

/// What all random sources of a process share.
pub(super) struct Random {
    record_bytes: u32,
    records: u64,
    producers: u32,
    seed: u64,
    block: Arc<[u8]>,
    choice: Choice,
}

/// How the consumer of a record is drawn.
#[derive(Clone)]
enum Choice {
    Uniform(Targets),
    Skewed(Arc<WeightedAliasIndex<f64>>),
}

impl Random {
    pub(super) fn prepare(
        size: Size,
        skew: f64,
        seed: u64,
        producers: u32,
        targets: Targets,
    ) -> Result<Self, InputError> {
        let record_bytes = size.record_bytes;
        check_record_bytes(record_bytes.into())?;
        let choice = Choice::new(skew, targets)?;
        let mut block = vec![0; batch_bytes(record_bytes) + Batch::BYTES_MAX];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut block);
        let records = size.bytes.div_ceil(u64::from(record_bytes));
        Ok(Self { record_bytes, records, producers, seed, block: block.into(), choice })
    }

    pub(super) fn source(&self, producer: u32) -> RandomSource {
        let share = |producer: u32| {
            let share = u128::from(self.records) * u128::from(producer) / u128::from(self.producers);
            share as u64
        };
        RandomSource {
            record_bytes: self.record_bytes as usize,
            block: Arc::clone(&self.block),
            rotation: producer as usize * ROTATION_BYTES % Batch::BYTES_MAX,
            // Counted over all producers, so no two records of a run are alike.
            counter: share(producer),
            counter_end: share(producer + 1),
            // The next seeds belong to the next producers; the block has the seed itself.
            rng: SmallRng::seed_from_u64(self.seed.wrapping_add(1 + u64::from(producer))),
            choice: self.choice.clone(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        // Rounded up to whole records, so the largest number of bytes there is would not fit.
        self.records.saturating_mul(u64::from(self.record_bytes))
    }
}

impl Choice {
    fn new(skew: f64, targets: Targets) -> Result<Choice, InputError> {
        check_skew(skew)?;
        if skew == 0.0 {
            return Ok(Choice::Uniform(targets));
        }
        let weights = (1..=targets.count()).map(|rank| f64::from(rank).powf(-skew)).collect();
        let table = WeightedAliasIndex::new(weights).expect("every weight is above 0 and at most 1");
        Ok(Choice::Skewed(Arc::new(table)))
    }
}

fn batch_bytes(record_bytes: u32) -> usize {
    let records = (Batch::BYTES_MAX / record_bytes as usize).max(1);
    records * record_bytes as usize
}

pub(super) struct RandomSource {
    record_bytes: usize,
    block: Arc<[u8]>,
    rotation: usize,
    counter: u64,
    counter_end: u64,
    rng: SmallRng,
    choice: Choice,
}

impl Source for RandomSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, InputError> {
        batch.clear();
        let records_max = (Batch::BYTES_MAX / self.record_bytes).max(1) as u64;
        let records = records_max.min(self.counter_end - self.counter) as usize;
        self.make_records(records, batch);
        match &self.choice {
            Choice::Uniform(targets) => {
                batch.targets.extend((0..records).map(|_| targets.scale(self.rng.random())));
            }
            Choice::Skewed(table) => {
                batch.targets.extend((0..records).map(|_| table.sample(&mut self.rng) as u32));
            }
        }
        Ok(records > 0)
    }
}

impl RandomSource {
    /// One copy for the whole batch, then the counters.
    fn make_records(&mut self, records: usize, batch: &mut Batch) {
        let bytes = &self.block[self.rotation..][..records * self.record_bytes];
        self.rotation = (self.rotation + ROTATION_BYTES) % Batch::BYTES_MAX;
        batch.bytes.extend_from_slice(bytes);
        for (record, start) in batch.bytes.chunks_exact_mut(self.record_bytes).zip((0..).step_by(self.record_bytes)) {
            record[..8].copy_from_slice(&self.counter.to_le_bytes());
            self.counter += 1;
            batch.ranges.push(Range { start, length: self.record_bytes as u32 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{InputSpec, testing::*};

    fn spec(bytes: u64, record_bytes: u32, skew: f64) -> InputSpec {
        InputSpec::Random { bytes, record_bytes, skew, seed: 42 }
    }

    fn counts(skew: f64, consumers: u32) -> Vec<u32> {
        let mut counts = vec![0; consumers as usize];
        for (_, target) in records(&spec(800_000, 8, skew), 1, consumers).unwrap() {
            counts[target as usize] += 1;
        }
        counts
    }

    #[test]
    fn all_records_are_different_and_none_is_short() {
        let records = sorted(records(&spec(1_000_001, 100, 0.0), 3, 4).unwrap());
        assert_eq!(records.len(), 10_001);
        assert!(records.iter().all(|(record, _)| record.len() == 100));
        assert!(records.windows(2).all(|pair| pair[0].0 != pair[1].0));
    }

    #[test]
    fn the_same_seed_gives_the_same_records() {
        let once = records(&spec(1 << 20, 1000, 0.5), 2, 9).unwrap();
        assert_eq!(records(&spec(1 << 20, 1000, 0.5), 2, 9).unwrap(), once);
    }

    #[test]
    fn a_record_larger_than_a_batch_is_a_batch_of_its_own() {
        let records = records(&spec(3 << 20, 1 << 20, 0.0), 2, 2).unwrap();
        assert_eq!(records.iter().map(|(record, _)| record.len()).collect::<Vec<_>>(), [1 << 20; 3]);
    }

    #[test]
    fn without_skew_the_consumers_get_equal_shares() {
        assert!(counts(0.0, 4).iter().all(|count| (24_000..26_000).contains(count)));
    }

    #[test]
    fn with_a_skew_of_one_the_first_gets_twice_the_second_and_thrice_the_third() {
        // 100 000 records over 1 + 1/2 + 1/3 + 1/4 = 25/12: the first gets 48 000.
        let expected = [48_000, 24_000, 16_000, 12_000];
        for (count, expected) in counts(1.0, 4).into_iter().zip(expected) {
            assert!(count.abs_diff(expected) < 600, "{count} where {expected} were expected");
        }
    }

    #[test]
    fn sizes_and_skews_that_make_no_sense_are_refused() {
        assert!(records(&spec(100, 7, 0.0), 1, 1).is_err());
        assert!(records(&spec(100, 8, -1.0), 1, 1).is_err());
        assert!(records(&spec(100, 8, f64::NAN), 1, 1).is_err());
    }
}
