//! The handshake's bytes: `Hello`, `Ready` and `Refused`. docs/protocol.md has the same, field by field.
//!
//! The first [`PREFIX_BYTES`] bytes, and the checksum over the whole, stay as they are in every version to come: two
//! peers of any versions can read each other's range of versions and refusal.

use std::ops::RangeInclusive;
use std::time::Duration;

use sluice_protocol::wire::crc32c;
use sluice_protocol::{Incarnation, Lane, Limits, LinkEpoch, NodeId};

use crate::error::{HandshakeError, RefusalCode};
use crate::local::{CLUSTER_BYTES_MAX, Features};

/// What every piece of a handshake begins with.
pub const MAGIC: [u8; 4] = *b"SLUH";
/// The bytes of a piece that are the same in every version.
pub const PREFIX_BYTES: usize = 16;
/// The longest piece.
pub const PIECE_BYTES_MAX: usize = 512;
/// The longest text of a refusal; longer ones are cut.
const TEXT_BYTES_MAX: usize = 400;
/// No authentication: the only kind of version 1.
pub(crate) const AUTHENTICATION_OFF: u8 = 0;

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

/// A hello behind its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) features: Features,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) session: u64,
    /// The node that this is meant for.
    pub(crate) expected: Option<NodeId>,
    pub(crate) epoch: LinkEpoch,
    pub(crate) lane: Lane,
    pub(crate) authentication: u8,
    pub(crate) limits: Limits,
    pub(crate) cluster: String,
}

/// What a piece says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// Undecoded: whether it can be read depends on the versions.
    Hello(&'a [u8]),
    Refused(RefusalCode, String),
    Ready,
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
            Content::Refused(code, String::from_utf8_lossy(fields.bytes(length.into())?).into_owned())
        }
        READY => Content::Ready,
        _ => return Err(HandshakeError::Corrupt { what: "unknown kind" }),
    };
    Ok(Piece { role, versions, content })
}

impl Piece<'_> {
    pub(crate) fn is_from(&self, role: Role) -> bool {
        self.role == role.number()
    }
}

impl Hello {
    /// Reads what follows the prefix. Bytes behind the last field belong to later versions and are ignored.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let mut fields = Fields(bytes);
        let features = Features { required: fields.u64()?, offered: fields.u64()? };
        let (node, incarnation) = (NodeId(fields.u64()?), Incarnation(fields.u64()?));
        let (session, expected) = (fields.u64()?, NodeId(fields.u64()?));
        let (epoch, lane) = (LinkEpoch(fields.u32()?), Lane(fields.u16()?));
        let (authentication, flags) = (fields.u8()?, fields.u8()?);
        let limits = Limits {
            head_bytes_max: fields.u32()?,
            body_bytes_max: fields.u32()?,
            block_bytes_max: fields.u32()?,
            inline_bytes_max: fields.u32()?,
            control_window: fields.u32()?,
            channels_max: fields.u32()?,
            heartbeat: Duration::from_millis(fields.u32()?.into()),
            silence_max: Duration::from_millis(fields.u32()?.into()),
        };
        let cluster_bytes = usize::from(fields.u8()?);
        if cluster_bytes > CLUSTER_BYTES_MAX {
            return Err(HandshakeError::Corrupt { what: "the cluster's name is too long" });
        }
        let cluster = std::str::from_utf8(fields.bytes(cluster_bytes)?)
            .map_err(|_| HandshakeError::Corrupt { what: "the cluster's name is not UTF-8" })?
            .to_owned();
        let expected = (flags & EXPECTED != 0).then_some(expected);
        Ok(Self { features, node, incarnation, session, expected, epoch, lane, authentication, limits, cluster })
    }

    pub(crate) fn encode(&self, role: Role, versions: &RangeInclusive<u16>) -> Vec<u8> {
        let mut out = begin(HELLO, role, versions);
        for number in [
            self.features.required,
            self.features.offered,
            self.node.0,
            self.incarnation.0,
            self.session,
            self.expected.unwrap_or_default().0,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.lane.0.to_le_bytes());
        out.push(self.authentication);
        out.push(if self.expected.is_some() { EXPECTED } else { 0 });
        for number in [
            self.limits.head_bytes_max,
            self.limits.body_bytes_max,
            self.limits.block_bytes_max,
            self.limits.inline_bytes_max,
            self.limits.control_window,
            self.limits.channels_max,
            milliseconds(self.limits.heartbeat),
            milliseconds(self.limits.silence_max),
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(self.cluster.len() as u8);
        out.extend_from_slice(self.cluster.as_bytes());
        seal(out)
    }
}

/// `expected` is set.
const EXPECTED: u8 = 1;

pub(crate) fn encode_ready(role: Role, versions: &RangeInclusive<u16>) -> Vec<u8> {
    seal(begin(READY, role, versions))
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

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Reads numbers off a piece; what is missing makes it corrupt.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], HandshakeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(HandshakeError::Corrupt { what: "cut off" })?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HandshakeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, HandshakeError> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, HandshakeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, HandshakeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, HandshakeError> {
        self.array().map(u64::from_le_bytes)
    }
}
