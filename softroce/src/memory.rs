//! Memory that packets are written to and read from, behind keys.

use std::ops::Deref;

use thiserror::Error;

pub use crate::packet::Key;

/// What an access is for. A key gives some of these rights and not others (IBTA vol. 1, 10.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// A SEND or WRITE of this side takes bytes out. Every region allows it.
    LocalRead,
    /// A receive or READ of this side puts bytes in.
    LocalWrite,
    /// The peer's READ takes bytes out.
    RemoteRead,
    /// The peer's WRITE puts bytes in.
    RemoteWrite,
}

/// Why memory was not touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum AccessError {
    /// No region has this key: it never was one, it is of another protection domain, or the region was deregistered.
    #[error("no region has this key")]
    Key,
    /// The region does not allow this.
    #[error("the region does not allow this access")]
    Denied,
    /// Not all of the range is in the region.
    #[error("the range is not within the region")]
    Bounds,
}

/// The memory of one protection domain, as a queue pair sees it. Whoever has memory implements this.
///
/// A call that fails has touched nothing. A queue pair checks the range of a whole message before its first byte, and
/// every later call checks again: a region may be deregistered between two packets.
pub trait RemoteMemory {
    /// Whether `key` allows `access` to all of the range. A range of no bytes is never asked for.
    ///
    /// # Errors
    ///
    /// If it does not.
    fn check(&self, key: Key, address: u64, length: u64, access: Access) -> Result<(), AccessError>;

    /// Appends `length` bytes from `address` to `buffer`.
    ///
    /// # Errors
    ///
    /// If `key` does not allow `access` to all of them; `buffer` is then as it was.
    fn read(
        &self,
        key: Key,
        address: u64,
        length: usize,
        access: Access,
        buffer: &mut Vec<u8>,
    ) -> Result<(), AccessError>;

    /// Puts `bytes` to `address`.
    ///
    /// # Errors
    ///
    /// If `key` does not allow `access` to the whole range; no byte is then written.
    fn write(&self, key: Key, address: u64, bytes: &[u8], access: Access) -> Result<(), AccessError>;
}

/// Shared memory is memory.
impl<P: Deref<Target: RemoteMemory>> RemoteMemory for P {
    fn check(&self, key: Key, address: u64, length: u64, access: Access) -> Result<(), AccessError> {
        (**self).check(key, address, length, access)
    }

    fn read(
        &self,
        key: Key,
        address: u64,
        length: usize,
        access: Access,
        buffer: &mut Vec<u8>,
    ) -> Result<(), AccessError> {
        (**self).read(key, address, length, access, buffer)
    }

    fn write(&self, key: Key, address: u64, bytes: &[u8], access: Access) -> Result<(), AccessError> {
        (**self).write(key, address, bytes, access)
    }
}

/// A piece of local memory; a work request has a list of them (verbs call it a scatter/gather element).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The address of the first byte.
    pub address: u64,
    /// How many bytes.
    pub length: u32,
    /// The key of the region that it lies in.
    pub key: Key,
}

/// The bytes of all segments.
pub(crate) fn length_of(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.length)).sum()
}

/// The parts of `segments` that make up `length` bytes from `offset`.
fn parts(segments: &[Segment], offset: u64, length: usize) -> impl Iterator<Item = (Key, u64, usize)> {
    let (mut skip, mut left) = (offset, length);
    segments.iter().filter_map(move |segment| {
        let bytes = u64::from(segment.length);
        if skip >= bytes {
            skip -= bytes;
            return None;
        }
        let part = usize::try_from(bytes - skip).unwrap_or(usize::MAX).min(left);
        let address = segment.address.wrapping_add(skip);
        (skip, left) = (0, left - part);
        (part > 0).then_some((segment.key, address, part))
    })
}

/// Appends `length` bytes from `offset` of the segments to `buffer`.
pub(crate) fn gather<M: RemoteMemory>(
    memory: &M,
    segments: &[Segment],
    offset: u64,
    length: usize,
    buffer: &mut Vec<u8>,
) -> Result<(), AccessError> {
    for (key, address, part) in parts(segments, offset, length) {
        memory.read(key, address, part, Access::LocalRead, buffer)?;
    }
    Ok(())
}

/// Puts `bytes` to `offset` of the segments.
pub(crate) fn scatter<M: RemoteMemory>(
    memory: &M,
    segments: &[Segment],
    offset: u64,
    mut bytes: &[u8],
) -> Result<(), AccessError> {
    for (key, address, part) in parts(segments, offset, bytes.len()) {
        let (now, later) = bytes.split_at(part);
        memory.write(key, address, now, Access::LocalWrite)?;
        bytes = later;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_across_segments_of_all_lengths() {
        let segment = |address, length| Segment { address, length, key: Key(1) };
        let segments = [segment(100, 3), segment(500, 0), segment(200, 4), segment(300, 9)];
        let of = |offset, length| parts(&segments, offset, length).map(|(_, a, l)| (a, l)).collect::<Vec<_>>();
        assert_eq!(of(0, 16), [(100, 3), (200, 4), (300, 9)]);
        assert_eq!(of(2, 2), [(102, 1), (200, 1)]);
        assert_eq!(of(3, 4), [(200, 4)]);
        assert_eq!(of(16, 0), []);
    }
}
