//! The head of a message: a prefix that can be trusted before anything behind it is read, then frames.

use super::cursor::Cursor;
use super::{DecodeError, Frame, MAGIC, PREFIX_BYTES, Placement};
use crate::ids::LinkEpoch;
use crate::limits::Limits;

const ACKNOWLEDGE: u16 = 1;
const UPDATE_ONLY: u16 = 2;

/// The fixed part of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Bytes of the whole head, prefix included.
    pub head_bytes: u32,
    /// Bytes of all bodies behind it.
    pub body_bytes: u32,
    /// How many frames.
    pub frames: u16,
    /// The sender would like `received` back soon: it holds memory for it.
    pub acknowledge: bool,
    /// Carries no frames: it may use the places reserved for window updates.
    pub update_only: bool,
    /// The message's number in this link epoch, from 1.
    pub message: u64,
    /// Messages of the peer received whole in this link epoch. Acknowledges them, and moves the window of
    /// control buffers: the peer may have sent `received + window`.
    pub received: u64,
    /// The link epoch of the sender.
    pub epoch: LinkEpoch,
    frames_crc: u32,
}

impl Prefix {
    /// Reads a prefix; the caller has waited for [`PREFIX_BYTES`]. Its own checksum and the limits are checked, so
    /// the lengths in it may be trusted.
    pub fn decode(bytes: &[u8; PREFIX_BYTES], limits: &Limits) -> Result<Self, DecodeError> {
        let magic: [u8; 4] = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if magic != MAGIC {
            return Err(DecodeError::Magic { found: magic });
        }
        let mut cursor = Cursor::new(&bytes[4..]);
        let prefix = Self::decode_fields(&mut cursor).ok_or(DecodeError::Truncated { index: 0 });
        let (expected, prefix) = prefix?;
        check_crc("prefix", &bytes[8..], expected)?;
        check_limit("head", prefix.head_bytes, limits.head_bytes_max)?;
        check_limit("bodies", prefix.body_bytes, limits.body_bytes_max)?;
        if (prefix.head_bytes as usize) < PREFIX_BYTES {
            return Err(DecodeError::Field { index: 0, what: "head length" });
        }
        if prefix.update_only != (prefix.frames == 0) {
            return Err(DecodeError::Field { index: 0, what: "update flag" });
        }
        Ok(prefix)
    }

    fn decode_fields(cursor: &mut Cursor<'_>) -> Option<(u32, Self)> {
        let crc = cursor.u32()?;
        let frames_crc = cursor.u32()?;
        let head_bytes = cursor.u32()?;
        let body_bytes = cursor.u32()?;
        let frames = cursor.u16()?;
        let flags = cursor.u16()?;
        let prefix = Self {
            head_bytes,
            body_bytes,
            frames,
            acknowledge: flags & ACKNOWLEDGE != 0,
            update_only: flags & UPDATE_ONLY != 0,
            message: cursor.u64()?,
            received: cursor.u64()?,
            epoch: LinkEpoch(cursor.u32()?),
            frames_crc,
        };
        Some((crc, prefix))
    }

    fn encode(&self, out: &mut [u8]) {
        let flags = if self.acknowledge { ACKNOWLEDGE } else { 0 } | if self.update_only { UPDATE_ONLY } else { 0 };
        out[0..4].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.frames_crc.to_le_bytes());
        out[12..16].copy_from_slice(&self.head_bytes.to_le_bytes());
        out[16..20].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[20..22].copy_from_slice(&self.frames.to_le_bytes());
        out[22..24].copy_from_slice(&flags.to_le_bytes());
        out[24..32].copy_from_slice(&self.message.to_le_bytes());
        out[32..40].copy_from_slice(&self.received.to_le_bytes());
        out[40..44].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[44..48].fill(0);
        let crc = crc32c(&out[8..PREFIX_BYTES]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// A whole head whose checksums, limits and frames have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    prefix: Prefix,
    bytes: Vec<u8>,
}

impl Head {
    /// Checks the frames behind `prefix`. `bytes` is the whole head, the prefix included.
    pub fn decode(prefix: Prefix, bytes: Vec<u8>, limits: &Limits) -> Result<Self, DecodeError> {
        assert_eq!(bytes.len(), prefix.head_bytes as usize, "a head as long as its prefix says");
        check_crc("frames", &bytes[PREFIX_BYTES..], prefix.frames_crc)?;
        let head = Self { prefix, bytes };
        head.check_frames(limits)?;
        Ok(head)
    }

    /// Reads a head that stands alone in a slice.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let first = bytes.first_chunk().ok_or(DecodeError::Truncated { index: 0 })?;
        let prefix = Prefix::decode(first, limits)?;
        let whole = bytes.get(..prefix.head_bytes as usize).ok_or(DecodeError::Truncated { index: 0 })?;
        Self::decode(prefix, whole.to_vec(), limits)
    }

    fn check_frames(&self, limits: &Limits) -> Result<(), DecodeError> {
        let mut cursor = Cursor::new(&self.bytes[PREFIX_BYTES..]);
        let mut bodies = 0u64;
        for index in 0..self.prefix.frames {
            let frame = Frame::decode(&mut cursor, index)?;
            if let Frame::Data(_, block, placement) = frame {
                check_limit("block", block.length, limits.block_bytes_max)?;
                match placement {
                    Placement::Body => bodies += u64::from(block.length),
                    Placement::Inline(_) => check_limit("inline block", block.length, limits.inline_bytes_max)?,
                    Placement::Slot(_) => {}
                }
            }
        }
        match cursor.remaining() {
            0 if bodies == u64::from(self.prefix.body_bytes) => Ok(()),
            0 => Err(DecodeError::Bodies { frames: bodies, prefix: self.prefix.body_bytes }),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }

    /// The fixed part.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The frames, in order.
    pub fn frames(&self) -> Frames<'_> {
        Frames { cursor: Cursor::new(&self.bytes[PREFIX_BYTES..]), left: self.prefix.frames }
    }

    /// Gives the memory back for another head.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Walks over the frames of a head.
pub struct Frames<'a> {
    cursor: Cursor<'a>,
    left: u16,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        self.left = self.left.checked_sub(1)?;
        Some(Frame::decode(&mut self.cursor, 0).expect("check_frames() has decoded the same bytes"))
    }
}

/// Writes a head frame by frame.
#[derive(Debug)]
pub struct HeadBuilder {
    bytes: Vec<u8>,
    frames: u16,
    body_bytes: u32,
}

impl HeadBuilder {
    /// Begins a head in `memory`, whose capacity is used again.
    pub fn new(mut memory: Vec<u8>) -> Self {
        memory.clear();
        memory.resize(PREFIX_BYTES, 0);
        Self { bytes: memory, frames: 0, body_bytes: 0 }
    }

    /// Appends a frame.
    pub fn push(&mut self, frame: &Frame<'_>) {
        if let Frame::Data(_, block, Placement::Body) = frame {
            self.body_bytes += block.length;
        }
        frame.encode(&mut self.bytes);
        self.frames += 1;
    }

    /// Bytes so far, the prefix included.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of the bodies so far.
    pub fn body_bytes(&self) -> u32 {
        self.body_bytes
    }

    /// Frames so far.
    pub fn frames(&self) -> u16 {
        self.frames
    }

    /// Seals the head: fills in the prefix and the checksums.
    pub fn finish(mut self, epoch: LinkEpoch, message: u64, received: u64, acknowledge: bool) -> Vec<u8> {
        let prefix = Prefix {
            head_bytes: self.bytes.len() as u32,
            body_bytes: self.body_bytes,
            frames: self.frames,
            acknowledge,
            update_only: self.frames == 0,
            message,
            received,
            epoch,
            frames_crc: crc32c(&self.bytes[PREFIX_BYTES..]),
        };
        prefix.encode(&mut self.bytes[..PREFIX_BYTES]);
        self.bytes
    }
}

/// The checksum of heads, hellos and blocks.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn check_crc(part: &'static str, bytes: &[u8], expected: u32) -> Result<(), DecodeError> {
    let found = crc32c(bytes);
    if found == expected { Ok(()) } else { Err(DecodeError::Checksum { part, found, expected }) }
}

fn check_limit(what: &'static str, found: u32, limit: u32) -> Result<(), DecodeError> {
    if found <= limit {
        return Ok(());
    }
    Err(DecodeError::Limit { what, found: found.into(), limit: limit.into() })
}
