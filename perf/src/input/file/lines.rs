//! Lines of a part of a file in which every newline ends a record.
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
};

use super::{RECORD_BYTES_MAX, split::Piece};

/// Reads the lines that begin in a piece, also to their end beyond it: the neighbour skips that rest.
pub(super) struct Lines {
    file: BufReader<File>,
    position: u64,
    next: u64,
    end: u64,
}

impl Lines {
    pub(super) fn open(mut file: BufReader<File>, piece: &Piece) -> io::Result<Self> {
        let Piece { start, end, .. } = *piece;
        if start == 0 {
            return Ok(Self { file, position: 0, next: 0, end });
        }
        // From one byte before: a newline there means that a line begins exactly at the start.
        file.seek(SeekFrom::Start(start - 1))?;
        let skipped = file.skip_until(b'\n')? as u64;
        Ok(Self { file, position: start, next: start - 1 + skipped, end })
    }

    pub(super) fn next_record(&mut self, out: &mut Vec<u8>) -> io::Result<Option<usize>> {
        if self.next >= self.end {
            return Ok(None);
        }
        let start = out.len();
        let length = (&mut self.file).take(RECORD_BYTES_MAX as u64 + 2).read_until(b'\n', out)?;
        if length == 0 {
            // The file has become shorter since its length was asked.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position = self.next;
        self.next += length as u64;
        if out.last() == Some(&b'\n') {
            out.pop();
        }
        Ok(Some(start))
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
