//! What a process of a measurement is told, does, and answers.
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{CeilingError, DiskWork, Limit, Records, WriteSize, disk, memcpy, pipeline, stream};
use crate::{digest::Digest, host::cpu_time, input::Input};

/// One process's part: a line of JSON on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Job {
    /// Prints the port it listens on, then the outcome.
    Receive {
        work: Work,
    },
    Send {
        work: Work,
        port: u16,
        limit: Limit,
    },
    Memcpy {
        records: Records,
        threads: u32,
        limit: Limit,
    },
    /// Prints a `RawDisk` instead of an outcome.
    Disk(DiskWork),
}

/// What two processes do together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Work {
    PlainStream,
    BarePipeline { records: Records, write: WriteSize },
}

/// What a process did: a line of JSON on its standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) payload_bytes: u64,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) digests: Vec<Digest>,
}

/// Measures from its start.
pub(crate) struct Clock {
    start: Instant,
    cpu_start: Duration,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now(), cpu_start: cpu_time() }
    }

    pub(super) fn has_reached(&self, limit: Limit, bytes: u64) -> bool {
        match limit {
            Limit::Time(time) => self.start.elapsed() >= time,
            Limit::Bytes(bytes_max) => bytes >= bytes_max,
        }
    }

    /// Of the wall, and of this process's CPU.
    pub(crate) fn seconds(&self) -> (f64, f64) {
        (self.start.elapsed().as_secs_f64(), (cpu_time() - self.cpu_start).as_secs_f64())
    }

    pub(super) fn outcome(&self, payload_bytes: u64, digests: Vec<Digest>) -> Outcome {
        let (seconds, cpu_seconds) = self.seconds();
        Outcome { payload_bytes, seconds, cpu_seconds, digests }
    }
}

/// The whole life of the hidden subcommand `ceiling-worker`.
pub fn run_worker() -> Result<(), CeilingError> {
    let mut job = String::new();
    io::stdin().read_line(&mut job)?;
    match serde_json::from_str(&job).map_err(io::Error::other)? {
        Job::Receive { work } => answer(&receive(&work)?),
        Job::Send { work, port, limit } => answer(&send(&work, port, limit)?),
        Job::Memcpy { records, threads, limit } => answer(&memcpy::run(&records, threads, limit)?),
        Job::Disk(work) => answer(&disk::run(&work)?),
    }
}

fn answer(outcome: &impl Serialize) -> Result<(), CeilingError> {
    let outcome = serde_json::to_string(outcome).map_err(io::Error::other)?;
    Ok(writeln!(io::stdout(), "{outcome}")?)
}

fn receive(work: &Work) -> Result<Outcome, CeilingError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    writeln!(io::stdout(), "{}", listener.local_addr()?.port())?;
    let (mut socket, _) = listener.accept()?;
    let clock = Clock::start();
    let (bytes, digests) = match work {
        Work::PlainStream => (stream::receive(&mut socket)?, Vec::new()),
        Work::BarePipeline { records, write } => (0, pipeline::receive(&mut socket, records, *write)?),
    };
    // The sender's clock stops when all is received, not when all is sent.
    socket.write_all(&[1])?;
    Ok(clock.outcome(bytes, digests))
}

fn send(work: &Work, port: u16, limit: Limit) -> Result<Outcome, CeilingError> {
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    match work {
        Work::PlainStream => {
            let mut socket = connect()?;
            let clock = Clock::start();
            let bytes = stream::send(&mut socket, &clock, limit)?;
            wait_until_received(&mut socket)?;
            Ok(clock.outcome(bytes, Vec::new()))
        }
        Work::BarePipeline { records, write } => {
            // Before connecting, so that the receiver's clock does not run meanwhile.
            let input = Input::prepare(&records.input, 1, records.targets)?;
            let mut socket = connect()?;
            let clock = Clock::start();
            let (bytes, digests) = pipeline::send(&mut socket, &input, records, *write, &clock, limit)?;
            wait_until_received(&mut socket)?;
            Ok(clock.outcome(bytes, digests))
        }
    }
}

fn wait_until_received(socket: &mut TcpStream) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    socket.read_exact(&mut [0])
}
