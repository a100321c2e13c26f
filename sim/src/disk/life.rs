//! The disk as a worker has it: from the beginning of a life to its end.

use std::io;

use sluice_plugin::{Device, Disk, DiskCapabilities, DiskCompletion, DiskRequest, Wait};

use super::SimDisk;

pub(super) struct Life {
    disk: SimDisk,
    number: u64,
    capabilities: DiskCapabilities,
}

impl Life {
    pub(super) fn new(disk: SimDisk, number: u64, capabilities: DiskCapabilities) -> Self {
        Self { disk, number, capabilities }
    }
}

impl Device for Life {
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        Ok(if self.disk.state().has_completed(self.number) { Wait::Ready } else { Wait::Waker })
    }
}

impl Disk for Life {
    fn capabilities(&self) -> &DiskCapabilities {
        &self.capabilities
    }

    fn submit(&mut self, token: u64, request: DiskRequest) -> Result<(), DiskRequest> {
        request.assert_aligned();
        let misuse = self.disk.state().misuse(self.number, &request);
        // Not under the lock: others go on, as after any panic of an engine's.
        assert!(misuse.is_none(), "{}", misuse.unwrap_or_default());
        self.disk.state().submit(self.number, token, request)
    }

    fn poll(&mut self, completions: &mut Vec<DiskCompletion>) {
        self.disk.state().poll(self.number, completions);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let left = self.disk.state().leave(self.number);
        // Its memory goes back to pools, which tell those who wait.
        drop(left);
    }
}
