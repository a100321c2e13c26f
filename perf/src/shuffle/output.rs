//! A consumer's records as lines of a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What every file of an output is named by.
const PART: &str = "part-";

/// Why a folder cannot take an output.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// From an earlier run, or an input: writing would destroy it, or leave it beside what is new.
    #[error("{} holds {part} already: name an empty folder or remove it", folder.display())]
    Holds {
        /// The folder.
        folder: PathBuf,
        /// One of its parts.
        part: String,
    },
    /// It cannot be made or looked into.
    #[error("{}: cannot be used as a folder", folder.display())]
    NoFolder {
        /// What should be a folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the folder if it is missing, and refuses one with parts in it: before any worker truncates one.
pub(super) fn make_folder(folder: &Path) -> Result<(), OutputError> {
    let parts = || -> io::Result<Option<String>> {
        std::fs::create_dir_all(folder)?;
        let names = std::fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(names.into_iter().filter(|name| name.starts_with(PART)).min())
    };
    match parts() {
        Ok(None) => Ok(()),
        Ok(Some(part)) => Err(OutputError::Holds { folder: folder.to_owned(), part }),
        Err(source) => Err(OutputError::NoFolder { folder: folder.to_owned(), source }),
    }
}

/// `part-NNNNN` of one consumer.
pub(super) struct Output {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Output {
    pub(super) fn create(folder: &Path, consumer: u32) -> Result<Self, String> {
        let path = folder.join(format!("{PART}{consumer:05}"));
        std::fs::create_dir_all(folder)
            .and_then(|()| File::create(&path))
            .map(|file| Self { path: path.clone(), file: BufWriter::with_capacity(64 * 1024, file) })
            .map_err(|error| format!("{}: cannot be written: {error}", path.display()))
    }

    pub(super) fn write(&mut self, record: &[u8]) -> Result<(), String> {
        let written = self.file.write_all(record).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(|error| format!("{}: cannot be written: {error}", self.path.display()))
    }

    pub(super) fn finish(mut self) -> Result<(), String> {
        self.file.flush().map_err(|error| format!("{}: cannot be written: {error}", self.path.display()))
    }
}
