//! What a run did, out of what its workers say: verified, and added up.

use super::control::Totals;
use super::crew::Finished;
use super::run::ShuffleError;
use super::verify::verify;
use crate::digest::Digest;
use crate::report::{DiskOutcome, Links, Outcome, Stalls};
use crate::scenario::{Scenario, Transport};

/// What all workers said.
pub(super) struct Results {
    /// Phase by phase, of each worker.
    pub(super) phases: Vec<Vec<Finished>>,
    /// At the end, of each worker, if there was something to release.
    pub(super) released: Vec<Totals>,
    /// What lives of workers that were killed said last. What one did after that nobody knows.
    pub(super) killed: Vec<Totals>,
}

/// Compares what was sent with what was read, and adds up what it cost.
pub(super) fn judge(scenario: &Scenario, results: Results) -> Result<Outcome, ShuffleError> {
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    let mut stalls = Stalls::default();
    for Finished { done, sent: its_sent, received: its_received } in results.phases.iter().flatten() {
        sent.extend(its_sent.chunks(scenario.consumers() as usize).map(<[Digest]>::to_vec));
        received.extend(its_received.chunks(scenario.producers() as usize).map(<[Digest]>::to_vec));
        stalls.credit_seconds += done.credit_seconds;
        stalls.buffer_seconds += done.buffer_seconds;
        stalls.disk_seconds += done.disk_seconds;
    }
    let (payload, spent) = (verify(&sent, &received)?, spent(scenario.transport, &results));
    let (started, _) = span(&results.phases[0]);
    let (_, ended) = results.phases.last().map(|phase| span(phase)).expect("there is at least one phase");
    let seconds = (ended - started) as f64 / 1e9;
    let mut outcome = Outcome::new(payload.records, payload.bytes, seconds, spent.cpu_seconds);
    outcome.peak_memory_bytes = spent.peak_memory_bytes;
    outcome.stalls = stalls;
    outcome.links = Links { lost: spent.links_lost, resumed: spent.links_resumed };
    outcome.disk = scenario.partition.is_retained().then(|| DiskOutcome {
        written_bytes: spent.disk_written_bytes,
        read_bytes: spent.disk_read_bytes,
        write_seconds: seconds_of(&results.phases[0]),
        read_seconds: results.phases.last().map_or(0.0, |phase| seconds_of(phase)),
        payload_over_written: ratio(payload.bytes, spent.disk_written_bytes),
    });
    outcome.verified = true;
    Ok(outcome)
}

/// When the first worker began and the last one ended, in nanoseconds of the machine's clock.
fn span(phase: &[Finished]) -> (u64, u64) {
    let started = phase.iter().map(|finished| finished.done.started).min().unwrap_or(0);
    (started, phase.iter().map(|finished| finished.done.ended).max().unwrap_or(0))
}

fn seconds_of(phase: &[Finished]) -> f64 {
    let (started, ended) = span(phase);
    (ended - started) as f64 / 1e9
}

fn ratio(payload: u64, written: u64) -> f64 {
    if written > 0 { payload as f64 / written as f64 } else { 0.0 }
}

/// The sum over all workers, killed ones among them, of what they said last.
fn spent(transport: Transport, results: &Results) -> Totals {
    let last = results.phases.last().into_iter().flatten().map(|finished| finished.done.totals);
    let mut totals: Vec<Totals> = if results.released.is_empty() { last.collect() } else { results.released.clone() };
    // Its memory was free before another life took its place.
    totals.extend(results.killed.iter().map(|killed| Totals { peak_memory_bytes: 0, ..*killed }));
    let mut all = Totals::default();
    for one in totals {
        match transport {
            Transport::Tcp => {
                all.cpu_seconds += one.cpu_seconds;
                all.peak_memory_bytes += one.peak_memory_bytes;
            }
            // Threads of one process: each sees the whole of it.
            Transport::InProcess => {
                all.cpu_seconds = all.cpu_seconds.max(one.cpu_seconds);
                all.peak_memory_bytes = all.peak_memory_bytes.max(one.peak_memory_bytes);
            }
        }
        all.links_lost += one.links_lost;
        all.links_resumed += one.links_resumed;
        all.disk_written_bytes += one.disk_written_bytes;
        all.disk_read_bytes += one.disk_read_bytes;
    }
    all
}
