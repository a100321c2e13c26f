//! The last page of the last part: without it a file set is unfinished.

use super::bytes::{array_at, put, seal, u16_at, u32_at, u64_at, wrong};
use super::header::check_page;
use super::{ALIGNMENT, FileSet, FormatError, PAGE_BYTES, Piece};

const MAGIC: [u8; 4] = *b"SLUT";
const DURABLE: u8 = 1;

/// The last page of the last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// What the set holds: the same as the headers of all parts say.
    pub set: FileSet,
    /// The number of the part that it ends: the last one.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
    /// All other bytes of all parts were synced before this page was written: they survive a loss of power if it does.
    pub durable: bool,
    /// Where the footer begins in this part, in bytes.
    pub footer_offset: u64,
    /// The footer's bytes, without the padding behind it.
    pub footer_bytes: u64,
    /// The checksum that the footer carries.
    pub footer_crc: u32,
    /// Which boot of the machine wrote it: what is not durable is there for sure only until the next one.
    pub boot: [u8; 16],
    /// The bytes that blocks take in the set; those of several subpartitions count once.
    pub stored_bytes: u64,
}

impl Trailer {
    /// The page.
    pub fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        self.set.encode_into(&mut page);
        put(&mut page, 11, [if self.durable { DURABLE } else { 0 }]);
        put(&mut page, 12, self.part.to_le_bytes());
        put(&mut page, 14, self.parts.to_le_bytes());
        put(&mut page, 64, self.footer_offset.to_le_bytes());
        put(&mut page, 72, self.footer_bytes.to_le_bytes());
        put(&mut page, 80, self.footer_crc.to_le_bytes());
        put(&mut page, 88, self.boot);
        put(&mut page, 104, self.stored_bytes.to_le_bytes());
        seal(&mut page, MAGIC);
        page
    }

    /// Reads it out of the last page of a part that is `part_bytes` long.
    pub fn decode(page: &[u8], part_bytes: u64) -> Result<Self, FormatError> {
        check_page(Piece::Trailer, page, MAGIC)?;
        let trailer = Self {
            set: FileSet::decode(Piece::Trailer, page)?,
            part: u16_at(page, 12),
            parts: u16_at(page, 14),
            durable: page[11] & DURABLE != 0,
            footer_offset: u64_at(page, 64),
            footer_bytes: u64_at(page, 72),
            footer_crc: u32_at(page, 80),
            boot: array_at(page, 88),
            stored_bytes: u64_at(page, 104),
        };
        trailer.check_parts()?;
        trailer.check_footer(part_bytes)?;
        Ok(trailer)
    }

    fn check_parts(&self) -> Result<(), FormatError> {
        if self.parts == 0 || self.part != self.parts - 1 {
            let expected = format!("{}: the last of {} parts", self.parts.saturating_sub(1), self.parts);
            return Err(wrong(Piece::Trailer, 12, "part", self.part, expected));
        }
        Ok(())
    }

    /// The footer fills what is between its beginning and this page, but for less than a page of padding.
    fn check_footer(&self, part_bytes: u64) -> Result<(), FormatError> {
        let page = PAGE_BYTES as u64;
        let aligned = self.footer_offset.is_multiple_of(ALIGNMENT as u64);
        if !aligned || self.footer_offset < page || self.footer_offset > part_bytes.saturating_sub(page) {
            let expected = format!("a multiple of {ALIGNMENT} in a file of {part_bytes} bytes");
            return Err(wrong(Piece::Trailer, 64, "footer offset", self.footer_offset, expected));
        }
        let room = part_bytes - page - self.footer_offset;
        if self.footer_bytes.checked_next_multiple_of(ALIGNMENT as u64) != Some(room) {
            let expected = format!("what fills {room} bytes");
            return Err(wrong(Piece::Trailer, 72, "footer bytes", self.footer_bytes, expected));
        }
        Ok(())
    }
}
