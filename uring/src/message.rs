//! What the kernel reads of an operation besides its bytes: the message head, the iovecs, the address.

use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use io_uring::{opcode, squeue, types};

use crate::file::{self, Transfer};
use crate::operation::{Incoming, Operation, Outgoing, PIECES_MAX};
use crate::probe::Features;
use crate::registered::Registered;

// IORING_SEND_ZC_REPORT_USAGE of linux/io_uring.h: the notification says whether the kernel copied. The crate
// `io-uring` does not export it.
pub(crate) const REPORT_USAGE: u16 = 1 << 3;

/// One slot's memory for the kernel to read, kept from operation to operation.
///
/// Bound: 16 bytes for each of at most [`PIECES_MAX`] pieces, and about 150.
pub(crate) struct Message {
    head: libc::msghdr,
    iovecs: Vec<libc::iovec>,
    address: Address,
}

enum Address {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl Message {
    pub(crate) fn new() -> Message {
        // SAFETY: msghdr is plain old data: null pointers and zero lengths are a valid, empty message.
        let head = unsafe { mem::zeroed() };
        Message { head, iovecs: Vec::new(), address: Address::of("0.0.0.0:0".parse().expect("a literal address")) }
    }

    /// The submission entry for the operation. It points into this message and into what the operation
    /// holds: neither may be moved out of, changed or freed until the final completion.
    pub(crate) fn prepare(
        &mut self,
        operation: &mut Operation,
        features: &Features,
        registered: Option<&Registered>,
    ) -> squeue::Entry {
        match operation {
            Operation::Accept { listener } => {
                opcode::Accept::new(descriptor(listener), ptr::null_mut(), ptr::null_mut())
                    .flags(libc::SOCK_CLOEXEC)
                    .build()
            }
            Operation::Connect { socket, address } => {
                self.address = Address::of(*address);
                opcode::Connect::new(descriptor(socket), self.address.as_ptr(), self.address.len()).build()
            }
            Operation::Send { socket, pieces, skip, zero_copy } => {
                self.gather(ranges_to_read(pieces), *skip);
                // WAITALL: the kernel goes on after a short send, instead of us.
                let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
                if *zero_copy && features.sendmsg_zc {
                    let send = opcode::SendMsgZc::new(descriptor(socket), &raw const self.head);
                    return send.flags(flags).ioprio(REPORT_USAGE).build();
                }
                opcode::SendMsg::new(descriptor(socket), &raw const self.head).flags(flags).build()
            }
            Operation::Receive { socket, pieces, skip, wait_all } => {
                self.gather(ranges_to_fill(pieces), *skip);
                let flags = if *wait_all { libc::MSG_WAITALL as u32 } else { 0 };
                opcode::RecvMsg::new(descriptor(socket), &raw mut self.head).flags(flags).build()
            }
            Operation::Read { file, offset, pieces, skip } => {
                self.gather(ranges_to_fill(pieces), *skip);
                self.transfer(file, *offset + *skip as u64, features, registered).read()
            }
            Operation::Write { file, offset, pieces, skip } => {
                self.gather(ranges_to_read(pieces), *skip);
                self.transfer(file, *offset + *skip as u64, features, registered).write()
            }
            Operation::Sync { file, data_only } => file::sync(descriptor(file), *data_only),
            Operation::Watch { file } => opcode::PollAdd::new(descriptor(file), libc::POLLIN as u32).build(),
        }
    }

    /// What was gathered, to or from a place in a file.
    fn transfer<'a>(
        &'a self,
        file: &OwnedFd,
        offset: u64,
        features: &'a Features,
        registered: Option<&'a Registered>,
    ) -> Transfer<'a> {
        Transfer { file: descriptor(file), offset, ranges: &self.iovecs, features, registered }
    }

    /// Points the message head at the pieces, from `skip` bytes on.
    fn gather(&mut self, pieces: impl Iterator<Item = (*mut u8, usize)>, mut skip: usize) {
        self.iovecs.clear();
        for (start, bytes) in pieces {
            if skip >= bytes {
                skip -= bytes;
                continue;
            }
            self.iovecs.push(libc::iovec { iov_base: start.wrapping_add(skip).cast(), iov_len: bytes - skip });
            skip = 0;
            if self.iovecs.len() == PIECES_MAX {
                break;
            }
        }
        self.head.msg_iov = self.iovecs.as_mut_ptr();
        self.head.msg_iovlen = self.iovecs.len() as _;
    }
}

fn ranges_to_read(pieces: &[Outgoing]) -> impl Iterator<Item = (*mut u8, usize)> {
    pieces.iter().map(Outgoing::as_slice).map(|slice| (slice.as_ptr().cast_mut(), slice.len()))
}

fn ranges_to_fill(pieces: &mut [Incoming]) -> impl Iterator<Item = (*mut u8, usize)> {
    pieces.iter_mut().map(Incoming::as_mut_slice).map(|slice| (slice.as_mut_ptr(), slice.len()))
}

fn descriptor(file: &OwnedFd) -> types::Fd {
    types::Fd(file.as_raw_fd())
}

impl Address {
    fn of(address: SocketAddr) -> Address {
        match address {
            SocketAddr::V4(v4) => Address::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => Address::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as _,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo().to_be(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    fn as_ptr(&self) -> *const libc::sockaddr {
        match self {
            Address::V4(v4) => ptr::from_ref(v4).cast(),
            Address::V6(v6) => ptr::from_ref(v6).cast(),
        }
    }

    fn len(&self) -> libc::socklen_t {
        let bytes = match self {
            Address::V4(v4) => mem::size_of_val(v4),
            Address::V6(v6) => mem::size_of_val(v6),
        };
        bytes as libc::socklen_t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(pieces: &mut [Vec<u8>], skip: usize) -> Vec<usize> {
        let mut message = Message::new();
        message.gather(pieces.iter_mut().map(|piece| (piece.as_mut_ptr(), piece.len())), skip);
        message.iovecs.iter().map(|iovec| iovec.iov_len).collect()
    }

    #[test]
    fn skipped_bytes_leave_whole_pieces_and_the_start_of_one_behind() {
        let mut pieces = [vec![0; 3], vec![0; 5], vec![0; 7]];
        assert_eq!(lengths(&mut pieces, 0), [3, 5, 7]);
        assert_eq!(lengths(&mut pieces, 3), [5, 7]);
        assert_eq!(lengths(&mut pieces, 4), [4, 7]);
        assert_eq!(lengths(&mut pieces, 14), [1]);
    }

    #[test]
    fn empty_pieces_cost_no_iovec() {
        assert_eq!(lengths(&mut [vec![], vec![0; 2], vec![]], 0), [2]);
    }

    #[test]
    fn a_submission_takes_no_more_pieces_than_the_kernel_does() {
        let mut pieces = vec![vec![0; 1]; PIECES_MAX + 5];
        assert_eq!(lengths(&mut pieces, 0).len(), PIECES_MAX);
        assert_eq!(lengths(&mut pieces, 7).len(), PIECES_MAX - 2);
    }
}
