//! The checkers that look at a run as a whole. Those that belong to one place stand there: content in
//! `task/content.rs`, credit in `network/tap.rs`, remote writes in `network/endpoint.rs`.

mod excuse;
mod memory;
mod progress;

pub(crate) use excuse::justify;
pub(crate) use memory::{all_is_back, may_keep_files, memory, partitions_are_gone};
pub(crate) use progress::{stuck, who_waits};

/// Whether a session outlives its links. Until it does, the loss of a link may fail its channels.
pub fn expects_resume() -> bool {
    true
}
