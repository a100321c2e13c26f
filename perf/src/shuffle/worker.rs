//! One worker: obeys its coordinator, order by order, until it is told to stop.

mod life;
mod prepared;
mod progress;
mod tally;
mod tasks;

use std::any::Any;
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use sluice_core::{Incarnation, NodeId};
use sluice_plugin::InProcess;

use self::prepared::Prepared;
pub(super) use self::progress::Progress;
use super::control::{Answer, Order, hear, tell};
use crate::causes::with_causes;

/// A worker process: orders on standard input, answers on standard output.
pub fn run_as_process() -> io::Result<()> {
    serve(io::BufReader::new(io::stdin()), io::stdout(), None)
}

/// Obeys until it is told to stop, its coordinator is gone, or it has said why it cannot go on.
pub(super) fn serve<R, W>(orders: R, answers: W, hub: Option<&InProcess>) -> io::Result<()>
where
    R: BufRead + Send + 'static,
    W: Write + Send,
{
    let answers = Answers(Mutex::new(answers));
    let error = match catch_unwind(AssertUnwindSafe(|| obey(orders, &answers, hub))) {
        Ok(Ok(())) => return Ok(()),
        // A coordinator that is gone does not hear it; one that is there would otherwise see an end without a reason.
        Ok(Err(error)) => with_causes(&error),
        // Nothing of this worker is used again but the pipe to say so.
        Err(panic) => format!("panicked: {}", panic_text(&*panic)),
    };
    answers.say(&Answer::Failed { error })
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

/// The way to the coordinator. Several threads of a worker use it, a message at a time.
struct Answers<W>(Mutex<W>);

impl<W: Write> Answers<W> {
    fn say(&self, answer: &impl Serialize) -> io::Result<()> {
        self.with(|to| tell(to, answer))
    }

    /// For what belongs together.
    fn with<T>(&self, tell: impl FnOnce(&mut W) -> T) -> T {
        tell(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn obey<R, W>(mut orders: R, answers: &Answers<W>, hub: Option<&InProcess>) -> io::Result<()>
where
    R: BufRead + Send + 'static,
    W: Write + Send,
{
    let Some(Order::Prepare { worker, incarnation, scenario, again }) = hear(&mut orders)? else { return Ok(()) };
    let life = (NodeId(worker.into()), Incarnation(incarnation));
    match Prepared::new(life, &scenario, again, hub) {
        Err(error) => answers.say(&Answer::Failed { error }),
        Ok((mut prepared, held)) => {
            answers.say(&prepared.ready(held))?;
            life::live(&mut prepared, &scenario, worker, orders, answers)
        }
    }
}

#[cfg(test)]
mod tests;
