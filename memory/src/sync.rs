//! The synchronisation types of this crate: of `std`, or of loom when it explores the interleavings.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering, fence},
    },
    thread::{Thread, current, park},
};

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering, fence},
    },
    thread::{Thread, current, park},
};
