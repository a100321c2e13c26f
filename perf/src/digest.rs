//! What proves that nothing was lost, doubled or reordered: a few words per channel.
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// Counts and content of a set of records, whatever their order. Sets add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// How many records.
    pub records: u64,
    /// Their payload, without any framing.
    pub bytes: u64,
    /// The wrapping sum of their 128-bit XXH3 hashes.
    pub sum: u128,
}

/// What one channel carried, in its order. A million of them exist in a process of 1000 × 1000 channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// What was carried, whatever the order.
    pub totals: Totals,
    /// Changes when two records change places.
    pub chain: u64,
}

/// The first thing in which what was read differs from what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// Records were lost or doubled.
    #[error("{sent} records were sent and {received} were read")]
    Records {
        /// As the producer counted.
        sent: u64,
        /// As the consumer counted.
        received: u64,
    },
    /// As many records, but of another length.
    #[error("{sent} bytes were sent and {received} were read, in as many records")]
    Bytes {
        /// As the producer counted.
        sent: u64,
        /// As the consumer counted.
        received: u64,
    },
    /// As many records and bytes, but other ones.
    #[error(
        "the content differs: as many records and bytes, but digest {sent:032x} was sent and {received:032x} was read"
    )]
    Content {
        /// The producer's sum.
        sent: u128,
        /// The consumer's sum.
        received: u128,
    },
    /// The same records, in another order.
    #[error("the order differs: the same records were read in another order than they were written")]
    Order,
}

impl Totals {
    /// Adds the records of another set.
    pub fn merge(&mut self, other: &Totals) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// How `received` differs from `self`, which was sent.
    pub fn difference(&self, received: &Totals) -> Option<Difference> {
        if self.records != received.records {
            return Some(Difference::Records { sent: self.records, received: received.records });
        }
        if self.bytes != received.bytes {
            return Some(Difference::Bytes { sent: self.bytes, received: received.bytes });
        }
        let same = self.sum == received.sum;
        (!same).then_some(Difference::Content { sent: self.sum, received: received.sum })
    }
}

impl Digest {
    /// The length of [`Digest::to_bytes`].
    pub const ENCODED_BYTES: usize = 40;

    // Odd, so that multiplying by it loses nothing; the digits are those of the golden ratio.
    const CHAIN_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    /// Counts one more record.
    #[inline]
    pub fn add(&mut self, record: &[u8]) {
        let hash = xxh3_128(record);
        self.totals.records += 1;
        self.totals.bytes += record.len() as u64;
        self.totals.sum = self.totals.sum.wrapping_add(hash);
        self.chain = self.chain.wrapping_mul(Self::CHAIN_FACTOR).wrapping_add(hash as u64);
    }

    /// How `received` differs from `self`, which was sent.
    pub fn difference(&self, received: &Digest) -> Option<Difference> {
        let disordered = || (self.chain != received.chain).then_some(Difference::Order);
        self.totals.difference(&received.totals).or_else(disordered)
    }

    /// The digest as bytes, for the way to the process that compares.
    pub fn to_bytes(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[..8].copy_from_slice(&self.totals.records.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.totals.bytes.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.totals.sum.to_le_bytes());
        bytes[32..].copy_from_slice(&self.chain.to_le_bytes());
        bytes
    }

    /// The inverse of [`Digest::to_bytes`].
    pub fn from_bytes(bytes: &[u8; Self::ENCODED_BYTES]) -> Digest {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let sum = u128::from(word(16)) | u128::from(word(24)) << 64;
        Digest { totals: Totals { records: word(0), bytes: word(8), sum }, chain: word(32) }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of digests share.
    use super::Digest;

    /// Of these records, in their order.
    pub(crate) fn digest(records: &[&str]) -> Digest {
        let mut digest = Digest::default();
        records.iter().for_each(|record| digest.add(record.as_bytes()));
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::digest, *};

    #[test]
    fn a_digest_takes_at_most_48_bytes() {
        assert!(size_of::<Digest>() <= 48);
    }

    #[test]
    fn the_same_records_in_the_same_order_do_not_differ() {
        assert_eq!(digest(&["a", "", "bc"]).difference(&digest(&["a", "", "bc"])), None);
    }

    #[test]
    fn a_lost_and_a_doubled_record_are_named_with_both_counts() {
        let sent = digest(&["a", "b"]);
        assert_eq!(sent.difference(&digest(&["a"])), Some(Difference::Records { sent: 2, received: 1 }));
        assert_eq!(sent.difference(&digest(&["a", "b", "b"])), Some(Difference::Records { sent: 2, received: 3 }));
    }

    #[test]
    fn one_lost_and_another_doubled_is_a_difference_in_content() {
        let difference = digest(&["a", "b"]).difference(&digest(&["a", "a"]));
        assert!(matches!(difference, Some(Difference::Content { .. })));
    }

    #[test]
    fn a_record_cut_short_is_a_difference_in_bytes() {
        let difference = digest(&["abc"]).difference(&digest(&["ab"]));
        assert_eq!(difference, Some(Difference::Bytes { sent: 3, received: 2 }));
    }

    #[test]
    fn swapped_records_differ_only_in_order() {
        let (sent, received) = (digest(&["a", "b", "c"]), digest(&["a", "c", "b"]));
        assert_eq!(sent.totals, received.totals);
        assert_eq!(sent.difference(&received), Some(Difference::Order));
    }

    #[test]
    fn totals_of_parts_add_up_to_the_totals_of_the_whole() {
        let mut merged = digest(&["c", "a"]).totals;
        merged.merge(&digest(&["b"]).totals);
        assert_eq!(merged, digest(&["a", "b", "c"]).totals);
    }

    #[test]
    fn a_digest_survives_its_encoding() {
        let sent = digest(&["a", "longer than eight bytes"]);
        assert_eq!(Digest::from_bytes(&sent.to_bytes()), sent);
    }
}
