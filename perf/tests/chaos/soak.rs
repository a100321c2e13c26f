//! What takes minutes: run by `.ci/soak chaos`, with a release build. `CHAOS_SEED` and `CHAOS_SECONDS` are the first seed
//! of the random runs and how long they go on.

use std::env;
use std::fmt::Debug;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::faults::{Cut, Faults};
use crate::program::engines;
use crate::run::Shuffle;

const MIB: u64 = 1 << 20;

#[test]
#[ignore = "10 GB, three times for each engine"]
fn ten_gigabytes_whose_every_connection_is_cut_each_64_mib() {
    let mut shuffle = Shuffle::new("");
    shuffle.hangs_after = Some(Duration::from_secs(900));
    for engine in engines() {
        shuffle.words = format!("--no-ceiling --generate random --bytes 10GB --record-bytes 1000 --engine {engine}");
        let cut = Faults { seed: 1, cut_each: Some(64 * MIB), cuts: vec![Cut::Close, Cut::Reset], ..Faults::default() };
        let runs =
            [("without cuts", Faults::default()), ("cut each 64 MiB", cut), ("again without", Faults::default())];
        for (what, faults) in runs {
            let ended = shuffle.run(faults);
            let (lost, resumed) = ended.verified();
            let figure = |name| ended.report["result"][name].as_f64().expect("a number");
            println!(
                "{engine}, {what}: verified; {} connections cut; {lost} ends of links lost, {resumed} resumed; {:.1} s, {:.2} GB/s, {:.2} CPU s/GB",
                ended.cuts,
                figure("seconds"),
                figure("payload_bytes_per_second") / 1e9,
                figure("cpu_seconds_per_gb"),
            );
            assert_eq!(lost > 0, what.starts_with("cut"));
        }
    }
}

#[test]
#[ignore = "minutes of random faults"]
fn whatever_happens_on_the_line_a_run_is_verified_or_names_what_was_corrupt() {
    let until = Instant::now() + Duration::from_secs(variable("CHAOS_SECONDS").unwrap_or(180));
    let mut seed = variable("CHAOS_SEED").unwrap_or_else(std::process::id);
    let engines = engines();
    loop {
        let mut random = SmallRng::seed_from_u64(seed.into());
        let engine = engines.choose(&mut random).expect("there is epoll");
        let shuffle = shape(&mut random, engine);
        let faults = faults(&mut random, seed.into());
        println!("CHAOS_SEED={seed}: {} {:?} {faults:?}", shuffle.words, shuffle.settings);
        let flips = faults.flip_each;
        let ended = shuffle.run(faults);
        if flips != [None, None] && ended.status != Some(0) {
            ended.failed_with(&["consumer ", "corrupt", "block", "channel"]);
            println!("    {} cuts, {} flips: {}", ended.cuts, ended.flips, ended.said.trim());
        } else {
            let (lost, resumed) = ended.verified();
            println!("    {} cuts, {} flips: {lost} ends of links lost, {resumed} resumed", ended.cuts, ended.flips);
        }
        if Instant::now() > until {
            return;
        }
        seed = seed.wrapping_add(1);
    }
}

fn variable<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn shape(random: &mut SmallRng, engine: &str) -> Shuffle {
    let words = format!(
        "--bytes 200MB --engine {engine} --placement {} --workers {} --lanes {} --producers {} --consumers {} --memory {} \
         --record-bytes {} --flush-interval {}",
        ["spread", "split"].choose(random).expect("two"),
        random.random_range(2..=3),
        random.random_range(1..=3),
        random.random_range(1..=6),
        random.random_range(1..=6),
        ["1MiB", "4MiB", "64MiB"].choose(random).expect("three"),
        [40, 900, 5000, 100_000].choose(random).expect("four"),
        ["off", "1ms", "10ms"].choose(random).expect("three"),
    );
    // Silence is to be found within a run.
    Shuffle::new(&words)
        .set("SLUICE_SESSION_HEARTBEAT", "200ms")
        .set("SLUICE_SESSION_SILENCE_MAX", "1s")
        .set("SLUICE_TRANSPORT_TCP_HANDSHAKE_TIMEOUT", "1s")
}

fn faults(random: &mut SmallRng, seed: u64) -> Faults {
    let cuts = match random.random_range(0..4) {
        // One after the other takes a second each.
        0 => vec![Cut::Close, Cut::Close, Cut::Reset, Cut::Reset, Cut::Silence],
        _ => vec![Cut::Close, Cut::Reset],
    };
    let flip = random.random_range(0..4) == 0;
    Faults {
        seed,
        // No less than the longest message: else none would ever arrive whole.
        cut_each: Some(random.random_range(MIB..8 * MIB)),
        cuts,
        flip_each: [flip.then_some(4000), (flip && random.random()).then_some(50 * MIB)],
        delay_max: Duration::from_micros([0, 0, 100, 2000][random.random_range(0..4)]),
        bytes_per_second: None,
        mute_one_of: (random.random_range(0..4) == 0).then_some(10),
    }
}
