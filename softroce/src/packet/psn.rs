//! Packet sequence numbers: 24 bits that wrap around.

use std::fmt;

/// How many packet sequence numbers there are.
const NUMBERS: u32 = 1 << 24;

/// The number of a packet on one connection and in one direction.
///
/// Two numbers are compared by their distance: at most half of all numbers can be under way (IBTA vol. 1, 9.7.1), so
/// the shorter way round is the right one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Psn(u32);

impl Psn {
    /// The number with the lowest 24 bits of `value`.
    pub const fn new(value: u32) -> Psn {
        Psn(value % NUMBERS)
    }

    /// The number, below 2^24.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The number `packets` later.
    pub const fn plus(self, packets: u32) -> Psn {
        Psn::new(self.0.wrapping_add(packets))
    }

    /// The number `packets` earlier.
    pub const fn minus(self, packets: u32) -> Psn {
        Psn::new(self.0.wrapping_sub(packets))
    }

    /// How far this number is after `other`: from -2^23 to 2^23 - 1, negative if it is before it.
    pub const fn distance_from(self, other: Psn) -> i32 {
        // The 24 bits at the top of the word: the sign comes out by itself.
        (self.0.wrapping_sub(other.0) << 8).cast_signed() >> 8
    }

    /// Whether this number comes before `other`.
    pub const fn is_before(self, other: Psn) -> bool {
        self.distance_from(other) < 0
    }
}

impl fmt::Debug for Psn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Psn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_number_is_followed_by_zero() {
        assert_eq!(Psn::new(0xFF_FFFF).plus(1), Psn::new(0));
        assert_eq!(Psn::new(0).minus(1), Psn::new(0xFF_FFFF));
        assert!(Psn::new(0xFF_FFFF).is_before(Psn::new(0)));
    }

    #[test]
    fn half_of_all_numbers_are_before_and_half_are_not() {
        let origin = Psn::new(77);
        assert_eq!(origin.plus(NUMBERS / 2 - 1).distance_from(origin), (NUMBERS / 2 - 1) as i32);
        assert_eq!(origin.plus(NUMBERS / 2).distance_from(origin), -((NUMBERS / 2) as i32));
    }

    proptest! {
        #[test]
        fn a_distance_leads_from_one_number_to_the_other(a in 0..NUMBERS, b in 0..NUMBERS) {
            let (a, b) = (Psn::new(a), Psn::new(b));
            prop_assert_eq!(b.plus(a.distance_from(b).cast_unsigned()), a);
        }

        #[test]
        fn plus_and_minus_undo_each_other(a in any::<u32>(), packets in any::<u32>()) {
            prop_assert_eq!(Psn::new(a).plus(packets).minus(packets), Psn::new(a));
        }
    }
}
