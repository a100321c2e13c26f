//! Long random runs: one to six channels, both placements, random limits, links that are lost and channels that are
//! cancelled, reclaimed and failed at random. The model's world compares every byte and the order of all items with
//! what was written, and counts the memory.

mod model;

use model::{Item, Setup, World};
use proptest::prelude::*;
use sluice_protocol::Limits;

fn items(bytes_max: u32) -> impl Strategy<Value = Vec<Item>> {
    let item = prop_oneof![
        6 => (1..=bytes_max).prop_map(Item::Block),
        2 => Just(Item::Event),
    ];
    // One priority event at most: a second one has to wait for the first to be taken, and would then be none.
    (prop::collection::vec(item, 0..80), prop::option::weighted(0.3, 0usize..80)).prop_map(|(mut items, priority)| {
        if let Some(at) = priority {
            items.insert(at.min(items.len()), Item::Priority);
        }
        items.push(Item::End);
        items
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    (prop_oneof![Just(0u32), Just(8), Just(1024), Just(2048)], 8u32..24, prop_oneof![Just(8192u32), Just(65536)])
        .prop_map(|(inline_bytes_max, control_window, head_bytes_max)| Limits {
            inline_bytes_max,
            control_window,
            head_bytes_max,
            block_bytes_max: 4096,
            body_bytes_max: 8192,
            ..Limits::default()
        })
}

fn setup() -> impl Strategy<Value = Setup> {
    let scale = prop_oneof![Just(16u32), Just(4096)];
    let scripts = scale.prop_flat_map(|bytes_max| (Just(bytes_max), prop::collection::vec(items(bytes_max), 1..=6)));
    let faults = (0u32..4, 0u32..3, 0u32..6, 0u32..2, 0u32..4);
    let late = (any::<bool>(), any::<bool>(), any::<bool>());
    (any::<bool>(), limits(), scripts, 1usize..=6, 1u32..5, 0u32..3, 0u32..3, faults, late).prop_map(
        |(remote, limits, (bytes_max, scripts), open_max, memory, granted, keep, faults, late)| {
            let granted = granted * bytes_max / 2;
            let (losses, cancels, reclaims, failures, useless_slots) = faults;
            Setup {
                limits,
                open_max,
                // What all channels begin with, and room for a block besides.
                memory: granted * scripts.len() as u32 + memory * bytes_max,
                granted,
                keep: keep * bytes_max / 2,
                losses,
                cancels,
                reclaims,
                failures,
                useless_slots: if remote { useless_slots } else { 0 },
                serve_late: late.0,
                reveal_late: late.1,
                consume_late: late.2,
                ..Setup::new(remote, scripts)
            }
        },
    )
}

/// A generator that a failing case can be run with again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // Xorshift, as in Marsaglia's paper of 2003.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_arrives_in_order_or_the_channel_ends_with_a_reason(setup in setup(), seed in 1u64..) {
        let mut dice = Dice(seed);
        let mut world = World::new(setup);
        let mut steps = 0;
        while !world.is_complete() {
            let mut actions = world.enabled();
            // Faults are rare, or little would be between them.
            if dice.below(40) > 0 && actions.iter().any(|action| action.is_fair()) {
                actions.retain(|action| action.is_fair());
            }
            prop_assert!(!actions.is_empty(), "a deadlock after {steps} steps");
            world.apply(actions[dice.below(actions.len())]);
            steps += 1;
            prop_assert!(steps < 100_000, "it does not come to an end");
        }
    }
}
