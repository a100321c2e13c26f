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
    /// Whether the worker has a disk, and so reads partitions from it.
    pub disk: bool,
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

    /// The longest block that is written to the disk by a worker with such buffers, in bytes.
    pub fn disk_block_bytes_max(buffer_bytes: usize) -> usize {
        buffer_bytes.min(SizeClass::MAX.bytes() / 2)
    }

    /// What is read to have a block of the disk wherever it begins: whole pages, two of them shared with its neighbours.
    pub fn read_unit(buffer_bytes: usize) -> SizeClass {
        SizeClass::fitting(Self::disk_block_bytes_max(buffer_bytes) + 2 * SizeClass::MIN.bytes())
            .unwrap_or(SizeClass::MAX)
    }

    /// Bytes of the arena.
    pub fn total(&self) -> usize {
        // Writers: filling, queued, with the transport, unacknowledged.
        let writers = self.writers as usize * self.floor();
        // Gates: granted, arrived, being read.
        let gates = self.gates as usize * self.floor();
        // The disk: one block is read whole pages around it, one is decompressed, whoever has the rest of the memory.
        let disk = if self.disk { 2 * Self::read_unit(self.buffer_bytes).bytes() } else { 0 };
        // Links: heads are on the heap, at most `control_window` of at most `head_bytes_max` for each direction.
        let links = 0;
        writers + gates + disk + links
    }
}

impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (writers, gates, floor) = (self.writers, self.gates, self.floor() / 1024);
        write!(f, "{writers} writers × {floor} KiB + {gates} gates × {floor} KiB")?;
        if self.disk {
            write!(f, " + reading from the disk 2 × {} KiB", Self::read_unit(self.buffer_bytes).bytes() / 1024)?;
        }
        write!(f, " = {} KiB", self.total() / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_task_ends_fit_in_32_mib_whatever_their_channels() {
        let need = MemoryNeed { writers: 500, gates: 500, buffer_bytes: 32 * 1024, disk: false };
        assert!(need.total() <= 32 << 20, "{need}");
        assert_eq!(need.to_string(), "500 writers × 32 KiB + 500 gates × 32 KiB = 32000 KiB");
        let need = MemoryNeed { disk: true, ..need };
        assert_eq!(need.total(), 32_000 * 1024 + 2 * (64 << 10));
        assert!(need.to_string().ends_with("reading from the disk 2 × 64 KiB = 32128 KiB"), "{need}");
    }
}
