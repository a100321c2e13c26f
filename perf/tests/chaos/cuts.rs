//! Connections that end again and again: the run is verified all the same.

use std::time::Duration;

use crate::faults::{Cut, Faults};
use crate::program::engines;
use crate::run::Shuffle;

const MIB: u64 = 1 << 20;

fn cut_each(bytes: u64, cuts: &[Cut], seed: u64) -> Faults {
    Faults { seed, cut_each: Some(bytes), cuts: cuts.to_vec(), ..Faults::default() }
}

/// Several links for each pair of workers, in both directions or in one.
#[test]
fn connections_that_are_cut_are_not_noticed_in_the_result() {
    for engine in engines() {
        for (seed, shape) in [
            "--workers 2 --placement spread --lanes 3 --record-bytes 1000",
            "--workers 2 --placement split --lanes 2 --record-bytes 100",
            "--workers 3 --placement spread --record-bytes 300KB",
            "--workers 3 --placement split --lanes 2 --producers 8 --consumers 8 --memory 2MiB --record-bytes 5000",
        ]
        .into_iter()
        .enumerate()
        {
            let shuffle = Shuffle::new(&format!("--bytes 100MB --engine {engine} {shape}"));
            let ended = shuffle.run(cut_each(MIB, &[Cut::Close, Cut::Reset], seed as u64));
            let (lost, resumed) = ended.verified();
            assert!(ended.cuts >= 20 && lost >= 20 && resumed >= 20, "{} cuts, {lost}, {resumed}: {shape}", ended.cuts);
        }
    }
}

/// Only silence tells.
#[test]
fn connections_that_fall_silent_are_replaced() {
    for engine in engines() {
        let shuffle = Shuffle::new(&format!("--bytes 16MB --engine {engine} --placement split"))
            .set("SLUICE_SESSION_HEARTBEAT", "100ms")
            .set("SLUICE_SESSION_SILENCE_MAX", "500ms");
        let ended = shuffle.run(cut_each(4 * MIB, &[Cut::Silence], 1));
        let (lost, resumed) = ended.verified();
        assert!(ended.cuts >= 3 && lost >= 3 && resumed >= 3, "{} cuts, {lost}, {resumed}", ended.cuts);
    }
}

/// Little is under way at a time, so every cut meets other messages; some attempts to connect again lead nowhere.
#[test]
fn a_slow_line_that_is_cut_and_sometimes_does_not_answer_is_verified() {
    for engine in engines() {
        let shuffle = Shuffle::new(&format!("--bytes 8MB --engine {engine} --lanes 2 --record-bytes 200"))
            .set("SLUICE_TRANSPORT_TCP_HANDSHAKE_TIMEOUT", "300ms")
            // A message that is longer than a connection lives would never arrive.
            .set("SLUICE_SESSION_BODY_BYTES_MAX", "64KiB");
        let faults = Faults {
            delay_max: Duration::from_millis(4),
            bytes_per_second: Some(20_000_000),
            mute_one_of: Some(8),
            ..cut_each(MIB / 4, &[Cut::Close, Cut::Reset], 2)
        };
        let ended = shuffle.run(faults);
        let (lost, resumed) = ended.verified();
        assert!(ended.cuts >= 10 && lost >= 10 && resumed >= 10, "{} cuts, {lost}, {resumed}", ended.cuts);
    }
}
