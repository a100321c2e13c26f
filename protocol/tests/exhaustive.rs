//! Every state of small models: two sessions, two queues, all orders of everything that can happen.
//!
//! The model's world checks itself in every state. Here it is checked that from every state all is delivered, or
//! cancelled, at last, whatever has happened: neither a deadlock nor a ring of states that nobody gets out of.

mod model;

use std::collections::HashMap;

use model::Item::{Block, End, Event, Priority};
use model::{Action, Setup, World};

/// A model with more states than this has lost its bounds.
const STATES_MAX: u32 = 4_000_000;

/// What an enumeration has seen.
#[derive(Debug, Default)]
struct Seen {
    states: usize,
    complete: usize,
    bad_deliveries: usize,
}

/// Walks through all states, and then back from the complete ones along what happens at last.
fn enumerate(name: &str, setup: Setup) -> Seen {
    let first = World::new(setup);
    let mut numbers = HashMap::from([(first.fingerprint(), 0u32)]);
    let mut complete = vec![first.is_complete()];
    // From which states one gets here by something that happens at last, and how: for the trace of a failure.
    let mut fair_from: Vec<Vec<u32>> = vec![vec![]];
    let mut came_from: Vec<Option<(u32, Action)>> = vec![None];
    let mut seen = Seen::default();
    let mut open = vec![(0u32, first)];
    while let Some((number, world)) = open.pop() {
        seen.bad_deliveries += usize::from(world.bad_deliveries > 0);
        for action in world.enabled() {
            let mut next = world.clone();
            let applied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| next.apply(action)));
            if let Err(panic) = applied {
                eprintln!("{name}: {action:?} after {:?}", trace(&came_from, number));
                std::panic::resume_unwind(panic);
            }
            let fresh = numbers.len() as u32;
            assert!(fresh < STATES_MAX, "{name}: the model has no end? after {:?}", trace(&came_from, number));
            let known = *numbers.entry(next.fingerprint()).or_insert(fresh);
            if known == fresh {
                complete.push(next.is_complete());
                fair_from.push(vec![]);
                came_from.push(Some((number, action)));
                open.push((known, next));
            }
            if action.is_fair() && known != number {
                fair_from[known as usize].push(number);
            }
        }
    }
    seen.states = complete.len();
    seen.complete = complete.iter().filter(|complete| **complete).count();
    let mut saved = complete.clone();
    let mut back: Vec<u32> = (0..complete.len() as u32).filter(|number| complete[*number as usize]).collect();
    while let Some(number) = back.pop() {
        for &from in &fair_from[number as usize] {
            if !std::mem::replace(&mut saved[from as usize], true) {
                back.push(from);
            }
        }
    }
    if let Some(stuck) = saved.iter().position(|saved| !saved) {
        panic!("{name}: nobody gets to an end after {:?}", trace(&came_from, stuck as u32));
    }
    println!("{name}: {seen:?}");
    seen
}

fn trace(came_from: &[Option<(u32, Action)>], mut number: u32) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some((from, action)) = came_from[number as usize] {
        actions.push(action);
        number = from;
    }
    actions.reverse();
    actions
}

/// The same model on a stream and with remote placement.
fn on_both(name: &str, setup: impl Fn(bool) -> Setup) {
    for remote in [false, true] {
        let name = format!("{name}, {}", if remote { "remote" } else { "stream" });
        let seen = enumerate(&name, setup(remote));
        assert!(seen.complete > 0 && seen.states > 50);
    }
}

#[test]
fn one_channel_that_is_cancelled_anywhere() {
    on_both("cancelled anywhere", |remote| Setup {
        memory: 3,
        cancels: 1,
        reveal_late: true,
        consume_late: true,
        ..Setup::new(remote, vec![vec![Block(2), Block(1), End]])
    });
}

#[test]
fn one_channel_that_is_served_late_and_whose_credit_is_reclaimed() {
    on_both("reclaimed anywhere", |remote| Setup {
        memory: 3,
        granted: 1,
        reclaims: 1,
        serve_late: true,
        reveal_late: true,
        ..Setup::new(remote, vec![vec![Event, Block(3), Block(1), End]])
    });
}

#[test]
fn one_channel_that_keeps_credit_while_idle() {
    on_both("keeps credit", |remote| Setup {
        memory: 4,
        granted: 2,
        keep: 2,
        reclaims: 1,
        reveal_late: true,
        ..Setup::new(remote, vec![vec![Block(1), Block(2), Priority, End]])
    });
}

#[test]
fn one_channel_over_a_link_that_is_lost_anywhere() {
    on_both("a lost link", |remote| Setup {
        memory: 3,
        granted: 1,
        losses: 1,
        cancels: 1,
        serve_late: true,
        reveal_late: true,
        ..Setup::new(remote, vec![vec![Block(1), Event, Block(2), End]])
    });
}

#[test]
fn one_channel_that_keeps_credit_over_a_link_that_is_lost_anywhere() {
    on_both("keeps credit, a lost link", |remote| Setup {
        memory: 3,
        granted: 2,
        keep: 2,
        losses: 1,
        reclaims: 1,
        failures: 1,
        ..Setup::new(remote, vec![vec![Block(1), Block(2), End]])
    });
}

#[test]
fn one_channel_over_links_that_are_lost_twice() {
    on_both("two lost links", |remote| Setup {
        memory: 2,
        losses: 2,
        cancels: 1,
        ..Setup::new(remote, vec![vec![Block(2), Block(1), End]])
    });
}

#[test]
fn two_channels_share_memory_for_one_block() {
    on_both("two channels", |remote| Setup {
        memory: 2,
        cancels: 1,
        ..Setup::new(remote, vec![vec![Block(2), End], vec![Block(2), Block(1), End]])
    });
}

#[test]
fn two_channels_one_of_which_keeps_what_the_other_needs() {
    on_both("two channels that keep", |remote| Setup {
        memory: 2,
        granted: 1,
        keep: 1,
        reveal_late: true,
        ..Setup::new(remote, vec![vec![Block(1), End], vec![Block(2), End]])
    });
}

#[test]
fn a_wish_to_have_credit_back_is_lost_with_the_link() {
    on_both("two channels that keep, a lost link", |remote| Setup {
        memory: 2,
        granted: 1,
        keep: 1,
        losses: 1,
        ..Setup::new(remote, vec![vec![Block(1), End], vec![Block(2), End]])
    });
}

#[test]
fn two_channels_over_a_link_that_is_lost_anywhere() {
    on_both("two channels, a lost link", |remote| Setup {
        memory: 2,
        losses: 1,
        reveal_late: true,
        ..Setup::new(remote, vec![vec![Block(2), End], vec![Block(1), End]])
    });
}

#[test]
fn an_id_is_used_again_at_once() {
    on_both("the same id at once", |remote| Setup {
        open_max: 1,
        memory: 2,
        cancels: 1,
        failures: 1,
        ..Setup::new(remote, vec![vec![Block(2), End], vec![Block(1), End]])
    });
}

#[test]
fn an_id_is_used_again_over_a_lost_link() {
    on_both("the same id, a lost link", |remote| Setup {
        open_max: 1,
        memory: 2,
        losses: 1,
        cancels: 1,
        failures: 1,
        ..Setup::new(remote, vec![vec![Block(2), End], vec![Block(1), End]])
    });
}

/// Everything at once. For the soak: `cargo test --release -p sluice-protocol --test exhaustive -- --ignored`.
#[test]
#[ignore = "millions of states"]
fn large_models() {
    on_both("one channel, all of it late", |remote| Setup {
        memory: 3,
        cancels: 1,
        reclaims: 1,
        serve_late: true,
        reveal_late: true,
        consume_late: true,
        ..Setup::new(remote, vec![vec![Block(2), Event, Block(1), Block(3), End]])
    });
    on_both("one channel that keeps, over a lost link", |remote| Setup {
        memory: 3,
        granted: 1,
        keep: 1,
        losses: 1,
        cancels: 1,
        reclaims: 1,
        failures: 1,
        reveal_late: true,
        ..Setup::new(remote, vec![vec![Block(1), Priority, Block(2), End]])
    });
    on_both("two channels, all of it late", |remote| Setup {
        memory: 2,
        cancels: 1,
        reveal_late: true,
        ..Setup::new(remote, vec![vec![Block(2), End], vec![Block(2), Block(1), End]])
    });
    on_both("two channels, cancelled, over a lost link", |remote| Setup {
        memory: 2,
        losses: 1,
        cancels: 1,
        ..Setup::new(remote, vec![vec![Block(2), End], vec![Block(1), End]])
    });
}

#[test]
fn slots_that_are_too_small_come_back_before_the_block_that_skips_them() {
    let seen = enumerate(
        "slots too small",
        Setup { memory: 4, useless_slots: 2, losses: 1, ..Setup::new(true, vec![vec![Block(2), Block(3), End]]) },
    );
    assert!(seen.complete > 0);
}

/// The net catches fish: without the wait for `Cancelled` the model finds writes into memory that has a new owner.
#[test]
fn memory_used_again_right_at_the_cancel_is_written_by_a_late_peer() {
    let setup = |reuse_at_cancel| Setup {
        memory: 4,
        cancels: 1,
        reveal_late: true,
        reuse_at_cancel,
        ..Setup::new(true, vec![vec![Block(2), Block(2), End]])
    };
    assert!(enumerate("reuse at cancel", setup(true)).bad_deliveries > 0);
    assert_eq!(enumerate("reuse at Cancelled", setup(false)).bad_deliveries, 0);
}
