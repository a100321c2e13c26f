//! How a read or write of a file is put to the kernel: of one range or several, in a fixed buffer or not.

use io_uring::{opcode, squeue, types};

use crate::probe::Features;
use crate::registered::Registered;

// MAX_RW_COUNT of linux/fs.h: the kernel moves no more at a time, and an entry's length has 32 bits.
const TRANSFER_BYTES_MAX: usize = 0x7fff_f000;

/// A transfer between a file and ranges of memory, and what the kernel offers for it.
pub(crate) struct Transfer<'a> {
    pub(crate) file: types::Fd,
    /// Where in the file the first range begins, in bytes.
    pub(crate) offset: u64,
    /// At least one.
    pub(crate) ranges: &'a [libc::iovec],
    pub(crate) features: &'a Features,
    pub(crate) registered: Option<&'a Registered>,
}

impl Transfer<'_> {
    pub(crate) fn read(&self) -> squeue::Entry {
        let Transfer { file, offset, ranges, features, .. } = *self;
        let first = ranges[0];
        let (start, bytes) = (first.iov_base.cast(), bytes_of(first));
        match (ranges.len(), self.fixed_buffer()) {
            (1, Some(buffer)) if features.read_fixed => {
                opcode::ReadFixed::new(file, start, bytes, buffer).offset(offset).build()
            }
            (1, _) => opcode::Read::new(file, start, bytes).offset(offset).build(),
            (count, Some(buffer)) if features.readv_fixed => {
                opcode::ReadvFixed::new(file, ranges.as_ptr(), count as u32, buffer).offset(offset).build()
            }
            (count, _) => opcode::Readv::new(file, ranges.as_ptr(), count as u32).offset(offset).build(),
        }
    }

    pub(crate) fn write(&self) -> squeue::Entry {
        let Transfer { file, offset, ranges, features, .. } = *self;
        let first = ranges[0];
        let (start, bytes) = (first.iov_base.cast_const().cast(), bytes_of(first));
        match (ranges.len(), self.fixed_buffer()) {
            (1, Some(buffer)) if features.write_fixed => {
                opcode::WriteFixed::new(file, start, bytes, buffer).offset(offset).build()
            }
            (1, _) => opcode::Write::new(file, start, bytes).offset(offset).build(),
            (count, Some(buffer)) if features.writev_fixed => {
                opcode::WritevFixed::new(file, ranges.as_ptr(), count as u32, buffer).offset(offset).build()
            }
            (count, _) => opcode::Writev::new(file, ranges.as_ptr(), count as u32).offset(offset).build(),
        }
    }

    fn fixed_buffer(&self) -> Option<u16> {
        self.registered?.holding(self.ranges)
    }
}

fn bytes_of(range: libc::iovec) -> u32 {
    range.iov_len.min(TRANSFER_BYTES_MAX) as u32
}

/// Has what was written to the file survive a loss of power; its times need not, with `data_only`.
pub(crate) fn sync(file: types::Fd, data_only: bool) -> squeue::Entry {
    let flags = if data_only { types::FsyncFlags::DATASYNC } else { types::FsyncFlags::empty() };
    opcode::Fsync::new(file).flags(flags).build()
}

#[cfg(test)]
mod tests {
    use sluice_memory::{Arena, ArenaOptions, HugePages};

    use super::*;

    fn all() -> Features {
        Features { read_fixed: true, write_fixed: true, readv_fixed: true, writev_fixed: true, ..Features::default() }
    }

    fn arena() -> Arena {
        let options = ArenaOptions { bytes: 64 << 10, huge_pages: HugePages::Never };
        Arena::map(options).expect("address space is plenty")
    }

    fn range(arena: &Arena, offset: usize) -> libc::iovec {
        libc::iovec { iov_base: arena.regions()[0].as_ptr().wrapping_add(offset).cast(), iov_len: 4096 }
    }

    /// The operations that a read and a write of these ranges become.
    fn opcodes(ranges: &[libc::iovec], features: &Features, registered: Option<&Registered>) -> [u8; 2] {
        let transfer = Transfer { file: types::Fd(-1), offset: 0, ranges, features, registered };
        [transfer.read(), transfer.write()].map(|entry| entry.get_opcode() as u8)
    }

    #[test]
    fn memory_of_the_registered_arena_goes_by_its_fixed_buffer() {
        let arena = arena();
        let (registered, ranges) = (Registered::pretended(&arena), [range(&arena, 0), range(&arena, 8192)]);
        let [one, two] = [&ranges[..1], &ranges].map(|ranges| opcodes(ranges, &all(), Some(&registered)));
        assert_eq!(one, [opcode::ReadFixed::CODE, opcode::WriteFixed::CODE]);
        assert_eq!(two, [opcode::ReadvFixed::CODE, opcode::WritevFixed::CODE]);
    }

    #[test]
    fn memory_of_another_arena_never_goes_by_a_fixed_buffer() {
        let (arena, other) = (arena(), arena());
        let registered = Registered::pretended(&arena);
        let plain = [opcode::Read::CODE, opcode::Write::CODE];
        let vectored = [opcode::Readv::CODE, opcode::Writev::CODE];
        let (ours, theirs) = (range(&arena, 0), range(&other, 0));
        assert_eq!(opcodes(&[theirs], &all(), Some(&registered)), plain);
        assert_eq!(opcodes(&[ours], &all(), None), plain);
        assert_eq!(opcodes(&[ours, theirs], &all(), Some(&registered)), vectored);
        assert_eq!(opcodes(&[ours, ours], &all(), None), vectored);
    }

    #[test]
    fn what_the_kernel_does_not_know_is_done_plainly() {
        let arena = arena();
        let (registered, ranges) = (Registered::pretended(&arena), [range(&arena, 0), range(&arena, 8192)]);
        let none = Features::default();
        assert_eq!(opcodes(&ranges[..1], &none, Some(&registered)), [opcode::Read::CODE, opcode::Write::CODE]);
        assert_eq!(opcodes(&ranges, &none, Some(&registered)), [opcode::Readv::CODE, opcode::Writev::CODE]);
    }

    #[test]
    fn a_range_longer_than_the_kernel_moves_is_cut_and_not_wrapped_round() {
        let range = |iov_len| libc::iovec { iov_base: std::ptr::null_mut(), iov_len };
        assert_eq!(bytes_of(range(1 << 32)) as usize, TRANSFER_BYTES_MAX);
        assert_eq!(bytes_of(range(4096)), 4096);
    }
}
