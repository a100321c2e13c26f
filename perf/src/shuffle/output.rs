//! A consumer's records as lines of a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// `part-NNNNN` of one consumer.
pub(super) struct Output {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Output {
    pub(super) fn create(folder: &Path, consumer: u32) -> Result<Self, String> {
        let path = folder.join(format!("part-{consumer:05}"));
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
