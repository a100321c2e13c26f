//! What is wrong with a file, and where. Who knows the path adds it.

use std::fmt;

use sluice_protocol::SubpartitionIndex;

/// Bytes that are not what the format says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {piece}: {problem}")]
pub struct FormatError {
    /// Where, in bytes from the beginning of the piece that was decoded; [`FormatError::behind`] moves it.
    pub offset: u64,
    /// In what.
    pub piece: Piece,
    /// What it is.
    pub problem: Problem,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The file as a whole.
    File,
    /// Its first page.
    Header,
    /// A directory's beginning.
    Directory(u32),
    /// A directory's section; the common one if it has no subpartition.
    Section {
        /// The directory's number.
        directory: u32,
        /// Whose.
        subpartition: Option<SubpartitionIndex>,
    },
    /// A block of payload.
    Block {
        /// The number of the directory that has its entry.
        directory: u32,
        /// Whose; none if it is everybody's.
        subpartition: Option<SubpartitionIndex>,
    },
    /// The footer.
    Footer,
    /// The last page.
    Trailer,
    /// The zeros between the end of one of these and the end of its page.
    Padding,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Something else lies there.
    #[error("begins with {}, expected {}", .found.escape_ascii(), .expected.escape_ascii())]
    Magic {
        /// What is there.
        found: [u8; 4],
        /// What this piece begins with.
        expected: [u8; 4],
    },
    /// Another version of the format.
    #[error("version {found}, expected {expected}: written by another version of sluice")]
    Version {
        /// What the file says.
        found: u16,
        /// What this engine reads.
        expected: u16,
    },
    /// The bytes have changed since they were written.
    #[error("checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// Of the bytes as they are.
        found: u32,
        /// As it was when they were written.
        expected: u32,
    },
    /// There are too few bytes, or too many.
    #[error("{found} bytes, expected {expected}")]
    Length {
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// A field holds what it cannot.
    #[error("{field} is {found}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it could hold, in words.
        expected: Box<str>,
    },
    /// A block does not decompress.
    #[error("{0}")]
    Codec(#[from] super::CodecError),
}

impl FormatError {
    /// The same, counted from what begins `base` bytes in front of the piece: the file, for example.
    #[must_use]
    pub fn behind(mut self, base: u64) -> Self {
        self.offset = self.offset.saturating_add(base);
        self
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, directory, subpartition) = match self {
            Self::File => return f.write_str("file"),
            Self::Header => return f.write_str("header"),
            Self::Footer => return f.write_str("footer"),
            Self::Trailer => return f.write_str("trailer"),
            Self::Padding => return f.write_str("padding"),
            Self::Directory(number) => return write!(f, "directory {number}"),
            Self::Section { directory, subpartition } => ("section", directory, subpartition),
            Self::Block { directory, subpartition } => ("block", directory, subpartition),
        };
        match subpartition {
            Some(subpartition) => write!(f, "directory {directory}: {what} of subpartition {subpartition}"),
            None => write!(f, "directory {directory}: {what} of all subpartitions"),
        }
    }
}
