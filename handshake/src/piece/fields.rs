//! Numbers, one behind the other.

use crate::error::HandshakeError;

/// Reads numbers off a piece; what is missing makes it corrupt.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], HandshakeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(HandshakeError::Corrupt { what: "cut off" })?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], HandshakeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, HandshakeError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, HandshakeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, HandshakeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, HandshakeError> {
        self.array().map(u64::from_le_bytes)
    }
}
