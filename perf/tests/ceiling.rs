//! The ceilings with their real processes. Limits are bytes, so that no result depends on a clock.
use std::path::PathBuf;

use sluice_perf::{
    ceiling::{Bench, CeilingError, Limit, Rate, Records},
    input::InputSpec,
};

fn bench() -> Bench {
    Bench::new(PathBuf::from(env!("CARGO_BIN_EXE_sluice-perf")), Limit::Bytes(8 << 20))
}

fn records(bytes: u64) -> Records {
    let input = InputSpec::Random { bytes, record_bytes: 1000, skew: 0.5, seed: 42 };
    Records { input, targets: 7 }
}

fn is_a_figure(rate: Rate) -> bool {
    rate.bytes_per_second > 0.0 && rate.cpu_seconds_per_gb > 0.0
}

#[test]
fn every_ceiling_gives_a_figure_and_agreeing_digests() {
    assert!(is_a_figure(bench().plain_stream().unwrap()));
    assert!(is_a_figure(bench().bare_pipeline(&records(1 << 20)).unwrap()));
    assert!(is_a_figure(bench().memcpy(&records(1 << 20), 2).unwrap()));
}

#[test]
fn a_worker_that_fails_is_an_error_and_leaves_none_waiting() {
    let nothing_to_send = bench().bare_pipeline(&records(0));
    assert!(matches!(nothing_to_send, Err(CeilingError::Failed { role: "sending", .. })), "{nothing_to_send:?}");
    let another_program = Bench::new("/bin/true".into(), Limit::Bytes(1)).plain_stream();
    assert!(another_program.is_err());
}
