//! What a disk is at one moment: its medium, the lives that use it, and what is under way.

use std::collections::BTreeMap;
use std::task::Waker;

use sluice_core::Time;
use sluice_plugin::{DirectoryId, DiskCompletion, DiskRequest, DiskSetup, FileId, FileOwner};

use super::carry;
use super::content::ContentId;
use super::drive::Drive;
use super::fault::DiskFault;
use super::harm::{Harm, Mishap};
use super::medium::Medium;
use super::spindle::{Job, Spindle};
use super::watch;
use crate::journal::Journal;
use crate::seed::Random;

/// Everything of a disk.
pub(super) struct State {
    pub(super) now: Time,
    pub(super) name: String,
    pub(super) journal: Journal,
    pub(super) random: Random,
    pub(super) drive: Drive,
    pub(super) medium: Medium,
    pub(super) harm: Harm,
    pub(super) spindles: Vec<Spindle>,
    pub(super) lives: BTreeMap<u64, LifeState>,
    /// How many lives there were.
    pub(super) lived: u64,
    /// How often the machine was started.
    pub(super) boots: u64,
}

/// What the disk keeps of a life.
pub(super) struct LifeState {
    pub(super) owner: FileOwner,
    waker: Waker,
    pub(super) files: BTreeMap<FileId, OpenFile>,
    /// How many were ever opened.
    opened: u64,
    /// Requests that were submitted and not polled for.
    under_way: usize,
    completed: Vec<DiskCompletion>,
}

pub(super) struct OpenFile {
    pub(super) content: ContentId,
    pub(super) is_to_read: bool,
    under_way: usize,
    is_closing: bool,
}

impl State {
    pub(super) fn new(name: String, drive: Drive, random: Random, journal: Journal) -> Self {
        let medium = Medium::new(&name, &drive.bytes_max);
        let spindles = drive.bytes_max.iter().map(|_| Spindle::default()).collect();
        Self {
            now: Time(0),
            name,
            journal,
            random,
            drive,
            medium,
            harm: Harm::default(),
            spindles,
            lives: BTreeMap::new(),
            lived: 0,
            boots: 1,
        }
    }

    // ── Lives ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// A life begins, unless one of the same name is alive.
    pub(super) fn enter(&mut self, setup: DiskSetup) -> Option<u64> {
        let owner = setup.owner();
        if !self.medium.alive.insert(owner.clone()) {
            return None;
        }
        self.lived += 1;
        let (files, completed) = (BTreeMap::new(), Vec::new());
        let life = LifeState { owner, waker: setup.waker, files, opened: 0, under_way: 0, completed };
        self.lives.insert(self.lived, life);
        Some(self.lived)
    }

    pub(super) fn life(&mut self, life: u64) -> &mut LifeState {
        self.lives.get_mut(&life).expect("a disk that is used has not been dropped")
    }

    // ── Requests ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes a request, or hands it back.
    pub(super) fn submit(&mut self, life: u64, token: u64, request: DiskRequest) -> Result<(), DiskRequest> {
        let (most, changes, since) = (self.drive.under_way_max, self.medium.changes(), self.now);
        let mine = self.life(life);
        if mine.under_way == most {
            return Err(request);
        }
        mine.under_way += 1;
        let content = request.file().map(|file| mine.begin(file, &request));
        let job = Job { life, token, request, content, since, changes };
        watch::submitted(self, &job);
        let now = self.now;
        let Self { spindles, drive, random, harm, .. } = self;
        let spindle = &mut spindles[usize::from(self.medium.directory_of(&job.request, content).0)];
        spindle.add(job);
        spindle.begin(now, drive, random, harm.delay(now));
        Ok(())
    }

    /// What is wrong with a request of a file, if it is.
    pub(super) fn misuse(&mut self, life: u64, request: &DiskRequest) -> Option<String> {
        let id = request.file()?;
        match self.life(life).files.get(&id).filter(|file| !file.is_closing) {
            None => Some(format!("{id:?} is not open")),
            Some(file) if matches!(request, DiskRequest::Close { .. }) && file.under_way > 0 => {
                Some(format!("{id:?} is closed with {} under way", file.under_way))
            }
            Some(_) => None,
        }
    }

    pub(super) fn poll(&mut self, life: u64, completions: &mut Vec<DiskCompletion>) {
        let mine = self.life(life);
        mine.under_way -= mine.completed.len();
        completions.append(&mut mine.completed);
    }

    pub(super) fn has_completed(&mut self, life: u64) -> bool {
        !self.life(life).completed.is_empty()
    }

    // ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn advance(&mut self, now: Time) {
        let now = self.now.max(now);
        while let Some(directory) = self.first_due().filter(|(due, _)| *due <= now).map(|(_, directory)| directory) {
            let (at, job) = self.spindles[directory].take_done(now).expect("it has just said so");
            self.now = self.now.max(at);
            self.medium.now = self.now;
            self.complete(job);
            let Self { spindles, drive, random, harm, .. } = self;
            spindles[directory].begin(at, drive, random, harm.delay(at));
        }
        self.now = now;
        self.medium.now = now;
    }

    fn first_due(&self) -> Option<(Time, usize)> {
        let due = self.spindles.iter().enumerate().filter_map(|(index, spindle)| Some((spindle.next_due()?, index)));
        due.min()
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        self.first_due().map(|(due, _)| due)
    }

    fn complete(&mut self, mut job: Job) {
        let result = carry::out(self, &mut job);
        watch::completed(self, &job, &result);
        let Job { life, token, request, .. } = job;
        let mine = self.life(life);
        if let Some(file) = request.file().and_then(|file| mine.files.get_mut(&file)) {
            file.under_way -= 1;
        }
        mine.completed.push(DiskCompletion { token, request, result });
        mine.waker.wake_by_ref();
    }

    // ── From outside ────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn harm(&mut self, fault: DiskFault) {
        self.harm.arm(self.now, fault);
        match fault {
            DiskFault::Lose { directory } => {
                let path = self.medium.directories[usize::from(directory)].path.clone();
                self.harm.note(Mishap::Lost, path);
                self.medium.lose(DirectoryId(directory));
            }
            DiskFault::Resize { directory, bytes_max } => {
                self.medium.directories[usize::from(directory)].bytes_max = bytes_max;
            }
            _ => {}
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.lives.values().map(|life| life.under_way).sum()
    }

    /// What is over, and nobody has asked for.
    pub(super) fn completions(&self) -> usize {
        self.lives.values().map(|life| life.completed.len()).sum()
    }

    pub(super) fn bytes_inside(&self) -> usize {
        let jobs = self.spindles.iter().flat_map(Spindle::jobs).map(|job| job.request.bytes());
        let completed = self.lives.values().flat_map(|life| &life.completed).map(|over| over.request.bytes());
        jobs.chain(completed).sum()
    }
}

impl LifeState {
    /// A request of an open file begins.
    fn begin(&mut self, id: FileId, request: &DiskRequest) -> ContentId {
        let file = self.files.get_mut(&id).expect("misuse() has looked");
        file.is_closing = matches!(request, DiskRequest::Close { .. });
        file.under_way += 1;
        file.content
    }

    pub(super) fn open(&mut self, content: ContentId, is_to_read: bool) -> FileId {
        self.opened += 1;
        let file = FileId(self.opened);
        self.files.insert(file, OpenFile { content, is_to_read, under_way: 0, is_closing: false });
        file
    }
}
