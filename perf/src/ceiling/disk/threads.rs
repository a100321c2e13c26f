//! The raw disk by threads: one for each request that is under way.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sluice_memory::BufferMut;

use super::file::RawFile;
use super::memory::Pieces;
use super::{Checks, Phase};

/// How many requests were completed on
/// each file: those from the first on, without gaps.
pub(super) fn run(files: &[RawFile], memory: &Pieces, phase: &Phase<'_>) -> io::Result<Vec<u64>> {
    let next: Vec<AtomicU64> = files.iter().map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        let thread = |number: usize| {
            let file = number % files.len();
            let (next, piece) = (&next[file], memory.piece());
            (file, scope.spawn(move || one_after_the_other(&files[file], file, next, piece, phase)))
        };
        let threads: Vec<_> = (0..phase.depth * files.len()).map(thread).collect();
        let mut completed = vec![0; files.len()];
        for (file, thread) in threads {
            completed[file] += thread.join().expect("a thread of the disk ceiling does not panic")?;
        }
        Ok(completed)
    })
}

fn one_after_the_other(
    file: &RawFile,
    number: usize,
    next: &AtomicU64,
    mut piece: BufferMut,
    phase: &Phase<'_>,
) -> io::Result<u64> {
    let (began, mut requests) = (Instant::now(), 0);
    while began.elapsed() < phase.time_max {
        let Some(step) = phase.plan.step(next.fetch_add(1, Ordering::Relaxed)) else { break };
        if step.is_write {
            // Without checks it carries what is there: the memory was filled once.
            if phase.checks == Checks::EveryByte {
                phase.pattern.fill(&mut piece);
                phase.pattern.stamp(&mut piece, number, step.offset);
            }
            file.file.write_all_at(&piece, step.offset)?;
        } else {
            file.file.read_exact_at(&mut piece, step.offset)?;
            phase.check(&piece, number, step.offset)?;
        }
        requests += 1;
    }
    Ok(requests)
}
