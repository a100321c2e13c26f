//! Jobs whose partitions go to disk, the disks, and what goes wrong with them.

use std::time::Duration;

use sluice_core::{Compression, DiskSettings, Durability, Merge, PartitionKind};

use super::cluster::{ClusterPlan, DiskPlan};
use super::faults::{Fault, Incident};
use super::script::Script;
use super::workload::{Again, ConsumerPlan, JobPlan, ProducerPlan, script};
use crate::disk::{DiskFault, Drive, Hit, Moves};
use crate::seed::Random;

/// Whether blocking jobs are among what is drawn: as soon as the engine runs them.
pub(super) const BLOCKING: bool = true;

/// Makes some of the jobs blocking ones, in about half of the runs.
pub(super) fn draw(random: &mut Random, jobs: &mut [JobPlan], cluster: &mut ClusterPlan) {
    if random.chance(45) {
        return;
    }
    let mut bytes = 0;
    for job in jobs.iter_mut() {
        if random.chance(80) {
            bytes += make_blocking(random, job);
        }
    }
    if jobs.iter().any(|job| job.kind.is_retained()) {
        let drives = cluster.workers.iter().map(|_| drive(random, bytes)).collect();
        let homes = (0..cluster.workers.len()).collect();
        cluster.disk = Some(DiskPlan { settings: settings(random), drives, homes, leaves_the_dead: false });
    }
}

/// Decides whether regions are merged. Drawn by itself: plans stay what they were before there was a choice.
pub(super) fn draw_merge(random: &mut Random, cluster: &mut ClusterPlan) {
    if let Some(disk) = &mut cluster.disk {
        disk.settings.merge = *random.pick(&[Merge::Always, Merge::Always, Merge::Auto, Merge::Never]);
    }
}

/// About how many bytes its partitions have.
fn make_blocking(random: &mut Random, job: &mut JobPlan) -> u64 {
    job.kind = if random.chance(70) { PartitionKind::SortMerge } else { PartitionKind::Hash };
    let most = *random.pick(&[1, 8, 8, 64, 64, 400]);
    job.subpartitions = random.magnitude(1..=most) as u32;
    let bytes = random.magnitude(1..=2 << 20) / job.producers.len() as u64;
    for producer in &mut job.producers {
        let empty = random.chance(4);
        producer.script = if empty { Script::default() } else { script(random, job.subpartitions, bytes.max(1)) };
    }
    let (producers, subpartitions) = (job.producers.len() as u64, u64::from(job.subpartitions));
    let crowd = random.chance(30).then(|| random.below(subpartitions) as u32);
    for consumer in &mut job.consumers {
        let own = random.below(subpartitions) as u32;
        consumer.subpartition = crowd.filter(|_| random.chance(70)).unwrap_or(own);
        consumer.after_producers = random.chance(60);
        let times = *random.pick(&[0, 0, 1, 1, 2, 3]);
        consumer.again = (0..times).map(|_| again(random)).collect();
        consumer.probes_from = (producers > 1 && random.chance(30)).then(|| random.within(1..=producers - 1) as usize);
        stay_patient(consumer);
    }
    bytes * producers
}

/// What is told of the locations bit by bit is for one gate.
fn stay_patient(consumer: &mut ConsumerPlan) {
    if consumer.probes_from.is_some() {
        consumer.locations = Duration::ZERO;
    }
}

fn again(random: &mut Random) -> Again {
    let pause = match random.chance(30) {
        true => Duration::ZERO,
        false => random.time(Duration::from_micros(1)..=Duration::from_secs(1)),
    };
    Again { pause, cancels_after: random.chance(30).then(|| random.magnitude(1..=100) - 1) }
}

fn settings(random: &mut Random) -> DiskSettings {
    DiskSettings {
        durability: if random.chance(50) { Durability::OnFinish } else { Durability::None },
        compression: *random.pick(&[Compression::None, Compression::Lz4, Compression::Zstd]),
        // Drawn by itself.
        merge: Merge::Auto,
        sort_bytes_max: (random.magnitude(32 << 10..=1 << 20) as usize).next_multiple_of(32 << 10),
        read_bytes_max: (random.magnitude(64 << 10..=4 << 20) as usize).next_multiple_of(32 << 10),
        sort_threads: 0,
        // Longer than any run, but now and then what a restart has to be quick for.
        recover_timeout: Duration::from_secs(if random.chance(80) { 3600 } else { random.within(5..=60) }),
        boot: [0; 16],
    }
}

fn drive(random: &mut Random, bytes: u64) -> Drive {
    let directories = random.within(1..=3);
    // With regions, directories and footers about three times as much as is written.
    let plenty = bytes * 4 + (8 << 20);
    let scarce = random.chance(12);
    let room = |random: &mut Random| match scarce && random.chance(70) {
        true => random.magnitude(16 << 10..=plenty),
        false => plenty,
    };
    let slow = random.chance(30);
    Drive {
        bytes_max: (0..directories).map(|_| room(random)).collect(),
        under_way_max: random.magnitude(1..=128) as usize,
        at_once: *random.pick(&[1, 1, 4, 32]),
        fastest: Duration::from_micros(random.magnitude(1..=100)),
        slowest: Duration::from_micros(random.magnitude(100..=if slow { 50_000 } else { 2_000 })),
        nanos_per_byte: *random.pick(&[0, 0, 1, 10]),
        hangs_per_mille: *random.pick(&[0, 0, 1, 20]),
    }
}

/// Adds what goes wrong with disks, and makes other faults worse where there are some.
pub(super) fn harm(random: &mut Random, jobs: &[JobPlan], cluster: &ClusterPlan, incidents: &mut Vec<Incident>) {
    let Some(disk) = &cluster.disk else { return };
    for incident in incidents.iter_mut() {
        if let Fault::Kill { power, silently, .. } = &mut incident.fault
            && random.chance(35)
        {
            (*power, *silently) = (true, true);
        }
    }
    let starts = jobs.iter().flat_map(|job| &job.producers).map(|producer| producer.starts).max();
    let horizon = starts.unwrap_or_default() + Duration::from_millis(500);
    let mut add = |at, fault| incidents.push(Incident { at, fault });
    if random.chance(45) {
        for _ in 0..random.within(1..=3) {
            let worker = holder(random, jobs);
            let fault = fault(random, &disk.drives[worker]);
            add(random.time(Duration::from_micros(10)..=horizon), Fault::Disk { worker, fault });
        }
    }
    // Who holds what is written goes, and comes again: the way on which recovery is met.
    if random.chance(55) {
        let producers = jobs.iter().filter(|job| job.kind.is_retained()).flat_map(|job| &job.producers);
        let ProducerPlan { worker, starts, .. } = **random.pick(&producers.collect::<Vec<_>>());
        let restarts = Some(random.time(Duration::from_millis(1)..=Duration::from_secs(3)));
        let reported = random.chance(50).then(|| random.time(Duration::from_micros(10)..=Duration::from_secs(1)));
        let power = random.chance(50);
        let silently = power || random.chance(40);
        // While it is written, soon after, or later.
        let at = match random.below(10) {
            0..=3 => starts + random.time(Duration::from_micros(100)..=Duration::from_millis(30)),
            4..=7 => starts + random.time(Duration::from_millis(5)..=Duration::from_millis(500)),
            _ => horizon + random.time(Duration::from_millis(1)..=Duration::from_secs(2)),
        };
        add(at, Fault::Kill { worker, silently, restarts, reported, power });
    }
    if random.chance(25) {
        let forgets = random.chance(50);
        add(random.time(Duration::from_micros(10)..=horizon), Fault::RestartMaster { forgets });
    }
    if random.chance(8) {
        let job = random.below(jobs.len() as u64) as usize;
        add(random.time(Duration::from_micros(10)..=horizon), Fault::Release { job });
    }
    incidents.sort_by_key(|incident| incident.at);
}

/// A worker with a producer of a blocking job.
fn holder(random: &mut Random, jobs: &[JobPlan]) -> usize {
    let producers = jobs.iter().filter(|job| job.kind.is_retained()).flat_map(|job| &job.producers);
    *random.pick(&producers.map(|producer| producer.worker).collect::<Vec<_>>())
}

fn fault(random: &mut Random, drive: &Drive) -> DiskFault {
    let directory = random.below(drive.bytes_max.len() as u64) as u16;
    match random.below(20) {
        0..=8 => {
            let moves = if random.chance(50) { Moves::Read } else { Moves::Write };
            let hit = *random.pick(&[Hit::Fails, Hit::Fails, Hit::Spoils, Hit::Flips, Hit::Flips, Hit::Forgets]);
            DiskFault::Hit { moves, after: random.magnitude(1..=60), hit }
        }
        9..=10 => DiskFault::Break { directory },
        11 => DiskFault::Lose { directory },
        12..=15 => {
            let room = drive.bytes_max[usize::from(directory)];
            DiskFault::Resize { directory, bytes_max: random.magnitude(1..=room) }
        }
        _ => {
            let by = random.time(Duration::from_millis(1)..=Duration::from_secs(1));
            DiskFault::Slow { by, lasts: random.time(Duration::from_millis(10)..=Duration::from_secs(5)) }
        }
    }
}
