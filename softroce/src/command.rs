//! The command line.

mod bandwidth;
mod ceiling;
mod conversation;
mod dump;
mod latency;
mod pingpong;
mod serve;
mod session;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sluice_softroce::queue_pair::PathMtu;
use thiserror::Error;

/// What can go wrong here goes to the user as it is.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// RoCEv2 in user space: an RDMA endpoint that needs no network card, no kernel module and (over IPv6) no rights.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays ping-pong with another, or with `ibv_rc_pingpong` on an RNIC or the kernel's rxe.
    Pingpong(Pingpong),
    /// Answers `bw` and `lat`, one after the other, until it is stopped.
    Serve(Serve),
    /// Measures how much goes to a `serve`, and how much of what plain UDP does that is.
    Bw(Bandwidth),
    /// Measures how long a message to a `serve` takes, and a datagram of plain UDP.
    Lat(Latency),
    /// Prints the RoCEv2 packets of a pcap file and checks their CRCs; fails if one is wrong.
    Dump(Dump),
}

#[derive(Debug, Args)]
struct Pingpong {
    /// This side's address. IPv4 takes a raw socket, and so CAP_NET_RAW.
    #[arg(long)]
    address: IpAddr,
    /// The TCP port of the exchange before the game.
    #[arg(long, default_value_t = 18515)]
    port: u16,
    /// The path MTU in bytes, the same at both sides.
    #[arg(long, default_value = "1024", value_parser = path_mtu)]
    mtu: PathMtu,
    /// Bytes of a message.
    #[arg(long, default_value_t = 4096)]
    size: u32,
    /// How often to and fro.
    #[arg(long, default_value_t = 1000)]
    iterations: u32,
    /// Where the other one waits; without it, this one waits.
    host: Option<String>,
}

#[derive(Debug, Args)]
struct Serve {
    /// The address to be found at.
    #[arg(long, default_value = "::1")]
    address: IpAddr,
    /// The TCP port to be found at.
    #[arg(long, default_value_t = 18516)]
    port: u16,
}

/// Where a `serve` is found, and what is sent there.
#[derive(Debug, Args)]
struct Peer {
    /// Where `serve` is.
    #[arg(default_value = "::1")]
    host: String,
    /// Its TCP port.
    #[arg(long, default_value_t = 18516)]
    port: u16,
    /// The path MTU in bytes; 84 more must fit into the network's frames.
    #[arg(long, default_value = "4096", value_parser = path_mtu)]
    mtu: PathMtu,
}

#[derive(Debug, Args)]
struct Bandwidth {
    #[command(flatten)]
    peer: Peer,
    /// What to do.
    #[arg(long, value_enum, default_value_t = Kind::Write)]
    operation: Kind,
    /// Bytes of a message.
    #[arg(long, default_value_t = 65536)]
    size: u32,
    /// Messages under way.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=128))]
    depth: u32,
    /// How long, for each of the rounds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often, each time between two measurements of plain UDP. The median is what counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Fail if less than this share of plain UDP's throughput is reached.
    #[arg(long)]
    share_min: Option<f64>,
}

#[derive(Debug, Args)]
struct Latency {
    #[command(flatten)]
    peer: Peer,
    /// Bytes of a message.
    #[arg(long, default_value_t = 8)]
    size: u32,
    /// How often to and fro, for each of the rounds.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,
    /// How often, each time beside plain UDP. The median is what counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Fail if a message takes more than so many times as long as a datagram.
    #[arg(long)]
    ratio_max: Option<f64>,
}

#[derive(Debug, Args)]
struct Dump {
    /// A pcap file of Ethernet frames, such as `tcpdump -w` writes.
    file: PathBuf,
    /// Only the summary.
    #[arg(long)]
    quiet: bool,
}

/// What `bw` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Write,
    Send,
    Read,
}

fn path_mtu(text: &str) -> std::result::Result<PathMtu, String> {
    let mtu = text.parse().ok().and_then(PathMtu::of_bytes);
    mtu.ok_or_else(|| "one of 256, 512, 1024, 2048, 4096".into())
}

/// Prints a line. `println!` would panic when nobody reads any more, as in `softroce dump … | head`.
fn print(line: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Unread.into()),
        written => Ok(written?),
    }
}

/// Nobody reads what is printed.
#[derive(Debug, Error)]
#[error("nobody reads what is printed")]
struct Unread;

impl Options {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        match self.run_command() {
            // Whoever read what is printed has seen enough.
            Err(error) if error.is::<Unread>() => Ok(ExitCode::SUCCESS),
            other => other,
        }
    }

    fn run_command(&self) -> Result<ExitCode> {
        match &self.command {
            Command::Pingpong(options) => pingpong::play(options).map(|()| ExitCode::SUCCESS),
            Command::Serve(options) => serve::serve(options),
            Command::Bw(options) => bandwidth::measure(options),
            Command::Lat(options) => latency::measure(options),
            Command::Dump(options) => dump::dump(options),
        }
    }
}

/// The value in the middle; of an even number, the higher of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
