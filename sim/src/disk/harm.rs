//! Faults of a disk: those that are armed, those that stay, and what has happened.

use std::collections::BTreeSet;
use std::io::Error;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use sluice_core::Time;
use sluice_plugin::{DirectoryId, DiskRequest};

use super::content::{ContentId, PAGE};
use super::fault::{DiskFault, Hit, Moves};

/// What Linux says when a device fails.
const EIO: i32 = 5;

#[derive(Default)]
pub(super) struct Harm {
    reads: u64,
    writes: u64,
    armed: Vec<(Moves, u64, Hit)>,
    spoiled: Vec<(ContentId, Range<u64>)>,
    broken: BTreeSet<DirectoryId>,
    slow_until: Time,
    slow_by: Duration,
    happened: Vec<Happened>,
}

/// Something that a disk has done to a worker, of which it may hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// What.
    pub what: Mishap,
    /// To which file or directory.
    pub path: PathBuf,
}

/// The ways in which a disk lets a worker down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// A request failed with an error of the device, or for want of a directory.
    Failed,
    /// There was no room.
    Full,
    /// A directory was lost, with its files.
    Lost,
    /// What is on the medium, or what was read of it, is not what was written.
    Altered,
}

impl Harm {
    pub(super) fn arm(&mut self, now: Time, fault: DiskFault) {
        match fault {
            DiskFault::Hit { moves, after, hit } => {
                let seen = if moves == Moves::Read { self.reads } else { self.writes };
                self.armed.push((moves, seen + after, hit));
            }
            DiskFault::Break { directory } => {
                self.broken.insert(DirectoryId(directory));
            }
            DiskFault::Slow { by, lasts } => (self.slow_by, self.slow_until) = (by, now.after(lasts)),
            DiskFault::Lose { .. } | DiskFault::Resize { .. } => {}
        }
    }

    /// How much longer what begins now takes.
    pub(super) fn delay(&self, now: Time) -> Duration {
        if now < self.slow_until { self.slow_by } else { Duration::ZERO }
    }

    /// A request is carried out: how it is hit, or what it fails with.
    pub(super) fn strike(
        &mut self,
        directory: DirectoryId,
        content: Option<ContentId>,
        request: &DiskRequest,
    ) -> Result<Option<Hit>, Error> {
        let hit = self.hit(request);
        let place = content.zip(pages(request));
        if let (Some(Hit::Spoils), Some(place)) = (hit, &place) {
            self.spoiled.push(place.clone());
        }
        let touches = |(content, bad): &(ContentId, Range<u64>)| {
            let place = place.as_ref().filter(|(of, _)| of == content);
            place.is_some_and(|(_, pages)| pages.start < bad.end && bad.start < pages.end)
        };
        // A file that is open can be closed, whatever has happened.
        let broken = self.broken.contains(&directory) && !matches!(request, DiskRequest::Close { .. });
        let fails = broken || matches!(hit, Some(Hit::Fails | Hit::Spoils)) || self.spoiled.iter().any(touches);
        if fails { Err(Error::from_raw_os_error(EIO)) } else { Ok(hit) }
    }

    fn hit(&mut self, request: &DiskRequest) -> Option<Hit> {
        let (moves, count) = match request {
            DiskRequest::Read { .. } => (Moves::Read, &mut self.reads),
            DiskRequest::Write { .. } => (Moves::Write, &mut self.writes),
            _ => return None,
        };
        *count += 1;
        let due = self.armed.iter().position(|(of, at, _)| *of == moves && at == count)?;
        Some(self.armed.swap_remove(due).2)
    }

    pub(super) fn note(&mut self, what: Mishap, path: PathBuf) {
        let happened = Happened { what, path };
        // Of a directory that is broken the same is told again and again.
        if self.happened.last() != Some(&happened) {
            self.happened.push(happened);
        }
    }

    pub(super) fn happened(&self) -> &[Happened] {
        &self.happened
    }
}

/// The pages of its file that a read or write touches.
pub(super) fn pages(request: &DiskRequest) -> Option<Range<u64>> {
    let (DiskRequest::Read { offset, .. } | DiskRequest::Write { offset, .. }) = request else { return None };
    let first = offset / PAGE as u64;
    Some(first..first + (request.bytes() / PAGE) as u64)
}
