//! What every device has in common.

use std::io;
use std::os::fd::BorrowedFd;

/// Something that a reactor owns and sleeps on.
pub trait Device {
    /// Starts what is queued and arms the wake-up. A reactor calls it last before it sleeps, and sleeps only if every
    /// device lets it.
    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>>;
}

/// Whether a reactor may sleep, and what ends its sleep.
#[derive(Debug)]
pub enum Wait<'a> {
    /// Something has happened already: poll again.
    Ready,
    /// This becomes readable when there is something to poll for.
    On(BorrowedFd<'a>),
    /// The device calls the waker of its [`crate::Setup`].
    Waker,
}
