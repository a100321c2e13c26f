//! The envelope of what a master stores: a header of 24 bytes and a payload, little endian.
//!
//! | at | bytes | is |
//! |---:|---:|---|
//! | 0 | 4 | magic: `SlMl` in front of events, `SlMs` in front of a snapshot |
//! | 4 | 4 | version of the payload |
//! | 8 | 8 | length of the payload |
//! | 16 | 4 | CRC-32C of the payload |
//! | 20 | 4 | CRC-32C of the 20 bytes before |
//!
//! The header stays as it is in all versions, so that another version is told from damage. It has a checksum of its own
//! because a length that is wrong would otherwise pass for a log that ends too early.

use crate::block::checksum;

/// The version of events and snapshots that this engine writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;

pub(super) const HEADER_BYTES: usize = 24;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Magic([u8; 4]);

impl Magic {
    pub(super) const LOG: Self = Self(*b"SlMl");
    pub(super) const SNAPSHOT: Self = Self(*b"SlMs");
}

/// Room for the header; the payload is appended to it.
pub(super) fn open() -> Vec<u8> {
    vec![0; HEADER_BYTES]
}

/// Writes the header in front of the payload.
pub(super) fn close(magic: Magic, frame: &mut [u8]) {
    let (header, payload) = frame.split_at_mut(HEADER_BYTES);
    header[..4].copy_from_slice(&magic.0);
    header[4..8].copy_from_slice(&VERSION.to_le_bytes());
    header[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    header[16..20].copy_from_slice(&checksum(payload).to_le_bytes());
    let own = checksum(&header[..20]);
    header[20..].copy_from_slice(&own.to_le_bytes());
}

/// What lies at some place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// The end.
    End,
    /// A frame, and where it ends.
    Whole { payload: &'a [u8], end: usize },
    /// A frame that another version wrote.
    OtherVersion(u32),
    /// No frame, or one that is cut off or has other bytes than were written. `next`: where another could begin.
    Damaged { problem: &'static str, next: usize },
}

/// Looks at what lies at `at`.
pub(super) fn at(bytes: &[u8], at: usize, magic: Magic) -> Frame<'_> {
    let rest = &bytes[at..];
    if rest.is_empty() {
        return Frame::End;
    }
    let Some(header) = rest.first_chunk().and_then(|header| Header::read(header, magic)) else {
        return Frame::Damaged { problem: "no header begins here", next: at + 1 };
    };
    if header.version != VERSION {
        return Frame::OtherVersion(header.version);
    }
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    let Some(payload) = rest[HEADER_BYTES..].get(..length) else {
        return Frame::Damaged { problem: "it is cut off", next: bytes.len() };
    };
    let end = at + HEADER_BYTES + length;
    if checksum(payload) != header.checksum {
        return Frame::Damaged { problem: "its checksum does not fit its bytes", next: end };
    }
    Frame::Whole { payload, end }
}

/// Whether a frame begins anywhere from `from` on.
pub(super) fn begins_from(bytes: &[u8], from: usize, magic: Magic) -> bool {
    let mut places = bytes[from..].windows(HEADER_BYTES);
    places.any(|place| place.first_chunk().is_some_and(|header| Header::read(header, magic).is_some()))
}

struct Header {
    version: u32,
    length: u64,
    checksum: u32,
}

impl Header {
    fn read(bytes: &[u8; HEADER_BYTES], magic: Magic) -> Option<Self> {
        let [m0, m1, m2, m3, v0, v1, v2, v3, l0, l1, l2, l3, l4, l5, l6, l7, c0, c1, c2, c3, own @ ..] = *bytes;
        let whole = [m0, m1, m2, m3] == magic.0 && checksum(&bytes[..20]) == u32::from_le_bytes(own);
        whole.then(|| Self {
            version: u32::from_le_bytes([v0, v1, v2, v3]),
            length: u64::from_le_bytes([l0, l1, l2, l3, l4, l5, l6, l7]),
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }
}
