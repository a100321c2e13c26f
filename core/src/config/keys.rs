//! Every key of the engine, what it is, and why its default is what it is. The sample file and docs/configuration.md
//! say the same; tests compare the three.

use super::{Config, variables};

/// A key of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Table and name: `memory.bytes`.
    pub name: &'static str,
    /// What its values are: `size`, `duration`, …
    pub kind: &'static str,
    /// What it sets.
    pub meaning: &'static str,
    /// Why the default is what it is.
    pub reason: &'static str,
}

impl Key {
    /// The table that it stands in.
    pub fn table(&self) -> &'static str {
        self.split().0
    }

    /// Its name in the table.
    pub fn last(&self) -> &'static str {
        self.split().1
    }

    fn split(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').expect("every key of the list stands in a table")
    }

    /// The variable that sets it: `SLUICE_MEMORY_BYTES`.
    pub fn variable(&self) -> String {
        variables::variable(self.name)
    }
}

impl Config {
    /// Every key of the engine, table by table. The transports' keys are their plug-ins' business.
    pub fn keys() -> &'static [Key] {
        KEYS
    }
}

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "cluster.name",
        kind: "text",
        meaning: "The cluster; workers of another one are refused.",
        reason: "One cluster needs no name; two that share a network do.",
    },
    Key {
        name: "cluster.transport",
        kind: "name of a transport",
        meaning: "What carries bytes between workers. The same for the whole cluster; a job cannot choose another.",
        reason: "Every machine has TCP.",
    },
    Key {
        name: "memory.bytes",
        kind: "size",
        meaning: "Shuffle memory of a worker: a shuffle of any size runs in it. Mapped once, at start.",
        reason: "Two thousand ends of tasks have their floor in it, and no machine misses it.",
    },
    Key {
        name: "memory.floors_percent",
        kind: "number from 0 to 100",
        meaning: "The share of the memory that is for the floors of writers and gates only, and never lent: who comes while \
                  others are at work finds its floor at once.",
        reason: "Two hundred ends of tasks with the default memory, which loses little by it.",
    },
    Key {
        name: "memory.buffer_bytes",
        kind: "size, a power of two from 4KiB to 512KiB",
        meaning: "The size of a buffer while there is enough memory; with less, smaller ones are used.",
        reason: "As small as a disk still likes, as large as thousands of channels can afford.",
    },
    Key {
        name: "memory.huge_pages",
        kind: "`try` or `never`",
        meaning: "Whether the kernel is asked to back the memory with huge pages.",
        reason: "Registering and copying are cheaper with them, and nothing is lost where there are none.",
    },
    Key {
        name: "shuffle.flush_interval",
        kind: "duration, `0` or `off`",
        meaning: "How long a record may wait in a buffer that is not full; 0 flushes with every call that writes.",
        reason: "A tenth of what people call at once.",
    },
    Key {
        name: "shuffle.hand_over_bytes",
        kind: "size",
        meaning: "How much a writer collects before it hands over to the reactor; never over a quarter of its memory.",
        reason: "Below it the hand-over is the largest cost that the engine adds (docs/decisions/0001).",
    },
    Key {
        name: "shuffle.writer_bytes_max",
        kind: "size",
        meaning: "The most that one writer takes of the memory.",
        reason: "What a writer has on its way should stay in the cache; more only moves the wait (docs/decisions/0001).",
    },
    Key {
        name: "shuffle.window_bytes_max",
        kind: "size",
        meaning: "The most that is set aside for one channel of a gate: its credit.",
        reason: "Two hand-overs: one is under way while the other is read.",
    },
    Key {
        name: "shuffle.record_bytes_max",
        kind: "size",
        meaning: "The longest record. Records may be longer than a buffer; a reader needs room for a whole one.",
        reason: "Far over real records, far under what a corrupted length could ask for.",
    },
    Key {
        name: "shuffle.partition_deadline",
        kind: "duration",
        meaning: "How long a consumer waits for a partition to appear before its channel fails.",
        reason: "A producer that is being scheduled comes within seconds; later than this it was lost.",
    },
    Key {
        name: "session.lanes",
        kind: "number from 1 to 64",
        meaning: "Parallel links to each peer.",
        reason: "One reactor fills one link; more pay only where the network limits each connection.",
    },
    Key {
        name: "session.heartbeat",
        kind: "duration",
        meaning: "Silence after which a worker says that it is alive. Two workers use the shorter of theirs.",
        reason: "Many in one `silence_max`: some may be lost or late.",
    },
    Key {
        name: "session.silence_max",
        kind: "duration, at least twice `heartbeat`",
        meaning: "Silence after which a peer counts as gone. Two workers use the longer of theirs.",
        reason: "Longer than a pause of a busy machine, short beside the work that is repeated.",
    },
    Key {
        name: "session.resume_timeout",
        kind: "duration",
        meaning: "How long a lost link is tried again before its channels fail; `0s` fails them at once.",
        reason: "A switch that restarts is back by then; who waits longer had better start the work again.",
    },
    Key {
        name: "session.control_window",
        kind: "number from 8 to 65535",
        meaning: "Messages that may be under way unacknowledged, in each direction. Two workers use the smaller of theirs.",
        reason: "Covers a round trip at full rate; with its largest heads it is 4 MiB a link and direction.",
    },
    Key {
        name: "session.head_bytes_max",
        kind: "size, at least 8KiB",
        meaning: "The longest head of a message. Two workers use the smaller of theirs.",
        reason: "Room for a thousand grants, or some hundred small blocks, in one message.",
    },
    Key {
        name: "session.body_bytes_max",
        kind: "size, at least `memory.buffer_bytes`",
        meaning: "The most payload of one message. Two workers use the smaller of theirs.",
        reason: "Far over the 256 KiB from which a wake-up no longer shows.",
    },
    Key {
        name: "disk.directories",
        kind: "list of paths",
        meaning: "Where blocking partitions are kept, with one disk for each; without any, blocking shuffles are refused.",
        reason: "Where a shuffle of any size has room, nobody can guess.",
    },
    Key {
        name: "disk.engine",
        kind: "`auto`, `io-uring` or `threads`",
        meaning: "What does the IO; `auto` is io_uring where the machine allows it, else threads.",
        reason: "The faster one, and containers often forbid it.",
    },
    Key {
        name: "disk.direct",
        kind: "`auto` or `never`",
        meaning: "Whether the page cache is gone round, where the file system allows that.",
        reason: "What is read once gains nothing by the cache, and drives out of it what others need.",
    },
    Key {
        name: "disk.depth",
        kind: "number from 1 to 128",
        meaning: "Requests under way at once on each disk.",
        reason: "Drives are busy from 32 on; the rest is for those that finish together.",
    },
    Key {
        name: "disk.threads",
        kind: "number from 1 to 64",
        meaning: "Threads that read and write where io_uring does not.",
        reason: "A few requests under way, without taking the cores of the tasks.",
    },
    Key {
        name: "disk.durability",
        kind: "`none` or `on-finish`",
        meaning: "Whether a partition is on the device before it counts as finished.",
        reason: "What a crash of the whole machine loses is produced again; that of a process loses nothing either way.",
    },
    Key {
        name: "disk.compression",
        kind: "`none`, `lz4` or `zstd`",
        meaning: "How blocks are compressed; one that does not shrink is stored as it is.",
        reason: "It takes cores that tasks may need, and pays only if data shrinks and the disk is the slower one.",
    },
    Key {
        name: "disk.merge",
        kind: "`auto`, `always` or `never`",
        meaning: "Whether a sort-merge partition of small slices is rewritten with large ones when all is written; `auto`: where reading them costs more than that (docs/benchmarks.md).",
        reason: "It depends on the data and the memory, which nobody knows before they are there.",
    },
    Key {
        name: "disk.sort_bytes_max",
        kind: "size, at least 32KiB and `memory.buffer_bytes`",
        meaning: "The most that one writer takes of the memory to sort in.",
        reason: "A thousand subpartitions still get slices of 256 KiB.",
    },
    Key {
        name: "disk.read_bytes_max",
        kind: "size, at least `memory.buffer_bytes`",
        meaning: "The most of the memory that reading ahead takes, for all partitions together.",
        reason: "The deepest queue of a disk with the largest requests: 128 of 512 KiB.",
    },
    Key {
        name: "disk.sort_threads",
        kind: "number from 0 to 64",
        meaning: "Threads that sort; with 0 the reactor's thread sorts between its turns.",
        reason: "Task and reactor go on meanwhile; more pay only where one core is slower than the disks.",
    },
    Key {
        name: "disk.recover_timeout",
        kind: "duration",
        meaning: "How long a finished partition that a dead process left waits to be claimed before it is removed.",
        reason: "A master or worker that restarts is back by then; longer, and what nobody wants fills the disk.",
    },
    Key {
        name: "trust.mode",
        kind: "`off`, `secret` or `tls`",
        meaning: "How workers prove who they are, the same for the whole cluster (docs/security.md).",
        reason: "A first run needs nobody's certificates. On a network that others use, it is not enough.",
    },
    Key {
        name: "trust.secret_file",
        kind: "path",
        meaning: "The shared secret, 16 to 4096 bytes; one end of line at its end does not count. For `secret` only.",
        reason: "There is none until somebody makes it.",
    },
    Key {
        name: "trust.certificate_file",
        kind: "path",
        meaning: "The worker's certificate and those between it and the authority, as PEM. For `tls` only.",
        reason: "There is none until somebody issues it.",
    },
    Key {
        name: "trust.key_file",
        kind: "path",
        meaning: "The certificate's private key, as PEM. For `tls` only.",
        reason: "It comes with the certificate.",
    },
    Key {
        name: "trust.authorities_file",
        kind: "path",
        meaning: "The certificates of those who sign the workers', as PEM. For `tls` only.",
        reason: "The system's authorities sign for everybody; workers believe only those named here.",
    },
    Key {
        name: "trust.peer_name",
        kind: "DNS name",
        meaning: "The name that all workers' certificates carry, checked on both sides. For `tls` only.",
        reason: "Without one, a worker's certificate carries the IP address that others connect to.",
    },
];

#[cfg(test)]
mod tests {
    use super::KEYS;
    use crate::config::{ClusterConfig, DiskConfig, MemoryConfig, SessionConfig, ShuffleConfig, TrustConfig, fields};

    #[test]
    fn the_list_has_the_fields_of_the_tables_in_their_order() {
        let tables = [
            ("cluster", fields::of::<ClusterConfig>()),
            ("memory", fields::of::<MemoryConfig>()),
            ("shuffle", fields::of::<ShuffleConfig>()),
            ("session", fields::of::<SessionConfig>()),
            ("disk", fields::of::<DiskConfig>()),
            ("trust", fields::of::<TrustConfig>()),
        ];
        let fields_of = |(table, fields): (&'static str, Option<&'static [&str]>)| {
            fields.expect("a struct").iter().map(move |field| format!("{table}.{field}"))
        };
        let fields: Vec<String> = tables.into_iter().flat_map(fields_of).collect();
        assert_eq!(KEYS.iter().map(|key| key.name).collect::<Vec<_>>(), fields);
    }
}
