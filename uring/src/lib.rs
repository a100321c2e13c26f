//! A safe owner of one io_uring: operations own their buffers until the last completion.
//!
//! [`Ring::push`] takes an [`Operation`] with everything it needs: the socket, the pieces, the iovecs made
//! from them. Nobody has a handle to any of it until the [`Completion`] gives it back, and that is only
//! after the kernel's *final* completion of the operation: when a submit fails, when the caller has lost
//! interest and when the ring is dropped the operation stays where it is until then. So a buffer the kernel
//! may still write into cannot be freed, reused or read from safe code.
//!
//! Whether this host lets us have a ring at all is the question [`probe`] answers.

mod message;
mod operation;
mod probe;
mod ring;
mod socket;
mod table;

pub use operation::{Completion, Done, Incoming, Operation, Outgoing, PIECES_MAX};
pub use probe::{Features, Refusal, Setup, probe};
pub use ring::{OPERATIONS_MAX, Ring, RingError, RingOptions, Sleep};
pub use socket::abort;
