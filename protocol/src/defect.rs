//! Mistakes that can be switched on, so that a simulator can show that it would find them. For tests of tests only:
//! without the feature `defects` none of them can be set, and [`is`] is `false` at compile time.

/// A mistake in the engine or its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// One grant in eight is taken for said and never goes out.
    DropCredit,
    /// A consumer takes a cancelled channel's memory back without waiting for the producer's last frame.
    SkipCancelHandshake,
    /// A buffer is given to somebody else while its last user may still read it.
    ReuseMemoryEarly,
    /// A stream that stops without its end counts as complete.
    AcceptMissingEnd,
    /// After a reconnect a channel asks for the last item once more.
    DeliverTwiceAfterResume,
    /// The sending side drops blocks that the peer has not acknowledged.
    ForgetUnacknowledged,
    /// One channel in four never has its turn.
    StarveChannel,
    /// A block that was read from the disk is not checked, and travels with a checksum of what was read.
    SkipBlockChecksum,
    /// Who reads a partition from the disk is served the next subpartition.
    IndexOffByOne,
    /// Recovery takes a partition for complete although files of it are missing.
    AcceptMissingParts,
    /// Recovery offers what was not made durable although the machine has gone down since.
    RecoverFromOtherBoot,
    /// A partition on the disk counts as finished before its end is written.
    FinishBeforeTrailer,
    /// What is to be durable is synced before its end is written.
    SyncBeforeTrailer,
    /// Of a partition that is released one file stays.
    ForgetFileOnRelease,
    /// One read in eight is never asked of the disk.
    StarveRead,
    /// A file whose regions are merged is removed before what they are merged into is complete.
    RemoveBeforeMerged,
    /// Memory that was read into for a consumer that has gone is not given back.
    LeakReadMemory,
    /// Recovery removes a file that it could not read.
    RemoveUnread,
    /// Recovery takes files from workers that live.
    TakeFromTheLiving,
    /// What dead neighbours have left in a directory is never removed.
    LeaveTheDead,
}

impl Defect {
    /// All of them.
    pub const ALL: [Defect; 20] = [
        Defect::DropCredit,
        Defect::SkipCancelHandshake,
        Defect::ReuseMemoryEarly,
        Defect::AcceptMissingEnd,
        Defect::DeliverTwiceAfterResume,
        Defect::ForgetUnacknowledged,
        Defect::StarveChannel,
        Defect::SkipBlockChecksum,
        Defect::IndexOffByOne,
        Defect::AcceptMissingParts,
        Defect::RecoverFromOtherBoot,
        Defect::FinishBeforeTrailer,
        Defect::SyncBeforeTrailer,
        Defect::ForgetFileOnRelease,
        Defect::StarveRead,
        Defect::RemoveBeforeMerged,
        Defect::LeakReadMemory,
        Defect::RemoveUnread,
        Defect::TakeFromTheLiving,
        Defect::LeaveTheDead,
    ];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Defect::DropCredit => "drop-credit",
            Defect::SkipCancelHandshake => "skip-cancel-handshake",
            Defect::ReuseMemoryEarly => "reuse-memory-early",
            Defect::AcceptMissingEnd => "accept-missing-end",
            Defect::DeliverTwiceAfterResume => "deliver-twice-after-resume",
            Defect::ForgetUnacknowledged => "forget-unacknowledged",
            Defect::StarveChannel => "starve-channel",
            Defect::SkipBlockChecksum => "skip-block-checksum",
            Defect::IndexOffByOne => "index-off-by-one",
            Defect::AcceptMissingParts => "accept-missing-parts",
            Defect::RecoverFromOtherBoot => "recover-from-other-boot",
            Defect::FinishBeforeTrailer => "finish-before-trailer",
            Defect::SyncBeforeTrailer => "sync-before-trailer",
            Defect::ForgetFileOnRelease => "forget-file-on-release",
            Defect::StarveRead => "starve-read",
            Defect::RemoveBeforeMerged => "remove-before-merged",
            Defect::LeakReadMemory => "leak-read-memory",
            Defect::RemoveUnread => "remove-unread",
            Defect::TakeFromTheLiving => "take-from-the-living",
            Defect::LeaveTheDead => "leave-the-dead",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|defect| defect.name() == name)
    }
}

#[cfg(feature = "defects")]
thread_local! {
    // Of this thread only: simulations on several threads do not disturb each other.
    static PRESENT: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// What this thread does wrong from now on.
#[cfg(feature = "defects")]
pub fn set(defect: Option<Defect>) {
    PRESENT.set(defect);
}

/// Whether this thread is to do `defect` wrong.
#[cfg(feature = "defects")]
#[inline]
pub fn is(defect: Defect) -> bool {
    PRESENT.get() == Some(defect)
}

/// Whether this thread is to do `defect` wrong: never, without the feature `defects`.
#[cfg(not(feature = "defects"))]
#[inline]
pub const fn is(_: Defect) -> bool {
    false
}

/// Whether [`Defect::DropCredit`] loses this grant. A hash of what it says decides: a run with the same grants loses the
/// same ones.
#[inline]
pub(crate) fn drops_grant(channel: crate::ChannelId, granted: u64, events: u64) -> bool {
    let said = granted.wrapping_add(events).wrapping_add(channel.0.into());
    // Knuth's multiplicative hash (The Art of Computer Programming, 6.4); its upper bits are the good ones.
    is(Defect::DropCredit) && said.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_is_found_by_its_name_and_none_is_present_unless_set() {
        for defect in Defect::ALL {
            assert_eq!(Defect::from_name(defect.name()), Some(defect));
            assert!(!is(defect));
        }
        assert_eq!(Defect::from_name("none"), None);
    }

    #[cfg(feature = "defects")]
    #[test]
    fn about_one_grant_in_eight_is_dropped_on_this_thread_only() {
        let dropped = || (1..=8000).filter(|block| drops_grant(crate::ChannelId(1), block * 32768, 16)).count();
        set(Some(Defect::DropCredit));
        assert!((800..1200).contains(&dropped()), "{} of 8000", dropped());
        assert_eq!(std::thread::spawn(dropped).join().ok(), Some(0));
        set(None);
        assert_eq!(dropped(), 0);
    }
}
