//! The whole state as bytes: the number of events, then job by job its partitions.

use std::collections::BTreeMap;

use sluice_protocol::{JobId, PartitionId};

use super::bytes::{Fields, Malformed, PutFields};
use super::descriptor::ShuffleDescriptor;
use super::frame::{self, Magic};
use super::state::{Entry, Progress, State};

/// More events than any master sees; a greater number could not be counted on from.
const EVENTS_MAX: u64 = u64::MAX / 2;

/// The state in its frame.
pub(super) fn encode(state: &State) -> Vec<u8> {
    let mut out = frame::open();
    out.put_u64(state.events);
    out.put_u64(state.jobs.len() as u64);
    for (job, partitions) in &state.jobs {
        out.put_u64(job.0);
        out.put_u64(partitions.len() as u64);
        partitions.values().for_each(|entry| put_entry(&mut out, entry));
    }
    frame::close(Magic::SNAPSHOT, &mut out);
    out
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.put_partition(entry.descriptor.partition);
    out.put_kind(entry.kind);
    out.put_u32(entry.descriptor.subpartitions);
    out.put_location(&entry.descriptor.producer);
    out.put_u8(match entry.progress {
        Progress::Producing => 0,
        Progress::Held(_) => 1,
        Progress::Away(_) => 2,
        Progress::Lost => 3,
    });
    if let Some(statistics) = entry.statistics() {
        out.put_statistics(statistics);
    }
}

/// The state of a frame's payload.
pub(super) fn decode(payload: &[u8]) -> Result<State, Malformed> {
    let mut fields = Fields::new(payload);
    let mut state = State { events: fields.u64()?, jobs: BTreeMap::new() };
    if state.events > EVENTS_MAX {
        return Err(fields.wrong("more events than can be counted"));
    }
    for _ in 0..fields.u64()? {
        let job = JobId(fields.u64()?);
        let partitions = take_partitions(&mut fields, job)?;
        if state.jobs.insert(job, partitions).is_some() {
            return Err(fields.wrong("a job that was there before"));
        }
    }
    if fields.is_at_end() { Ok(state) } else { Err(fields.wrong("bytes behind the last job")) }
}

fn take_partitions(fields: &mut Fields<'_>, job: JobId) -> Result<BTreeMap<PartitionId, Entry>, Malformed> {
    let mut partitions = BTreeMap::new();
    for _ in 0..fields.u64()? {
        let entry = take_entry(fields)?;
        if entry.descriptor.partition.job != job {
            return Err(fields.wrong("a partition of another job"));
        }
        if partitions.insert(entry.descriptor.partition, entry).is_some() {
            return Err(fields.wrong("a partition that was there before"));
        }
    }
    Ok(partitions)
}

fn take_entry(fields: &mut Fields<'_>) -> Result<Entry, Malformed> {
    let (partition, kind) = (fields.partition()?, fields.kind()?);
    let (subpartitions, producer) = (fields.u32()?, fields.location()?);
    let progress = match fields.u8()? {
        0 => Progress::Producing,
        1 => Progress::Held(fields.statistics()?),
        2 if kind.is_retained() => Progress::Away(fields.statistics()?),
        3 if kind.is_retained() => Progress::Lost,
        _ => return Err(fields.wrong("no progress of such a partition")),
    };
    let entry = Entry { kind, descriptor: ShuffleDescriptor { partition, subpartitions, producer }, progress };
    if entry.statistics().is_some_and(|statistics| !statistics.is_of(subpartitions)) {
        return Err(fields.wrong("statistics of more or fewer subpartitions than there are"));
    }
    Ok(entry)
}
