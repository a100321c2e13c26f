//! Something on a medium with what it was before: what no sync has covered may be lost, in any combination.

use crate::seed::Random;

/// The values of something, oldest first. The first is on the medium for certain, the last is what is read; each has
/// the number of the change that made it.
#[derive(Clone, Debug)]
pub(super) struct Versions<T> {
    values: Vec<(u64, T)>,
}

impl<T> Versions<T> {
    /// On the medium from the beginning.
    pub(super) fn new(first: T) -> Self {
        Self { values: vec![(0, first)] }
    }

    pub(super) fn now(&self) -> &T {
        &self.values.last().expect("there is always a first").1
    }

    pub(super) fn now_mut(&mut self) -> &mut T {
        &mut self.values.last_mut().expect("there is always a first").1
    }

    pub(super) fn change(&mut self, number: u64, to: T) {
        self.values.push((number, to));
    }

    /// All changes up to this one are on the medium.
    pub(super) fn sync(&mut self, through: u64) {
        let covered = self.values.iter().rposition(|(number, _)| *number <= through).unwrap_or(0);
        self.values.drain(..covered);
    }

    pub(super) fn is_durable(&self) -> bool {
        self.values.len() == 1
    }

    /// A loss of power leaves one of them: the last in so many of a hundred cases, or else any.
    pub(super) fn survive(&mut self, random: &mut Random, percent: u64) {
        let last = self.values.len() - 1;
        let which = if random.chance(percent) { last } else { random.below(last as u64 + 1) as usize };
        let survivor = self.values.swap_remove(which);
        self.values = vec![(0, survivor.1)];
    }

    /// The one on the medium, and the last.
    pub(super) fn ends(&self) -> (&T, &T) {
        (&self.values[0].1, self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, Seed};

    fn survivors(versions: &Versions<u32>) -> Vec<u32> {
        let mut random = Seed(1).stream(Purpose::Disk);
        let survivor = |_| {
            let mut versions = versions.clone();
            versions.survive(&mut random, 10);
            *versions.now()
        };
        let mut survivors: Vec<_> = (0..100).map(survivor).collect();
        survivors.sort_unstable();
        survivors.dedup();
        survivors
    }

    #[test]
    fn what_a_sync_has_covered_is_not_lost_and_anything_later_may_be() {
        let mut versions = Versions::new(0);
        for number in 1..=3 {
            versions.change(number * 10, number as u32);
        }
        assert_eq!((*versions.now(), survivors(&versions)), (3, vec![0, 1, 2, 3]));
        versions.sync(15);
        assert_eq!((versions.is_durable(), survivors(&versions)), (false, vec![1, 2, 3]));
        versions.sync(30);
        assert_eq!((versions.is_durable(), survivors(&versions)), (true, vec![3]));
    }
}
