//! What kind of table a file is, and where its key is.
use std::{
    convert::Infallible,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{InputError, Reader, line_of, split::Extent, split::Piece, unreadable};

/// The column that decides the consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// Counted from 1.
    Column(usize),
    /// As the header of a CSV or TSV file has it.
    Name(String),
}

impl FromStr for Key {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map(Key::Column).unwrap_or_else(|_| Key::Name(text.to_owned())))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// RFC 4180: fields may be quoted, and quoted fields may hold commas and newlines.
    Csv,
    /// IANA text/tab-separated-values: no quoting, so no field holds a tab or a newline.
    Tsv,
    /// What TPC-H's dbgen writes: `|` after each field, no header.
    Tbl,
    /// Anything else: a record is a line, and all of it is the key.
    Lines,
}

impl Format {
    fn of(path: &Path) -> Format {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Format::Csv,
            Some("tsv") => Format::Tsv,
            Some("tbl") => Format::Tbl,
            _ => Format::Lines,
        }
    }

    pub(super) fn delimiter(self) -> u8 {
        match self {
            Format::Csv => b',',
            Format::Tsv => b'\t',
            Format::Tbl => b'|',
            Format::Lines => b'\n',
        }
    }

    /// The fields of a line in which nothing is quoted.
    pub(super) fn fields(self, line: &[u8]) -> impl Iterator<Item = &[u8]> {
        let ends = memchr::memchr_iter(self.delimiter(), line).chain([line.len()]);
        let mut start = 0;
        ends.map(move |end| {
            let field = &line[start..end];
            start = end + 1;
            field
        })
    }
}

/// A line's bytes without the carriage return that Windows puts before the newline: part of the
/// record, so that what is written equals what was read, but never of the key.
pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What was found out about one file before it is read.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    /// Whether the file has quotes, so that only reading from its start tells which newlines end a record.
    pub(super) quoted: bool,
    /// The key's column, counted from 0; the whole record if absent.
    pub(super) column: Option<usize>,
    data_start: u64,
    data_end: u64,
}

impl Layout {
    pub(super) fn read(path: &Path, key: Option<&Key>, header: bool) -> Result<Self, InputError> {
        let metadata = path.metadata().map_err(|source| unreadable(path, source))?;
        let unsuitable = |reason: &str| InputError::Unsuitable { path: path.to_owned(), reason: reason.into() };
        if !metadata.is_file() {
            return Err(unsuitable("is not a regular file, so producers cannot share it"));
        }
        let format = Format::of(path);
        let has_header = header && matches!(format, Format::Csv | Format::Tsv);
        let column = match key {
            Some(_) if format == Format::Lines => {
                return Err(unsuitable("has no columns: a key needs a file that ends in .csv, .tsv or .tbl"));
            }
            Some(Key::Column(0)) => return Err(InputError::Setting("columns are counted from 1".into())),
            Some(Key::Column(column)) => Some(column - 1),
            Some(Key::Name(_)) if !has_header => {
                return Err(unsuitable("has no header, so the key must be the number of a column"));
            }
            Some(Key::Name(_)) | None => None,
        };
        let quoted = format == Format::Csv && holds_a_quote(path).map_err(|source| unreadable(path, source))?;
        let mut layout =
            Layout { path: path.to_owned(), format, quoted, column, data_start: 0, data_end: metadata.len() };
        if has_header {
            layout.read_header(key)?;
        }
        Ok(layout)
    }

    /// The records of the file, without a header.
    pub(super) fn extent(&self) -> Extent {
        Extent { start: self.data_start, end: self.data_end, divisible: !self.quoted }
    }

    pub(super) fn malformed(&self, position: u64, reason: String) -> InputError {
        match line_of(&self.path, position) {
            Ok(line) => InputError::Malformed { path: self.path.clone(), line, reason },
            Err(source) => unreadable(&self.path, source),
        }
    }

    /// Steps over the first record, and finds the key's name in it.
    fn read_header(&mut self, key: Option<&Key>) -> Result<(), InputError> {
        let whole = Piece { file: 0, start: 0, end: self.data_end };
        let mut reader = Reader::open(self, &whole)?;
        let mut line = Vec::new();
        if reader.next_record(self, &mut line)?.is_none() {
            return Ok(());
        }
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        let names: Vec<&[u8]> = match &reader {
            Reader::Lines(_) => self.format.fields(line).map(without_return).collect(),
            Reader::Quoted(quoted) => (0..).map_while(|column| quoted.field(column)).map(without_return).collect(),
        };
        if let Some(Key::Name(name)) = key {
            let column = names.iter().position(|found| *found == name.as_bytes());
            self.column = Some(column.ok_or_else(|| self.nameless(name, &names, reader.position()))?);
        }
        self.data_start = match reader {
            Reader::Lines(lines) => lines.end_position(),
            Reader::Quoted(quoted) => quoted.end_position(),
        };
        Ok(())
    }

    fn nameless(&self, name: &str, names: &[&[u8]], position: u64) -> InputError {
        let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
        self.malformed(position, format!("no column is called {name:?}; there are: {}", names.join(", ")))
    }
}

fn holds_a_quote(path: &Path) -> std::io::Result<bool> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() || memchr::memchr(b'"', bytes).is_some() {
            return Ok(!bytes.is_empty());
        }
        let length = bytes.len();
        file.consume(length);
    }
}
