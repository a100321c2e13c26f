//! Goes through all of a file set and checks every checksum, and the padding: for `inspect`. The memory that it takes is
//! that of the footer, of one directory's sections, and of one block.

mod padding;
mod report;

use std::io;

use sluice_protocol::SubpartitionIndex;

use super::bytes::{check_checksum, wrong};
use super::directory::HEADER_BYTES as DIRECTORY_HEADER_BYTES;
use super::{
    BlockEntry, Decompressor, DirectoryPlace, Footer, FormatError, Header, PAGE_BYTES, Piece, Problem, SectionPlace,
    Trailer,
};

use padding::Slices;
use report::Sizes;
pub use report::{CodecBytes, Report, SliceSizes};

/// Something that can be read at any place: a part.
pub trait ReadAt {
    /// Fills `into` from `offset` on. Never asked for more than there is.
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// How long it is.
    fn bytes(&self) -> u64;
}

/// Checks all parts of a file set, in their order. What is wrong stands in the report; an error is one of reading.
pub fn check_parts(parts: &mut [&mut dyn ReadAt]) -> io::Result<Report> {
    let mut check =
        Check { parts, report: Report::default(), sizes: Sizes::default(), decompressor: Decompressor::new() };
    check.headers()?;
    if let Some(trailer) = check.trailer()? {
        check.headers_fit(&trailer);
        if let Some(footer) = check.footer(&trailer)? {
            check.data(&trailer, &footer)?;
            check.padding_of_footer(&trailer)?;
            check.report.footer = Some(footer);
        }
    }
    check.report.slices = check.sizes.summary();
    Ok(check.report)
}

struct Check<'a, 'b> {
    parts: &'a mut [&'b mut dyn ReadAt],
    report: Report,
    sizes: Sizes,
    decompressor: Decompressor,
}

impl Check<'_, '_> {
    fn headers(&mut self) -> io::Result<()> {
        for part in 0..self.parts.len() {
            let page = self.read_page(part, 0)?;
            let header = self.keep(part, 0, Header::decode(&page));
            self.report.headers.push(header);
        }
        Ok(())
    }

    fn trailer(&mut self) -> io::Result<Option<Trailer>> {
        let Some(last) = self.parts.len().checked_sub(1) else { return Ok(None) };
        let part_bytes = self.parts[last].bytes();
        let offset = part_bytes.saturating_sub(PAGE_BYTES as u64);
        let page = self.read_page(last, offset)?;
        self.report.trailer = self.keep(last, offset, Trailer::decode(&page, part_bytes));
        Ok(self.report.trailer)
    }

    /// The page at `offset`, or what there is of it.
    fn read_page(&mut self, part: usize, offset: u64) -> io::Result<Vec<u8>> {
        let there = self.parts[part].bytes().saturating_sub(offset);
        let mut page = vec![0; there.min(PAGE_BYTES as u64) as usize];
        self.parts[part].read_at(offset, &mut page)?;
        Ok(page)
    }

    /// Whether these are the parts that the trailer speaks of, and all of them.
    fn headers_fit(&mut self, trailer: &Trailer) {
        if usize::from(trailer.parts) != self.parts.len() {
            let found = self.parts.len() as u64;
            let error = wrong(Piece::File, 0, "number of parts", found, format!("{} of them", trailer.parts));
            self.report.problem(trailer.part, error);
        }
        for part in 0..self.parts.len() {
            let Some(header) = self.report.headers[part] else { continue };
            if usize::from(header.part) != part {
                let error = wrong(Piece::Header, 12, "part", header.part, part.to_string());
                self.report.problem(part as u16, error);
            }
            if header.set != trailer.set {
                let expected = format!("{}, as the trailer says: part of another set of files", trailer.set.stamp().0);
                let error = wrong(Piece::Header, 8, "stamp", header.set.stamp().0, expected);
                self.report.problem(part as u16, error);
            }
        }
    }

    fn footer(&mut self, trailer: &Trailer) -> io::Result<Option<Footer>> {
        let last = self.parts.len() - 1;
        // `Trailer::decode` has compared it with the part's length.
        let mut bytes = vec![0; trailer.footer_bytes as usize];
        self.parts[last].read_at(trailer.footer_offset, &mut bytes)?;
        let footer = self.keep(last, trailer.footer_offset, Footer::decode(&bytes, trailer));
        Ok(footer.filter(|footer| self.extents_are_there(footer)))
    }

    fn extents_are_there(&mut self, footer: &Footer) -> bool {
        let problems = self.report.problems_all;
        for extent in footer.extents.iter() {
            let end = extent.physical + extent.bytes;
            let found = self.parts.get(usize::from(extent.part)).map_or(0, |part| part.bytes());
            if found < end {
                let problem = Problem::Length { found, expected: end };
                self.report.problem(extent.part, FormatError { offset: found, piece: Piece::File, problem });
            }
        }
        self.report.problems_all == problems
    }

    fn data(&mut self, trailer: &Trailer, footer: &Footer) -> io::Result<()> {
        let problems = self.report.problems_all;
        let mut own = vec![Seen::default(); footer.totals.len()];
        let mut common = Seen::default();
        for directory in &footer.directories {
            self.directory(footer, directory)?;
            let mut slices = Slices::default();
            for section in directory.all_sections() {
                let seen = self.section(footer, &section, &mut slices)?;
                let whose = section.subpartition.map(|index| (index.0 - footer.set.first.0) as usize);
                whose.map_or(&mut common, |index| &mut own[index]).add(&seen);
            }
            self.padding_of_data(footer, slices, directory.offset() + u64::from(directory.bytes()))?;
        }
        // Where something cannot be read, other totals are no news.
        if self.report.problems_all == problems {
            self.totals_fit(trailer, footer, &own, &common);
        }
        Ok(())
    }

    fn directory(&mut self, footer: &Footer, place: &DirectoryPlace) -> io::Result<()> {
        let mut header = [0; DIRECTORY_HEADER_BYTES];
        let at = self.read(footer, place.offset(), &mut header)?;
        self.keep(at.part, at.offset, place.check_header(&header));
        Ok(())
    }

    /// What the section holds, if it can be read; of that only what is right has been counted in the report.
    fn section(&mut self, footer: &Footer, place: &SectionPlace, slices: &mut Slices) -> io::Result<Seen> {
        let mut bytes = vec![0; place.bytes as usize];
        let at = self.read(footer, place.offset, &mut bytes)?;
        let mut seen = Seen::default();
        let Some(decoded) = self.keep(at.part, at.offset, place.decode(&bytes)) else {
            slices.lose_some();
            return Ok(seen);
        };
        for slice in decoded {
            self.sizes.add(slice.stored_bytes());
            slices.add(slice.offset, slice.stored_bytes());
            let mut offset = slice.offset;
            for block in &slice.blocks {
                seen.blocks += 1;
                seen.raw_bytes += u64::from(block.raw_bytes);
                self.block(footer, place, offset, block)?;
                offset += u64::from(block.stored_bytes);
            }
        }
        Ok(seen)
    }

    fn block(&mut self, footer: &Footer, place: &SectionPlace, offset: u64, block: &BlockEntry) -> io::Result<()> {
        let mut stored = vec![0; block.stored_bytes as usize];
        let at = self.read(footer, offset, &mut stored)?;
        let piece = Piece::Block { directory: place.directory, subpartition: place.subpartition };
        let mut raw = vec![0; block.raw_bytes as usize];
        let decompressed = self.decompressor.decompress(block.codec, &stored, &mut raw);
        let decompressed = decompressed.map_err(|error| FormatError { offset: 0, piece, problem: error.into() });
        self.keep(at.part, at.offset, decompressed.and_then(|()| check_checksum(piece, 0, block.crc, &raw)));
        self.report.block(block);
        Ok(())
    }

    fn totals_fit(&mut self, trailer: &Trailer, footer: &Footer, own: &[Seen], common: &Seen) {
        let last = trailer.part;
        for (index, (own, totals)) in own.iter().zip(&footer.totals).enumerate() {
            let subpartition = SubpartitionIndex(footer.set.first.0 + index as u32);
            let fields = [
                ("blocks", totals.blocks, own.blocks + common.blocks),
                ("raw bytes", totals.raw_bytes, own.raw_bytes + common.raw_bytes),
            ];
            for (field, found, expected) in fields.into_iter().filter(|(_, found, expected)| found != expected) {
                let expected = format!("{expected}, which subpartition {subpartition} has");
                let error = wrong(Piece::Footer, Footer::totals_at(index), field, found, expected);
                self.report.problem(last, error.behind(trailer.footer_offset));
            }
        }
        if trailer.stored_bytes != self.report.stored_bytes {
            let expected = self.report.stored_bytes.to_string();
            let error = wrong(Piece::Trailer, 104, "stored bytes", trailer.stored_bytes, expected);
            let page = self.parts[self.parts.len() - 1].bytes() - PAGE_BYTES as u64;
            self.report.problem(last, error.behind(page));
        }
    }

    /// Fills `into` from a logical offset on, and says where that is.
    fn read(&mut self, footer: &Footer, logical: u64, into: &mut [u8]) -> io::Result<Place> {
        let mut first = None;
        let mut filled = 0;
        for (part, offset, bytes) in footer.extents.locate(logical, into.len() as u64) {
            let part = usize::from(part);
            let end = filled + bytes as usize;
            self.parts[part].read_at(offset, &mut into[filled..end])?;
            first.get_or_insert(Place { part, offset });
            filled = end;
        }
        Ok(first.unwrap_or_default())
    }

    /// Takes what is right, and notes what is not.
    fn keep<T>(&mut self, part: usize, base: u64, result: Result<T, FormatError>) -> Option<T> {
        result.map_err(|error| self.report.problem(part as u16, error.behind(base))).ok()
    }
}

/// A place in a part.
#[derive(Clone, Copy, Default)]
struct Place {
    part: usize,
    offset: u64,
}

/// What entries say, to compare with the totals.
#[derive(Clone, Default)]
struct Seen {
    blocks: u64,
    raw_bytes: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.raw_bytes += other.raw_bytes;
    }
}
