//! The net catches fish: the model of two sessions fails as soon as one of them has a defect.

mod model;

use model::Item::{Block, End, Event};
use model::{Setup, World};
use sluice_protocol::defect::{self, Defect};

/// Runs over which a defect has to show at least once.
const RUNS: u64 = 200;
/// No run without a defect is as long.
const STEPS_MAX: u32 = 20_000;

/// Four channels whose links are lost and which are cancelled.
fn setup(remote: bool) -> Setup {
    let script = vec![Block(2), Event, Block(1), Block(2), Block(3), Block(2), End];
    Setup { memory: 12, losses: 2, cancels: 1, consume_late: true, ..Setup::new(remote, vec![script; 4]) }
}

/// Whether the model comes to its end and has found nothing wrong on the way.
fn is_flawless(seed: u64) -> bool {
    std::panic::catch_unwind(|| {
        let mut world = World::new(setup(seed.is_multiple_of(2)));
        // A linear congruential generator with Knuth's numbers; its upper bits are the good ones.
        let mut dice = seed;
        for _ in 0..STEPS_MAX {
            let mut actions = world.enabled();
            if world.is_complete() || actions.is_empty() {
                break;
            }
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Faults are rare, or all of them would come before there is anything to lose.
            if dice >> 59 > 0 && actions.iter().any(|action| action.is_fair()) {
                actions.retain(|action| action.is_fair());
            }
            world.apply(actions[(dice >> 33) as usize % actions.len()]);
        }
        world.is_complete()
    })
    .unwrap_or(false)
}

fn flawed_runs(defect: Option<Defect>) -> usize {
    defect::set(defect);
    let flawed = (0..RUNS).filter(|seed| !is_flawless(*seed)).count();
    defect::set(None);
    println!("{defect:?}: {flawed} of {RUNS} runs are flawed");
    flawed
}

#[test]
fn without_a_defect_every_run_is_flawless() {
    assert_eq!(flawed_runs(None), 0);
}

#[test]
fn the_model_finds_a_grant_that_is_dropped() {
    assert!(flawed_runs(Some(Defect::DropCredit)) > 0);
}

#[test]
fn the_model_finds_memory_taken_back_at_the_cancel() {
    assert!(flawed_runs(Some(Defect::SkipCancelHandshake)) > 0);
}

#[test]
fn the_model_finds_an_item_that_is_delivered_twice() {
    assert!(flawed_runs(Some(Defect::DeliverTwiceAfterResume)) > 0);
}

#[test]
fn the_model_finds_a_channel_that_never_has_its_turn() {
    assert!(flawed_runs(Some(Defect::StarveChannel)) > 0);
}
