//! Numbers at fixed places of a piece whose length is checked, and the way in that all pieces share: magic, checksum.

use super::{FormatError, Piece, Problem, checksum};

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, offset))
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, offset))
}

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, offset))
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    *bytes[offset..].first_chunk().expect("the caller checked the piece's length")
}

pub(super) fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    bytes[offset..offset + N].copy_from_slice(&value);
}

/// Writes magic and checksum in front of a piece whose bytes from 8 on are final.
pub(super) fn seal(bytes: &mut [u8], magic: [u8; 4]) {
    let crc = checksum(&bytes[8..]);
    put(bytes, 0, magic);
    put(bytes, 4, crc.to_le_bytes());
}

pub(super) fn check_length(piece: Piece, bytes: &[u8], expected: u64) -> Result<(), FormatError> {
    let found = bytes.len() as u64;
    if found == expected {
        return Ok(());
    }
    Err(FormatError { offset: found.min(expected), piece, problem: Problem::Length { found, expected } })
}

/// Checks what [`seal`] wrote. The piece has at least eight bytes.
pub(super) fn check_seal(piece: Piece, bytes: &[u8], magic: [u8; 4]) -> Result<(), FormatError> {
    let found = array_at(bytes, 0);
    if found != magic {
        return Err(FormatError { offset: 0, piece, problem: Problem::Magic { found, expected: magic } });
    }
    check_checksum(piece, 4, u32_at(bytes, 4), &bytes[8..])
}

pub(super) fn check_checksum(piece: Piece, offset: u64, expected: u32, bytes: &[u8]) -> Result<(), FormatError> {
    let found = checksum(bytes);
    if found == expected {
        return Ok(());
    }
    Err(FormatError { offset, piece, problem: Problem::Checksum { found, expected } })
}

/// An error about a field's value.
pub(super) fn wrong(
    piece: Piece,
    offset: usize,
    field: &'static str,
    found: impl Into<u64>,
    expected: impl Into<String>,
) -> FormatError {
    let problem = Problem::Field { field, found: found.into(), expected: expected.into().into_boxed_str() };
    FormatError { offset: offset as u64, piece, problem }
}
