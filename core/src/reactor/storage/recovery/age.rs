//! How long nobody has wanted what lies on the disks, through all lives: by the times of the files. What somebody wants is
//! touched again and again; so what is old has been without anybody for that long, however short the lives were that have
//! seen it. Who is removed is too old by two clocks: that of the files, and, as far as this life has seen it lie there, by
//! its own. So a clock that is set forward does not remove what this life has found, and one that is set back nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sluice_plugin::{DirectoryId, DiskDone, DiskError, DiskRequest, ListedFile, OwnerState};
use sluice_protocol::defect::{self, Defect};
use sluice_protocol::{PartitionId, Time};

use super::{Place, Step};
use crate::mailbox::Command;
use crate::reactor::storage::stored::Stored;
use crate::reactor::storage::{Purpose, Storage};
use crate::spill::PartName;

/// What is wanted is touched so many times in `disk.recover_timeout`.
const TOUCHES: u32 = 4;
/// However long nobody was there: who begins to offer what it has found gives one part in so many of the timeout to claim it.
const GRACE: u32 = 8;
/// Neither looked at nor touched more often than this, whatever the timeout.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Looks at the ages of files, and keeps young what is wanted.
pub(super) struct Ages {
    timeout: Duration,
    look_at: Option<Time>,
    touch_at: Option<Time>,
    /// Directories that are being listed, and what was found so far.
    lists: usize,
    own: BTreeMap<Place, Option<Duration>>,
    /// When the next of what was found is too old.
    next: Duration,
    to_touch: VecDeque<Place>,
    is_touching: bool,
}

impl Ages {
    pub(super) fn new(timeout: Duration, now: Time) -> Self {
        Self {
            timeout,
            look_at: None,
            touch_at: Some(now.after(pause(timeout / TOUCHES))),
            lists: 0,
            own: BTreeMap::new(),
            next: timeout,
            to_touch: VecDeque::new(),
            is_touching: false,
        }
    }

    /// When who has been left alone for so long has to be claimed. What counts is how long it was left alone, but a worker
    /// that was away for long is not back for nothing.
    pub(super) fn claim_by(&self, now: Time, age: Option<Duration>) -> Time {
        now.after(self.left(age).max(self.timeout / GRACE))
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.look_at.into_iter().chain(self.touch_at).min()
    }

    pub(super) fn stop(&mut self) {
        (self.look_at, self.touch_at) = (None, None);
        self.to_touch.clear();
    }

    /// How long a file of this age may still wait.
    fn left(&self, age: Option<Duration>) -> Duration {
        self.timeout.saturating_sub(age.unwrap_or_default())
    }
}

impl Storage {
    /// Somebody wants a recovered partition: it stays.
    pub(in crate::reactor) fn claim(&mut self, partition: PartitionId) {
        if let Some(stored) = self.stored.get_mut(&partition)
            && stored.claim_by.take().is_some()
        {
            self.recovery.ages.to_touch.extend(stored.parts().map(Place::of));
            self.touch_next();
        }
    }

    pub(super) fn look_at_ages(&mut self) {
        self.recovery.ages.look_at = None;
        self.recovery.ages.next = self.recovery.ages.timeout;
        for directory in self.directories.ids() {
            self.recovery.ages.lists += 1;
            self.submit(Purpose::Recover(Step::Look), DiskRequest::List { directory });
        }
    }

    /// Touches and looks when it is time to. True if something was done.
    pub(super) fn ages_timer(&mut self) -> bool {
        let mut busy = false;
        let (now, ages) = (self.now, &mut self.recovery.ages);
        if ages.touch_at.is_some_and(|at| at <= now) {
            ages.touch_at = Some(now.after(pause(ages.timeout / TOUCHES)));
            if ages.to_touch.is_empty() {
                let wanted = self.stored.values().filter(|stored| stored.claim_by.is_none());
                ages.to_touch.extend(wanted.flat_map(Stored::parts).map(Place::of));
            }
            self.touch_next();
            busy = true;
        }
        if self.recovery.ages.look_at.is_some_and(|at| at <= now) {
            self.look_at_ages();
            busy = true;
        }
        busy
    }

    /// One after the other: nobody waits for it.
    fn touch_next(&mut self) {
        let ages = &mut self.recovery.ages;
        if !ages.is_touching
            && let Some(Place { directory, name }) = ages.to_touch.pop_front()
        {
            ages.is_touching = true;
            self.submit(Purpose::Recover(Step::Touch), DiskRequest::Touch { directory, name });
        }
    }

    pub(super) fn touched(&mut self, result: Result<DiskDone, DiskError>) {
        self.recovery.ages.is_touching = false;
        if let Err(error) = result {
            tracing::warn!("{error}; a later life may take it for older than it is");
        }
        self.touch_next();
    }

    /// A directory is listed: what dead workers have left there too long ago goes.
    pub(super) fn looked(&mut self, directory: DirectoryId, result: Result<DiskDone, DiskError>) {
        let files = match result {
            Ok(DiskDone::Listed(files)) => files,
            Ok(_) => unreachable!("a list lists"),
            Err(error) => {
                tracing::warn!("{error}; what nobody wants any more stays there");
                Vec::new()
            }
        };
        for file in files.into_iter().filter(|file| file.name.parse::<PartName>().is_ok()) {
            let left = self.recovery.ages.left(file.age);
            let ListedFile { name, owner, age, state, .. } = file;
            if state == OwnerState::Own {
                self.recovery.ages.own.insert(Place { directory, name }, age);
            } else if state == OwnerState::Dead && left.is_zero() && !defect::is(Defect::LeaveTheDead) {
                tracing::info!(owner = %owner.0, name, "a file that a dead worker has left is removed");
                self.submit(Purpose::Tidy, DiskRequest::Remove { directory, owner: Some(owner), name });
            } else if state == OwnerState::Dead {
                self.recovery.ages.next = self.recovery.ages.next.min(left);
            }
        }
        self.recovery.ages.lists -= 1;
        if self.recovery.ages.lists == 0 {
            self.remove_what_is_too_old();
        }
    }

    fn remove_what_is_too_old(&mut self) {
        let own = std::mem::take(&mut self.recovery.ages.own);
        let unclaimed = self.stored.iter().filter_map(|(id, stored)| Some((*id, stored.claim_by?, stored)));
        let unclaimed = unclaimed.map(|(id, by, stored)| (id, by, stored.parts().map(Place::of).collect::<Vec<_>>()));
        // Of what is served as well, merged or not, all goes together.
        let alone = self.recovery.left_alone.iter().filter(|(id, _)| !self.stored.contains_key(id));
        let alone = alone.map(|(id, places)| (*id, self.now, places.clone()));
        let candidates: Vec<_> = unclaimed.chain(alone).collect();
        for (id, by, places) in candidates {
            let ages: Vec<_> = places.iter().filter_map(|place| Some((place, *own.get(place)?))).collect();
            // Of a time that has not come yet: from now on its age is known.
            let ageless = ages.iter().filter(|(_, age)| age.is_none()).map(|(place, _)| (*place).clone());
            self.recovery.ages.to_touch.extend(ageless);
            let left = ages.iter().map(|(_, age)| self.recovery.ages.left(*age)).max().unwrap_or_default();
            let left = left.max(by.since(self.now));
            if left.is_zero() {
                self.expire(id);
            } else {
                self.recovery.ages.next = self.recovery.ages.next.min(left);
            }
        }
        self.touch_next();
        self.recovery.ages.look_at = Some(self.now.after(pause(self.recovery.ages.next)));
    }

    fn expire(&mut self, id: PartitionId) {
        tracing::info!(partition = %id, "nobody has claimed it in time (disk.recover_timeout): it is removed");
        self.forget_recovered(id);
        if let Some(log) = self.settings.manager.remove(id) {
            log.release();
        }
        self.settings.mailbox.send(Command::Released(id));
    }
}

fn pause(duration: Duration) -> Duration {
    duration.max(PAUSE_MIN)
}
