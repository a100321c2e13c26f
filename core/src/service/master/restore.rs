//! A master from what was stored: a snapshot, and the log since.

use super::ShuffleMaster;
use super::bytes::{Fields, Malformed};
use super::error::{RestoreError, Stored};
use super::event::MasterEvent;
use super::frame::{self, Frame, HEADER_BYTES, Magic, VERSION};
use super::journal::Journal;
use super::snapshot;
use super::state::State;

/// A master that is as it was, and what of the log made it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The master. It keeps a log.
    pub master: ShuffleMaster,
    /// The bytes of the log that are whole. Cut the log there before appending to it: what is appended behind a torn
    /// tail makes it a damage in the middle.
    pub log_bytes_used: u64,
    /// Whether the log goes on with what is no whole record: the master, or its machine, ended while it was appended.
    pub torn_tail: bool,
}

impl ShuffleMaster {
    /// The master that stored this snapshot and this log: what [`snapshot`](Self::snapshot) gave, if anything, and what
    /// [`take_events`](Self::take_events) gave, one after the other. The log may begin before the snapshot. With
    /// neither it is a new master that keeps a log. `transport` is what the cluster runs now.
    ///
    /// # Errors
    /// If either is corrupt, of another version, or they do not fit together. Only the last record of the log may be
    /// damaged.
    pub fn restore(
        transport: impl Into<String>,
        snapshot: Option<&[u8]>,
        log: &[u8],
    ) -> Result<Restored, RestoreError> {
        let mut state = snapshot.map_or(Ok(State::default()), read_snapshot)?;
        let (mut at, mut applied) = (0, 0);
        let torn_tail = loop {
            match frame::at(log, at, Magic::LOG) {
                Frame::End => break false,
                Frame::Whole { payload, end } => {
                    if apply_all(&mut state, payload, at + HEADER_BYTES)? {
                        applied += (end - at) as u64;
                    }
                    at = end;
                }
                Frame::OtherVersion(found) => return Err(other_version(Stored::Log, at, found)),
                Frame::Damaged { next, problem } if frame::begins_from(log, next, Magic::LOG) => {
                    return Err(corrupt(Stored::Log, at, problem));
                }
                Frame::Damaged { .. } => break true,
            }
        };
        let (transport, journal) = (transport.into(), Some(Journal::after(applied)));
        Ok(Restored { master: Self { transport, state, journal }, log_bytes_used: at as u64, torn_tail })
    }
}

fn read_snapshot(bytes: &[u8]) -> Result<State, RestoreError> {
    match frame::at(bytes, 0, Magic::SNAPSHOT) {
        Frame::Whole { payload, end } if end == bytes.len() => {
            snapshot::decode(payload).map_err(|malformed| malformed.within(Stored::Snapshot, HEADER_BYTES))
        }
        Frame::Whole { end, .. } => Err(corrupt(Stored::Snapshot, end, "it goes on behind its end")),
        Frame::OtherVersion(found) => Err(other_version(Stored::Snapshot, 0, found)),
        Frame::Damaged { problem, .. } => Err(corrupt(Stored::Snapshot, 0, problem)),
        Frame::End => Err(corrupt(Stored::Snapshot, 0, "it is empty")),
    }
}

/// Applies the events of a frame that the state does not have yet; says whether there were any. `base`: where in the
/// log the payload begins.
fn apply_all(state: &mut State, payload: &[u8], base: usize) -> Result<bool, RestoreError> {
    let before = state.events;
    let mut fields = Fields::new(payload);
    let mut number = fields.u64().map_err(|malformed| malformed.within(Stored::Log, base))?;
    while !fields.is_at_end() {
        let offset = (base + fields.at()) as u64;
        let event = MasterEvent::decode(&mut fields).map_err(|malformed| malformed.within(Stored::Log, base))?;
        let expected = state.events + 1;
        if number > expected {
            return Err(RestoreError::Gap { offset, found: number, expected });
        }
        if number == expected {
            state.apply(event).map_err(|_| RestoreError::Misfit { offset, event: number })?;
        }
        number += 1;
    }
    Ok(state.events > before)
}

impl Malformed {
    fn within(self, stored: Stored, base: usize) -> RestoreError {
        corrupt(stored, base + self.at, self.problem)
    }
}

fn corrupt(stored: Stored, offset: usize, problem: &'static str) -> RestoreError {
    RestoreError::Corrupt { stored, offset: offset as u64, problem }
}

fn other_version(stored: Stored, offset: usize, found: u32) -> RestoreError {
    RestoreError::Version { stored, offset: offset as u64, found, expected: VERSION }
}
