//! What goes wrong in a run.

use std::fmt;
use std::time::Duration;

use super::cluster::ClusterPlan;
use super::workload::JobPlan;
use crate::disk::DiskFault;
use crate::network::{Cut, OutageKind};
use crate::seed::Random;

/// Something that goes wrong, and when.
#[derive(Clone, Debug)]
pub struct Incident {
    /// From the beginning of the run. Those that wait for a byte or a message are armed at this time.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

/// What can go wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// All connections between two workers end.
    Cut {
        /// From whom, if a byte is waited for.
        from: usize,
        /// To whom.
        to: usize,
        /// With this byte on its way; at once if `None`.
        after_bytes: Option<u64>,
        /// How.
        cut: Cut,
    },
    /// There is no way between two workers for a while; what is up stays up.
    Block {
        /// One of them.
        one: usize,
        /// The other.
        other: usize,
        /// For how long.
        outage: Duration,
        /// How it feels.
        kind: OutageKind,
    },
    /// Nothing moves between two workers for a while.
    Stall {
        /// One of them.
        one: usize,
        /// The other.
        other: usize,
        /// For how long.
        pause: Duration,
    },
    /// A worker does nothing for a while.
    Freeze {
        /// Which.
        worker: usize,
        /// For how long.
        pause: Duration,
    },
    /// A worker's process ends.
    Kill {
        /// Which.
        worker: usize,
        /// Its peers hear nothing: the machine is gone.
        silently: bool,
        /// After how long another life of it begins.
        restarts: Option<Duration>,
        /// After how long the master tells the others.
        reported: Option<Duration>,
        /// Its machine has no power for a moment.
        power: bool,
    },
    /// Something is wrong with a worker's disk.
    Disk {
        /// Whose.
        worker: usize,
        /// What.
        fault: DiskFault,
    },
    /// The master releases a job, whoever is at it.
    Release {
        /// Which.
        job: usize,
    },
    /// The master's process ends, and begins again with what it has stored and what the workers tell.
    RestartMaster {
        /// What it noted last is not there any more.
        forgets: bool,
    },
    /// A worker is told to stop.
    Stop {
        /// Which.
        worker: usize,
    },
    /// The head of a message arrives altered.
    AlterHead {
        /// From whom.
        from: usize,
        /// To whom.
        to: usize,
        /// So many messages later.
        after: u64,
    },
    /// A payload arrives altered.
    AlterPayload {
        /// From whom.
        from: usize,
        /// To whom.
        to: usize,
        /// So many payloads later.
        after: u64,
    },
}

pub(super) fn draw(random: &mut Random, cluster: &ClusterPlan, jobs: &[JobPlan]) -> Vec<Incident> {
    // A run without faults has to end without any error.
    let count = if random.chance(20) { 0 } else { random.within(1..=4) };
    let horizon = jobs.iter().flat_map(|job| &job.producers).map(|producer| producer.starts).max();
    let horizon = horizon.unwrap_or_default() + Duration::from_millis(300);
    let mut incidents = Vec::new();
    for _ in 0..count {
        // Where something is going on anyway.
        let at = random.time(Duration::from_micros(10)..=horizon);
        if let Some(fault) = fault(random, cluster, jobs) {
            incidents.push(Incident { at, fault });
        }
    }
    incidents.sort_by_key(|incident| incident.at);
    incidents
}

/// A producer's worker and a consumer's, if they are two.
fn pair(random: &mut Random, jobs: &[JobPlan]) -> Option<(usize, usize)> {
    let job = random.pick(jobs);
    let (from, to) = (random.pick(&job.producers).worker, random.pick(&job.consumers).worker);
    (from != to).then_some((from, to))
}

fn fault(random: &mut Random, cluster: &ClusterPlan, jobs: &[JobPlan]) -> Option<Fault> {
    let (from, to) = pair(random, jobs)?;
    let silence = cluster.limits.silence_max;
    let long = cluster.resume_timeout * 3;
    Some(match random.below(100) {
        0..=39 => {
            let after_bytes = random.chance(75).then(|| random.magnitude(1..=400_000));
            let backwards = random.chance(30);
            let (from, to) = if backwards { (to, from) } else { (from, to) };
            Fault::Cut { from, to, after_bytes, cut: cut(random, cluster) }
        }
        40..=47 => {
            let outage = outage(random, cluster.resume_timeout);
            Fault::Block { one: from, other: to, outage, kind: kind(random) }
        }
        48..=57 => {
            let most = if random.chance(30) { long } else { silence * 2 };
            Fault::Stall { one: from, other: to, pause: random.time(Duration::from_millis(1)..=most) }
        }
        58..=65 => {
            let worker = if random.chance(50) { from } else { to };
            let most = if random.chance(20) { long } else { silence * 2 };
            Fault::Freeze { worker, pause: random.time(Duration::from_millis(1)..=most) }
        }
        66..=77 => {
            let worker = if random.chance(50) { from } else { to };
            let restarts = random.chance(60).then(|| random.time(Duration::from_micros(10)..=Duration::from_secs(3)));
            let reported = random.chance(30).then(|| random.time(Duration::from_micros(10)..=Duration::from_secs(5)));
            Fault::Kill { worker, silently: random.chance(40), restarts, reported, power: false }
        }
        78..=80 => Fault::Stop { worker: if random.chance(50) { from } else { to } },
        81..=89 => {
            let (from, to) = if random.chance(50) { (to, from) } else { (from, to) };
            Fault::AlterHead { from, to, after: random.magnitude(1..=200) }
        }
        _ => Fault::AlterPayload { from, to, after: random.magnitude(1..=60) },
    })
}

fn kind(random: &mut Random) -> OutageKind {
    if random.chance(60) { OutageKind::Refused } else { OutageKind::Silent }
}

/// Clearly shorter than a session lives without a link, or clearly longer.
fn outage(random: &mut Random, resume_timeout: Duration) -> Duration {
    match random.below(10) {
        0 => resume_timeout * 2,
        1..=4 => Duration::ZERO,
        _ => random.time(Duration::from_micros(100)..=resume_timeout / 6),
    }
}

fn cut(random: &mut Random, cluster: &ClusterPlan) -> Cut {
    let half_open = random.below(8);
    let heard = [0, 1].map(|side| {
        let heard = random.time(Duration::from_micros(1)..=Duration::from_millis(50));
        (half_open != side && half_open != 7).then_some(heard)
    });
    Cut { heard, outage: outage(random, cluster.resume_timeout), kind: kind(random), unread_lost: random.chance(30) }
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?}: ", self.at)?;
        match &self.fault {
            Fault::Cut { from, to, after_bytes, cut } => {
                match after_bytes {
                    Some(bytes) => write!(f, "{bytes} bytes later from worker {from} to {to} the way is cut")?,
                    None => write!(f, "the way between workers {from} and {to} is cut")?,
                }
                let Cut { heard, outage, kind, unread_lost } = cut;
                write!(
                    f,
                    " for {outage:?} ({kind:?}); the lower hears of it after {:?}, the higher after {:?}",
                    heard[0], heard[1]
                )?;
                if *unread_lost { write!(f, "; what was not read is lost") } else { Ok(()) }
            }
            Fault::Block { one, other, outage, kind } => {
                write!(f, "no connect between workers {one} and {other} for {outage:?} ({kind:?})")
            }
            Fault::Stall { one, other, pause } => write!(f, "nothing moves between {one} and {other} for {pause:?}"),
            Fault::Freeze { worker, pause } => write!(f, "worker {worker} stands still for {pause:?}"),
            Fault::Kill { worker, silently, restarts, reported, power } => {
                let how = if *silently { "vanishes" } else { "is killed" };
                write!(f, "worker {worker} {how}")?;
                if *power {
                    write!(f, " for want of power")?;
                }
                if let Some(after) = reported {
                    write!(f, ", which is reported {after:?} later")?;
                }
                restarts.map_or(Ok(()), |after| write!(f, ", and is restarted {after:?} later"))
            }
            Fault::Disk { worker, fault } => write!(f, "the disk of worker {worker}: {fault}"),
            Fault::Release { job } => write!(f, "job {} is released", job + 1),
            Fault::RestartMaster { forgets: false } => write!(f, "the master is restarted"),
            Fault::RestartMaster { forgets: true } => write!(f, "the master is restarted, its last note lost"),
            Fault::Stop { worker } => write!(f, "worker {worker} is told to stop"),
            Fault::AlterHead { from, to, after } => {
                write!(f, "the head of the message {after} later from {from} to {to} is altered")
            }
            Fault::AlterPayload { from, to, after } => {
                write!(f, "the payload {after} later from {from} to {to} is altered")
            }
        }
    }
}
