//! The names of things on the wire, as types that cannot be mixed up.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// A job: the unit that is admitted, and whose partitions are released together.
    JobId(u64)
);
id!(
    /// One consumer's share of a partition, counted from 0.
    SubpartitionIndex(u32)
);
id!(
    /// One subpartition on its way to one consumer over one session. Given out by the receiving side.
    ChannelId(u32)
);
id!(
    /// A worker, as the cluster numbers it.
    NodeId(u64)
);
id!(
    /// One life of a worker: another incarnation of a node has forgotten everything the old one knew. A later life has a
    /// greater number.
    Incarnation(u64)
);
id!(
    /// One connection of a session, counted from 1. Credit and message numbers are void in the next.
    LinkEpoch(u32)
);
id!(
    /// One of several parallel links between the same two workers.
    Lane(u16)
);

/// A result partition: the output of one attempt of one producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId {
    /// The job it belongs to.
    pub job: JobId,
    /// Its number in the job.
    pub partition: u64,
    /// Which execution of the producer wrote it; a retry is another partition.
    pub attempt: u32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} partition {} attempt {}", self.job, self.partition, self.attempt)
    }
}

/// A consumer's proof that it may read a job's partitions; what it proves, and to whom, is the engine's business. All
/// zero is none. It is a secret: neither `Debug` nor anything else shows its bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Ticket(pub [u8; 16]);

impl Ticket {
    /// No proof.
    pub const NONE: Self = Self([0; 16]);
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::NONE { "Ticket(none)" } else { "Ticket(hidden)" })
    }
}

/// Monotone nanoseconds since an origin that only the reactor knows. The state machines never read a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// This moment and `duration` later.
    #[must_use]
    pub fn after(self, duration: std::time::Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// How long it is from `earlier` to this moment; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_does_not_show_its_bytes() {
        assert_eq!(format!("{:?}", Ticket([7; 16])), "Ticket(hidden)");
        assert_eq!(format!("{:?}", Ticket::default()), "Ticket(none)");
    }
}
