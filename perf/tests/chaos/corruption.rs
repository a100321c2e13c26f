//! Bits that flip on the way: nobody ever takes a wrong byte for a right one.

use crate::faults::{Cut, Faults};
use crate::program::engines;
use crate::run::Shuffle;

/// In what producers send.
fn flip_each(bytes: u64, seed: u64) -> Faults {
    Faults { seed, flip_each: [None, Some(bytes)], ..Faults::default() }
}

/// What consumers send are heads only, and one that does not fit its checksum is as good as lost.
#[test]
fn a_flipped_bit_of_a_head_costs_a_link_and_nothing_else() {
    for engine in engines() {
        let words = format!("--bytes 50MB --engine {engine} --placement split --record-bytes 100");
        let ended = Shuffle::new(&words).run(Faults { flip_each: [Some(2000), None], seed: 1, ..Faults::default() });
        let (lost, resumed) = ended.verified();
        assert!(ended.flips >= 3 && lost >= 3 && resumed >= 3, "{} flips, {lost}, {resumed}", ended.flips);
    }
}

/// A block is passed on as soon as it has come: its checksum is looked at by who reads it, when it is acknowledged.
#[test]
fn a_flipped_bit_of_a_block_is_an_error_that_names_it() {
    for engine in engines() {
        for seed in 0..4 {
            let words = format!("--bytes 100MB --engine {engine} --placement split --record-bytes 1000");
            let ended = Shuffle::new(&words).run(flip_each(10 << 20, seed));
            assert!(ended.flips > 0);
            // Not one head in all bits that were flipped is unlikely, and yet not excluded.
            if ended.status == Some(0) {
                assert!(ended.verified().0 > 0, "seed {seed}: something was flipped, and nobody has noticed");
            } else {
                ended.failed_with(&["consumer ", "corrupt", "block", "channel"]);
            }
        }
    }
}

#[test]
fn flips_and_cuts_together_are_verified_or_named() {
    for engine in engines() {
        for seed in 0..4 {
            let words = format!("--bytes 30MB --engine {engine} --placement split --lanes 2 --record-bytes 300");
            let faults =
                Faults { cut_each: Some(2 << 20), cuts: vec![Cut::Close, Cut::Reset], ..flip_each(8 << 20, seed) };
            let ended = Shuffle::new(&words).run(faults);
            match ended.status {
                Some(0) => assert!(ended.verified().1 > 0),
                _ => ended.failed_with(&["consumer ", "corrupt", "block", "channel"]),
            }
        }
    }
}
