//! One file after the other is adopted and read: its first page, its last one, its footer. What fails is tried again; a file
//! goes only if it was read, and is found to be none of a finished partition each time.

use std::time::Duration;

use sluice_memory::SizeClass;
use sluice_plugin::{DirectoryId, DiskDone, DiskError, DiskRequest, FileId, FileOwner};
use sluice_protocol::defect::{self, Defect};

use super::offer::Found;
use super::{ATTEMPTS_MAX, Left, Place, Step};
use crate::reactor::storage::{Purpose, Storage};
use crate::spill::{Footer, FormatError, Header, PAGE_BYTES, PartName, Trailer};

/// The file that is being looked at.
pub(super) struct Examined {
    place: Place,
    age: Option<Duration>,
    file: Option<FileId>,
    bytes: u64,
    header: Option<Header>,
    trailer: Option<Trailer>,
    /// As much of its footer as is read.
    footer: Vec<u8>,
    /// How often what comes next was tried in vain.
    attempts: u32,
    /// It waits for memory to read into.
    stalled: bool,
}

/// What is wrong with a file.
enum Wrong {
    /// It could not be read.
    Unread(DiskError),
    /// It was read, and is none of a finished partition.
    Refused(String),
    /// It has no trailer, as those that are not the last of their set.
    NoTrailer,
}

impl Examined {
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }
}

impl Storage {
    pub(super) fn examine_next(&mut self) {
        let Some(Left { directory, owner, name, age, .. }) = self.recovery.waiting.front() else {
            return self.offer_what_is_complete();
        };
        let (directory, owner, name) = (*directory, owner.clone(), name.clone());
        self.recovery.examined = Some(Examined {
            place: Place { directory, name: name.clone() },
            age: *age,
            file: None,
            bytes: 0,
            header: None,
            trailer: None,
            footer: Vec::new(),
            attempts: 0,
            stalled: false,
        });
        self.submit(Purpose::Recover(Step::Adopt), DiskRequest::Adopt { directory, owner, name });
    }

    pub(super) fn adopted(
        &mut self,
        directory: DirectoryId,
        owner: FileOwner,
        name: String,
        result: Result<DiskDone, DiskError>,
    ) {
        use std::io::ErrorKind::{AlreadyExists, NotFound, ResourceBusy};
        let Some(left) = self.recovery.waiting.front_mut() else { return };
        left.attempts += 1;
        let attempts = left.attempts;
        match result {
            Ok(_) => {
                self.recovery.waiting.pop_front();
                return self.submit(Purpose::Recover(Step::Open), DiskRequest::Open { directory, name });
            }
            // This life has one of the name: it is in nobody's way.
            Err(error) if error.source.kind() == AlreadyExists => {
                tracing::warn!("{error}");
                self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: Some(owner), name });
            }
            // Another life has taken it.
            Err(error) if matches!(error.source.kind(), NotFound | ResourceBusy) => tracing::warn!("{error}"),
            Err(_) if attempts < ATTEMPTS_MAX => return self.examine_next(),
            Err(error) => self.note_unread(&name, &error),
        }
        self.recovery.waiting.pop_front();
        self.examine_next();
    }

    pub(super) fn examine_step(&mut self, step: Step, request: DiskRequest, result: Result<DiskDone, DiskError>) {
        let Some(examined) = &mut self.recovery.examined else { return };
        let found = match (step, result, request) {
            (_, Err(error), _) => Err(Wrong::Unread(error)),
            (Step::Open, Ok(DiskDone::Opened { file, bytes }), _) => {
                (examined.file, examined.bytes, examined.attempts) = (Some(file), bytes, 0);
                Ok(())
            }
            (Step::Header, _, DiskRequest::Read { into, .. }) => {
                let page = into.first().map_or(&[][..], |page| &page[..]);
                let header = Header::decode(page).map_err(|error| refused(&error, 0));
                header.map(|header| (examined.header, examined.attempts) = (Some(header), 0))
            }
            (Step::Trailer, _, DiskRequest::Read { into, .. }) => {
                let page = into.first().map_or(&[][..], |page| &page[..]);
                let trailer = Trailer::decode(page, examined.bytes).map_err(|_| Wrong::NoTrailer);
                trailer.map(|trailer| (examined.trailer, examined.attempts) = (Some(trailer), 0))
            }
            (Step::Footer, _, DiskRequest::Read { into, .. }) => {
                into.iter().for_each(|piece| examined.footer.extend_from_slice(piece));
                Ok(())
            }
            _ => unreachable!("as it was submitted"),
        };
        match found {
            Ok(()) => self.examine_on(),
            Err(wrong) => self.is_wrong(wrong),
        }
    }

    /// Reads what comes next of the file: its first page, its last one, its footer.
    pub(super) fn examine_on(&mut self) {
        let Some(examined) = &mut self.recovery.examined else { return };
        let page = PAGE_BYTES as u64;
        let Some(file) = examined.file else {
            let Place { directory, name } = examined.place.clone();
            return self.submit(Purpose::Recover(Step::Open), DiskRequest::Open { directory, name });
        };
        if examined.bytes < 2 * page {
            let what = format!("{} bytes: too short for a part of a partition", examined.bytes);
            return self.refuse(&what);
        }
        if examined.header.is_none() {
            return self.examine(file, Step::Header, 0, PAGE_BYTES);
        }
        let Some(trailer) = examined.trailer else {
            let last = examined.bytes - page;
            return self.examine(file, Step::Trailer, last, PAGE_BYTES);
        };
        let whole = trailer.footer_bytes.next_multiple_of(page);
        let read = examined.footer.len() as u64;
        if read < whole {
            let bytes = (whole - read).min(self.settings.pools.floor.unit().bytes() as u64) as usize;
            return self.examine(file, Step::Footer, trailer.footer_offset + read, bytes);
        }
        match Footer::decode(&examined.footer[..trailer.footer_bytes as usize], &trailer) {
            Ok(footer) => self.examined(Some((trailer, footer))),
            Err(error) => {
                examined.footer.clear();
                self.is_wrong(refused(&error, trailer.footer_offset));
            }
        }
    }

    fn examine(&mut self, file: FileId, step: Step, offset: u64, bytes: usize) {
        let class = SizeClass::fitting(bytes).unwrap_or(SizeClass::MAX);
        let memory = self.memory.acquire_exactly(class).or_else(|| self.memory.wake_when_there_is_some());
        let Some(examined) = &mut self.recovery.examined else { return };
        examined.stalled = memory.is_none();
        if memory.is_none() {
            self.reads.falls_short(self.now);
        }
        if let Some(mut memory) = memory {
            memory.truncate(bytes);
            self.submit(Purpose::Recover(step), DiskRequest::Read { file, offset, into: vec![memory] });
        }
    }

    /// What came next was not as it should be: it is tried again, and believed when it stays so.
    fn is_wrong(&mut self, wrong: Wrong) {
        let Some(examined) = &mut self.recovery.examined else { return };
        examined.attempts += 1;
        if examined.attempts < ATTEMPTS_MAX && !defect::is(Defect::RemoveUnread) {
            return self.examine_on();
        }
        match wrong {
            Wrong::Unread(error) if defect::is(Defect::RemoveUnread) => self.refuse(&error.to_string()),
            Wrong::Unread(error) => self.leave_alone(&error),
            Wrong::Refused(what) => self.refuse(&what),
            // One of several parts; the last of them says how many there are.
            Wrong::NoTrailer => self.examined(None),
        }
    }

    /// The file is none that could be served: it goes.
    fn refuse(&mut self, what: &str) {
        let Some(examined) = self.recovery.examined.take() else { return };
        let Place { directory, name } = examined.place;
        let path = self.directories.path(directory);
        tracing::warn!("{path}: file {name}: {what}; an earlier life has not finished it, and it is removed");
        match examined.file {
            Some(file) => self.submit(Purpose::Recover(Step::Close), DiskRequest::Close { file }),
            None => self.examine_next(),
        }
        self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: None, name });
    }

    /// The file cannot be read: it may be whole, and stays.
    fn leave_alone(&mut self, error: &DiskError) {
        let Some(Examined { place, file, .. }) = self.recovery.examined.take() else { return };
        self.note_unread(&place.name, error);
        if let Ok(PartName { partition, .. }) = place.name.parse() {
            self.recovery.left_alone.entry(partition).or_default().push(place);
        }
        match file {
            Some(file) => self.submit(Purpose::Recover(Step::Close), DiskRequest::Close { file }),
            None => self.examine_next(),
        }
    }

    fn note_unread(&mut self, name: &str, error: &DiskError) {
        tracing::warn!(
            "{error}; {ATTEMPTS_MAX} attempts to look at {name}, which stays, and is not served by this life"
        );
        metrics::counter!("sluice_disk_failures_total").increment(1);
        if let Ok(PartName { partition, .. }) = name.parse() {
            self.recovery.unread.entry(partition).or_insert_with(|| error.to_string());
        }
    }

    fn examined(&mut self, end: Option<(Trailer, Footer)>) {
        let Some(examined) = &mut self.recovery.examined else { return };
        let (Some(header), Some(file)) = (examined.header, examined.file) else { return };
        self.recovery.found.push(Found { place: examined.place.clone(), age: examined.age, header, end });
        self.submit(Purpose::Recover(Step::Close), DiskRequest::Close { file });
    }
}

fn refused(error: &FormatError, base: u64) -> Wrong {
    Wrong::Refused(error.clone().behind(base).to_string())
}
