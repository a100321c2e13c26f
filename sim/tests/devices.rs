//! The simulated devices are devices like others: they keep every rule of their seams.

#![forbid(unsafe_code)]

use std::io;

use sluice_plugin::{
    Device, Disk, DiskBuildError, DiskCapabilities, DiskCompletion, DiskFactory, DiskRequest, DiskSetup,
    PayloadPlacement, Wait, disk_conformance, transport_conformance,
};
use sluice_sim::disk::{Drive, SimDisk};
use sluice_sim::journal::Journal;
use sluice_sim::network::Network;
use sluice_sim::seed::{Purpose, Seed};

fn network(placement: PayloadPlacement) -> Network {
    Network::new(placement, Seed(1).stream(Purpose::Network), Journal::new(false))
}

mod stream {
    use super::*;

    transport_conformance!(network(PayloadPlacement::Stream));
}

mod remote {
    use super::*;

    transport_conformance!(network(PayloadPlacement::Remote));
}

/// Disks on which the time goes on whenever somebody is about to sleep.
struct Driven(SimDisk);

struct DrivenDisk {
    all: SimDisk,
    disk: Box<dyn Disk>,
}

impl Driven {
    fn new(at_once: usize) -> Self {
        let drive = Drive { at_once, ..Drive::with_directories(&[64 << 20, 64 << 20]) };
        Self(SimDisk::new("a test", drive, Seed(1).stream(Purpose::Disk), Journal::new(false)))
    }
}

impl DiskFactory for Driven {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn build(&self, setup: DiskSetup) -> Result<Box<dyn Disk>, DiskBuildError> {
        Ok(Box::new(DrivenDisk { all: self.0.clone(), disk: self.0.build(setup)? }))
    }
}

impl Device for DrivenDisk {
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        if matches!(self.disk.prepare_to_wait()?, Wait::Ready) {
            return Ok(Wait::Ready);
        }
        // Too late for this answer: the waker has to tell. Others are served before this one.
        while let (Wait::Waker, Some(due)) = (self.disk.prepare_to_wait()?, self.all.next_due()) {
            self.all.advance(due);
        }
        Ok(Wait::Waker)
    }
}

impl Disk for DrivenDisk {
    fn capabilities(&self) -> &DiskCapabilities {
        self.disk.capabilities()
    }

    fn submit(&mut self, token: u64, request: DiskRequest) -> Result<(), DiskRequest> {
        self.disk.submit(token, request)
    }

    fn poll(&mut self, completions: &mut Vec<DiskCompletion>) {
        self.disk.poll(completions);
    }
}

mod disk_of_one_at_a_time {
    use super::*;

    disk_conformance!(Driven::new(1));
}

mod disk_of_many_at_once {
    use super::*;

    disk_conformance!(Driven::new(16));
}
