//! The handshake's bytes: `Hello`, `Ready` and `Refused`. docs/protocol.md has the same, field by field.
//!
//! The first [`PREFIX_BYTES`] bytes, and the checksum over the whole, stay as they are in every version to come: two
//! peers of any versions can read each other's range of versions and refusal.

mod fields;
mod hello;

use std::ops::RangeInclusive;

use sluice_protocol::wire::crc32c;

use crate::error::HandshakeError;
use crate::refusal::RefusalCode;
use crate::trust::Proof;
use fields::Fields;
pub(crate) use hello::{Challenge, Hello, covered};

/// What every piece of a handshake begins with.
pub const MAGIC: [u8; 4] = *b"SLUH";
/// The bytes of a piece that are the same in every version.
pub const PREFIX_BYTES: usize = 16;
/// The longest piece.
pub const PIECE_BYTES_MAX: usize = 512;
/// The longest text of a refusal; longer ones are cut.
const TEXT_BYTES_MAX: usize = 400;
/// What a TLS client begins with: a record of kind 22, and the first byte of all its versions.
const TLS_HELLO: [u8; 2] = [22, 3];
/// Where the length is, and where the checksum begins to cover.
const LENGTH_OFFSET: usize = 8;

const HELLO: u8 = 1;
const REFUSED: u8 = 2;
const READY: u8 = 3;

/// Which part a side has in the set-up of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the connection; says the first hello.
    Connecting,
    /// Answers.
    Accepting,
}

impl Role {
    fn number(self) -> u8 {
        match self {
            Role::Connecting => 1,
            Role::Accepting => 2,
        }
    }
}

/// What a piece says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// Undecoded: whether it can be read depends on the versions.
    Hello(&'a [u8]),
    Refused(RefusalCode, String),
    /// With the connecting side's proof, if it is long enough to have one.
    Ready(Option<Proof>),
}

/// A whole piece whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) role: u8,
    pub(crate) versions: RangeInclusive<u16>,
    pub(crate) content: Content<'a>,
}

/// How many bytes the piece that begins with `bytes` has; less than a prefix says only that it has one. What cannot be
/// a piece is refused at its first wrong byte.
pub(crate) fn length(bytes: &[u8]) -> Result<usize, HandshakeError> {
    match bytes {
        [first, second, ..] if [*first, *second] == TLS_HELLO => return Err(HandshakeError::NoTls),
        [first] if *first == TLS_HELLO[0] => return Ok(PREFIX_BYTES),
        _ => {}
    }
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        let shown = &bytes[..bytes.len().min(PREFIX_BYTES)];
        return Err(HandshakeError::NotSluice { found: shown.escape_ascii().to_string() });
    }
    let Some(length) = bytes.get(8..10) else { return Ok(PREFIX_BYTES) };
    let length = u16::from_le_bytes([length[0], length[1]]);
    match usize::from(length) {
        0..PREFIX_BYTES => Err(HandshakeError::Corrupt { what: "shorter than its prefix" }),
        PREFIX_BYTES..=PIECE_BYTES_MAX => Ok(length.into()),
        _ => Err(HandshakeError::TooLong { bytes: length }),
    }
}

/// Reads a piece of the length that [`length`] told.
pub(crate) fn decode(bytes: &[u8]) -> Result<Piece<'_>, HandshakeError> {
    let mut fields = Fields(bytes);
    let (_magic, crc, _length) = (fields.array::<4>()?, fields.u32()?, fields.u16()?);
    if crc != crc32c(&bytes[8..]) {
        return Err(HandshakeError::Corrupt { what: "its checksum is wrong" });
    }
    let (kind, role) = (fields.u8()?, fields.u8()?);
    let versions = fields.u16()?..=fields.u16()?;
    let content = match kind {
        HELLO => Content::Hello(fields.0),
        REFUSED => {
            let (code, length) = (RefusalCode::of(fields.u16()?), fields.u16()?);
            Content::Refused(code, printable(fields.bytes(length.into())?))
        }
        READY => Content::Ready(fields.array().ok()),
        _ => return Err(HandshakeError::Corrupt { what: "unknown kind" }),
    };
    Ok(Piece { role, versions, content })
}

impl Piece<'_> {
    pub(crate) fn is_from(&self, role: Role) -> bool {
        self.role == role.number()
    }
}

pub(crate) fn encode_ready(role: Role, versions: &RangeInclusive<u16>, proof: Option<Proof>) -> Vec<u8> {
    let mut out = begin(READY, role, versions);
    out.extend(proof.into_iter().flatten());
    seal(out)
}

pub(crate) fn encode_refused(role: Role, versions: &RangeInclusive<u16>, code: RefusalCode, text: &str) -> Vec<u8> {
    let length = text.floor_char_boundary(TEXT_BYTES_MAX);
    let mut out = begin(REFUSED, role, versions);
    out.extend_from_slice(&code.number().to_le_bytes());
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..length]);
    seal(out)
}

fn begin(kind: u8, role: Role, versions: &RangeInclusive<u16>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(&[kind, role.number()]);
    out.extend_from_slice(&versions.start().to_le_bytes());
    out.extend_from_slice(&versions.end().to_le_bytes());
    out
}

pub(crate) fn seal(mut out: Vec<u8>) -> Vec<u8> {
    assert!(out.len() <= PIECE_BYTES_MAX, "a piece of {} bytes", out.len());
    let length = out.len() as u16;
    out[8..10].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// A peer's text ends up in logs: nothing in it may begin a line of its own, turn others around, or speak to a terminal.
fn printable(text: &[u8]) -> String {
    let shows = |character: char| matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1;
    let text = String::from_utf8_lossy(text);
    text.chars().map(|character| if shows(character) { character } else { '\u{fffd}' }).collect()
}
