//! What blocking partitions of a worker are told: as plain data, below everything that uses it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a worker's blocking partitions are written, read and recovered. `Default` has a reason for each figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// What a finished partition has survived.
    pub durability: Durability,
    /// How blocks are compressed.
    pub compression: Compression,
    /// Whether a sort-merge partition of small slices is rewritten with large ones before it counts as finished.
    pub merge: Merge,
    /// The most that one writer takes of the worker's memory to sort in, in bytes.
    pub sort_bytes_max: usize,
    /// The most that reading ahead takes of the worker's memory, for all partitions together, in bytes.
    pub read_bytes_max: usize,
    /// Threads that sort; with none the reactor's thread sorts between its turns.
    pub sort_threads: usize,
    /// How long a finished partition waits, after the death of the process that had it, to be claimed before it is removed:
    /// by the time of its files, through all lives of its worker and what lies between them.
    pub recover_timeout: Duration,
    /// Which boot of the machine this is: a process of another one is dead, whatever its number.
    pub boot: [u8; 16],
}

impl DiskSettings {
    /// The least that a writer can sort in, in bytes: the floor of its pool.
    pub const SORT_BYTES_MIN: usize = 32 << 10;
}

impl Default for DiskSettings {
    fn default() -> Self {
        Self {
            // What a crash of the whole machine loses is produced again; that of a process loses nothing either way.
            durability: Durability::None,
            // It takes cores that the tasks may need, and pays only if the data shrinks and the disk is the slower one.
            compression: Compression::None,
            // It depends on the data and the memory, which nobody knows before they are there.
            merge: Merge::Auto,
            // A thousand subpartitions still get slices of 256 KiB.
            sort_bytes_max: 256 << 20,
            // The deepest queue of a disk with the largest requests: 128 of 512 KiB.
            read_bytes_max: 64 << 20,
            // The task and the reactor go on meanwhile; more pay only where one core is slower than the disks.
            sort_threads: 1,
            // A master or worker that restarts is back by then; longer, and what nobody wants fills the disk.
            recover_timeout: Duration::from_secs(600),
            boot: this_boot(),
        }
    }
}

/// What a finished partition has survived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The end of its process, but not that of the machine.
    #[default]
    None,
    /// That of the machine, too: the data is on the device before the partition counts as finished.
    OnFinish,
}

/// How blocks are compressed. One that does not shrink is stored as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Fast, and shrinks less.
    Lz4,
    /// Shrinks more, and takes several times as long.
    Zstd,
}

/// Whether the regions of a sort-merge partition are merged when all is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// If reading many small slices costs more than reading and writing everything once more.
    #[default]
    Auto,
    /// Whenever slices become larger by it.
    Always,
    /// Never.
    Never,
}

/// The kernel's number for this boot; zero where it does not tell.
fn this_boot() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot_of(&text).unwrap_or_default()
}

/// A boot's number as the kernel writes it: 32 hexadecimal digits with dashes between them.
fn boot_of(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b'-').collect();
    let mut boot = [0; 16];
    if digits.len() != 2 * boot.len() {
        return None;
    }
    for (byte, pair) in boot.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_read_as_the_kernel_writes_it() {
        let boot = boot_of("00010203-0405-0607-0809-0a0b0c0d0eFf\n");
        assert_eq!(boot, Some([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]));
    }

    #[test]
    fn what_is_no_boot_is_none() {
        for text in ["", "00010203", "g0010203-0405-0607-0809-0a0b0c0d0e0f", "é0010203-0405-0607-0809-0a0b0c0d0e0f"] {
            assert_eq!(boot_of(text), None, "{text}");
        }
    }

    #[test]
    fn the_boot_stays_the_same_while_the_machine_is_up() {
        assert_eq!(DiskSettings::default(), DiskSettings::default());
    }
}
