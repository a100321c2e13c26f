//! Nobody can be connected to, for a while or for good.

use std::thread::sleep;
use std::time::Duration;

use crate::faults::Faults;
use crate::program::engines;
use crate::run::{Running, Shuffle};

fn flowing(engine: &str, resume_timeout: &'static str) -> Running {
    let shuffle = Shuffle::new(&format!("--bytes 60MB --engine {engine} --placement split --lanes 2"))
        .set("SLUICE_SESSION_RESUME_TIMEOUT", resume_timeout);
    let mut run = shuffle.start(Faults { bytes_per_second: Some(20_000_000), ..Faults::default() });
    run.until_it_flows(5_000_000);
    run
}

#[test]
fn a_line_that_comes_back_in_time_is_verified() {
    for engine in engines() {
        let run = flowing(engine, "1m");
        for _ in 0..2 {
            let (bytes, connections) = (run.relay.bytes(), run.relay.connections());
            run.relay.refuse();
            sleep(Duration::from_millis(500));
            run.relay.admit();
            run.until("it goes on", |run| {
                run.relay.connections() >= connections + 2 && run.relay.bytes() > bytes + 2_000_000
            });
        }
        let (lost, resumed) = run.end().verified();
        // Two ends of two lanes, twice.
        assert!(lost >= 8 && resumed >= 8, "{lost} lost, {resumed} resumed");
    }
}

#[test]
fn a_line_that_does_not_come_back_is_an_error_that_says_where_and_why() {
    for engine in engines() {
        let run = flowing(engine, "1s");
        run.relay.refuse();
        let address = run.relay.doors()[0].to_string();
        run.end().failed_with(&["node 0", &address, "nobody is at", "within 1s (session.resume_timeout)"]);
    }
}
