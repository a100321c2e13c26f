//! What a worker needs of its arena, as a sum with one term for each user.

use std::fmt;

use sluice_memory::SizeClass;

/// The sum. Whatever a job's parallelism, no term depends on the number of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Result partitions written at the same time.
    pub writers: u32,
    /// Gates read at the same time.
    pub gates: u32,
    /// The configured size of a buffer.
    pub buffer_bytes: usize,
}

impl MemoryNeed {
    /// The floor of one task end: one unit. For a writer, half of it is being filled and half is on its way: in the
    /// queues, with the transport, or sent and **not yet acknowledged**, which keeps a block in memory until its
    /// consumer's node has it, over this link or the next. For a gate, it is what is granted, arrived, and not yet dropped by the task.
    pub fn floor(&self) -> usize {
        self.unit().bytes()
    }

    /// The largest segment of a task end: a configured buffer, and never less than 32 KiB.
    pub fn unit(&self) -> SizeClass {
        SizeClass::fitting(self.buffer_bytes).unwrap_or(SizeClass::MAX).max(SizeClass::UNIT)
    }

    /// Bytes of the arena.
    pub fn total(&self) -> usize {
        // Writers: filling, queued, with the transport, unacknowledged.
        let writers = self.writers as usize * self.floor();
        // Gates: granted, arrived, being read.
        let gates = self.gates as usize * self.floor();
        // Links: heads are on the heap, at most `control_window` of at most `head_bytes_max` for each direction.
        let links = 0;
        writers + gates + links
    }
}

impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (writers, gates, floor) = (self.writers, self.gates, self.floor() / 1024);
        write!(f, "{writers} writers × {floor} KiB + {gates} gates × {floor} KiB = {} KiB", self.total() / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_task_ends_fit_in_32_mib_whatever_their_channels() {
        let need = MemoryNeed { writers: 500, gates: 500, buffer_bytes: 32 * 1024 };
        assert!(need.total() <= 32 << 20, "{need}");
        assert_eq!(need.to_string(), "500 writers × 32 KiB + 500 gates × 32 KiB = 32000 KiB");
    }
}
