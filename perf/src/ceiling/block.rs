//! The bare pipeline's unit: 32 KiB with a head of 16 bytes, so that any number of them fills a read exactly.
//!
//! | bytes | are |
//! | --- | --- |
//! | 0–3 | the target |
//! | 4–7 | how long the payload is |
//! | 8–11 | the payload's CRC32C |
//! | 12–15 | zero |
//! | 16– | the payload: each record after its length in four bytes; records go on in the target's next block |
use crc_fast::crc32_iscsi;

pub(super) const BLOCK_BYTES: usize = 32 * 1024;
pub(super) const HEAD_BYTES: usize = 16;

/// A block that was changed on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bare pipeline received a block for target {target} that its CRC32C does not fit")]
pub(super) struct Corrupt {
    target: u32,
}

/// A block to write into, with room for its head.
pub(super) fn open(mut memory: Vec<u8>) -> Vec<u8> {
    memory.clear();
    memory.reserve_exact(BLOCK_BYTES);
    memory.resize(HEAD_BYTES, 0);
    memory
}

/// Fills in the head of a block that is written, and the rest of one that is not full.
pub(super) fn seal(block: &mut Vec<u8>, target: u32) {
    let payload = &block[HEAD_BYTES..];
    let (length, crc) = (payload.len() as u32, crc32_iscsi(payload));
    block[..4].copy_from_slice(&target.to_le_bytes());
    block[4..8].copy_from_slice(&length.to_le_bytes());
    block[8..12].copy_from_slice(&crc.to_le_bytes());
    block.resize(BLOCK_BYTES, 0);
}

/// The target and payload of a block that arrived.
pub(super) fn unseal(block: &[u8]) -> Result<(u32, &[u8]), Corrupt> {
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| block[at + i]));
    let (target, length) = (word(0), word(4) as usize);
    let payload = block.get(HEAD_BYTES..HEAD_BYTES + length).ok_or(Corrupt { target })?;
    if crc32_iscsi(payload) != word(8) {
        return Err(Corrupt { target });
    }
    Ok((target, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(payload: &[u8]) -> Vec<u8> {
        let mut block = open(Vec::new());
        block.extend_from_slice(payload);
        seal(&mut block, 7);
        block
    }

    #[test]
    fn a_sealed_block_is_full_and_opens_to_what_was_written() {
        let block = sealed(b"payload");
        assert_eq!(block.len(), BLOCK_BYTES);
        assert_eq!(unseal(&block), Ok((7, &b"payload"[..])));
    }

    #[test]
    fn a_flipped_bit_and_an_impossible_length_are_found() {
        let mut block = sealed(b"payload");
        block[HEAD_BYTES + 3] ^= 1;
        assert_eq!(unseal(&block), Err(Corrupt { target: 7 }));
        let mut block = sealed(b"payload");
        block[6] = 1;
        assert_eq!(unseal(&block), Err(Corrupt { target: 7 }));
    }
}
