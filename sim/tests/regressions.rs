//! What the simulator has found, each with its story.
//!
//! A seed draws something else as soon as the drawing changes. So a regression is a plan: what was drawn, made smaller by
//! hand until only the story is left, and given to `run_plan`. Where that has not been done yet the seed stands here
//! with the story. Rules that can be shown without a network belong beside the code instead.

#![forbid(unsafe_code)]

use std::time::Duration;

use sluice_core::{DiskSettings, FlushInterval, PartitionKind};
use sluice_plugin::PayloadPlacement;
use sluice_sim::disk::Drive;
use sluice_sim::network::Path;
use sluice_sim::plan::{
    ConsumerPlan, DiskPlan, Ending, JobPlan, Pace, Piece, Plan, ProducerPlan, Script, Step, WorkerPlan,
};
use sluice_sim::run::run_plan;
use sluice_sim::seed::{Purpose, Seed};

const FLOOR: usize = 32 << 10;

/// Two workers with so much memory each, nothing that goes wrong, and nothing drawn that matters.
fn plan(memory_bytes: usize, floors_bytes: usize, job: JobPlan) -> Plan {
    let mut plan = Plan::pipelined(Seed(0));
    let worker = WorkerPlan { memory_bytes, floors_bytes, turn: Duration::ZERO };
    plan.cluster.workers = vec![worker; 2];
    plan.cluster.paths.clear();
    plan.cluster.placement = PayloadPlacement::Stream;
    plan.cluster.lanes = 1;
    plan.cluster.buffer_bytes = FLOOR;
    plan.cluster.hand_over_bytes = 1;
    plan.cluster.flush = FlushInterval::Always;
    plan.jobs = vec![job];
    plan.incidents.clear();
    plan
}

fn job(producers: Vec<ProducerPlan>, consumers: Vec<ConsumerPlan>) -> JobPlan {
    let (kind, subpartitions) = (PartitionKind::Pipelined, consumers.len() as u32);
    JobPlan { number: 1, kind, subpartitions, producers, consumers, has_token: false, stranger: None }
}

/// A producer that writes records of these lengths to subpartition 0.
fn producer(worker: usize, starts: u64, records: &[u64], ending: Ending) -> ProducerPlan {
    let mut random = Seed(7).stream(Purpose::Workload);
    let steps = records.iter().map(|length| Step::Write(0, Piece::draw(&mut random, *length)));
    ProducerPlan { worker, starts: Duration::from_micros(starts), script: Script(steps.collect()), ending }
}

fn consumer(worker: usize, starts: u64) -> ConsumerPlan {
    let starts = Duration::from_micros(starts);
    ConsumerPlan {
        worker,
        subpartition: 0,
        starts,
        after_producers: false,
        pace: Pace::Fast,
        locations: Duration::ZERO,
        cancels_after: None,
        again: Vec::new(),
        probes_from: None,
    }
}

fn holds(plan: Plan) {
    let report = run_plan(plan, true);
    assert!(report.failures.is_empty(), "{}\n{}", report.trace.join("\n"), report.failures[0]);
}

/// A gate at its floor granted 20 bytes of a segment of 4 KiB. The next block of another channel was as long as the whole
/// floor; the gate gathered the rest of that segment and all others, which was 20 bytes too little, and held on to it
/// for ever, although the 20 bytes were read long ago: their segment was not free while its rest was gathered.
#[test]
fn a_block_as_long_as_the_floor_gets_its_memory_after_a_small_one() {
    let small = producer(0, 1, &[16], Ending::Finish);
    let large = producer(0, 1, &[100_000, 100_000], Ending::Finish);
    holds(plan(16 * FLOOR, 4 * FLOOR, job(vec![small, large], vec![consumer(1, 100)])));
}

/// A writer on each of two workers had filled its arena before the gates were created; the floors of the gates were lent to the
/// writers, whose memory would have come back only when the other worker's gate granted credit. Floors are kept now,
/// for who is to come.
#[test]
fn gates_that_are_created_when_the_writers_have_all_memory_get_their_floors() {
    let records = [3000; 200];
    let mut jobs = Vec::new();
    for (number, worker) in [(1, 0), (2, 1)] {
        let writer = producer(worker, 1, &records, Ending::Finish);
        jobs.push(JobPlan { number, ..job(vec![writer], vec![consumer(1 - worker, 5000)]) });
    }
    let mut both = plan(4 * FLOOR, 2 * FLOOR, jobs.remove(0));
    both.jobs.append(&mut jobs);
    holds(both);
}

/// A consumer of another worker waited for a partition that was created and released between two turns of its reactor.
/// The reactor heard of the first, took the consumer out of those who wait, found no partition, and said nothing.
#[test]
fn who_waits_for_a_partition_that_comes_and_goes_is_told() {
    let released = producer(0, 5000, &[], Ending::Release);
    holds(plan(16 * FLOOR, 4 * FLOOR, job(vec![released], vec![consumer(1, 1)])));
}

// ── Partitions on disk ──────────────────────────────────────────────────────────────────────────────────────────────

/// As [`plan`], with partitions of this kind in one directory of so many bytes.
fn plan_on_disk(kind: PartitionKind, subpartitions: u32, bytes_max: u64, memory_bytes: usize, job: JobPlan) -> Plan {
    let job = JobPlan { kind, subpartitions, ..job };
    let mut plan = plan(memory_bytes, 4 * FLOOR, job);
    let settings =
        DiskSettings { sort_threads: 0, sort_bytes_max: 2 * FLOOR, boot: [0; 16], ..DiskSettings::default() };
    let drives = vec![Drive::with_directories(&[bytes_max]); 2];
    plan.cluster.disk = Some(DiskPlan { settings, drives, homes: vec![0, 1], leaves_the_dead: false });
    plan
}

const PLENTY: u64 = 64 << 20;

/// A consumer of another worker asked for a partition before its producer had begun. When the partition was created it was
/// taken from those who wait, although there was nothing to read yet, and nobody told it of the end.
#[test]
fn who_waits_for_a_partition_on_disk_reads_it_when_it_is_finished() {
    for kind in [PartitionKind::SortMerge, PartitionKind::Hash] {
        for reader in [0, 1] {
            let late = producer(0, 5000, &[100, 200], Ending::Finish);
            holds(plan_on_disk(kind, 1, PLENTY, 32 * FLOOR, job(vec![late], vec![consumer(reader, 1)])));
        }
    }
}

/// The same if the producer fails: who waited was told that the partition does not appear, and only when it had lost its
/// patience.
#[test]
fn who_waits_for_a_partition_on_disk_is_told_when_its_producer_fails() {
    for ending in [Ending::Drop, Ending::Fail] {
        let failing = producer(0, 5000, &[100, 200], ending);
        let job = job(vec![failing], vec![consumer(0, 1), consumer(1, 1)]);
        holds(plan_on_disk(PartitionKind::SortMerge, 1, PLENTY, 32 * FLOOR, job));
    }
}

/// A hash partition failed for want of room when some of its files were complete and closed. Those stayed for ever.
#[test]
fn of_a_hash_partition_that_fails_no_file_stays() {
    let writer = producer(0, 1, &[100, 200], Ending::Finish);
    holds(plan_on_disk(PartitionKind::Hash, 8, 48 << 10, 32 * FLOOR, job(vec![writer], vec![consumer(1, 1)])));
}

/// The memory to read with was at its floor, and what was read ahead for a consumer was taken back sooner than its credit
/// could come over a slow way; read again, announced again, taken back again, for ever.
#[test]
fn a_consumer_far_away_gets_its_bytes_with_the_least_memory() {
    for records in [vec![100; 400], vec![3000; 60], vec![16; 2000]] {
        let writer = producer(0, 1, &records, Ending::Finish);
        let consumers = vec![consumer(1, 1), consumer(1, 2), consumer(1, 100_000)];
        let mut far = plan_on_disk(PartitionKind::SortMerge, 1, PLENTY, 8 * FLOOR, job(vec![writer], consumers));
        far.cluster.workers.iter_mut().for_each(|worker| worker.floors_bytes = 8 * FLOOR);
        let mut path = Path::default();
        path.latency = Duration::from_millis(40);
        far.cluster.paths = vec![(0, 1, path)];
        holds(far);
    }
}

// ── Seeds ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/// As they were drawn when they were found.
///
/// - 430: two halves of a grant chased each other. A producer returned what was too little for its next block at once, while
///   its consumer, which still counted it, granted only what was missing: that was too little as well, and so on for
///   ever, at the speed of the wire.
/// - 1230: a message and the end of its link came with one poll. What was posted was dropped with the link, so the payload
///   in the message's head found no memory, and the channel failed instead of going on with the next link.
/// - 2103: the connect of the lower of two nodes hung, its hello lost. The higher connected, was refused as the duplicate of
///   that one, connected anew at once, and gave up after eight times, a millisecond later.
/// - 273: with remote placement a consumer granted bytes and a slot to a producer that had nothing to send, which returned
///   both, again and again.
/// - 1868: a window was granted in part because memory was short. What was taken of it was too little to tell the reactor, the
///   producer's backlog was known, and nobody filled the window up.
/// - 5145: a session that had lost its link once, and then only idled for long, had no patience left when it lost the
///   next one.
#[test]
fn seeds_that_have_failed_once_hold() {
    for seed in [430, 1230, 2103, 273, 1868, 5145] {
        let report = run_plan(Plan::pipelined(Seed(seed)), false);
        assert!(report.failures.is_empty(), "seed {seed}: {}", report.failures[0]);
    }
}

/// The same with partitions on disk, each drawn as it was before workers shared directories.
///
/// - 89, 402: what was read out of order filled the memory to read with, and waited for what came before it, which could not
///   be read for want of memory. Nothing was taken back, since nothing was in a queue.
/// - 16786, 30132, 37105: a gate's credit stood with a channel whose announced block had been taken back, and the memory to
///   read it again was held by another channel of the same gate, which waited for that credit. Since then a session reads only
///   what it has credit for.
/// - 6221, 8740: what was taken back from a gate that nobody reads yet was read for it again at once, every 20 ms, before those
///   whom somebody reads had their turn.
/// - 32605, 41758, 56224, 58702: of an empty subpartition the end alone was in the queue. It was taken back as if it took
///   memory, and never given again.
/// - 46360: a reader had fewer items filled than were in its queue, because a release had put a failure there; the
///   subtraction panicked.
/// - 3583, 56688: who waited for memory in recovery was not counted as short of it, so nothing was taken back for it.
/// - 52277: after a cut the reactor slept with the memory that it had just taken back, until something else was due.
/// - 306208989338: what had been sent and not acknowledged when a link was cut kept all the memory to read with, and waited for
///   credit that its consumer had granted to other channels, which could not be read.
/// - 306209005470: blocks in front of one that failed could neither be taken, as their consumer waited for others first, nor
///   taken back.
#[test]
fn seeds_with_disks_that_have_failed_once_hold() {
    for seed in [
        89,
        402,
        16786,
        30132,
        37105,
        6221,
        8740,
        32605,
        41758,
        56224,
        58702,
        46360,
        3583,
        56688,
        52277,
        306_208_989_338,
        306_209_005_470,
    ] {
        let report = run_plan(Plan::with_own_disks(Seed(seed)), false);
        assert!(report.failures.is_empty(), "seed {seed}: {}", report.failures[0]);
    }
}
