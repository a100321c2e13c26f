//! The wire: how messages stand in bytes. `docs/protocol.md` has the same, byte by byte.
//!
//! A **message** is a head and bodies. The head is a prefix of [`PREFIX_BYTES`] and frames; bodies follow it on the
//! stream in the order of the data frames that announce them. All numbers are little endian.

mod cursor;
mod frame;
mod head;

pub use frame::{Backlog, Block, Frame, FrameKind, Open, Placement, Resume, Slot};
pub use head::{Frames, Head, HeadBuilder, Prefix, crc32c};

/// The bytes of a head before its first frame.
pub const PREFIX_BYTES: usize = 48;
/// What every head begins with.
pub const MAGIC: [u8; 4] = *b"SLU1";
/// The longest text of a reason or failure; longer ones are cut when encoded.
pub const TEXT_BYTES_MAX: usize = 512;
/// The longest payload of an event.
pub const EVENT_BYTES_MAX: usize = 4096;
/// The most slots that stand in one frame.
pub const SLOTS_MAX: usize = 64;

/// Why bytes are not a head, or a head not frames. The link closes: nothing behind them can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a Sluice head at all.
    #[error("wrong magic {found:02x?}: the peer does not speak Sluice's protocol at this place")]
    Magic {
        /// The four bytes that stood there.
        found: [u8; 4],
    },
    /// The bytes of the head were altered on the way.
    #[error("checksum of the {part} is {found:08x}, the head says {expected:08x}: corrupted on the way")]
    Checksum {
        /// `prefix` or `frames`.
        part: &'static str,
        /// CRC32C of what arrived.
        found: u32,
        /// CRC32C that the head carries.
        expected: u32,
    },
    /// A length is over what both sides agreed on.
    #[error("{what} of {found} is over the agreed {limit}")]
    Limit {
        /// Which length.
        what: &'static str,
        /// What the head says.
        found: u64,
        /// What was agreed.
        limit: u64,
    },
    /// A frame ends behind the head's end.
    #[error("frame {index} is cut off")]
    Truncated {
        /// Which frame of the head, from 0.
        index: u16,
    },
    /// A kind of frame that this version does not know.
    #[error("frame {index} is of unknown kind {kind}")]
    UnknownKind {
        /// Which frame of the head, from 0.
        index: u16,
        /// The kind's number.
        kind: u8,
    },
    /// A field has a value that no sender may write.
    #[error("frame {index}: {what} is not valid")]
    Field {
        /// Which frame of the head, from 0.
        index: u16,
        /// The field.
        what: &'static str,
    },
    /// Bytes behind the last frame.
    #[error("{bytes} bytes behind the last frame")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The bodies announced by the frames are not those that the prefix promises.
    #[error("frames announce {frames} body bytes, the prefix {prefix}")]
    Bodies {
        /// Sum over the frames.
        frames: u64,
        /// The prefix' figure.
        prefix: u32,
    },
}
