//! What earlier lives of a worker have left, as its engine asks for it.

use std::path::Path;
use std::task::{Context, Poll};

use sluice_protocol::PartitionId;

use super::ShuffleEnvironment;
use crate::error::CreateError;
use crate::mailbox::Command;
use crate::partition::HeldPartition;
use crate::reactor::UnreadPartition;
use crate::task::block_on;

impl ShuffleEnvironment {
    /// The finished partitions that earlier lives of this worker have left in one of its directories; they are served
    /// again. Ready when all has been looked at, which begins by itself at the start. What nobody claims within
    /// `disk.recover_timeout`, by [`Self::claim`] or by reading it, is removed: counted from when a life that had written or
    /// claimed it was alive last, however many have come and gone since; but an eighth of it there is always.
    ///
    /// # Errors
    /// If the directory is none of the worker's.
    pub fn poll_recover(
        &self,
        context: &mut Context<'_>,
        directory: &Path,
    ) -> Poll<Result<Vec<HeldPartition>, CreateError>> {
        match self.spilling.as_ref().filter(|spilling| spilling.recovered.knows(directory)) {
            Some(spilling) => spilling.recovered.poll(context, directory).map(Ok),
            None => Poll::Ready(Err(CreateError::NoSuchDirectory { directory: directory.to_path_buf() })),
        }
    }

    /// As [`Self::poll_recover`]; blocks the thread. Not on a thread that drives a reactor.
    pub fn recover(&self, directory: &Path) -> Result<Vec<HeldPartition>, CreateError> {
        block_on(|context| self.poll_recover(context, directory))
    }

    /// What earlier lives of this worker have left and could not be read, although it was tried several times: it is not
    /// offered, and not removed either. Complete as soon as [`Self::poll_recover`] is ready.
    pub fn unread_partitions(&self) -> Vec<UnreadPartition> {
        self.spilling.as_ref().map(|spilling| spilling.recovered.unread()).unwrap_or_default()
    }

    /// Keeps a recovered partition beyond `disk.recover_timeout`.
    pub fn claim(&self, partition: PartitionId) {
        self.mailbox.send(Command::Claim(partition));
    }
}
