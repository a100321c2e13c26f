//! What a transport and a disk promise: the seams, their conformance suites and their reference implementations.
//!
//! Four rules hold for every device:
//!
//! 1. It belongs to one reactor and is used by that reactor's thread only. What builds it ([`TransportFactory`],
//!    [`DiskFactory`]) is `Send`; the device is not.
//! 2. What it was given is its own until an event, or the `Err` of the call, gives it back. While hardware may touch a
//!    range there is no safe handle to that range.
//! 3. It never blocks and never spins: [`Device::prepare_to_wait`] says what to sleep on.
//! 4. What it can do is data ([`Capabilities`], [`DiskCapabilities`]), never a question about its kind.

#![forbid(unsafe_code)]

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod copied;
mod device;
mod disk;
mod hub;
mod in_process;
mod link;
#[cfg(any(test, feature = "conformance"))]
mod memory_disk;
mod remote_loopback;
mod transport;

pub use device::{Device, Wait};
pub use disk::{
    DISK_ALIGNMENT, DISK_REQUEST_BYTES_MAX, DirectIo, DirectoryCapabilities, DirectoryId, Disk, DiskBuildError,
    DiskCapabilities, DiskCompletion, DiskDone, DiskEngine, DiskError, DiskFactory, DiskRequest, DiskSetup, FileId,
    FileOwner, ListedFile, OwnerState, is_file_name,
};
pub use in_process::InProcess;
pub use link::{Address, CloseCause, Connect, LinkId, Peer};
#[cfg(any(test, feature = "conformance"))]
pub use memory_disk::MemoryDisk;
pub use remote_loopback::RemoteLoopback;
pub use transport::{
    BuildError, Capabilities, Landed, Message, Payload, PayloadPlacement, Setup, Transport, TransportEvent,
    TransportFactory,
};
