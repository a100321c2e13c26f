//! What the master refuses, and why it cannot be restored.

use std::fmt;

use sluice_protocol::{NodeId, PartitionId};

/// Why there is no descriptor of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// It was never registered, or is released or lost.
    #[error("{0} is not registered")]
    Unknown(PartitionId),
    /// It is finished, and its worker is gone. It can be read when the worker is back and has said that it still holds
    /// it, and is lost when the worker is given up.
    #[error("{partition} is away with node {node} until that is back or given up")]
    Away {
        /// The partition.
        partition: PartitionId,
        /// Who held it last.
        node: NodeId,
    },
    /// It was finished, and its data is lost. It can be read when it is produced again.
    #[error("the data of {0} is lost: it has to be produced again")]
    Lost(PartitionId),
}

/// Why a partition cannot be noted as finished. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// It was never registered, or is released or lost: its worker should release it.
    #[error("{0} is not registered: its worker should release it")]
    Unknown(PartitionId),
    /// Figures of more or fewer subpartitions than it has.
    #[error("{partition} has {subpartitions} subpartitions: statistics have {bytes} and {records} figures")]
    Subpartitions {
        /// The partition.
        partition: PartitionId,
        /// How many it has.
        subpartitions: u32,
        /// How many figures of bytes came.
        bytes: usize,
        /// How many figures of records came.
        records: usize,
    },
    /// An attempt writes one output.
    #[error("{0} is finished already, with other statistics")]
    Differs(PartitionId),
    /// What was written is lost, and nobody has registered it to be written again: its worker should release it.
    #[error("the data of {0} is lost: its worker should release it")]
    Lost(PartitionId),
}

/// What the bytes are that a master is restored from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The whole state at some event.
    Snapshot,
    /// The events since.
    Log,
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snapshot => "snapshot",
            Self::Log => "log",
        })
    }
}

/// Why a master cannot be restored from what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Written by another version of the engine.
    #[error(
        "the master's {stored} at byte {offset} is of version {found}, expected {expected}: restore it with the engine \
         that wrote it"
    )]
    Version {
        /// In which.
        stored: Stored,
        /// Where, in bytes.
        offset: u64,
        /// Its version.
        found: u32,
        /// The one that is understood.
        expected: u32,
    },
    /// Other bytes than were stored. Nothing behind them can be believed.
    #[error("the master's {stored} is corrupt at byte {offset}: {problem}")]
    Corrupt {
        /// In which.
        stored: Stored,
        /// Where, in bytes.
        offset: u64,
        /// What is wrong there.
        problem: &'static str,
    },
    /// Events are missing between the snapshot and the log, or within the log.
    #[error(
        "the master's log at byte {offset} goes on with event {found}, expected {expected}: the snapshot is too old, or \
         a part of the log is missing"
    )]
    Gap {
        /// Where, in bytes.
        offset: u64,
        /// The next event that is there.
        found: u64,
        /// The next event that should be.
        expected: u64,
    },
    /// An event that cannot have happened to this state.
    #[error(
        "event {event} at byte {offset} of the master's log does not fit what was before: the snapshot is of \
         another log"
    )]
    Misfit {
        /// Where, in bytes.
        offset: u64,
        /// Its number.
        event: u64,
    },
}
