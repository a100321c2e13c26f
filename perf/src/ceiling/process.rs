//! Starts this program again for each part of a measurement, and waits for what it answers.
use std::{
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde::de::DeserializeOwned;

use super::{
    CeilingError, Limit,
    job::{Job, Outcome, Work},
};

/// The subcommand that runs a job.
pub(crate) const SUBCOMMAND: &str = "ceiling-worker";

/// A sender and a receiver, connected over the loopback interface; what each answered.
pub(super) fn pair(program: &Path, work: Work, limit: Limit) -> Result<(Outcome, Outcome), CeilingError> {
    let mut receiver = Worker::start(program, "receiving", &Job::Receive { work: work.clone() })?;
    let port = receiver.answer()?;
    let mut sender = Worker::start(program, "sending", &Job::Send { work, port, limit })?;
    Ok((sender.answer()?, receiver.answer()?))
}

/// A process that needs no other.
pub(super) fn alone<T: DeserializeOwned>(program: &Path, role: &'static str, job: &Job) -> Result<T, CeilingError> {
    Worker::start(program, role, job)?.answer()
}

/// A running process. Dropping it kills it, so that none is left waiting for a peer that failed.
struct Worker {
    role: &'static str,
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(program: &Path, role: &'static str, job: &Job) -> Result<Worker, CeilingError> {
        let failed = |source| CeilingError::Process { role, source };
        let job = serde_json::to_string(job).map_err(|error| failed(error.into()))?;
        let mut child = Command::new(program)
            .arg(SUBCOMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut orders = child.stdin.take().expect("standard input was asked to be a pipe");
        let answers = BufReader::new(child.stdout.take().expect("standard output was asked to be a pipe"));
        let worker = Worker { role, child, answers };
        writeln!(orders, "{job}").map_err(failed)?;
        Ok(worker)
    }

    /// The next line the process prints.
    fn answer<T: DeserializeOwned>(&mut self) -> Result<T, CeilingError> {
        let role = self.role;
        let failed = |source| CeilingError::Process { role, source };
        let mut line = String::new();
        if self.answers.read_line(&mut line).map_err(failed)? == 0 {
            let how = self.child.wait().map_err(failed)?.to_string();
            return Err(CeilingError::Failed { role, how });
        }
        serde_json::from_str(&line).map_err(|_| CeilingError::Failed { role, how: format!("said {line:?}") })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and that is as good.
        let _: io::Result<()> = self.child.kill();
        let _ = self.child.wait();
    }
}
