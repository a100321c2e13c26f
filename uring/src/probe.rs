//! May we have a ring on this host, and what does its kernel offer? Each feature is asked for by itself.

use std::fmt;
use std::fs;
use std::io;
use std::ptr;

use io_uring::{IoUring, Parameters, Probe, Submitter, cqueue, opcode, types};

use crate::message::REPORT_USAGE;
use crate::table::Key;

/// What the kernel gave us. Read from the ring itself, never guessed from a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// Set-up flags that took.
    pub setup: Setup,
    /// A wait takes a timeout (5.11). Always there: a ring without it is refused.
    pub ext_arg: bool,
    /// A wait can batch completions for a bounded time (6.12).
    pub min_wait: bool,
    /// A wait need not count as waiting for a disk (6.15).
    pub no_iowait: bool,
    /// `send`. This and the six after it are always there: a ring without them is refused.
    pub send: bool,
    /// `sendmsg`.
    pub sendmsg: bool,
    /// `recvmsg`.
    pub recvmsg: bool,
    /// `accept`.
    pub accept: bool,
    /// `connect`.
    pub connect: bool,
    /// Cancelling by an operation.
    pub async_cancel: bool,
    /// `poll_add`.
    pub poll_add: bool,
    /// Zero-copy `send` (6.0).
    pub send_zc: bool,
    /// Zero-copy `sendmsg` (6.1) with a report whether it was one (6.2).
    pub sendmsg_zc: bool,
    /// `read` at an offset. This and the four after it are what [`Features::files`] asks for.
    pub read: bool,
    /// `write` at an offset.
    pub write: bool,
    /// `readv`.
    pub readv: bool,
    /// `writev`.
    pub writev: bool,
    /// `fsync`.
    pub fsync: bool,
    /// `read` into a registered buffer.
    pub read_fixed: bool,
    /// `write` from a registered buffer.
    pub write_fixed: bool,
    /// `readv` into a registered buffer (6.15).
    pub readv_fixed: bool,
    /// `writev` from a registered buffer (6.15).
    pub writev_fixed: bool,
    /// Buffers can be registered.
    pub fixed_buffers: bool,
}

/// The set-up flags of a ring, the youngest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// One indirection less (6.6).
    pub no_sqarray: bool,
    /// Completions are processed when we ask for them, not whenever they interrupt (6.1).
    pub defer_taskrun: bool,
    /// Only this thread submits (6.0).
    pub single_issuer: bool,
    /// The ring says, without a system call, that completions wait to be processed (5.19).
    pub taskrun_flag: bool,
    /// A refused entry does not hold up those behind it (5.18).
    pub submit_all: bool,
}

/// How a ring learns that a device is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is told.
    Interrupted,
    /// It asks: `IORING_SETUP_IOPOLL`.
    Polled,
}

impl Setup {
    pub(crate) const EVERYTHING: Setup =
        Setup { no_sqarray: true, defer_taskrun: true, single_issuer: true, taskrun_flag: true, submit_all: true };

    /// Without the youngest flag; none if none is left.
    fn without_youngest(mut self) -> Option<Setup> {
        let flags = [
            &mut self.no_sqarray,
            &mut self.defer_taskrun,
            &mut self.single_issuer,
            &mut self.taskrun_flag,
            &mut self.submit_all,
        ];
        *flags.into_iter().find(|flag| **flag)? = false;
        Some(self)
    }

    /// Sets up a ring with as many of the flags as the kernel takes: it refuses those it does not know.
    pub(crate) fn negotiate<R>(mut build: impl FnMut(Setup) -> io::Result<R>) -> io::Result<(R, Setup)> {
        let mut setup = Setup::EVERYTHING;
        loop {
            match build(setup) {
                Ok(ring) => return Ok((ring, setup)),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    setup = setup.without_youngest().ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn build(self, entries: u32, completions: u32, kind: Kind) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completions);
        if kind == Kind::Polled {
            builder.setup_iopoll();
        }
        if self.no_sqarray {
            builder.setup_no_sqarray();
        }
        if self.defer_taskrun {
            builder.setup_defer_taskrun();
        }
        if self.single_issuer {
            builder.setup_single_issuer();
        }
        if self.taskrun_flag {
            builder.setup_taskrun_flag();
        }
        if self.taskrun_flag && !self.defer_taskrun {
            // io_uring_setup(2): TASKRUN_FLAG is valid only with one of the two.
            builder.setup_coop_taskrun();
        }
        if self.submit_all {
            builder.setup_submit_all();
        }
        builder.build(entries)
    }
}

impl Features {
    /// Asks a fresh ring; refuses one that lacks what we cannot do without.
    pub(crate) fn of(ring: &mut IoUring, setup: Setup) -> Result<Features, Refusal> {
        let mut opcodes = Probe::new();
        ring.submitter().register_probe(&mut opcodes).map_err(Refusal::from_setup_error)?;
        let sendmsg_zc = opcodes.is_supported(opcode::SendMsgZc::CODE) && reports_usage(ring);
        let fixed_buffers = registers_buffers(&ring.submitter());
        let parameters = ring.params();
        let features = Features {
            setup,
            ext_arg: parameters.is_feature_ext_arg(),
            min_wait: parameters.is_feature_min_timeout(),
            no_iowait: parameters.is_feature_no_iowait(),
            send: opcodes.is_supported(opcode::Send::CODE),
            sendmsg: opcodes.is_supported(opcode::SendMsg::CODE),
            recvmsg: opcodes.is_supported(opcode::RecvMsg::CODE),
            accept: opcodes.is_supported(opcode::Accept::CODE),
            connect: opcodes.is_supported(opcode::Connect::CODE),
            async_cancel: opcodes.is_supported(opcode::AsyncCancel::CODE),
            poll_add: opcodes.is_supported(opcode::PollAdd::CODE),
            send_zc: opcodes.is_supported(opcode::SendZc::CODE),
            sendmsg_zc,
            read: opcodes.is_supported(opcode::Read::CODE),
            write: opcodes.is_supported(opcode::Write::CODE),
            readv: opcodes.is_supported(opcode::Readv::CODE),
            writev: opcodes.is_supported(opcode::Writev::CODE),
            fsync: opcodes.is_supported(opcode::Fsync::CODE),
            read_fixed: opcodes.is_supported(opcode::ReadFixed::CODE),
            write_fixed: opcodes.is_supported(opcode::WriteFixed::CODE),
            readv_fixed: opcodes.is_supported(opcode::ReadvFixed::CODE),
            writev_fixed: opcodes.is_supported(opcode::WritevFixed::CODE),
            fixed_buffers,
        };
        match features.missing(parameters, &ring.submitter()) {
            Some(missing) => Err(Refusal::TooOld { missing, kernel: kernel_release() }),
            None => Ok(features),
        }
    }

    /// Whether a ring can read, write and sync files, be it without fixed buffers. A ring for sockets need not.
    pub fn files(&self) -> bool {
        self.read && self.write && self.readv && self.writev && self.fsync
    }

    fn missing(&self, parameters: &Parameters, submitter: &Submitter<'_>) -> Option<&'static str> {
        let needed = [
            (self.ext_arg, "a timeout for waits (ext_arg, 5.11)"),
            (parameters.is_feature_nodrop(), "completions that are never dropped (nodrop, 5.5)"),
            (parameters.is_feature_submit_stable(), "submissions read once (submit_stable, 5.5)"),
            (parameters.is_feature_fast_poll(), "sockets without kernel threads (fast_poll, 5.7)"),
            (self.send, "the send operation"),
            (self.sendmsg, "the sendmsg operation"),
            (self.recvmsg, "the recvmsg operation"),
            (self.accept, "the accept operation"),
            (self.connect, "the connect operation"),
            (self.async_cancel, "the cancel operation"),
            (self.poll_add, "the poll operation"),
            (cancels_synchronously(submitter), "the synchronous cancel of everything (6.0)"),
        ];
        needed.into_iter().find_map(|(there, what)| (!there).then_some(what))
    }
}

/// A ring without it could not be dropped: see `Ring::quiesce`. The fresh ring has nothing to cancel.
fn cancels_synchronously(submitter: &Submitter<'_>) -> bool {
    let cancelled = submitter.register_sync_cancel(Some(types::Timespec::new()), types::CancelBuilder::any());
    cancelled.err().is_none_or(|error| error.raw_os_error() == Some(libc::ENOENT))
}

/// Whether buffers may be registered: a table of one empty place is, which pins nothing, and is taken back.
fn registers_buffers(submitter: &Submitter<'_>) -> bool {
    submitter.register_buffers_sparse(1).and_then(|()| submitter.unregister_buffers()).is_ok()
}

/// Whether a zero-copy send may ask for the usage report: no list says so, hence one that must fail is tried.
/// A kernel that does not know the flag says `EINVAL` before it looks at the rest.
fn reports_usage(ring: &mut IoUring) -> bool {
    let entry = opcode::SendMsgZc::new(types::Fd(-1), ptr::null()).ioprio(REPORT_USAGE).build();
    // SAFETY: there is no such descriptor and the message is a null pointer, which the kernel checks: the
    // entry makes it touch none of our memory.
    let queued = unsafe { ring.submission().push(&entry.user_data(Key::NOBODY.0)) };
    let mut known = false;
    // The last completion has no F_MORE. One left behind would make the fresh ring poll readable.
    let mut more = queued.is_ok();
    while more {
        if ring.submit_and_wait(1).is_err() {
            return false;
        }
        for completion in ring.completion() {
            known |= !cqueue::notif(completion.flags()) && completion.result() != -libc::EINVAL;
            more = cqueue::more(completion.flags());
        }
    }
    known
}

impl fmt::Display for Features {
    /// The optional features that are there, for the one log line at start.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = [
            (self.setup.no_sqarray, "no_sqarray"),
            (self.setup.defer_taskrun, "defer_taskrun"),
            (self.setup.single_issuer, "single_issuer"),
            (self.setup.taskrun_flag, "taskrun_flag"),
            (self.setup.submit_all, "submit_all"),
            (self.min_wait, "min_wait"),
            (self.no_iowait, "no_iowait"),
            (self.send_zc, "send_zc"),
            (self.sendmsg_zc, "sendmsg_zc"),
            (self.files(), "files"),
            (self.fixed_buffers, "fixed_buffers"),
            (self.read_fixed, "read_fixed"),
            (self.write_fixed, "write_fixed"),
            (self.readv_fixed, "readv_fixed"),
            (self.writev_fixed, "writev_fixed"),
        ];
        let names: Vec<&str> = optional.into_iter().filter_map(|(there, name)| there.then_some(name)).collect();
        f.write_str(&names.join(" "))
    }
}

/// Why this host gives us no ring, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// `ENOSYS`.
    #[error(
        "the kernel has no io_uring, or a seccomp filter hides it: use a kernel with CONFIG_IO_URING, or a \
         seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Absent,
    /// `EPERM` with the sysctl set.
    #[error(
        "the sysctl kernel.io_uring_disabled is {level}: set it to 0, or to 1 and put the process's group \
         into kernel.io_uring_group"
    )]
    Disabled {
        /// 1: only for privileged processes and one group; 2: for everybody.
        level: u8,
    },
    /// `EPERM` or `EACCES` without the sysctl.
    #[error(
        "a seccomp filter or a security module forbids io_uring (container defaults do): allow \
         io_uring_setup, io_uring_enter and io_uring_register in the profile"
    )]
    Forbidden,
    /// The kernel has io_uring, but not all we need.
    #[error("kernel {kernel} is too old, its io_uring lacks {missing}: use 6.1 or later")]
    TooOld {
        /// What is not there.
        missing: &'static str,
        /// As `uname -r` gives it.
        kernel: String,
    },
    /// `ENOMEM`.
    #[error("no memory for a ring: raise the limit on locked memory (ulimit -l) or the container's memory limit")]
    Memory,
    /// `EMFILE` or `ENFILE`.
    #[error("no descriptor left for a ring: raise the limit on open files (ulimit -n)")]
    Descriptors,
    /// Anything else.
    #[error("io_uring cannot be set up")]
    Other(#[source] io::Error),
}

impl Refusal {
    pub(crate) fn from_setup_error(error: io::Error) -> Refusal {
        Refusal::from_error(error, io_uring_disabled())
    }

    fn from_error(error: io::Error, disabled: Option<u8>) -> Refusal {
        match (error.raw_os_error(), disabled) {
            (Some(libc::ENOSYS), _) => Refusal::Absent,
            (Some(libc::EPERM), Some(level @ 1..)) => Refusal::Disabled { level },
            (Some(libc::EPERM | libc::EACCES), _) => Refusal::Forbidden,
            (Some(libc::ENOMEM), _) => Refusal::Memory,
            (Some(libc::EMFILE | libc::ENFILE), _) => Refusal::Descriptors,
            _ => Refusal::Other(error),
        }
    }
}

/// The sysctl, where the kernel has it (6.6).
fn io_uring_disabled() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

fn kernel_release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "of unknown release".into());
    release.trim().to_owned()
}

/// Sets up a small ring, looks at it and closes it again.
pub fn probe() -> Result<Features, Refusal> {
    let (mut ring, setup) =
        Setup::negotiate(|setup| setup.build(4, 8, Kind::Interrupted)).map_err(Refusal::from_setup_error)?;
    Features::of(&mut ring, setup)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kernel that knows only some flags leaves us.
    fn negotiated(knows: impl Fn(&Setup) -> bool) -> Option<Setup> {
        let build = |setup: Setup| {
            if knows(&setup) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
        };
        Setup::negotiate(build).ok().map(|((), setup)| setup)
    }

    #[test]
    fn a_new_kernel_takes_every_flag() {
        assert_eq!(negotiated(|_| true), Some(Setup::EVERYTHING));
    }

    #[test]
    fn the_oldest_supported_kernel_loses_only_what_it_does_not_know() {
        let of_6_1 = Setup { no_sqarray: false, ..Setup::EVERYTHING };
        assert_eq!(negotiated(|setup| !setup.no_sqarray), Some(of_6_1));
    }

    #[test]
    fn flags_are_dropped_until_none_is_left() {
        assert_eq!(negotiated(|setup| *setup == Setup::default()), Some(Setup::default()));
        assert_eq!(negotiated(|_| false), None);
    }

    #[test]
    fn another_error_is_not_taken_for_an_unknown_flag() {
        let mut asked = 0;
        let refused = Setup::negotiate(|_| {
            asked += 1;
            Err::<(), _>(io::Error::from_raw_os_error(libc::EPERM))
        });
        assert_eq!((asked, refused.is_err()), (1, true));
    }

    #[test]
    fn a_refusal_says_who_refuses() {
        let refusal = |errno, disabled| Refusal::from_error(io::Error::from_raw_os_error(errno), disabled);
        assert!(matches!(refusal(libc::ENOSYS, None), Refusal::Absent));
        assert!(matches!(refusal(libc::EPERM, Some(2)), Refusal::Disabled { level: 2 }));
        assert!(matches!(refusal(libc::EPERM, Some(0)), Refusal::Forbidden));
        assert!(matches!(refusal(libc::EPERM, None), Refusal::Forbidden));
        assert!(matches!(refusal(libc::ENOMEM, Some(0)), Refusal::Memory));
        assert!(matches!(refusal(libc::EMFILE, Some(0)), Refusal::Descriptors));
        assert!(matches!(refusal(libc::EIO, Some(0)), Refusal::Other(_)));
    }
}
