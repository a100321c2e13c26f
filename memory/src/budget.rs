//! How much each pool may hold: arithmetic, without pools or memory.

/// What one pool asks of the budget, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// Always its own.
    pub(crate) floor: usize,
    /// Never more than this, nor less than the floor.
    pub(crate) maximum: usize,
    /// What its share grows by: less would be of no use to it.
    pub(crate) unit: usize,
}

impl Claim {
    /// What it could use beyond its floor, in whole units.
    fn room(&self) -> usize {
        let beyond = self.maximum.saturating_sub(self.floor);
        beyond - beyond % self.unit
    }
}

/// The limit of each claim, in their order: its floor and an equal share of what `total` has beyond
/// all floors. What one cannot use for its maximum goes to the others.
pub(crate) fn limits(total: usize, claims: &[Claim]) -> Vec<usize> {
    let floors: usize = claims.iter().map(|claim| claim.floor).sum();
    assert!(floors <= total, "floors of {floors} bytes were admitted to {total}");
    let mut limits: Vec<_> = claims.iter().map(|claim| claim.floor).collect();
    let mut excess = total - floors;

    // The least room first: what it leaves is then known when the others get theirs.
    let mut order: Vec<_> = (0..claims.len()).collect();
    order.sort_by_key(|&index| claims[index].room());
    for (position, &index) in order.iter().enumerate() {
        let equal = excess / (claims.len() - position);
        let share = claims[index].room().min(equal - equal % claims[index].unit);
        limits[index] += share;
        excess -= share;
    }
    spread_remainder(excess, claims, &order, &mut limits);
    limits
}

/// Hands out what the rounding to units left, a unit at a time, those with most room first.
fn spread_remainder(mut excess: usize, claims: &[Claim], order: &[usize], limits: &mut [usize]) {
    loop {
        let before = excess;
        for &index in order.iter().rev() {
            let Claim { floor, unit, .. } = claims[index];
            let room = claims[index].room() - (limits[index] - floor);
            if unit <= excess && unit <= room {
                limits[index] += unit;
                excess -= unit;
            }
        }
        if excess == before {
            return;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(floor: usize, maximum: usize) -> Claim {
        Claim { floor, maximum, unit: 1 }
    }

    #[test]
    fn the_excess_is_shared_equally() {
        assert_eq!(limits(100, &[claim(10, 100), claim(30, 100)]), [40, 60]);
    }

    #[test]
    fn what_a_pool_cannot_use_goes_to_the_others() {
        let claims = [claim(0, 1000), claim(10, 12), claim(0, 5), claim(0, 1000)];
        assert_eq!(limits(117, &claims), [50, 12, 5, 50]);
    }

    #[test]
    fn an_excess_smaller_than_a_unit_each_goes_to_some() {
        let claims = [Claim { floor: 0, maximum: usize::MAX, unit: 8 }; 3];
        let mut shared = limits(23, &claims);
        shared.sort_unstable();
        assert_eq!(shared, [0, 8, 8]);
    }

    #[test]
    fn nobody_gets_nothing_from_nothing() {
        assert_eq!(limits(10, &[]), [0usize; 0]);
        assert_eq!(limits(10, &[claim(10, 99)]), [10]);
    }

    fn claims() -> impl Strategy<Value = Vec<Claim>> {
        let one = (0usize..20, 0usize..100, 0u32..4).prop_map(|(floor_units, more, power)| {
            let unit = 1 << power;
            Claim { floor: floor_units * unit, maximum: floor_units * unit + more, unit }
        });
        proptest::collection::vec(one, 1..20)
    }

    proptest! {
        #[test]
        fn limits_are_sound_and_fair(claims in claims(), excess in 0usize..2000) {
            let floors: usize = claims.iter().map(|claim| claim.floor).sum();
            let total = floors + excess;
            let limits = limits(total, &claims);
            let left = total.checked_sub(limits.iter().sum()).expect("no more is promised than there is");
            for (claim, &limit) in claims.iter().zip(&limits) {
                prop_assert!(limit >= claim.floor && limit <= claim.maximum);
                let room = claim.room() - (limit - claim.floor);
                prop_assert!(room == 0 || left < claim.unit, "{left} left for {claim:?} at {limit}");
            }
            // Of two that could take more, neither is ahead by more than the units they are counted in.
            let unit_max = claims.iter().map(|claim| claim.unit).max().unwrap_or(1);
            let shares: Vec<_> = claims.iter().zip(&limits)
                .filter(|(claim, limit)| **limit - claim.floor < claim.room())
                .map(|(claim, limit)| limit - claim.floor).collect();
            let spread = shares.iter().max().unwrap_or(&0) - shares.iter().min().unwrap_or(&0);
            prop_assert!(spread <= 2 * unit_max, "shares {shares:?}");
        }
    }
}
