//! How long a message takes there, beside a datagram of plain UDP in the same run.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use sluice_softroce::work::{CompletionKind, Operation};

use super::ceiling;
use super::conversation::Conversation;
use super::session::Session;
use super::{Latency, Result, median, print};

pub(super) fn measure(options: &Latency) -> Result<ExitCode> {
    let mut conversation = Conversation::connect(&options.peer.host, options.peer.port)?;
    print(&format!("{:>10} {:>10} {:>10} {:>10} {:>8}", "median", "99 %", "UDP", "99 %", "ratio"))?;
    let mut ratios = Vec::new();
    for _ in 0..options.rounds {
        let ours = Times::of(round(&mut conversation, options)?);
        let plain = Times::of(ceiling::round_trips(&mut conversation, options.size, options.iterations)?);
        let ratio = ours.median / plain.median;
        print(&format!(
            "{:>7.1} us {:>7.1} us {:>7.1} us {:>7.1} us {ratio:>8.2}",
            ours.median, ours.most, plain.median, plain.most
        ))?;
        ratios.push(ratio);
    }
    let ratio = median(ratios);
    print(&format!("SEND of {} bytes, one way: median {ratio:.2} times plain UDP", options.size))?;
    let quick = options.ratio_max.is_none_or(|max| ratio <= max);
    Ok(if quick { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Microseconds of half a round trip.
struct Times {
    median: f64,
    /// What ninety-nine of a hundred keep within.
    most: f64,
}

impl Times {
    fn of(mut round_trips: Vec<Duration>) -> Times {
        round_trips.sort();
        let at = |share: usize| round_trips[(round_trips.len() - 1) * share / 100].as_secs_f64() * 1e6 / 2.0;
        Times { median: at(50), most: at(99) }
    }
}

fn round(conversation: &mut Conversation, options: &Latency) -> Result<Vec<Duration>> {
    let session = Session::ask(conversation, "latency", options.peer.mtu, options.size)?;
    session.post_receives(2)?;
    let mut times = Vec::with_capacity(options.iterations as usize);
    for _ in 0..options.iterations {
        let started = Instant::now();
        session.post_sends(Operation::Send { immediate: None }, 1)?;
        let (mut sent, mut received) = (false, false);
        // The answer may come before the acknowledgement.
        while !(sent && received) {
            for done in session.wait_for_some()? {
                match done.kind {
                    CompletionKind::Receive => received = true,
                    _ => sent = true,
                }
            }
        }
        times.push(started.elapsed());
        session.post_receives(1)?;
    }
    conversation.say("done")?;
    Ok(times)
}
