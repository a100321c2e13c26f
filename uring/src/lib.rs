//! A safe owner of one io_uring: operations own their buffers until the last completion.
//!
//! [`Ring::push`] takes an [`Operation`] with everything it needs: the socket or file, the pieces, the iovecs made
//! from them. Nobody has a handle to any of it until the [`Completion`] gives it back, and that is only
//! after the kernel's *final* completion of the operation: when a submit fails, when the caller has lost
//! interest and when the ring is dropped the operation stays where it is until then. So a buffer the kernel
//! may still write into cannot be freed, reused or read from safe code.
//!
//! Files are read and written on the same terms. Memory of one arena, if [`Ring::register`] could lock it, then goes
//! by the kernel's fixed buffers; all other memory goes without. [`PolledRing`] is for files alone, and for those who
//! need not sleep.
//!
//! Whether this host lets us have a ring at all is the question [`probe`] answers, and [`probe_io_poll`] whether a
//! device can be polled.

mod file;
mod message;
mod operation;
mod polled;
mod probe;
mod registered;
mod ring;
mod socket;
mod table;

pub use operation::{Completion, Done, Incoming, Operation, Outgoing, PIECES_MAX};
pub use polled::{NoPolling, PolledRing, probe_io_poll};
pub use probe::{Features, Refusal, Setup, probe};
pub use registered::{LockLimit, RegisterError};
pub use ring::{OPERATIONS_MAX, Ring, RingError, RingOptions, Sleep};
pub use socket::abort;
