//! Carries requests out: what each does to the medium, and how faults get in between.

use std::io::{Error, ErrorKind};

use sluice_core::spill::PartName;
use sluice_plugin::{DiskDone, DiskError, DiskRequest};

use super::content::draw_part;
use super::fault::Hit;
use super::harm::{Mishap, pages};
use super::medium::Failure;
use super::spindle::Job;
use super::state::State;
use crate::coverage::Sight;

/// Does what is asked for, and says so.
pub(super) fn out(state: &mut State, job: &mut Job) -> Result<DiskDone, DiskError> {
    let directory = state.medium.directory_of(&job.request, job.content);
    let done = match state.harm.strike(directory, job.content, &job.request) {
        Ok(None) => perform(state, job),
        Ok(Some(Hit::Flips)) => perform(state, job).inspect(|_| flip(state, job)),
        Ok(Some(Hit::Forgets)) => {
            altered(state, job);
            forgive(state, job);
            Ok(DiskDone::Done)
        }
        Ok(Some(Hit::Fails | Hit::Spoils)) => unreachable!("strike() has made errors of them"),
        Err(source) => {
            leave_a_part(state, job);
            state.journal.saw(Sight::DiskError);
            Err(failure(state, job, source))
        }
    };
    done.map_err(|failure| {
        note(state, &failure);
        forgive(state, job);
        let Failure { path, offset, source } = failure;
        DiskError { operation: operation(&job.request), path, offset, source }
    })
}

fn perform(state: &mut State, job: &mut Job) -> Result<DiskDone, Failure> {
    let State { medium, lives, .. } = state;
    let life = lives.get_mut(&job.life).expect("who ends takes its requests along");
    let content = || job.content.expect("a request of a file has one");
    let done = |()| DiskDone::Done;
    if let Some(file) = job.request.changes()
        && life.files[&file].is_to_read
    {
        let source = ErrorKind::PermissionDenied.into();
        return Err(Failure { path: medium.path(content()), offset: None, source });
    }
    match &mut job.request {
        DiskRequest::Create { directory, name } => {
            let content = medium.create(*directory, &life.owner, job.life, name)?;
            if is_merged(name) {
                state.journal.saw(Sight::Merge);
            }
            Ok(DiskDone::Opened { file: life.open(content, false), bytes: 0 })
        }
        DiskRequest::Open { directory, name } => {
            let content = medium.open(*directory, &life.owner, name)?;
            if is_merged(name) {
                state.journal.saw(Sight::MergedOpened);
            }
            Ok(DiskDone::Opened { file: life.open(content, true), bytes: medium.content(content).length() })
        }
        DiskRequest::Allocate { bytes, .. } => medium.lengthen(content(), *bytes).map(done),
        DiskRequest::Truncate { bytes, .. } => medium.truncate(content(), *bytes).map(done),
        DiskRequest::Read { offset, into, .. } => medium.read(content(), *offset, into).map(done),
        DiskRequest::Write { offset, from, .. } => medium.write(content(), *offset, from).map(done),
        DiskRequest::Sync { .. } => {
            medium.content(content()).sync(job.changes);
            Ok(DiskDone::Done)
        }
        DiskRequest::Close { file } => {
            life.files.remove(file);
            medium.close(content());
            Ok(DiskDone::Done)
        }
        DiskRequest::Remove { directory, owner, name } => {
            let whose = owner.as_ref().unwrap_or(&life.owner);
            if *whose != life.owner {
                state.journal.saw(Sight::Swept);
            }
            medium.remove(*directory, &life.owner, whose, name).map(done)
        }
        DiskRequest::Adopt { directory, owner, name } => medium.adopt(*directory, &life.owner, owner, name).map(done),
        DiskRequest::Touch { directory, name } => medium.touch(*directory, &life.owner, name).map(done),
        DiskRequest::List { directory } => medium.list(*directory, &life.owner).map(DiskDone::Listed),
        DiskRequest::Space { directory } => {
            medium.space(*directory).map(|(free, total)| DiskDone::Space { free, total })
        }
    }
}

/// Whether it is what regions were merged into.
fn is_merged(name: &str) -> bool {
    name.parse::<PartName>().is_ok_and(|name| name.is_merged)
}

/// A write that fails may have written something.
fn leave_a_part(state: &mut State, job: &Job) {
    let (DiskRequest::Write { offset, from, .. }, Some(content)) = (&job.request, job.content) else { return };
    let sectors = draw_part(&mut state.random, job.request.bytes() / super::content::PAGE);
    state.medium.write_part(content, *offset, from, &sectors);
}

/// Where a write did not do what it should: whoever reads it is not to be blamed for reading what is not there.
fn forgive(state: &mut State, job: &Job) {
    if let (DiskRequest::Write { .. }, Some(content), Some(pages)) = (&job.request, job.content, pages(&job.request)) {
        state.medium.content(content).has_failed(pages);
    }
}

fn flip(state: &mut State, job: &mut Job) {
    let bits = job.request.bytes() as u64 * 8;
    let bit = state.random.below(bits);
    match &mut job.request {
        DiskRequest::Read { into, .. } => {
            let mut at = (bit / 8) as usize;
            for piece in into {
                if at < piece.len() {
                    piece[at] ^= 1 << (bit % 8);
                    break;
                }
                at -= piece.len();
            }
        }
        DiskRequest::Write { offset, .. } => {
            let at = *offset * 8 + bit;
            let content = job.content.expect("a write has a file");
            let page_bits = super::content::PAGE as u64 * 8;
            state.medium.content(content).flip(at / page_bits, at % page_bits);
        }
        _ => {}
    }
    altered(state, job);
}

fn altered(state: &mut State, job: &Job) {
    let path = state.medium.path(job.content.expect("only reads and writes are altered"));
    state.journal.saw(Sight::DiskAltered);
    state
        .journal
        .note(&[72, job.life, job.token], || format!("{}: request {} is not done right", state.name, job.token));
    state.harm.note(Mishap::Altered, path);
}

fn failure(state: &State, job: &Job, source: Error) -> Failure {
    let directory = state.medium.directory_of(&job.request, job.content);
    let path = match job.content {
        Some(content) => state.medium.path(content),
        None => state.medium.directories[usize::from(directory.0)].path.clone(),
    };
    Failure { path, offset: pages(&job.request).map(|pages| pages.start * super::content::PAGE as u64), source }
}

/// What the worker may not be blamed for.
fn note(state: &mut State, failure: &Failure) {
    let is_lost = |state: &State| {
        let mut lost = state.medium.directories.iter().filter(|directory| directory.is_lost);
        lost.any(|directory| failure.path.starts_with(&directory.path))
    };
    let what = match failure.source.kind() {
        ErrorKind::StorageFull => {
            state.journal.saw(Sight::DiskFull);
            Mishap::Full
        }
        _ if failure.source.raw_os_error().is_some() || is_lost(state) => Mishap::Failed,
        _ => return,
    };
    state.harm.note(what, failure.path.clone());
}

fn operation(request: &DiskRequest) -> &'static str {
    match request {
        DiskRequest::Create { .. } => "create",
        DiskRequest::Open { .. } => "open",
        DiskRequest::Allocate { .. } => "allocate room for",
        DiskRequest::Truncate { .. } => "truncate",
        DiskRequest::Read { .. } => "read",
        DiskRequest::Write { .. } => "write to",
        DiskRequest::Sync { .. } => "sync",
        DiskRequest::Close { .. } => "close",
        DiskRequest::Remove { .. } => "remove",
        DiskRequest::Adopt { .. } => "adopt",
        DiskRequest::Touch { .. } => "touch",
        DiskRequest::List { .. } => "list",
        DiskRequest::Space { .. } => "ask for the room in",
    }
}
