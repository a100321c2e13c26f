//! What can go wrong with a disk.

use std::fmt;
use std::time::Duration;

/// Something that goes wrong with a disk. Those that wait for a read or write count from the moment when they are armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// A read or write is hit.
    Hit {
        /// Which kind.
        moves: Moves,
        /// The so-many-th, from 1.
        after: u64,
        /// How.
        hit: Hit,
    },
    /// From now on everything in a directory fails.
    Break {
        /// Which.
        directory: u16,
    },
    /// A directory is gone, with its files; what is open stays so.
    Lose {
        /// Which.
        directory: u16,
    },
    /// Somebody else takes room, or gives it back.
    Resize {
        /// Which.
        directory: u16,
        /// How many bytes fit into it from now on.
        bytes_max: u64,
    },
    /// Requests that begin take longer, for a while.
    Slow {
        /// Each of them by so much.
        by: Duration,
        /// For so long.
        lasts: Duration,
    },
}

/// What a fault waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// A read.
    Read,
    /// A write.
    Write,
}

/// How a read or write is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// It fails, this once.
    Fails,
    /// It fails, and so will everything that touches this part of the file.
    Spoils,
    /// A bit of what it moves is altered: for a write on the medium, for a read in memory.
    Flips,
    /// It is told as done, and is not: a write leaves the medium as it was, a read the memory.
    Forgets,
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { moves, after, hit } => {
                let moves = if *moves == Moves::Read { "read" } else { "write" };
                let what = match hit {
                    Hit::Fails => "fails",
                    Hit::Spoils => "fails, and the place stays bad",
                    Hit::Flips => "has a bit altered",
                    Hit::Forgets => "is told as done and is not",
                };
                write!(f, "the {moves} {after} later {what}")
            }
            Self::Break { directory } => write!(f, "everything in directory {directory} fails"),
            Self::Lose { directory } => write!(f, "directory {directory} is gone"),
            Self::Resize { directory, bytes_max } => {
                write!(f, "directory {directory} has room for {} KiB", bytes_max >> 10)
            }
            Self::Slow { by, lasts } => write!(f, "requests take {by:?} longer for {lasts:?}"),
        }
    }
}
