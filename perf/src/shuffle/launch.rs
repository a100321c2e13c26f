//! Starts workers: processes of this program, or threads of it.

use std::env;
use std::io::{self, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use sluice_plugin::InProcess;

use super::worker;
use crate::scenario::{Scenario, Transport};

/// The subcommand that runs a worker process.
pub(crate) const SUBCOMMAND: &str = "shuffle-worker";

/// The coordinator's ends of a worker's pipes, and the worker.
pub(super) struct Worker {
    pub(super) orders: Box<dyn Write + Send>,
    /// Taken by the thread that listens.
    pub(super) answers: Option<BufReader<Box<dyn Read + Send>>>,
    body: Body,
}

enum Body {
    Process(Child),
    Thread {
        handle: Option<JoinHandle<io::Result<()>>>,
        /// Both directions; who listens has another handle to it.
        pipe: UnixStream,
    },
}

/// Where workers of a run come from.
pub(super) enum Hub {
    /// Processes.
    Processes,
    /// Threads that send through this.
    Threads(InProcess),
}

impl Hub {
    pub(super) fn of(scenario: &Scenario) -> Self {
        match scenario.transport {
            Transport::Tcp => Self::Processes,
            Transport::InProcess if scenario.partition.is_retained() => Self::Threads(InProcess::copying()),
            Transport::InProcess => Self::Threads(InProcess::new()),
        }
    }

    pub(super) fn start(&self) -> io::Result<Worker> {
        match self {
            Self::Processes => process(),
            Self::Threads(hub) => thread(hub),
        }
    }
}

fn process() -> io::Result<Worker> {
    let mut command = Command::new(env::current_exe()?);
    // In a process group of its own: Ctrl-C is for the coordinator, who ends the workers and clears up after them.
    command.arg(SUBCOMMAND).process_group(0);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let orders = Box::new(child.stdin.take().expect("standard input was asked to be a pipe"));
    let answers: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("standard output was asked to be a pipe"));
    Ok(Worker { orders, answers: Some(BufReader::new(answers)), body: Body::Process(child) })
}

fn thread(hub: &InProcess) -> io::Result<Worker> {
    let (ours, theirs) = UnixStream::pair()?;
    let hub = hub.clone();
    let handle = std::thread::Builder::new().name("worker".into()).spawn(move || {
        let orders = BufReader::new(theirs.try_clone()?);
        worker::serve(orders, theirs, Some(&hub))
    })?;
    let answers: Box<dyn Read + Send> = Box::new(ours.try_clone()?);
    let body = Body::Thread { handle: Some(handle), pipe: ours.try_clone()? };
    Ok(Worker { orders: Box::new(ours), answers: Some(BufReader::new(answers)), body })
}

impl Worker {
    /// How a worker that said nothing more has ended.
    pub(super) fn epitaph(&mut self) -> String {
        match &mut self.body {
            Body::Process(child) => match child.wait() {
                Ok(status) => format!("its process ended: {status}"),
                Err(error) => format!("its process is gone: {error}"),
            },
            Body::Thread { handle, .. } => match handle.take().map(JoinHandle::join) {
                Some(Ok(Err(error))) => format!("its thread ended: {error}"),
                Some(Err(_)) => "its thread panicked".into(),
                Some(Ok(Ok(()))) | None => "its thread ended".into(),
            },
        }
    }

    /// Kills its process, with no chance to clear up. A thread only loses its coordinator, and ends by itself, soon.
    pub(super) fn end_now(&mut self) {
        self.orders = Box::new(io::sink());
        match &mut self.body {
            Body::Process(child) => {
                // One that has ended already cannot be killed, and that is as good.
                let _: io::Result<()> = child.kill();
                let _ = child.wait();
            }
            // One that has ended has closed it.
            Body::Thread { pipe, .. } => drop(pipe.shutdown(Shutdown::Write)),
        }
    }

    /// Whether it is a thread that still runs. A process was waited for when it was ended.
    pub(super) fn still_runs(&self) -> bool {
        matches!(&self.body, Body::Thread { handle: Some(handle), .. } if !handle.is_finished())
    }

    /// The id of its process, if it is one.
    pub(super) fn process_id(&self) -> Option<u32> {
        match &self.body {
            Body::Process(child) => Some(child.id()),
            Body::Thread { .. } => None,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Closing its orders is the order to end; a process that does not obey is ended.
        self.end_now();
    }
}
