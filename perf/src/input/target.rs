//! From a key to a consumer: the same on every machine and in every run.
use xxhash_rust::xxh3::xxh3_64;

/// The consumers that keys are spread over.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    consumers: u32,
}

impl Targets {
    /// Panics if there is no consumer to choose.
    pub fn new(consumers: u32) -> Targets {
        assert!(consumers > 0, "a key needs a consumer to go to");
        Targets { consumers }
    }

    /// How many there are to choose from.
    pub fn count(self) -> u32 {
        self.consumers
    }

    /// The consumer of a key.
    #[inline]
    pub fn of_key(self, key: &[u8]) -> u32 {
        self.scale(xxh3_64(key))
    }

    /// Scales an evenly spread number to a consumer: a multiplication where `%` would divide, for every record.
    #[inline]
    pub(super) fn scale(self, hash: u64) -> u32 {
        ((u128::from(hash) * u128::from(self.consumers)) >> 64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_evenly_over_the_consumers() {
        let mut counts = [0u32; 7];
        for key in 0..70_000u32 {
            counts[Targets::new(7).of_key(key.to_string().as_bytes()) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_key_keeps_its_consumer_from_release_to_release() {
        let targets: Vec<_> = ["", "1", "sluice"].map(|key| Targets::new(1000).of_key(key.as_bytes())).into();
        assert_eq!(targets, [175, 397, 492]);
    }
}
