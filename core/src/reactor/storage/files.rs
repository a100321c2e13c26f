//! Which directory the next file goes to: the one with room and the fewest files that are being written.

use sluice_plugin::{DirectoryId, DiskCapabilities, DiskDone, DiskError, DiskRequest};

use super::{Purpose, Storage};

/// A directory with less room is a last resort.
const ROOM_BYTES_MIN: u64 = 64 << 20;

pub(super) struct Directories {
    each: Vec<Directory>,
    /// Of equals, the next one has its turn.
    turn: usize,
}

struct Directory {
    path: Box<str>,
    /// Files that are being written.
    writing: u32,
    /// As it was told last.
    free: Option<u64>,
}

impl Directories {
    pub(super) fn new(capabilities: &DiskCapabilities) -> Self {
        let each = capabilities.directories.iter().map(|directory| Directory {
            path: directory.path.display().to_string().into(),
            writing: 0,
            free: None,
        });
        Self { each: each.collect(), turn: 0 }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = DirectoryId> + use<> {
        (0..self.each.len() as u16).map(DirectoryId)
    }

    pub(super) fn path(&self, directory: DirectoryId) -> &str {
        &self.each[usize::from(directory.0)].path
    }

    /// For a new file, none of those that have failed it.
    pub(super) fn choose(&mut self, failed: &[DirectoryId]) -> Option<DirectoryId> {
        let count = self.each.len();
        let in_turn = (0..count).map(|step| (self.turn + step) % count);
        let possible = in_turn.filter(|index| !failed.contains(&DirectoryId(*index as u16)));
        let best = possible.min_by_key(|index| {
            let directory = &self.each[*index];
            (directory.free.is_some_and(|free| free < ROOM_BYTES_MIN), directory.writing)
        })?;
        self.turn = best + 1;
        self.each[best].writing += 1;
        Some(DirectoryId(best as u16))
    }

    /// A file that was begun after [`Self::choose`] is written, or is no more.
    pub(super) fn written(&mut self, directory: DirectoryId) {
        self.each[usize::from(directory.0)].writing -= 1;
    }
}

impl Storage {
    /// Asks each directory how much room it has; what is known until then is what was told before.
    pub(super) fn look_for_space(&mut self) {
        for directory in self.directories.ids() {
            self.submit(Purpose::Space, DiskRequest::Space { directory });
        }
    }

    pub(super) fn space_told(&mut self, request: &DiskRequest, result: Result<DiskDone, DiskError>) {
        let DiskRequest::Space { directory } = request else { return };
        self.directories.each[usize::from(directory.0)].free = match result {
            Ok(DiskDone::Space { free, .. }) => Some(free),
            // One that cannot even tell that is the last to be chosen.
            _ => Some(0),
        };
    }
}
