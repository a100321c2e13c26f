//! Looks at what an engine does with its files, and writes down what happens.

use sluice_plugin::{DiskDone, DiskError, DiskRequest};

use super::harm::pages;
use super::spindle::{Job, Spindle};
use super::state::State;
use crate::journal::Rule;

/// A request comes. Requests that touch the same bytes while one of them writes have no order; and where a life has
/// not written in a file that it made itself, there is nothing to read.
pub(super) fn submitted(state: &State, job: &Job) {
    let Job { life, token, request, .. } = job;
    let owner = &state.lives[life].owner;
    state.journal.note(&[70, *life, *token, key(request)], || {
        format!("{}: {} asks, as {token}: {}", state.name, owner.0, words(state, job))
    });
    leaves_the_living_alone(state, job);
    let (Some(id), Some(range)) = (job.content, pages(request)) else { return };
    let content = &state.medium.contents[&id];
    let is_read = matches!(request, DiskRequest::Read { .. });
    if is_read
        && content.life == *life
        && let Some(page) = content.unwritten(range.clone())
    {
        let text = format!("{} reads page {page}, which it has not written: {}", owner.0, words(state, job));
        state.journal.fail(Rule::Disk, text);
    }
    let others = state.spindles.iter().flat_map(Spindle::jobs).filter(|other| other.content == Some(id));
    for other in others {
        let both_read = is_read && matches!(other.request, DiskRequest::Read { .. });
        let meets = pages(&other.request).is_some_and(|there| there.start < range.end && range.start < there.end);
        if meets && !both_read {
            let text = format!("{}: in no order: {} and {}", owner.0, words(state, other), words(state, job));
            state.journal.fail(Rule::Disk, text);
        }
    }
}

/// What belongs to somebody who lives is not even asked for.
fn leaves_the_living_alone(state: &State, job: &Job) {
    let own = &state.lives[&job.life].owner;
    let (DiskRequest::Remove { owner: Some(owner), .. } | DiskRequest::Adopt { owner, .. }) = &job.request else {
        return;
    };
    if owner != own && state.medium.alive.contains(owner) {
        let text = format!("{} wants what belongs to {}, who lives: {}", own.0, owner.0, words(state, job));
        state.journal.fail(Rule::Disk, text);
    }
}

/// A request is over.
pub(super) fn completed(state: &State, job: &Job, result: &Result<DiskDone, DiskError>) {
    let number = u64::from(result.is_err());
    state.journal.note(&[71, job.life, job.token, number], || {
        let said = match result {
            Ok(DiskDone::Listed(files)) => format!("{} files", files.len()),
            Ok(done) => format!("{done:?}"),
            Err(error) => error.to_string(),
        };
        format!("{}: request {} is over: {said}", state.name, job.token)
    });
}

/// Tells a request from others.
fn key(request: &DiskRequest) -> u64 {
    let (kind, more) = match request {
        DiskRequest::Create { name, .. } => (0, name.len() as u64),
        DiskRequest::Open { name, .. } => (1, name.len() as u64),
        DiskRequest::Allocate { bytes, .. } => (2, *bytes),
        DiskRequest::Truncate { bytes, .. } => (3, *bytes),
        DiskRequest::Read { offset, .. } => (4, offset + request.bytes() as u64),
        DiskRequest::Write { offset, .. } => (5, offset + request.bytes() as u64),
        DiskRequest::Sync { file } => (6, file.0),
        DiskRequest::Close { file } => (7, file.0),
        DiskRequest::Remove { name, .. } => (8, name.len() as u64),
        DiskRequest::Adopt { name, .. } => (9, name.len() as u64),
        DiskRequest::List { directory } => (10, directory.0.into()),
        DiskRequest::Touch { name, .. } => (12, name.len() as u64),
        DiskRequest::Space { directory } => (11, directory.0.into()),
    };
    kind << 56 ^ more
}

pub(super) fn words(state: &State, job: &Job) -> String {
    let path = job.content.map(|content| state.medium.path(content)).unwrap_or_default();
    let path = path.display();
    match &job.request {
        DiskRequest::Allocate { bytes, .. } => format!("allocate {bytes} bytes for {path}"),
        DiskRequest::Truncate { bytes, .. } => format!("truncate {path} to {bytes} bytes"),
        DiskRequest::Read { offset, .. } => format!("read {} bytes at {offset} of {path}", job.request.bytes()),
        DiskRequest::Write { offset, .. } => format!("write {} bytes at {offset} of {path}", job.request.bytes()),
        DiskRequest::Sync { .. } => format!("sync {path}"),
        DiskRequest::Close { .. } => format!("close {path}"),
        other => format!("{other:?}"),
    }
}
