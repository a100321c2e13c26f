//! The arithmetic of credit: absolute, monotone counters of bytes that were set aside.

/// What one side knows of a channel's credit. Invariant: `spent + returned ≤ granted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Credit {
    granted: u64,
    spent: u64,
    returned: u64,
}

impl Credit {
    /// Counters as the other side tells them; `None` if they contradict each other.
    pub fn restored(granted: u64, spent: u64, returned: u64) -> Option<Self> {
        (spent.checked_add(returned)? <= granted).then_some(Self { granted, spent, returned })
    }

    /// All that was ever granted.
    pub fn granted(&self) -> u64 {
        self.granted
    }

    /// What came, or went, as payload.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// What came back unspent.
    pub fn returned(&self) -> u64 {
        self.returned
    }

    /// Granted, and neither spent nor returned.
    pub fn outstanding(&self) -> u64 {
        self.granted - self.spent - self.returned
    }

    /// Adds `amount` to what is granted.
    pub fn grant(&mut self, amount: u64) {
        self.granted += amount;
    }

    /// Takes over an absolute figure; older ones change nothing.
    pub fn granted_through(&mut self, granted: u64) {
        self.granted = self.granted.max(granted);
    }

    /// Spends `amount`; false, and nothing changed, if that is more than there is.
    #[must_use]
    pub fn spend(&mut self, amount: u64) -> bool {
        let enough = amount <= self.outstanding();
        if enough {
            self.spent += amount;
        }
        enough
    }

    /// Gives back all but `keep`; says how much that was.
    pub fn return_above(&mut self, keep: u64) -> u64 {
        let surplus = self.outstanding().saturating_sub(keep);
        self.returned += surplus;
        surplus
    }

    /// Takes over an absolute figure of what was returned and says how much is new; `None` if it is more than there is.
    #[must_use]
    pub fn returned_through(&mut self, returned: u64) -> Option<u64> {
        let fresh = returned.saturating_sub(self.returned);
        if fresh > self.outstanding() {
            return None;
        }
        self.returned += fresh;
        Some(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_outstanding_spent_or_returned() {
        let mut credit = Credit::default();
        credit.grant(100);
        assert!(credit.spend(30));
        assert_eq!(credit.return_above(20), 50);
        assert_eq!((credit.outstanding(), credit.spent(), credit.returned()), (20, 30, 50));
        assert!(!credit.spend(21), "an overdraft is refused");
        credit.granted_through(90);
        assert_eq!(credit.granted(), 100, "an older figure changes nothing");
        assert_eq!(credit.returned_through(50), Some(0), "a repeated figure is nothing new");
        assert_eq!(credit.returned_through(71), None, "more than there is");
    }
}
