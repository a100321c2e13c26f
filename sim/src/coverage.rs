//! What runs have seen: a simulator that never meets a fault finds nothing, and nobody notices.

use std::fmt;

macro_rules! sights {
    ($($name:ident: $text:literal,)*) => {
        /// Something that should happen in some runs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Sight {
            $(#[doc = $text] $name,)*
        }

        const TEXTS: [&str; [$(Sight::$name),*].len()] = [$($text),*];
    };
}

sights! {
    RemotePlacement: "remote placement",
    Link: "a link was up",
    Resume: "a channel resumed on a new link",
    Cut: "a link was cut",
    CutInMessage: "a link was cut within a message",
    HalfOpen: "one side of a lost link never heard of it",
    Stall: "a link stalled",
    Freeze: "a worker stood still",
    Kill: "a worker was killed",
    Restart: "a worker was restarted",
    Reported: "a killed worker was reported lost",
    Token: "a job had a token",
    NotAuthorized: "a worker did not know a job's token",
    Unreachable: "a connect failed",
    ConnectBoth: "two nodes connected to each other at once",
    HeadCorrupted: "a head was corrupted",
    PayloadCorrupted: "a payload was corrupted",
    LateWrite: "a remote write landed after its link was cut",
    Refused: "a send was refused",
    OnDemand: "credit on demand",
    Window: "credit by windows",
    Reclaim: "credit was reclaimed",
    Returned: "credit came back unspent",
    Cancel: "a channel was cancelled",
    CancelLate: "data came for a cancelled channel",
    Inline: "a payload in a head",
    Body: "a payload as a body",
    Slot: "a payload in a slot",
    Pieces: "a block landed in pieces",
    Event: "an event",
    PriorityEvent: "a priority event",
    Broadcast: "a broadcast",
    LargeRecord: "a record over several buffers",
    Local: "a local channel",
    Late: "a consumer before its producer",
    ProducerFailed: "a producer failed",
    Released: "a partition was released while in use",
    ReadError: "a consumer was told of an error",
    WriteError: "a producer was told of an error",
    Success: "a consumer read everything",
    SortMerge: "a sort-merge partition was finished",
    Hash: "a hash partition was finished",
    ReadAgain: "a consumer read again",
    Retry: "a consumer began anew after an error",
    Probe: "a consumer read one gate after the other",
    Recovered: "a restarted worker held a finished partition",
    NotRecovered: "a restarted worker held nothing",
    Shared: "workers shared directories",
    Swept: "what a dead neighbour had left was removed",
    LeftAlone: "a restarted worker could not read a file",
    JobReleased: "a job was released at an arbitrary time",
    MasterRestart: "the master was restarted",
    DiskError: "a disk failed",
    DiskFull: "a disk was full",
    DiskAltered: "a disk altered a bit, or forgot a write",
    WriteBrokenOff: "a worker died with a write under way",
    Merge: "regions of a partition were merged",
    MergedOpened: "what was merged was read or recovered",
    PowerLoss: "a machine lost its power",
    SuccessAfterCut: "everything was read although a link was cut",
}

/// How often each was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage([u64; TEXTS.len()]);

impl Default for Coverage {
    fn default() -> Self {
        Self([0; TEXTS.len()])
    }
}

impl Coverage {
    /// Seen once more.
    pub fn add(&mut self, sight: Sight) {
        self.0[sight as usize] += 1;
    }

    /// How often it was seen.
    pub fn count(&self, sight: Sight) -> u64 {
        self.0[sight as usize]
    }

    /// Counts the run with these sights: one for each that it has seen at all.
    pub fn add_run(&mut self, run: &Self) {
        for (sum, seen) in self.0.iter_mut().zip(run.0) {
            *sum += u64::from(seen > 0);
        }
    }

    /// Adds up.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (text, count) in TEXTS.iter().zip(self.0) {
            writeln!(f, "  {count:>8}  {text}")?;
        }
        Ok(())
    }
}
