//! One number from which everything is drawn, in streams that do not disturb each other.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The number of a run. The same seed and the same commit are the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed(pub u64);

/// What is drawn for. Each has its own numbers: a fault that is drawn differently does not change the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Workers, their memory, their limits.
    Cluster = 1,
    /// Jobs and their tasks.
    Workload,
    /// What goes wrong, and when.
    Faults,
    /// Jitter, and the delays of what went wrong.
    Network,
    /// Who runs next.
    Schedule,
    /// Disks: how long requests take, and what crashes leave.
    Disk,
    /// Jobs whose partitions go to disk, and what goes wrong with disks.
    Blocking,
    /// Whether what is on disks is merged.
    Merging,
    /// Who shares directories with whom, and what goes wrong when something is found there.
    Housing,
}

impl Seed {
    /// The numbers for one purpose.
    pub fn stream(self, purpose: Purpose) -> Random {
        let mut random = Random { state: self.0 ^ (purpose as u64).wrapping_mul(0xa076_1d64_78bd_642f) };
        // Neighbouring seeds differ in few bits.
        random.bits();
        random
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// One of the range, ends included.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// One of the range; each order of magnitude is as likely as another.
    pub fn magnitude(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = ((*range.start()).max(1) as f64, (*range.end()).max(1) as f64);
        let unit = (self.bits() >> 11) as f64 / (1u64 << 53) as f64;
        ((low.ln() + unit * (high.ln() - low.ln())).exp().round() as u64).clamp(*range.start(), *range.end())
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// A time between these, by order of magnitude.
    pub fn time(&mut self, range: RangeInclusive<Duration>) -> Duration {
        Duration::from_nanos(self.magnitude(range.start().as_nanos() as u64..=range.end().as_nanos() as u64))
    }

    /// Puts them into another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index as u64 + 1) as usize);
        }
    }
}

/// Spreads the bits of a number over all of it.
pub fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |purpose| Seed(7).stream(purpose).bits();
        assert_eq!(draw(Purpose::Faults), draw(Purpose::Faults));
        assert_ne!(draw(Purpose::Faults), draw(Purpose::Workload));
        assert_ne!(draw(Purpose::Faults), Seed(8).stream(Purpose::Faults).bits());
    }

    #[test]
    fn what_is_drawn_lies_in_its_range_and_reaches_both_ends() {
        let mut random = Seed(1).stream(Purpose::Cluster);
        let drawn: Vec<_> = (0..200).map(|_| random.within(3..=6)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&3), Some(&6)));
        let drawn: Vec<_> = (0..1000).map(|_| random.magnitude(1..=1000)).collect();
        let small = drawn.iter().filter(|drawn| **drawn <= 32).count();
        assert!((400..600).contains(&small), "{small} of 1000 are in the lower half of the magnitudes");
    }
}
