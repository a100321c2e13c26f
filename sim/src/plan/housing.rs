//! Workers that share their directories, and what goes wrong when they find what was left there.

use std::time::Duration;

use super::cluster::ClusterPlan;
use super::faults::{Fault, Incident};
use super::workload::JobPlan;
use crate::disk::{DiskFault, Hit, Moves};
use crate::seed::Random;

/// Moves some workers to the disks of others, and lets reads fail when a life looks at what is there.
pub(super) fn draw(random: &mut Random, jobs: &[JobPlan], cluster: &mut ClusterPlan, incidents: &mut Vec<Incident>) {
    let shares = cluster.disk.is_some() && cluster.workers.len() > 1 && random.chance(35);
    if shares {
        share(random, cluster);
        find_directories(cluster, incidents);
        if random.chance(50) {
            incidents.push(death(random, jobs));
        }
    }
    if cluster.disk.is_some() {
        let failing: Vec<_> = incidents.iter().filter_map(comes_back).filter(|_| random.chance(35)).collect();
        for (worker, at) in failing {
            incidents.extend(
                unreadable(random).into_iter().map(|fault| Incident { at, fault: Fault::Disk { worker, fault } }),
            );
        }
    }
    incidents.sort_by_key(|incident| incident.at);
}

fn share(random: &mut Random, cluster: &mut ClusterPlan) {
    let Some(disk) = &mut cluster.disk else { return };
    let together = random.chance(50);
    for worker in 1..disk.homes.len() {
        let host = if together { 0 } else { random.below(worker as u64 + 1) as usize };
        disk.homes[worker] = disk.homes[host];
        disk.drives[worker] = disk.drives[host].clone();
    }
    // Short enough that a neighbour sees somebody's time run out.
    if random.chance(60) {
        disk.settings.recover_timeout = Duration::from_secs(random.within(5..=30));
        disk.leaves_the_dead = random.chance(60);
    }
}

/// What was to happen to a directory of a disk of its own happens to one of the host's.
fn find_directories(cluster: &ClusterPlan, incidents: &mut [Incident]) {
    let Some(disk) = &cluster.disk else { return };
    for incident in incidents {
        if let Fault::Disk { worker, fault } = &mut incident.fault
            && let DiskFault::Break { directory } | DiskFault::Lose { directory } | DiskFault::Resize { directory, .. } =
                fault
        {
            *directory %= disk.drives[*worker].bytes_max.len() as u16;
        }
    }
}

/// Somebody who writes goes for good.
fn death(random: &mut Random, jobs: &[JobPlan]) -> Incident {
    let producers = jobs.iter().filter(|job| job.kind.is_retained()).flat_map(|job| &job.producers);
    let producer = *random.pick(&producers.collect::<Vec<_>>());
    let at = producer.starts + random.time(Duration::from_micros(100)..=Duration::from_secs(1));
    let reported = random.chance(50).then(|| random.time(Duration::from_micros(10)..=Duration::from_secs(1)));
    let (worker, silently) = (producer.worker, random.chance(40));
    Incident { at, fault: Fault::Kill { worker, silently, restarts: None, reported, power: false } }
}

/// Just before its next life begins.
fn comes_back(incident: &Incident) -> Option<(usize, Duration)> {
    match &incident.fault {
        Fault::Kill { worker, restarts: Some(restarts), .. } => {
            Some((*worker, incident.at + restarts.saturating_sub(Duration::from_nanos(1))))
        }
        _ => None,
    }
}

/// One of the first reads fails: once, a few times in a row, or each time.
fn unreadable(random: &mut Random) -> Vec<DiskFault> {
    let first = random.magnitude(1..=12);
    let (times, hit) = match random.below(4) {
        0 => (1, Hit::Spoils),
        1 => (1, Hit::Fails),
        _ => (random.within(2..=4), Hit::Fails),
    };
    (first..first + times).map(|after| DiskFault::Hit { moves: Moves::Read, after, hit }).collect()
}
