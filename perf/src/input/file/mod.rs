//! The lines of files: CSV, TSV and `.tbl` by a column, other files by the whole line.
mod format;
mod lines;
mod quoted;
mod split;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use format::Key;

use self::{
    format::{Format, Layout},
    lines::Lines,
    quoted::Quoted,
    split::{Extent, Piece},
};
use super::{Batch, InputError, Source, Targets};

/// Far more than a line of text has; what is longer is a binary file, or a quote that is never closed.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// Files, split among producers.
pub(super) struct Files {
    layouts: Vec<Arc<Layout>>,
    extents: Vec<Extent>,
    producers: u32,
    targets: Targets,
}

impl Files {
    pub(super) fn prepare(
        paths: &[PathBuf],
        key: Option<Key>,
        header: bool,
        producers: u32,
        targets: Targets,
    ) -> Result<Self, InputError> {
        let header = header || matches!(key, Some(Key::Name(_)));
        let layout = |path: &PathBuf| Layout::read(path, key.as_ref(), header).map(Arc::new);
        let layouts = paths.iter().map(layout).collect::<Result<Vec<_>, _>>()?;
        let extents = layouts.iter().map(|layout| layout.extent()).collect();
        Ok(Self { layouts, extents, producers, targets })
    }

    pub(super) fn source(&self, producer: u32) -> Result<FileSource, InputError> {
        let mut pieces = split::share(&self.extents, producer, self.producers);
        // The last comes first off a vector.
        pieces.reverse();
        let mut source = FileSource { layouts: self.layouts.clone(), pieces, reader: None, targets: self.targets };
        source.open_next()?;
        Ok(source)
    }

    pub(super) fn bytes_estimate(&self) -> u64 {
        self.extents.iter().map(|extent| extent.end - extent.start).sum()
    }
}

/// One producer's pieces of the files, one after the other.
pub(super) struct FileSource {
    layouts: Vec<Arc<Layout>>,
    pieces: Vec<Piece>,
    reader: Option<(Arc<Layout>, Reader)>,
    targets: Targets,
}

impl Source for FileSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, InputError> {
        batch.clear();
        while let Some((layout, reader)) = &mut self.reader {
            let mut record_bytes = 0;
            while batch.has_room_for(record_bytes) {
                let Some(start) = reader.next_record(layout, &mut batch.bytes)? else {
                    self.open_next()?;
                    break;
                };
                let target = self.targets.of_key(reader.key(layout, &batch.bytes[start..])?);
                batch.seal(start, target);
                record_bytes = batch.bytes.len() - start;
            }
            if !batch.has_room_for(record_bytes) {
                break;
            }
        }
        Ok(!batch.is_empty())
    }
}

impl FileSource {
    fn open_next(&mut self) -> Result<(), InputError> {
        self.reader = None;
        if let Some(piece) = self.pieces.pop() {
            let layout = Arc::clone(&self.layouts[piece.file]);
            let reader = Reader::open(&layout, &piece)?;
            self.reader = Some((layout, reader));
        }
        Ok(())
    }
}

/// Reads the records of one piece of one file.
enum Reader {
    Lines(Lines),
    /// Boxed, because the parser's tables are eight times the size of the other.
    Quoted(Box<Quoted>),
}

impl Reader {
    fn open(layout: &Layout, piece: &Piece) -> Result<Self, InputError> {
        let open = || -> std::io::Result<Reader> {
            let file = BufReader::with_capacity(Batch::BYTES_MAX, File::open(&layout.path)?);
            Ok(match layout.quoted {
                true => Reader::Quoted(Box::new(Quoted::open(file, layout.format, piece.start)?)),
                false => Reader::Lines(Lines::open(file, piece)?),
            })
        };
        open().map_err(|source| unreadable(&layout.path, source))
    }

    /// Appends the next record to `out`, without its newline; where it starts.
    fn next_record(&mut self, layout: &Layout, out: &mut Vec<u8>) -> Result<Option<usize>, InputError> {
        loop {
            let start = match self {
                Reader::Lines(lines) => lines.next_record(out),
                Reader::Quoted(quoted) => quoted.next_record(out),
            };
            let Some(start) = start.map_err(|source| unreadable(&layout.path, source))? else { return Ok(None) };
            let record = &out[start..];
            if record.len() > RECORD_BYTES_MAX {
                let hint = if layout.quoted { "is a quote never closed" } else { "is this a text file" };
                return Err(layout.malformed(self.position(), format!("a record of more than 256 MiB; {hint}?")));
            }
            // In a table a blank line is no row; in a text it is a line.
            if layout.format == Format::Lines || !format::without_return(record).is_empty() {
                return Ok(Some(start));
            }
            out.truncate(start);
        }
    }

    /// The key of the record that came last.
    fn key<'a>(&'a self, layout: &Layout, record: &'a [u8]) -> Result<&'a [u8], InputError> {
        let Some(column) = layout.column else { return Ok(format::without_return(record)) };
        let field = match self {
            Reader::Lines(_) => layout.format.fields(record).nth(column),
            Reader::Quoted(quoted) => quoted.field(column),
        };
        field.map(format::without_return).ok_or_else(|| {
            let columns = match self {
                Reader::Lines(_) => layout.format.fields(record).count(),
                Reader::Quoted(quoted) => quoted.fields(),
            };
            layout.malformed(self.position(), format!("{columns} columns, and the key is column {}", column + 1))
        })
    }

    /// Where in the file the record that came last starts.
    fn position(&self) -> u64 {
        match self {
            Reader::Lines(lines) => lines.position(),
            Reader::Quoted(quoted) => quoted.position(),
        }
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> InputError {
    InputError::Unreadable { path: path.to_owned(), source }
}

/// The line that a byte is in, counted from 1: looked up only for an error, so that reading need not count.
fn line_of(path: &Path, position: u64) -> std::io::Result<u64> {
    let mut before = BufReader::new(File::open(path)?.take(position));
    let mut line = 1;
    loop {
        let bytes = before.fill_buf()?;
        if bytes.is_empty() {
            return Ok(line);
        }
        line += memchr::memchr_iter(b'\n', bytes).count() as u64;
        let length = bytes.len();
        before.consume(length);
    }
}

#[cfg(test)]
mod tests;
