//! What goes wrong on a line, and when: drawn from a seed, so that a run can be repeated as far as threads allow.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// What a relay does to the connections that it forwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) seed: u64,
    /// A connection ends when so many bytes, or up to an eighth less, went in one of its directions.
    pub(crate) cut_each: Option<u64>,
    /// How it ends.
    pub(crate) cuts: Vec<Cut>,
    /// One bit of about so many bytes is flipped, towards the worker that was connected to and back. Where all consumers
    /// connect to producers, nothing but heads goes towards the worker.
    pub(crate) flip_each: [Option<u64>; 2],
    /// Every piece that is forwarded waits up to so long.
    pub(crate) delay_max: Duration,
    /// What each direction carries in a second, if there is a limit.
    pub(crate) bytes_per_second: Option<u64>,
    /// One of so many connections that replace another is accepted and never answered.
    pub(crate) mute_one_of: Option<u32>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As if each side had closed it.
    Close,
    Reset,
    /// Nothing arrives any more, and nobody is told.
    Silence,
}

/// The first connection between two peers is not tried again, so its set-up is left alone.
const SET_UP_BYTES: u64 = 1024;

/// What goes wrong in one direction of one connection.
pub(crate) struct Plan {
    random: SmallRng,
    faults: Faults,
    flip_each: Option<u64>,
    until_cut: u64,
    until_flip: u64,
}

impl Plan {
    pub(crate) fn new(faults: &Faults, connection: u64, direction: u8) -> Self {
        let mut random =
            SmallRng::seed_from_u64(faults.seed ^ (2 * connection + u64::from(direction) + 1).rotate_left(32));
        let until_cut = faults.cut_each.map_or(u64::MAX, |bytes| bytes - random.random_range(0..=bytes / 8));
        let flip_each = faults.flip_each[direction as usize];
        let mut plan = Self { random, faults: faults.clone(), flip_each, until_cut, until_flip: 0 };
        plan.until_flip = plan.draw_flip().saturating_add(SET_UP_BYTES);
        plan
    }

    fn draw_flip(&mut self) -> u64 {
        self.flip_each.map_or(u64::MAX, |bytes| self.random.random_range(0..2 * bytes))
    }

    /// Whether this connection, which replaces another, is never answered.
    pub(crate) fn is_mute(&mut self) -> bool {
        self.faults.mute_one_of.is_some_and(|all| self.random.random_range(0..all) == 0)
    }

    /// How many bytes may go before the connection is cut.
    pub(crate) fn room(&self) -> u64 {
        self.until_cut
    }

    /// Bytes have come: flips what is to be flipped. Says how many bits that were.
    pub(crate) fn flip(&mut self, bytes: &mut [u8]) -> u64 {
        let (mut flipped, mut at) = (0, 0);
        while self.until_flip < (bytes.len() - at) as u64 {
            at += self.until_flip as usize;
            bytes[at] ^= 1 << self.random.random_range(0..8);
            flipped += 1;
            at += 1;
            self.until_flip = self.draw_flip();
        }
        self.until_flip -= (bytes.len() - at) as u64;
        flipped
    }

    /// How long so many bytes take.
    pub(crate) fn delay(&mut self, bytes: usize) -> Duration {
        let carried = self.faults.bytes_per_second.map_or(0.0, |rate| bytes as f64 / rate as f64);
        let longest = self.faults.delay_max;
        let late = if longest.is_zero() { longest } else { self.random.random_range(Duration::ZERO..longest) };
        late + Duration::from_secs_f64(carried)
    }

    /// So many bytes went. Says how the connection ends if it does.
    pub(crate) fn forwarded(&mut self, bytes: usize) -> Option<Cut> {
        self.until_cut -= bytes as u64;
        let cuts = &self.faults.cuts;
        (self.until_cut == 0).then(|| cuts[self.random.random_range(0..cuts.len())])
    }
}
