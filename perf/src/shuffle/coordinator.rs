//! Leads the workers through one shuffle and gathers what they say.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::control::{Answer, Done, Location, Order, hear, hear_digests, tell};
use super::launch::{Worker, launch};
use super::relay::redirect;
use super::run::ShuffleError;
use super::verify::verify;
use crate::digest::Digest;
use crate::report::{Links, Outcome, Stalls};
use crate::scenario::{Scenario, Transport};

/// How long after a complaint a worker that is gone is waited for: its pipe closes at once.
const BLAME_WAIT: Duration = Duration::from_millis(200);
/// A worker that shuffles says ten times a second how far it is: one that has not for so long stands still.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(1);

/// What the workers of a run say, one after the other.
enum Heard {
    Answer(Answer),
    Done(Done, Vec<Digest>, Vec<Digest>),
    /// Its pipe is closed, or what came is no answer.
    Gone(Option<io::Error>),
}

/// Runs the scenario once; what it did, and what did the IO.
pub(super) fn shuffle(scenario: &Scenario) -> Result<(Outcome, String), ShuffleError> {
    let mut workers = launch(scenario).map_err(ShuffleError::Launch)?;
    let (tell_us, heard) = channel();
    for (number, worker) in workers.iter_mut().enumerate() {
        let answers = worker.answers.take().expect("nobody listens to it yet");
        let tell_us = tell_us.clone();
        std::thread::spawn(move || listen(number, answers, &tell_us));
        let order = Order::Prepare { worker: number as u32, scenario: Box::new(scenario.clone()) };
        // A worker that is gone already says why, or its end does.
        let _ = tell(&mut worker.orders, &order);
    }
    let (mut locations, engine, bytes) = all_ready(&mut workers, &heard)?;
    if let Some(relay) = scenario.relay {
        redirect(relay, &mut locations).map_err(|error| ShuffleError::Relay(relay, error))?;
    }
    for worker in &mut workers {
        let _ = tell(&mut worker.orders, &Order::Go { workers: locations.clone() });
    }
    let results = all_done(&mut workers, &heard, bytes)?;
    for worker in &mut workers {
        let _ = tell(&mut worker.orders, &Order::Stop);
    }
    for worker in &mut workers {
        worker.epitaph();
    }
    Ok((judge(scenario, results)?, engine))
}

fn listen(number: usize, mut answers: impl io::BufRead, tell_us: &Sender<(usize, Heard)>) {
    loop {
        let heard = match hear(&mut answers) {
            Ok(Some(Answer::Done(done))) => {
                let sent = hear_digests(&mut answers, done.sent_digests);
                let received = hear_digests(&mut answers, done.received_digests);
                match (sent, received) {
                    (Ok(sent), Ok(received)) => Heard::Done(*done, sent, received),
                    (Err(error), _) | (_, Err(error)) => Heard::Gone(Some(error)),
                }
            }
            Ok(Some(answer)) => Heard::Answer(answer),
            Ok(None) => Heard::Gone(None),
            Err(error) => Heard::Gone(Some(error)),
        };
        let gone = matches!(heard, Heard::Gone(_));
        if tell_us.send((number, heard)).is_err() || gone {
            return;
        }
    }
}

fn failed(workers: &mut [Worker], number: usize, error: Option<io::Error>) -> ShuffleError {
    let how = match error {
        Some(error) => format!("its answer cannot be read: {error}"),
        None => workers[number].epitaph(),
    };
    ShuffleError::Worker { worker: number as u32, process: workers[number].process_id(), error: how }
}

fn all_ready(
    workers: &mut [Worker],
    heard: &Receiver<(usize, Heard)>,
) -> Result<(Vec<Location>, String, u64), ShuffleError> {
    let mut locations: Vec<Option<Location>> = vec![None; workers.len()];
    let (mut used, mut bytes) = (String::new(), 0);
    while locations.iter().any(Option::is_none) {
        let (number, said) = heard.recv().expect("every listener says when its worker is gone");
        match said {
            Heard::Answer(Answer::Ready { location, engine, bytes_estimate }) => {
                locations[number] = Some(location);
                used = engine;
                bytes = bytes.max(bytes_estimate);
            }
            Heard::Answer(Answer::Failed { error }) => {
                return Err(blame(workers, heard, number, error));
            }
            Heard::Gone(error) => return Err(failed(workers, number, error)),
            Heard::Answer(_) | Heard::Done(..) => {}
        }
    }
    Ok((locations.into_iter().flatten().collect(), used, bytes))
}

/// A worker that complains may only be the first to notice that another one is gone: then that one is named.
fn blame(workers: &mut [Worker], heard: &Receiver<(usize, Heard)>, number: usize, error: String) -> ShuffleError {
    let complaint = ShuffleError::Worker { worker: number as u32, process: workers[number].process_id(), error };
    let mut complained = vec![number];
    let until = Instant::now() + BLAME_WAIT;
    while let Ok((other, said)) = heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
        match said {
            // Gone without a word: killed, or out of memory.
            Heard::Gone(cause) if !complained.contains(&other) => return failed(workers, other, cause),
            Heard::Answer(Answer::Failed { .. }) => complained.push(other),
            _ => {}
        }
    }
    complaint
}

/// What there is to say of a worker that was last heard so long ago.
fn stands_still(number: usize, worker: &Worker, silence: Duration) -> String {
    if silence < STANDS_STILL_AFTER {
        return String::new();
    }
    let process = worker.process_id().map_or_else(String::new, |id| format!(" (process {id})"));
    format!("; worker {number}{process} has not been heard for {:.1} s", silence.as_secs_f64())
}

type WorkerResult = (Done, Vec<Digest>, Vec<Digest>);
type Results = Vec<WorkerResult>;

fn all_done(workers: &mut [Worker], heard: &Receiver<(usize, Heard)>, bytes: u64) -> Result<Results, ShuffleError> {
    let mut results: Vec<Option<WorkerResult>> = workers.iter().map(|_| None).collect();
    let (mut read_by, mut heard_at) = (vec![0; workers.len()], vec![Instant::now(); workers.len()]);
    let bar = progress(bytes);
    while results.iter().any(Option::is_none) {
        let (number, said) = heard.recv().expect("every listener says when its worker is gone");
        heard_at[number] = Instant::now();
        match said {
            Heard::Answer(Answer::Progress { read, .. }) => {
                read_by[number] = read;
                bar.set_position(read_by.iter().sum());
            }
            Heard::Done(done, sent, received) => results[number] = Some((done, sent, received)),
            Heard::Answer(Answer::Failed { mut error }) => {
                bar.finish_and_clear();
                for (other, at) in heard_at.iter().enumerate().filter(|(other, _)| results[*other].is_none()) {
                    error += &stands_still(other, &workers[other], at.elapsed());
                }
                return Err(blame(workers, heard, number, error));
            }
            Heard::Gone(error) => {
                bar.finish_and_clear();
                return Err(failed(workers, number, error));
            }
            Heard::Answer(Answer::Ready { .. } | Answer::Done(_)) => {}
        }
    }
    bar.finish_and_clear();
    Ok(results.into_iter().flatten().collect())
}

fn progress(bytes: u64) -> ProgressBar {
    let template = "shuffling {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    ProgressBar::new(bytes).with_style(style)
}

fn judge(scenario: &Scenario, results: Results) -> Result<Outcome, ShuffleError> {
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    let started = results.iter().map(|(done, ..)| done.started).min().unwrap_or(0);
    let ended = results.iter().map(|(done, ..)| done.ended).max().unwrap_or(0);
    let (mut cpu, mut peak, mut stalls, mut links) = (0.0f64, 0u64, Stalls::default(), Links::default());
    for (done, its_sent, its_received) in results {
        sent.extend(its_sent.chunks(scenario.consumers() as usize).map(<[Digest]>::to_vec));
        received.extend(its_received.chunks(scenario.producers() as usize).map(<[Digest]>::to_vec));
        match scenario.transport {
            Transport::Tcp => {
                cpu += done.cpu_seconds;
                peak += done.peak_memory_bytes;
            }
            // Threads of one process: each sees the whole of it.
            Transport::InProcess => {
                cpu = cpu.max(done.cpu_seconds);
                peak = peak.max(done.peak_memory_bytes);
            }
        }
        stalls.credit_seconds += done.credit_seconds;
        stalls.buffer_seconds += done.buffer_seconds;
        links.lost += done.links_lost;
        links.resumed += done.links_resumed;
    }
    let totals = verify(&sent, &received)?;
    let mut outcome = Outcome::new(totals.records, totals.bytes, (ended - started) as f64 / 1e9, cpu);
    outcome.peak_memory_bytes = peak;
    outcome.stalls = stalls;
    outcome.links = links;
    outcome.verified = true;
    Ok(outcome)
}
