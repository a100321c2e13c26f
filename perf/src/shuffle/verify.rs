//! Compares what every producer says it sent with what every consumer says it read.

use crate::digest::{Difference, Digest, Totals};

/// A channel on which the two sides disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the channel from producer {producer} to consumer {consumer}: {difference}")]
pub struct Mismatch {
    /// Who wrote.
    pub producer: u32,
    /// Who read.
    pub consumer: u32,
    /// How they differ.
    pub difference: Difference,
}

/// The first channel that differs, or the totals of everything that was read. `sent` has a row for each producer,
/// `received` one for each consumer.
pub(super) fn verify(sent: &[Vec<Digest>], received: &[Vec<Digest>]) -> Result<Totals, Mismatch> {
    let mut all = Totals::default();
    for (consumer, row) in received.iter().enumerate() {
        for (producer, read) in row.iter().enumerate() {
            let written = &sent[producer][consumer];
            if let Some(difference) = written.difference(read) {
                return Err(Mismatch { producer: producer as u32, consumer: consumer as u32, difference });
            }
            all.merge(&read.totals);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::testing::digest;

    #[test]
    fn the_channel_that_lost_a_record_is_named() {
        let sent = vec![vec![digest(&["a"]), digest(&["b", "c"])], vec![digest(&[]), digest(&["d"])]];
        let mut received = vec![vec![digest(&["a"]), digest(&[])], vec![digest(&["b", "c"]), digest(&["d"])]];
        let totals = verify(&sent, &received).expect("the same");
        assert_eq!((totals.records, totals.bytes), (4, 4));
        received[1][0] = digest(&["b"]);
        let mismatch = verify(&sent, &received).expect_err("one is lost");
        assert_eq!((mismatch.producer, mismatch.consumer), (0, 1));
        assert!(mismatch.to_string().starts_with("the channel from producer 0 to consumer 1"), "{mismatch}");
    }
}
