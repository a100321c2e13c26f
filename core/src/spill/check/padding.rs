//! The zeros behind what ends within a page: no reader looks at them, and no checksum covers them.

use std::io;

use super::Check;
use crate::spill::bytes::wrong;
use crate::spill::{Footer, PAGE_BYTES, Piece, Trailer};

/// Where the slices of one directory begin and end, as logical offsets.
#[derive(Default)]
pub(super) struct Slices {
    places: Vec<(u64, u64)>,
    are_some_unknown: bool,
}

impl Slices {
    pub(super) fn add(&mut self, offset: u64, bytes: u64) {
        self.places.push((offset, offset + bytes));
    }

    /// A section cannot be read: what lies behind the slices of others may be slices of its own.
    pub(super) fn lose_some(&mut self) {
        self.are_some_unknown = true;
    }

    /// What is to be zeros behind them: from the last byte that a slice has in a page to the end of that page. Bytes
    /// between slices may be anything, as a slice may be left out; but a region ends with a page.
    fn paddings(mut self) -> Vec<(u64, u64)> {
        let mut paddings = Vec::new();
        if self.are_some_unknown {
            return paddings;
        }
        self.places.sort_unstable();
        let mut slices = self.places.into_iter().peekable();
        while let Some((_, end)) = slices.next() {
            let page_end = end.next_multiple_of(PAGE_BYTES as u64);
            if slices.peek().is_none_or(|(next, _)| *next >= page_end) && end < page_end {
                paddings.push((end, page_end));
            }
        }
        paddings
    }
}

impl Check<'_, '_> {
    /// Behind the slices of a directory, and behind itself.
    pub(super) fn padding_of_data(&mut self, footer: &Footer, slices: Slices, directory_end: u64) -> io::Result<()> {
        let behind = (directory_end, directory_end.next_multiple_of(PAGE_BYTES as u64));
        for (begin, end) in slices.paddings().into_iter().chain([behind]) {
            for (part, offset, bytes) in footer.extents.locate(begin, end - begin) {
                self.padding(part.into(), offset, bytes)?;
            }
        }
        Ok(())
    }

    /// Between the footer and the last page.
    pub(super) fn padding_of_footer(&mut self, trailer: &Trailer) -> io::Result<()> {
        let last = self.parts.len() - 1;
        let page = self.parts[last].bytes() - PAGE_BYTES as u64;
        let mut at = trailer.footer_offset + trailer.footer_bytes;
        while at < page {
            let bytes = (page - at).min(PAGE_BYTES as u64);
            self.padding(last, at, bytes)?;
            at += bytes;
        }
        Ok(())
    }

    /// At most a page, of which the first byte that is wrong is told.
    fn padding(&mut self, part: usize, offset: u64, bytes: u64) -> io::Result<()> {
        let mut zeros = vec![0; bytes as usize];
        self.parts[part].read_at(offset, &mut zeros)?;
        if let Some(place) = zeros.iter().position(|byte| *byte != 0) {
            let error = wrong(Piece::Padding, place, "byte", zeros[place], "0, as all up to the end of the page");
            self.report.problem(part as u16, error.behind(offset));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_a_page_behind_the_last_slice_in_it_is_padding() {
        let mut slices = Slices::default();
        // Of two regions, the second of which ends with its page; between the first two something is left out.
        for (offset, bytes) in [(8192, 4096), (100, 50), (0, 60), (150, 5000)] {
            slices.add(offset, bytes);
        }
        assert_eq!(slices.paddings(), [(5150, 8192)]);
        assert_eq!(Slices::default().paddings(), []);
    }
}
