//! Records of a CSV file with quotes: which newlines end a record is for the parser to say.
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom},
};

use csv_core::{ReadRecordResult, Terminator};

use super::{RECORD_BYTES_MAX, format::Format};

/// Reads from a record's start to the end of the file.
pub(super) struct Quoted {
    file: BufReader<File>,
    parser: csv_core::Reader,
    /// The fields of the last record without their quotes, one after the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
    position: u64,
    next: u64,
}

impl Quoted {
    pub(super) fn open(mut file: BufReader<File>, format: Format, start: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        let parser = csv_core::ReaderBuilder::new()
            .delimiter(format.delimiter())
            // A carriage return stays in the record, where the default would lose it.
            .terminator(Terminator::Any(b'\n'))
            .build();
        Ok(Self { file, parser, text: vec![0; 4096], ends: vec![0; 64], fields: 0, position: start, next: start })
    }

    pub(super) fn next_record(&mut self, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let start = out.len();
        let found = self.parse(out)?;
        // The parser steps over blank lines; they are in front of the record then.
        let blank = out[start..].iter().take_while(|byte| **byte == b'\n').count();
        self.position = self.next + blank as u64;
        self.next += (out.len() - start) as u64;
        if !found {
            out.truncate(start);
            return Ok(None);
        }
        out.drain(start..start + blank);
        if out.last() == Some(&b'\n') {
            out.pop();
        }
        Ok(Some(start))
    }

    /// Appends what the parser takes for one record; whether there was one.
    fn parse(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let (mut text, start) = (0, out.len());
        self.fields = 0;
        loop {
            let bytes = self.file.fill_buf()?;
            let (result, taken, written, ended) =
                self.parser.read_record(bytes, &mut self.text[text..], &mut self.ends[self.fields..]);
            out.extend_from_slice(&bytes[..taken]);
            self.file.consume(taken);
            text += written;
            self.fields += ended;
            match result {
                ReadRecordResult::InputEmpty if out.len() - start > RECORD_BYTES_MAX => return Ok(true),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    /// A field of the record that came last, counted from 0, without its quotes.
    pub(super) fn field(&self, column: usize) -> Option<&[u8]> {
        let ends = &self.ends[..self.fields];
        let end = *ends.get(column)?;
        let start = column.checked_sub(1).map_or(0, |before| ends[before]);
        Some(&self.text[start..end])
    }

    /// How many fields the record that came last has.
    pub(super) fn fields(&self) -> usize {
        self.fields
    }

    /// Where the record that came last starts.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Where the record after the last starts.
    pub(super) fn end_position(&self) -> u64 {
        self.next
    }
}
