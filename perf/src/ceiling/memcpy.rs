//! The ceiling of the in-process shuffle: the copy and the checks, with nothing handed over.
use std::{io, sync::Barrier, thread};

use super::{
    CeilingError, Limit, Records,
    job::{Clock, Outcome},
    pack::{Packer, Sink},
    pipeline::pump,
    unpack::Unpacker,
};
use crate::input::Input;

/// As many blocks lie between the two halves as a real hand-over should take at once (256 KiB), so
/// that the second half does not find them in the first-level cache.
const BLOCKS_AT_ONCE: usize = 8;

/// Every thread does both halves on records of its own.
pub(super) fn run(records: &Records, threads: u32, limit: Limit) -> Result<Outcome, CeilingError> {
    let input = Input::prepare(&records.input, threads, records.targets)?;
    let start = Barrier::new(threads as usize + 1);
    thread::scope(|scope| {
        let halves = |producer| {
            let (input, start) = (&input, &start);
            move || {
                start.wait();
                both_halves(input, producer, records.targets, limit)
            }
        };
        let threads: Vec<_> = (0..threads).map(|producer| scope.spawn(halves(producer))).collect();
        start.wait();
        let clock = Clock::start();
        let mut bytes = 0;
        for thread in threads {
            bytes += thread.join().expect("a thread of the memcpy ceiling does not panic")?;
        }
        Ok(clock.outcome(bytes, Vec::new()))
    })
}

fn both_halves(input: &Input, producer: u32, targets: u32, limit: Limit) -> Result<u64, CeilingError> {
    let mut packer = Packer::new(targets, BLOCKS_AT_ONCE, Consumer(Unpacker::new(targets)));
    let bytes = pump(input, producer, &mut packer, &Clock::start(), limit)?;
    let (consumer, sent) = packer.finish()?;
    for (target, (sent, received)) in sent.iter().zip(consumer.0.finish()).enumerate() {
        if let Some(source) = sent.difference(&received) {
            return Err(CeilingError::Mismatch { target, source });
        }
    }
    Ok(bytes)
}

struct Consumer(Unpacker);

impl Sink for Consumer {
    fn take(&mut self, blocks: &[Vec<u8>]) -> io::Result<()> {
        blocks.iter().try_for_each(|block| self.0.block(block)).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputSpec;

    #[test]
    fn all_threads_together_reach_the_limit_of_each() {
        let input = InputSpec::Random { bytes: 1 << 20, record_bytes: 100, skew: 0.0, seed: 3 };
        let outcome = run(&Records { input, targets: 3 }, 2, Limit::Bytes(1 << 20)).unwrap();
        assert!(outcome.payload_bytes >= 2 << 20);
    }
}
