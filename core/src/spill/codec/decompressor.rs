//! Brings stored blocks back, whatever the bytes are.

use std::fmt;

use super::Codec;

/// Stored bytes that do not become the raw bytes that they should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// They are no output of this codec, or become more than there is room for.
    #[error("{codec} refuses {stored} stored bytes, expected {raw} raw ones of them: {cause}")]
    Damaged {
        /// Which.
        codec: Codec,
        /// How many there are.
        stored: usize,
        /// How many they should become.
        raw: usize,
        /// What the codec says.
        cause: Box<str>,
    },
    /// They become fewer, or are not compressed and as many as they are.
    #[error("{codec} makes {found} raw bytes, expected {expected}")]
    Length {
        /// Which.
        codec: Codec,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
}

/// Decompresses blocks of any codec; keeps what the codecs need from one to the next.
#[derive(Default)]
pub struct Decompressor {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Decompressor {
    /// For any codec. Takes memory with the first block of zstd.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decompresses a block to exactly `into`. Whatever `stored` holds, nothing else is written, and no memory is taken
    /// for what it claims. After an error `into` holds anything.
    pub fn decompress(&mut self, codec: Codec, stored: &[u8], into: &mut [u8]) -> Result<(), CodecError> {
        let expected = into.len();
        let damaged = |cause: String| CodecError::Damaged {
            codec,
            stored: stored.len(),
            raw: expected,
            cause: cause.into_boxed_str(),
        };
        let found = match codec {
            Codec::None => {
                if let Some(into) = into.get_mut(..stored.len()) {
                    into.copy_from_slice(stored);
                }
                stored.len()
            }
            Codec::Lz4 => lz4_flex::block::decompress_into(stored, into).map_err(|error| damaged(error.to_string()))?,
            Codec::Zstd => {
                let zstd = self.zstd.get_or_insert_default();
                zstd.decompress_to_buffer(stored, into).map_err(|error| damaged(error.to_string()))?
            }
        };
        if found == expected { Ok(()) } else { Err(CodecError::Length { codec, found, expected }) }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}
