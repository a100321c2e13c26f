//! Reads and writes on a few threads, for hosts without io_uring.

use std::io::{self, IoSlice, IoSliceMut};
use std::task::Waker;

use rustix::io::{preadv, pwritev, retry_on_intr};
use sluice_plugin::Wait;

use super::{Engine, Moved, Pieces, Transfer};
use crate::config::LocalDiskConfig;
use crate::workers::Workers;

/// A pool of threads, each with one `preadv` or `pwritev` at a time.
pub(super) struct Threads {
    workers: Workers<Transfer, Moved>,
}

impl Threads {
    pub(super) fn start(config: &LocalDiskConfig, waker: Waker) -> io::Result<Self> {
        let work = vec![carry_out; config.threads];
        let workers = Workers::start("sluice-disk-io", work, config.depth as usize, waker)?;
        Ok(Self { workers })
    }
}

impl Engine for Threads {
    fn name(&self) -> String {
        format!("threads, {}", self.workers.threads())
    }

    fn submit(&mut self, transfer: Transfer) -> Result<(), Transfer> {
        self.workers.submit(transfer)
    }

    fn poll(&mut self, over: &mut Vec<Moved>) -> io::Result<()> {
        self.workers.poll(over);
        Ok(())
    }

    fn prepare_to_wait(&mut self) -> io::Result<Wait<'_>> {
        Ok(if self.workers.has_results() { Wait::Ready } else { Wait::Waker })
    }

    /// Threads do not break.
    fn unbegun(&mut self) -> Vec<Transfer> {
        Vec::new()
    }
}

fn carry_out(mut transfer: Transfer) -> Moved {
    let Transfer { file, offset, pieces, .. } = &mut transfer;
    let result = match pieces {
        Pieces::Into(pieces) => {
            let mut slices: Vec<_> = pieces.iter_mut().map(|piece| IoSliceMut::new(piece)).collect();
            retry_on_intr(|| preadv(&*file, &mut slices, *offset))
        }
        Pieces::From(pieces) => {
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            retry_on_intr(|| pwritev(&*file, &slices, *offset))
        }
    };
    Moved { transfer, result: result.map_err(io::Error::from) }
}
