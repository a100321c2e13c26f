//! How much goes through, beside plain UDP in the same run.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use sluice_softroce::packet::{BTH_BYTES, ICRC_BYTES};
use sluice_softroce::work::Operation;

use super::ceiling::{self, Throughput};
use super::conversation::Conversation;
use super::session::{Session, cpu_time};
use super::{Bandwidth, Kind, Result, median, print};

/// What a round has shown.
struct Round {
    bytes_per_second: f64,
    cpu_per_packet: Duration,
    packets_per_message: f64,
    sent_again: u64,
}

pub(super) fn measure(options: &Bandwidth) -> Result<ExitCode> {
    let mut conversation = Conversation::connect(&options.peer.host, options.peer.port)?;
    let time = Duration::try_from_secs_f64(options.seconds)?;
    let packet_bytes = options.peer.mtu.bytes() + BTH_BYTES + ICRC_BYTES;
    let batches = batches(options);
    let mut ceiling = ceiling::flood(&mut conversation, packet_bytes, &batches, time)?;
    let (mut rates, mut shares) = (Vec::new(), Vec::new());
    print(&format!(
        "{:>12} {:>12} {:>7} {:>12} {:>12} {:>9} {:>10}",
        "MB/s", "UDP MB/s", "share", "CPU/packet", "UDP's", "packets/m", "sent again"
    ))?;
    for _ in 0..options.rounds {
        let round = round(&mut conversation, options, time)?;
        let after = ceiling::flood(&mut conversation, packet_bytes, &batches, time)?;
        let share = round.bytes_per_second / ((ceiling.bytes_per_second + after.bytes_per_second) / 2.0);
        print(&row(&round, &after, share))?;
        rates.push(round.bytes_per_second);
        shares.push(share);
        ceiling = after;
    }
    let (rate, share) = (median(rates) / 1e6, median(shares));
    print(&format!(
        "{:?} of {} bytes: median {rate:.0} MB/s, {share:.2} of plain UDP",
        options.operation, options.size
    ))?;
    let enough = options.share_min.is_none_or(|min| share >= min);
    Ok(if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(round: &Round, ceiling: &Throughput, share: f64) -> String {
    let (ours, plain) = (round.bytes_per_second / 1e6, ceiling.bytes_per_second / 1e6);
    let (cpu, plain_cpu) = (round.cpu_per_packet.as_nanos(), ceiling.cpu_per_packet.as_nanos());
    let (packets, again) = (round.packets_per_message, round.sent_again);
    format!("{ours:>12.0} {plain:>12.0} {share:>7.2} {cpu:>9} ns {plain_cpu:>9} ns {packets:>9.2} {again:>10}")
}

/// How many packets a call of the socket sends at most, call by call. All packets of a SEND are of one length; the
/// first of a WRITE or of a response has a header more, so the one behind it ends its batch.
fn batches(options: &Bandwidth) -> Vec<usize> {
    let packets = (options.size as usize).div_ceil(options.peer.mtu.bytes()).max(1);
    match options.operation {
        Kind::Write | Kind::Read if packets > 2 => vec![2, packets - 2],
        Kind::Write | Kind::Read if packets == 2 => vec![2],
        _ => vec![usize::MAX],
    }
}

fn round(conversation: &mut Conversation, options: &Bandwidth, time: Duration) -> Result<Round> {
    let session = Session::ask(conversation, "bandwidth", options.peer.mtu, options.size)?;
    let operation = match options.operation {
        Kind::Write => Operation::Write { remote: session.remote, immediate: None },
        Kind::Send => Operation::Send { immediate: None },
        Kind::Read => Operation::Read { remote: session.remote },
    };
    let (started, cpu) = (Instant::now(), cpu_time());
    let (mut messages, mut under_way) = (0u64, 0);
    let depth = options.depth as usize;
    loop {
        if started.elapsed() < time {
            session.post_sends(operation, depth - under_way)?;
            under_way = depth;
        } else if under_way == 0 {
            break;
        }
        let done = session.wait_for_some()?.len();
        under_way -= done;
        messages += done as u64;
    }
    let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu);
    conversation.say("done")?;
    let line = conversation.hear()?;
    let cpu = cpu + Duration::from_nanos(line.value("cpu")?);
    let packets = session.packets_sent() + session.packets_received();
    Ok(Round {
        bytes_per_second: messages as f64 * f64::from(options.size) / elapsed.as_secs_f64(),
        cpu_per_packet: cpu.div_f64(packets.max(1) as f64),
        packets_per_message: packets as f64 / messages.max(1) as f64,
        sent_again: session.packets_sent_again(),
    })
}
