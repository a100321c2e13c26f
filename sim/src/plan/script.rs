//! What a producer writes, step by step, and what each of its consumers must therefore see.

use std::sync::OnceLock;
use std::time::Duration;

use crate::seed::{Purpose, Random, Seed};

/// Where the bytes of all records come from.
const POOL_BYTES: usize = 1 << 20;

/// A stretch of the pool: the bytes of a record or event. Two of them are hardly ever the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    start: u32,
    length: u32,
}

/// Whom a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One subpartition.
    One(u32),
    /// All of them.
    All,
}

/// Something that a producer does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes one record.
    Write(u32, Piece),
    /// Writes several with one call.
    Batch(Vec<u32>, Vec<Piece>),
    /// Writes one record for everybody.
    Broadcast(Piece),
    /// An event.
    Event {
        /// Whom for.
        target: Target,
        /// Tells it from the others of its partition.
        kind: u16,
        /// Its content.
        payload: Piece,
        /// Whether it overtakes.
        priority: bool,
    },
    /// Makes everything visible.
    Flush,
    /// Does something else.
    Pause(Duration),
}

/// All that a producer does before its end.
#[derive(Clone, Debug, Default)]
pub struct Script(pub Vec<Step>);

/// What a consumer sees of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A record.
    Record(Piece),
    /// An event in its place.
    Event(u16, Piece),
    /// An event that may come earlier, but not before any that overtook before it.
    Priority(u16, Piece),
}

impl Piece {
    /// So many bytes from somewhere.
    pub fn draw(random: &mut Random, length: u64) -> Self {
        let start = random.below((POOL_BYTES as u64).saturating_sub(length).max(1)) as u32;
        Self { start, length: (length as usize).min(POOL_BYTES) as u32 }
    }

    /// The bytes.
    pub fn bytes(self) -> &'static [u8] {
        &pool()[self.start as usize..][..self.length as usize]
    }
}

impl Script {
    /// How many records each subpartition has.
    pub fn records(&self, subpartitions: u32) -> Vec<u64> {
        let mut records = vec![0; subpartitions as usize];
        for step in &self.0 {
            match step {
                Step::Write(target, _) => records[*target as usize] += 1,
                Step::Batch(targets, _) => targets.iter().for_each(|target| records[*target as usize] += 1),
                Step::Broadcast(_) => records.iter_mut().for_each(|records| *records += 1),
                Step::Event { .. } | Step::Flush | Step::Pause(_) => {}
            }
        }
        records
    }
}

/// Bytes without a pattern.
pub fn pool() -> &'static [u8] {
    static POOL: OnceLock<Vec<u8>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut random = Seed(0x5107_1ce5).stream(Purpose::Workload);
        (0..POOL_BYTES / 8).flat_map(|_| random.bits().to_le_bytes()).collect()
    })
}

/// What the consumer of one subpartition must see, in order.
pub fn expected_of(script: &Script, subpartition: u32) -> Vec<Expected> {
    let mut expected = Vec::new();
    for step in &script.0 {
        match step {
            Step::Write(target, piece) if *target == subpartition => expected.push(Expected::Record(*piece)),
            Step::Batch(targets, pieces) => {
                let mine = targets.iter().zip(pieces).filter(|(target, _)| **target == subpartition);
                expected.extend(mine.map(|(_, piece)| Expected::Record(*piece)));
            }
            Step::Broadcast(piece) => expected.push(Expected::Record(*piece)),
            Step::Event { target, kind, payload, priority } => {
                if *target == Target::All || *target == Target::One(subpartition) {
                    expected.push(match priority {
                        true => Expected::Priority(*kind, *payload),
                        false => Expected::Event(*kind, *payload),
                    });
                }
            }
            Step::Write(..) | Step::Flush | Step::Pause(_) => {}
        }
    }
    expected
}
